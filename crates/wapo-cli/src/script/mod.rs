//! Programs in JavaScript and TypeScript: from a file or a folder to what the
//! engine is given.
//!
//! A program is a classic script, a module, or several modules with what they
//! import. Each file becomes a blob; types are blanked (`strip`), packages of npm
//! bundled by esbuild (`bundle`), modules of Node left to the engine (`node`). All of it happens in this command: a worker gets
//! text that the engine reads. Everything here blocks.

mod bundle;
mod collect;
mod node;
mod read;
mod strip;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use wapod::Module;

pub(crate) use self::read::is_unfinished;

/// Extensions of programs.
pub(crate) const EXTENSIONS: &[&str] = &["js", "mjs", "cjs", "ts", "mts"];
/// The engine's option for a program of modules.
pub(crate) const PROGRAM: &str = "--program";
/// Describes a folder with a program.
const PACKAGE: &str = "package.json";

/// A program that has been found and not read yet.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// Where it begins, absolute.
    entry: PathBuf,
    /// Name for people.
    name: String,
    /// The folder, if it was named by one: all of it is watched.
    folder: Option<PathBuf>,
    /// Else the files that it was read from.
    files: Arc<Mutex<Vec<PathBuf>>>,
}

/// What the engine is given.
pub(crate) struct Program {
    /// Arguments for the engine, those of the program not among them.
    pub(crate) args: Vec<String>,
    /// What the arguments name.
    pub(crate) blobs: Vec<Module>,
    /// The files behind the names in stack traces, without those of packages.
    pub(crate) sources: BTreeMap<String, PathBuf>,
}

/// What counts of a package.json.
#[derive(Debug, Default, Deserialize)]
struct Package {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    main: Option<String>,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    imports: serde_json::Map<String, serde_json::Value>,
    /// Settings for `wapo deploy`.
    #[serde(default)]
    wapo: serde_json::Value,
}

impl Script {
    /// Whether a path on the command line means a program in JavaScript.
    ///
    /// # Errors
    ///
    /// A folder whose package.json does not name what begins.
    pub(crate) fn find(path: &Path) -> Result<Option<Self>> {
        if has_extension(path) && !path.is_dir() {
            let entry = path
                .canonicalize()
                .with_context(|| format!("cannot read {}", path.display()))?;
            let stem = path.file_stem().unwrap_or_default();
            return Ok(Some(Self {
                entry,
                name: stem.to_string_lossy().into_owned(),
                folder: None,
                files: Arc::default(),
            }));
        }
        let manifest = path.join(PACKAGE);
        if !manifest.is_file() || path.join("Cargo.toml").is_file() {
            return Ok(None);
        }
        let folder = path.canonicalize()?;
        let package = Package::read(&folder.join(PACKAGE))?;
        let Some(main) = package.main else {
            bail!(
                "{} does not say where the program begins: add \"main\": \"app.js\"",
                manifest.display()
            );
        };
        let entry = folder.join(&main).canonicalize();
        let entry = entry.with_context(|| {
            format!("cannot read {main}, the \"main\" of {}", manifest.display())
        })?;
        if !has_extension(&entry) {
            bail!(
                "{main}, the \"main\" of {}, is no program in JavaScript",
                manifest.display()
            );
        }
        let own_name = folder.file_name().unwrap_or_default().to_string_lossy();
        Ok(Some(Self {
            entry,
            name: package.name.unwrap_or_else(|| own_name.into_owned()),
            folder: Some(folder),
            files: Arc::default(),
        }))
    }

    /// Name for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Settings in the package.json of a folder; null for none.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(crate) fn metadata(&self) -> Result<serde_json::Value> {
        match &self.folder {
            Some(folder) => Ok(Package::read(&folder.join(PACKAGE))?.wapo),
            None => Ok(serde_json::Value::Null),
        }
    }

    /// Files and folders whose change may change the program.
    pub(crate) fn watched(&self) -> Vec<PathBuf> {
        match &self.folder {
            Some(folder) => vec![folder.clone()],
            None => self
                .files
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    /// Reads the program.
    ///
    /// # Errors
    ///
    /// With file, line and column.
    pub(crate) fn program(&self) -> Result<Program> {
        let outcome = collect::program(&self.entry);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok((program, read)) => {
                *files = read;
                Ok(program)
            }
            Err(error) => {
                // What is watched until it is right: that, and what it was before.
                files.push(self.entry.clone());
                files.sort();
                files.dedup();
                Err(error)
            }
        }
    }
}

impl Program {
    /// No program: the engine alone.
    pub(crate) fn none() -> Self {
        Self {
            args: Vec::new(),
            blobs: Vec::new(),
            sources: BTreeMap::new(),
        }
    }

    /// A program of one text.
    fn single(option: &str, text: String) -> Self {
        let blob = Module::new(text.into_bytes());
        Self {
            args: vec![option.to_owned(), blob.hash()],
            blobs: vec![blob],
            sources: BTreeMap::new(),
        }
    }
}

impl Package {
    fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// The nearest one above a file, and its folder.
    fn above(file: &Path) -> Result<Option<(PathBuf, Self)>> {
        for folder in file.ancestors().skip(1) {
            let manifest = folder.join(PACKAGE);
            if manifest.is_file() {
                return Ok(Some((folder.to_owned(), Self::read(&manifest)?)));
            }
        }
        Ok(None)
    }
}

fn has_extension(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension))
}
