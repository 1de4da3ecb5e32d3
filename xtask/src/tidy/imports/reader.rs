//! Reads what one file imports, and which modules it declares.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A path as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// The inline module in which it is written, from the file's.
    pub(super) inside: Vec<String>,
    pub(super) line: usize,
}

/// Reads what one file imports.
#[derive(Default)]
pub(super) struct Reader {
    inside: Vec<String>,
    pub(super) imports: Vec<Import>,
    /// What names stand for, by `use` lines.
    pub(super) names: BTreeMap<String, Import>,
    /// Files that it declares.
    pub(super) modules: Vec<String>,
    /// Those that it declares for tests.
    pub(super) test_modules: Vec<String>,
}

impl Reader {
    pub(super) fn read(file: &syn::File) -> Self {
        let mut reader = Self::default();
        reader.visit_file(file);
        reader
    }

    fn import(&self, path: Vec<String>, line: usize) -> Import {
        Import {
            path,
            inside: self.inside.clone(),
            line,
        }
    }

    fn use_tree(&mut self, tree: &syn::UseTree, path: &mut Vec<String>, is_handed_on: bool) {
        let mut end = |path: Vec<String>, name: Option<String>, line| {
            let import = self.import(path, line);
            if !is_handed_on {
                self.imports.push(import.clone());
            }
            if let Some(name) = name {
                self.names.insert(name, import);
            }
        };
        match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.use_tree(&part.tree, path, is_handed_on);
                path.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(tree, path, is_handed_on);
                }
            }
            syn::UseTree::Name(name) => {
                let line = name.ident.span().start().line;
                let mut whole = path.clone();
                if name.ident != "self" {
                    whole.push(name.ident.to_string());
                }
                let name = whole.last().cloned();
                end(whole, name, line);
            }
            syn::UseTree::Rename(renamed) => {
                let line = renamed.ident.span().start().line;
                let mut whole = path.clone();
                if renamed.ident != "self" {
                    whole.push(renamed.ident.to_string());
                }
                end(whole, Some(renamed.rename.to_string()), line);
            }
            syn::UseTree::Glob(glob) => {
                end(path.clone(), None, glob.star_token.spans[0].start().line);
            }
        }
    }

    /// Paths in what a macro is given.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons < 2 {
                        self.flush(&mut path, line);
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                }
                other => {
                    self.flush(&mut path, line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.flush(&mut path, line);
    }

    fn flush(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        // One word alone is no path; what a macro puts behind it is not known.
        let is_word =
            matches!(path.as_slice(), [one] if ["crate", "self", "super"].contains(&one.as_str()));
        if !path.is_empty() && !is_word {
            self.imports.push(self.import(path, line));
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let is_for_tests = is_for_tests(attributes(item));
        if let syn::Item::Mod(module) = item
            && module.content.is_none()
        {
            match is_for_tests {
                true => self.test_modules.push(module.ident.to_string()),
                false => self.modules.push(module.ident.to_string()),
            }
        }
        if !is_for_tests {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.inside.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.inside.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_handed_on = !matches!(item.vis, syn::Visibility::Inherited);
        self.use_tree(&item.tree, &mut Vec::new(), is_handed_on);
    }

    /// Who may see something is no import.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter();
        let names = names.map(|segment| segment.ident.to_string()).collect();
        let line = path.segments.first();
        let line = line.map_or(0, |first| first.ident.span().start().line);
        self.imports.push(self.import(names, line));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, macro_call: &'ast syn::Macro) {
        self.tokens(macro_call.tokens.clone());
        visit::visit_macro(self, macro_call);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}
