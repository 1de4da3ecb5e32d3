//! Collects the files of a program, by following what they import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use wapod::Module;

use super::bundle::{Bundle, bundle, joined};
use super::read::{File, read};
use super::{PROGRAM, Package, Program, has_extension, node};

/// The form of the list of files, as the engine reads it.
const VERSION: u32 = 1;
/// Files of one program. It is a limit for mistakes, such as an import that leads
/// out of the project; the engine could take more.
const FILES_MAX: usize = 5_000;
/// What the engine calls a classic script in stack traces.
const SCRIPT: &str = "<script>";
/// What names of the engine's own modules begin with.
const BUILT_IN: &str = "wapo:";
/// What names of Node's modules may begin with; others are packages.
const NODE: &str = "node:";

/// A program while it is read.
#[derive(Default)]
struct Graph {
    /// Texts by path: the path that importers name, which TypeScript spells with
    /// another extension than the file has.
    files: BTreeMap<PathBuf, Text>,
    /// The files that were read, by their real names.
    read: BTreeSet<PathBuf>,
    /// What names that begin with `#` stand for.
    imports: BTreeMap<String, PathBuf>,
    /// The first import of a package.
    package: Option<(PathBuf, String)>,
    /// The first mistake. It is none when the program is bundled: esbuild takes more,
    /// such as names without extensions.
    wrong: Option<anyhow::Error>,
}

enum Text {
    Code(File),
    Data(Vec<u8>),
}

/// The program that begins with a file, and the files that it is made of.
///
/// # Errors
///
/// A file that is not there or is wrong, or a package without what bundles it.
pub(super) fn program(entry: &Path) -> Result<(Program, Vec<PathBuf>)> {
    let mut graph = Graph::of(entry)?;
    if let Some((importer, name)) = &graph.package {
        let bundle = bundle(entry, importer, name)?;
        graph.read.extend(bundle.files.values().cloned());
        return Ok((bundled(bundle), graph.read.into_iter().collect()));
    }
    if let Some(error) = graph.wrong.take() {
        return Err(error);
    }
    graph.check_types()?;
    let read = std::mem::take(&mut graph.read).into_iter().collect();
    Ok((graph.into_program(entry)?, read))
}

/// The program that a bundle is. With a map it is told to be one: the engine then
/// tells places in the files that it was made of.
fn bundled(bundle: Bundle) -> Program {
    let code = Module::new(bundle.text.into_bytes());
    let map = bundle.map.map(|map| Module::new(map.into_bytes()));
    let list = json!({
        "version": VERSION,
        "entry": bundle.name,
        "files": { (&bundle.name): code.hash() },
        "map": map.as_ref().map(Module::hash),
    });
    let mut program = Program::single(PROGRAM, list.to_string());
    program.blobs.push(code);
    program.blobs.extend(map);
    program.sources = bundle.files;
    program
}

impl Graph {
    fn of(entry: &Path) -> Result<Self> {
        let mut graph = Self::default();
        let package = Package::above(entry)?;
        let says_module = package
            .as_ref()
            .is_some_and(|(_, package)| package.r#type.as_deref() == Some("module"));
        let mut waiting = vec![(entry.to_owned(), None)];
        while let Some((path, importer)) = waiting.pop() {
            if graph.files.contains_key(&path) {
                continue;
            }
            if graph.files.len() >= FILES_MAX {
                bail!("the program has more than {FILES_MAX} files");
            }
            let is_module = importer.is_some() || says_module;
            match graph.visit(&path, importer.as_deref(), is_module, package.as_ref()) {
                Ok(next) => waiting.extend(next),
                Err(error) => drop(graph.wrong.get_or_insert(error)),
            }
        }
        Ok(graph)
    }

    /// Reads one file; gives the files that it imports, each with the importer.
    fn visit(
        &mut self,
        path: &Path,
        importer: Option<&Path>,
        is_module: bool,
        package: Option<&(PathBuf, Package)>,
    ) -> Result<Vec<(PathBuf, Option<PathBuf>)>> {
        let file = real(path, importer)?;
        self.read.insert(file.clone());
        if !has_extension(&file) {
            let data =
                std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            self.files.insert(path.to_owned(), Text::Data(data));
            return Ok(Vec::new());
        }
        let is_old = file.extension().is_some_and(|extension| extension == "cjs");
        if let Some(importer) = importer.filter(|_| is_old) {
            bail!(
                "{} imports {}: a program imports modules, and this is one of CommonJS",
                importer.display(),
                file.display()
            );
        }
        let code = read(&file, is_module)?;
        let mut found = Vec::new();
        for import in &code.imports {
            let next = self.resolve(path, &import.name, package)?;
            let is_wanted = |next: &PathBuf| import.is_needed || real(next, None).is_ok();
            if let Some(next) = next.filter(is_wanted) {
                if let Some(place) = import.bare.as_ref().filter(|_| is_data(&next)) {
                    let kind = match next.extension().is_some_and(|kind| kind == "json") {
                        true => "json",
                        false => "text",
                    };
                    bail!(
                        "{place}: {:?} is data: import it `with {{ type: {kind:?} }}`",
                        import.name
                    );
                }
                found.push((next, Some(file.clone())));
            }
        }
        self.files.insert(path.to_owned(), Text::Code(code));
        Ok(found)
    }

    /// The path that a name stands for in a file; `None` for what is no file of the
    /// program.
    fn resolve(
        &mut self,
        base: &Path,
        name: &str,
        package: Option<&(PathBuf, Package)>,
    ) -> Result<Option<PathBuf>> {
        if name.starts_with(BUILT_IN) || node::has(name) {
            return Ok(None);
        }
        if name.starts_with(NODE) {
            bail!("{} imports {name:?}: {}", base.display(), node::lacks(name));
        }
        let folder = base.parent().unwrap_or(base);
        if name.starts_with("./") || name.starts_with("../") {
            return Ok(Some(joined(folder, name)));
        }
        if name.starts_with('/') || name.contains("://") {
            bail!(
                "{} imports {name:?}: expected a path that begins with ./ or ../, or a package",
                base.display()
            );
        }
        if !name.starts_with('#') {
            let first = || (base.to_owned(), name.to_owned());
            self.package.get_or_insert_with(first);
            return Ok(None);
        }
        let mapped = package.and_then(|(folder, package)| {
            let target = package.imports.get(name)?.as_str()?;
            Some(joined(folder, target))
        });
        let Some(path) = mapped else {
            bail!(
                "{} imports {name:?}, which \"imports\" of package.json does not map to a file; \
                 each name is listed as it is, patterns with * are not supported",
                base.display()
            );
        };
        self.imports.insert(name.to_owned(), path.clone());
        Ok(Some(path))
    }

    /// Looks for types that are imported as if they were values.
    ///
    /// # Errors
    ///
    /// There is one: nothing has its name when the program runs.
    fn check_types(&self) -> Result<()> {
        for (path, text) in &self.files {
            let Text::Code(code) = text else { continue };
            for member in &code.members {
                let other = match self.imports.get(&member.of) {
                    Some(path) => path.clone(),
                    None => joined(path.parent().unwrap_or(path), &member.of),
                };
                if let Some(Text::Code(other)) = self.files.get(&other)
                    && other.types.contains(&member.name)
                {
                    let name = &member.name;
                    bail!(
                        "{}: {name} is a type: write `import type {{ {name} }}`",
                        member.place
                    );
                }
            }
        }
        Ok(())
    }

    fn into_program(self, entry: &Path) -> Result<Program> {
        // A script of the old kind. Modules are named in stack traces, so they are listed.
        let mut files = self.files;
        let is_script = |text: &Text| matches!(text, Text::Code(code) if !code.is_module);
        if files.len() == 1
            && files.get(entry).is_some_and(is_script)
            && let Some(Text::Code(code)) = files.remove(entry)
        {
            let mut program = Program::single("--code-hash", code.text?);
            program.sources.insert(SCRIPT.to_owned(), entry.to_owned());
            return Ok(program);
        }
        let root = root(files.keys());
        let name = |path: &Path| -> Result<String> {
            let parts = path.strip_prefix(&root)?.iter().map(|part| part.to_str());
            let parts: Option<Vec<&str>> = parts.collect();
            let parts = parts.with_context(|| format!("{} is not UTF-8", path.display()))?;
            Ok(parts.join("/"))
        };
        let mut blobs = Vec::new();
        let mut hashes = serde_json::Map::new();
        let mut sources = BTreeMap::new();
        for (path, text) in files {
            sources.insert(name(&path)?, real(&path, None)?);
            let content = match text {
                Text::Code(code) => code.text?.into_bytes(),
                Text::Data(data) => data,
            };
            let blob = Module::new(content);
            hashes.insert(name(&path)?, blob.hash().into());
            blobs.push(blob);
        }
        let mut imports = serde_json::Map::new();
        for (from, path) in &self.imports {
            imports.insert(from.clone(), format!("./{}", name(path)?).into());
        }
        let list = json!({
            "version": VERSION,
            "entry": name(entry)?,
            "files": hashes,
            "imports": imports,
        });
        let mut program = Program::single(PROGRAM, list.to_string());
        program.blobs.extend(blobs);
        program.sources = sources;
        Ok(program)
    }
}

/// Whether a file is no code by its name.
fn is_data(path: &Path) -> bool {
    path.extension().is_some() && !has_extension(path)
}

/// The deepest folder that all files are in.
fn root<'a>(mut files: impl Iterator<Item = &'a PathBuf>) -> PathBuf {
    let first = files.next().and_then(|file| file.parent());
    let mut root = first.unwrap_or_else(|| Path::new("/")).to_owned();
    for file in files {
        while !file.starts_with(&root) && root.pop() {}
    }
    root
}

/// The file at a path; where TypeScript writes `.js`, a `.ts` file may be there.
fn real(path: &Path, importer: Option<&Path>) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let extension = path.extension().and_then(|extension| extension.to_str());
    let other = match extension {
        Some("js") => Some("ts"),
        Some("mjs") => Some("mts"),
        _ => None,
    };
    let other = other.map(|other| path.with_extension(other));
    if let Some(other) = other.filter(|other| other.is_file()) {
        return Ok(other);
    }
    let by = importer.map_or(String::new(), |importer| {
        format!(", imported by {}", importer.display())
    });
    let with_extension = super::EXTENSIONS
        .iter()
        .map(|extension| path.with_added_extension(extension))
        .find(|path| path.is_file());
    match with_extension.as_ref().and_then(|path| path.file_name()) {
        Some(name) => bail!(
            "there is no {}{by}; names have their extension: {}\n\
             (where a program imports a package, esbuild takes names without)",
            path.display(),
            name.display()
        ),
        None => bail!("there is no {}{by}", path.display()),
    }
}
