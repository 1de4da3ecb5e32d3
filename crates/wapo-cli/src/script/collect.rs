//! Collects the files of a program, by following what they import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use wapod::Module;

use super::read::{File, read};
use super::{Package, Program, bundle, has_extension};

/// The form of the list of files, as the engine reads it.
const VERSION: u32 = 1;
/// Files of one program. It is a limit for mistakes, such as an import that leads
/// out of the project; the engine could take more.
const FILES_MAX: usize = 5_000;
/// What names of the engine's own modules begin with.
const BUILT_IN: &[&str] = &["node:", "wapo:"];

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
    let read = std::mem::take(&mut graph.read).into_iter().collect();
    if let Some((importer, name)) = &graph.package {
        let text = bundle::bundle(entry, importer, name)?;
        return Ok((Program::single("--module", text), read));
    }
    Ok((graph.into_program(entry)?, read))
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
            let file = real(&path, importer.as_deref())?;
            graph.read.insert(file.clone());
            if !has_extension(&file) {
                let data = std::fs::read(&file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                graph.files.insert(path, Text::Data(data));
                continue;
            }
            let is_module = importer.is_some() || says_module;
            let code = read(&file, is_module)?;
            for import in &code.imports {
                let next = graph.resolve(&path, &import.name, package.as_ref())?;
                let is_wanted = |next: &PathBuf| import.is_needed || real(next, None).is_ok();
                if let Some(next) = next.filter(is_wanted) {
                    waiting.push((next, Some(file.clone())));
                }
            }
            graph.files.insert(path, Text::Code(code));
        }
        Ok(graph)
    }

    /// The path that a name stands for in a file; `None` for what is no file of the
    /// program.
    fn resolve(
        &mut self,
        base: &Path,
        name: &str,
        package: Option<&(PathBuf, Package)>,
    ) -> Result<Option<PathBuf>> {
        if BUILT_IN.iter().any(|begin| name.starts_with(begin)) {
            return Ok(None);
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
                "{} imports {name:?}, which \"imports\" of package.json does not map to a file",
                base.display()
            );
        };
        self.imports.insert(name.to_owned(), path.clone());
        Ok(Some(path))
    }

    fn into_program(self, entry: &Path) -> Result<Program> {
        // A script of the old kind. Modules are named in stack traces, so they are listed.
        if let Some(Text::Code(code)) = self.files.get(entry)
            && self.files.len() == 1
            && !code.is_module
        {
            return Ok(Program::single("--code-hash", code.text.clone()));
        }
        let root = root(self.files.keys());
        let name = |path: &Path| -> Result<String> {
            let parts = path.strip_prefix(&root)?.iter().map(|part| part.to_str());
            let parts: Option<Vec<&str>> = parts.collect();
            let parts = parts.with_context(|| format!("{} is not UTF-8", path.display()))?;
            Ok(parts.join("/"))
        };
        let mut blobs = Vec::new();
        let mut files = serde_json::Map::new();
        for (path, text) in self.files {
            let content = match text {
                Text::Code(code) => code.text.into_bytes(),
                Text::Data(data) => data,
            };
            let blob = Module::new(content);
            files.insert(name(&path)?, blob.hash().into());
            blobs.push(blob);
        }
        let mut imports = serde_json::Map::new();
        for (from, path) in &self.imports {
            imports.insert(from.clone(), format!("./{}", name(path)?).into());
        }
        let list = json!({
            "version": VERSION,
            "entry": name(entry)?,
            "files": files,
            "imports": imports,
        });
        let mut program = Program::single("--program", list.to_string());
        program.blobs.extend(blobs);
        Ok(program)
    }
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
            "there is no {}{by}; names have their extension: {}",
            path.display(),
            name.display()
        ),
        None => bail!("there is no {}{by}", path.display()),
    }
}

/// Joins a relative name to a folder, without `.` and `..`.
fn joined(folder: &Path, name: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for part in Path::new(name).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(part) => path.push(part),
            _ => {}
        }
    }
    path
}
