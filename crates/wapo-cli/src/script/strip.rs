//! Takes the types out of TypeScript: each becomes blanks, so that lines and
//! columns of what is left stay what they are.
//!
//! What is more than a type (enums, namespaces, parameter properties, decorators)
//! is refused by name. The same rules as Node's own type stripping.

use std::collections::{HashMap, HashSet};

use oxc_ast::ast::{
    ArrowFunctionExpression, Class, Declaration, Decorator, ExportAllDeclaration,
    ExportDeclaration, ExportDefaultDeclaration, ExportDefaultDeclarationKind,
    ExportFromDeclaration, ExportNamedDeclaration, ExportSpecifier, FormalParameter, Function,
    ImportDeclaration, ImportSpecifier, MethodDefinition, MethodDefinitionType, Program,
    PropertyDefinition, PropertyDefinitionType, Statement, TSAsExpression, TSEnumDeclaration,
    TSExportAssignment, TSExternalModuleDeclaration, TSGlobalDeclaration,
    TSImportEqualsDeclaration, TSIndexSignature, TSInterfaceDeclaration, TSNamespaceDeclaration,
    TSNamespaceExportDeclaration, TSNonNullExpression, TSSatisfiesExpression, TSThisParameter,
    TSTypeAliasDeclaration, TSTypeAnnotation, TSTypeAssertion, TSTypeParameterDeclaration,
    TSTypeParameterInstantiation, VariableDeclaration, VariableDeclarator,
};
use oxc_ast_visit::{Visit, walk};
use oxc_span::{GetSpan as _, Span};
use oxc_syntax::scope::ScopeFlags;

/// The text without its types.
///
/// # Errors
///
/// Something that is more than a type, with its place.
pub(super) fn strip(text: &str, program: &Program<'_>) -> Result<String, (String, Span)> {
    let mut stripper = Stripper {
        text,
        blanks: Vec::new(),
        semicolons: HashSet::new(),
        tails: HashMap::new(),
        refused: None,
    };
    stripper.visit_program(program);
    match stripper.refused {
        Some(refused) => Err(refused),
        None => Ok(stripper.result()),
    }
}

struct Stripper<'t> {
    text: &'t str,
    blanks: Vec<Span>,
    /// Places in blanks that become semicolons, so that the next line does not
    /// go on with this statement.
    semicolons: HashSet<u32>,
    /// Where the first blank begins of those that end at a place.
    tails: HashMap<u32, u32>,
    refused: Option<(String, Span)>,
}

/// Words before the name of a member of a class that say something of types.
const MODIFIERS: &[&str] = &[
    "public",
    "private",
    "protected",
    "readonly",
    "override",
    "abstract",
    "declare",
];

impl Stripper<'_> {
    fn blank(&mut self, start: u32, end: u32) {
        if start < end {
            self.blanks.push(Span::new(start, end));
            let first = self.tails.entry(end).or_insert(start);
            *first = start.min(*first);
        }
    }

    /// Blanks a whole statement or member.
    fn blank_all(&mut self, span: Span) {
        self.blank(span.start, span.end);
        self.semicolons.insert(span.start);
    }

    fn refuse(&mut self, what: &str, span: Span) {
        let text =
            format!("{what} cannot be taken out as a type: it makes code; write it in JavaScript");
        self.refused.get_or_insert((text, span));
    }

    /// The place of the next character that is neither blank nor comment.
    fn next(&self, from: u32) -> u32 {
        let mut at = from as usize;
        loop {
            let rest = &self.text[at..];
            let trimmed = rest.trim_start();
            at += rest.len() - trimmed.len();
            let skipped = if trimmed.starts_with("//") {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map_or(trimmed.len(), |end| end + 2)
            } else {
                return u32::try_from(at).unwrap_or(u32::MAX);
            };
            at += skipped;
        }
    }

    fn at(&self, place: u32) -> &str {
        &self.text[place as usize..]
    }

    /// Blanks a mark such as `?` or `!` if it comes next.
    fn blank_mark(&mut self, from: u32, mark: char) {
        let place = self.next(from);
        if self.at(place).starts_with(mark) {
            self.blank(place, place + 1);
        }
    }

    /// Blanks words between two places that are modifiers of types; says where the
    /// first of them is.
    fn blank_words(&mut self, from: u32, to: u32) -> Option<u32> {
        let mut first = None;
        let mut place = self.next(from);
        while place < to {
            let rest = self.at(place);
            let length = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$')
                .unwrap_or(rest.len());
            let word = &rest[..length];
            let end = place + u32::try_from(length).unwrap_or_default();
            if MODIFIERS.contains(&word) {
                first = first.or(Some(place));
                self.blank(place, end);
            }
            place = self.next(end.max(place + 1));
        }
        first
    }

    /// Blanks an element of a list and the comma after it.
    fn blank_element(&mut self, span: Span) {
        let next = self.next(span.end);
        let end = if self.at(next).starts_with(',') {
            next + 1
        } else {
            span.end
        };
        self.blank(span.start, end);
    }

    /// Where the key of a member ends, with its brackets.
    fn after_key(&self, is_computed: bool, key: Span) -> u32 {
        match is_computed {
            true => self.next(key.end) + 1,
            false => key.end,
        }
    }

    fn result(mut self) -> String {
        self.blanks.sort_by_key(|span| span.start);
        let mut bytes = String::with_capacity(self.text.len());
        let mut at = 0;
        for span in &self.blanks {
            let (start, end) = (span.start as usize, span.end as usize);
            if end <= at {
                continue;
            }
            let start = start.max(at);
            bytes.push_str(&self.text[at..start]);
            for (offset, c) in self.text[start..end].char_indices() {
                let place = u32::try_from(start + offset).unwrap_or(u32::MAX);
                bytes.push(match c {
                    _ if self.semicolons.contains(&place) => ';',
                    '\n' | '\r' | '\u{2028}' | '\u{2029}' => c,
                    _ => ' ',
                });
            }
            at = end;
        }
        bytes.push_str(&self.text[at..]);
        bytes
    }

    /// Ends a statement by a semicolon where a blanked tail would let the next line
    /// go on with it.
    fn end_statement(&mut self, span: Span) {
        let Some(&start) = self.tails.get(&span.end) else {
            return;
        };
        let next = self.next(span.end);
        if self
            .at(next)
            .starts_with(['(', '[', '`', '+', '-', '*', '/', ',', '.', '<'])
        {
            self.semicolons.insert(start);
        }
    }
}

impl<'a> Visit<'a> for Stripper<'_> {
    fn visit_statement(&mut self, it: &Statement<'a>) {
        walk::walk_statement(self, it);
        if matches!(
            it,
            Statement::ExpressionStatement(_)
                | Statement::VariableDeclaration(_)
                | Statement::ReturnStatement(_)
                | Statement::ThrowStatement(_)
        ) {
            self.end_statement(it.span());
        }
    }

    fn visit_ts_type_annotation(&mut self, it: &TSTypeAnnotation<'a>) {
        self.blank(it.span.start, it.span.end);
    }

    fn visit_ts_type_parameter_declaration(&mut self, it: &TSTypeParameterDeclaration<'a>) {
        self.blank(it.span.start, it.span.end);
    }

    fn visit_ts_type_parameter_instantiation(&mut self, it: &TSTypeParameterInstantiation<'a>) {
        self.blank(it.span.start, it.span.end);
    }

    fn visit_ts_interface_declaration(&mut self, it: &TSInterfaceDeclaration<'a>) {
        self.blank_all(it.span);
    }

    fn visit_ts_type_alias_declaration(&mut self, it: &TSTypeAliasDeclaration<'a>) {
        self.blank_all(it.span);
    }

    fn visit_ts_global_declaration(&mut self, it: &TSGlobalDeclaration<'a>) {
        self.blank_all(it.span);
    }

    fn visit_ts_external_module_declaration(&mut self, it: &TSExternalModuleDeclaration<'a>) {
        self.blank_all(it.span);
    }

    fn visit_ts_namespace_declaration(&mut self, it: &TSNamespaceDeclaration<'a>) {
        match it.declare {
            true => self.blank_all(it.span),
            false => self.refuse("a namespace", it.span),
        }
    }

    fn visit_ts_enum_declaration(&mut self, it: &TSEnumDeclaration<'a>) {
        match it.declare {
            true => self.blank_all(it.span),
            false => self.refuse("an enum", it.span),
        }
    }

    fn visit_ts_import_equals_declaration(&mut self, it: &TSImportEqualsDeclaration<'a>) {
        match it.import_kind.is_type() {
            true => self.blank_all(it.span),
            false => self.refuse("`import … =`", it.span),
        }
    }

    fn visit_ts_export_assignment(&mut self, it: &TSExportAssignment<'a>) {
        self.refuse("`export =`", it.span);
    }

    fn visit_ts_namespace_export_declaration(&mut self, it: &TSNamespaceExportDeclaration<'a>) {
        self.blank_all(it.span);
    }

    fn visit_decorator(&mut self, it: &Decorator<'a>) {
        self.refuse("a decorator", it.span);
    }

    fn visit_ts_as_expression(&mut self, it: &TSAsExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_satisfies_expression(&mut self, it: &TSSatisfiesExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_non_null_expression(&mut self, it: &TSNonNullExpression<'a>) {
        self.visit_expression(&it.expression);
        self.blank(it.expression.span().end, it.span.end);
    }

    fn visit_ts_type_assertion(&mut self, it: &TSTypeAssertion<'a>) {
        self.blank(it.span.start, it.expression.span().start);
        self.visit_expression(&it.expression);
    }

    fn visit_import_declaration(&mut self, it: &ImportDeclaration<'a>) {
        match it.import_kind.is_type() {
            true => self.blank_all(it.span),
            false => walk::walk_import_declaration(self, it),
        }
    }

    fn visit_import_specifier(&mut self, it: &ImportSpecifier<'a>) {
        if it.import_kind.is_type() {
            self.blank_element(it.span);
        }
    }

    fn visit_export_specifier(&mut self, it: &ExportSpecifier<'a>) {
        if it.export_kind.is_type() {
            self.blank_element(it.span);
        }
    }

    fn visit_export_all_declaration(&mut self, it: &ExportAllDeclaration<'a>) {
        if it.export_kind.is_type() {
            self.blank_all(it.span);
        }
    }

    fn visit_export_from_declaration(&mut self, it: &ExportFromDeclaration<'a>) {
        match it.export_kind.is_type() {
            true => self.blank_all(it.span),
            false => walk::walk_export_from_declaration(self, it),
        }
    }

    fn visit_export_named_declaration(&mut self, it: &ExportNamedDeclaration<'a>) {
        match it.export_kind.is_type() {
            true => self.blank_all(it.span),
            false => walk::walk_export_named_declaration(self, it),
        }
    }

    fn visit_export_declaration(&mut self, it: &ExportDeclaration<'a>) {
        match is_type_only(&it.declaration) {
            true => self.blank_all(it.span),
            false => walk::walk_export_declaration(self, it),
        }
        if matches!(it.declaration, Declaration::VariableDeclaration(_)) {
            self.end_statement(it.span);
        }
    }

    fn visit_export_default_declaration(&mut self, it: &ExportDefaultDeclaration<'a>) {
        let is_type = match &it.declaration {
            ExportDefaultDeclarationKind::TSInterfaceDeclaration(_) => true,
            ExportDefaultDeclarationKind::FunctionDeclaration(function) => function.body.is_none(),
            _ => false,
        };
        match is_type {
            true => self.blank_all(it.span),
            false => walk::walk_export_default_declaration(self, it),
        }
        self.end_statement(it.span);
    }

    fn visit_variable_declaration(&mut self, it: &VariableDeclaration<'a>) {
        match it.declare {
            true => self.blank_all(it.span),
            false => walk::walk_variable_declaration(self, it),
        }
    }

    fn visit_variable_declarator(&mut self, it: &VariableDeclarator<'a>) {
        if it.definite {
            self.blank_mark(it.id.span().end, '!');
        }
        walk::walk_variable_declarator(self, it);
    }

    fn visit_formal_parameter(&mut self, it: &FormalParameter<'a>) {
        if it.accessibility.is_some() || it.readonly || it.r#override {
            self.refuse("a property among parameters", it.span);
        }
        if it.optional {
            self.blank_mark(it.pattern.span().end, '?');
        }
        walk::walk_formal_parameter(self, it);
    }

    fn visit_ts_this_parameter(&mut self, it: &TSThisParameter<'a>) {
        self.blank_element(it.span);
    }

    fn visit_function(&mut self, it: &Function<'a>, flags: ScopeFlags) {
        match it.declare || it.body.is_none() {
            true => self.blank_all(it.span),
            false => walk::walk_function(self, it, flags),
        }
    }

    fn visit_arrow_function_expression(&mut self, it: &ArrowFunctionExpression<'a>) {
        if let Some(returns) = &it.return_type {
            let place = self.next(returns.span.end);
            let between = &self.text[it.params.span.end as usize..place as usize];
            if between.contains('\n') {
                let text = "the type that an arrow function returns must be on the line of `=>`";
                self.refused
                    .get_or_insert_with(|| (text.to_owned(), returns.span));
            }
        }
        walk::walk_arrow_function_expression(self, it);
    }

    fn visit_class(&mut self, it: &Class<'a>) {
        if it.declare {
            self.blank_all(it.span);
            return;
        }
        if it.r#abstract {
            self.blank_words(it.span.start, it.span.start + 1);
        }
        if let (Some(first), Some(last)) = (it.implements.first(), it.implements.last()) {
            let head = &self.text[..first.span.start as usize];
            if let Some(start) = head.rfind("implements") {
                let start = u32::try_from(start).unwrap_or(u32::MAX);
                self.blank(start, last.span.end);
            }
        }
        walk::walk_class(self, it);
    }

    fn visit_ts_index_signature(&mut self, it: &TSIndexSignature<'a>) {
        self.blank_all(it.span);
    }

    fn visit_method_definition(&mut self, it: &MethodDefinition<'a>) {
        let is_abstract = it.r#type == MethodDefinitionType::TSAbstractMethodDefinition;
        if is_abstract || it.value.body.is_none() {
            self.blank_all(it.span);
            return;
        }
        let first = self.blank_words(it.span.start, it.key.span().start);
        if let Some(first) = first
            && (it.computed || it.value.generator)
        {
            self.semicolons.insert(first);
        }
        if it.optional {
            self.blank_mark(self.after_key(it.computed, it.key.span()), '?');
        }
        walk::walk_method_definition(self, it);
    }

    fn visit_property_definition(&mut self, it: &PropertyDefinition<'a>) {
        let is_abstract = it.r#type == PropertyDefinitionType::TSAbstractPropertyDefinition;
        if is_abstract || it.declare {
            self.blank_all(it.span);
            return;
        }
        let first = self.blank_words(it.span.start, it.key.span().start);
        if let (Some(first), true) = (first, it.computed) {
            self.semicolons.insert(first);
        }
        let after_key = self.after_key(it.computed, it.key.span());
        if it.optional {
            self.blank_mark(after_key, '?');
        }
        if it.definite {
            self.blank_mark(after_key, '!');
        }
        walk::walk_property_definition(self, it);
        self.end_statement(it.span);
    }
}

/// Whether nothing of a declaration is there at run time.
fn is_type_only(declaration: &Declaration<'_>) -> bool {
    match declaration {
        Declaration::TSTypeAliasDeclaration(_)
        | Declaration::TSInterfaceDeclaration(_)
        | Declaration::TSGlobalDeclaration(_)
        | Declaration::TSExternalModuleDeclaration(_) => true,
        Declaration::TSNamespaceDeclaration(it) => it.declare,
        Declaration::TSEnumDeclaration(it) => it.declare,
        Declaration::VariableDeclaration(it) => it.declare,
        Declaration::ClassDeclaration(it) => it.declare,
        Declaration::FunctionDeclaration(it) => it.declare || it.body.is_none(),
        Declaration::TSImportEqualsDeclaration(it) => it.import_kind.is_type(),
    }
}

#[cfg(test)]
mod tests;
