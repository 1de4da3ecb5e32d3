//! What `wapo run` and `wapo deploy` are given: a project, a wasm file that is there already, or a program
//! in JavaScript.
//!
//! All give a module now, and a stamp that tells whether it is worth asking
//! again. Everything here blocks.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use wapod::{ByteSize, Module};

use crate::engine;
use crate::project::{BuildOptions, Project};
use crate::script::{self, Script};
use crate::settings::Settings;
use crate::terminal::Terminal;

/// What is said of a program of modules that has ended and never listened.
pub(crate) const SERVES_NOTHING: &str =
    "it listens to nothing; a program that serves has `export default { fetch(request) { … } }`";

/// Where modules come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Built from this project.
    Project(Project, BuildOptions),
    /// Read from this file.
    File(PathBuf),
    /// Run by the engine of JavaScript apps.
    Script(Script),
}

/// What a source gives.
#[derive(Debug)]
pub(crate) struct Built {
    /// Hash of the code.
    pub(crate) code_hash: String,
    /// The code; `None` when only the worker has it.
    pub(crate) module: Option<Module>,
    /// Arguments that tell the code what to run.
    args: Vec<String>,
    /// What these name.
    pub(crate) blobs: Vec<Module>,
}

impl Built {
    fn of(module: Module) -> Self {
        Self {
            code_hash: module.hash(),
            module: Some(module),
            args: Vec::new(),
            blobs: Vec::new(),
        }
    }

    /// Whether an app's arguments name a program of modules, for the engine of
    /// JavaScript.
    pub(crate) fn is_program(args: &[String]) -> bool {
        args.first().is_some_and(|first| first == script::PROGRAM)
    }

    /// All arguments of the app, its own among them.
    pub(crate) fn arguments(&self, own: &[String]) -> Vec<String> {
        let mut all = self.args.clone();
        if !all.is_empty() && !own.is_empty() {
            all.push("--".to_owned());
        }
        all.extend_from_slice(own);
        all
    }
}

impl Source {
    /// Decides what a path on the command line means.
    ///
    /// # Errors
    ///
    /// As [`Project::open`] and [`Script::find`]. A missing wasm file is found out
    /// when it is read.
    pub(crate) fn find(path: &Path, options: BuildOptions) -> Result<Self> {
        if let Some(script) = Script::find(path)? {
            return Ok(Self::Script(script));
        }
        let is_named_wasm = path
            .extension()
            .is_some_and(|extension| extension == "wasm");
        if path.is_file() || (is_named_wasm && !path.is_dir()) {
            return Ok(Self::File(path.to_owned()));
        }
        Project::open(path).map(|project| Self::Project(project, options))
    }

    /// Name for people.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Project(project, _) => project.name.clone(),
            Self::Script(script) => script.name().to_owned(),
            Self::File(path) => {
                let stem = path
                    .file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned());
                stem.unwrap_or_default()
            }
        }
    }

    /// What the project says about its deployment; nothing for a single file.
    ///
    /// # Errors
    ///
    /// An unknown name or a bad value.
    pub(crate) fn settings(&self) -> Result<Settings> {
        match self {
            Self::Project(project, _) => {
                Settings::of_project(&project.metadata, "[package.metadata.wapo] in Cargo.toml")
            }
            Self::File(_) => Ok(Settings::default()),
            Self::Script(script) => {
                Settings::of_project(&script.metadata()?, "\"wapo\" in package.json")
            }
        }
    }

    /// Builds or reads the code. A program in JavaScript may do with the engine that
    /// a worker has, by its hash, where there is none here.
    ///
    /// # Errors
    ///
    /// With a text for the author of the program.
    pub(crate) fn build(&self, terminal: &Terminal, elsewhere: Option<&str>) -> Result<Built> {
        match self {
            Self::Project(project, options) => {
                let module = Module::read(&project.build(options)?)?;
                let size = ByteSize(module.wasm().len() as u64);
                terminal.note("Built", &format!("{} ({size})", project.name));
                Ok(Built::of(module))
            }
            Self::File(path) => Ok(Built::of(Module::read(path)?)),
            Self::Script(script) => {
                // The program first: what is wrong with it is said at once.
                let program = script.program()?;
                let (module, code_hash) = match (engine::find(terminal), elsewhere) {
                    (Ok(engine), _) => (Some(engine.clone()), engine.hash()),
                    (Err(_), Some(hash)) => (None, hash.to_owned()),
                    (Err(error), None) => return Err(error),
                };
                Ok(Built {
                    code_hash,
                    module,
                    args: program.args,
                    blobs: program.blobs,
                })
            }
        }
    }

    /// A number that changes when a file changes that the module is made of.
    pub(crate) fn stamp(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let roots = match self {
            Self::Project(project, _) => vec![project.folder.clone()],
            Self::File(path) => vec![path.clone()],
            Self::Script(script) => script.watched(),
        };
        for root in roots {
            // A file that is gone while it is looked at is a change like any other.
            let _ = stamp_of(&root, &mut hasher);
        }
        hasher.finish()
    }
}

fn stamp_of(path: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    // Links are not followed, so there are no circles.
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        path.hash(hasher);
        metadata.len().hash(hasher);
        metadata.modified()?.hash(hasher);
        return Ok(());
    }
    let mut entries: Vec<_> = fs::read_dir(path)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for entry in entries.iter().filter(|entry| is_watched(entry)) {
        let _ = stamp_of(entry, hasher);
    }
    Ok(())
}

/// Whether a change of this file or folder may change the program.
fn is_watched(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    // Cargo writes its target folder and the lock file itself; npm what it fetches.
    let own = ["target", "Cargo.lock", "node_modules"];
    name.is_some_and(|name| !name.starts_with('.') && !own.contains(&name.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_seen_and_other_things_are_not() {
        let folder = tempfile::tempdir().expect("folder");
        fs::create_dir_all(folder.path().join("src")).expect("folder");
        fs::create_dir_all(folder.path().join("target/debug")).expect("folder");
        let stamp = || {
            let mut hasher = DefaultHasher::new();
            stamp_of(folder.path(), &mut hasher).expect("stamp");
            hasher.finish()
        };
        let empty = stamp();
        fs::write(folder.path().join("target/debug/x"), "x").expect("file");
        fs::write(folder.path().join(".swp"), "x").expect("file");
        assert_eq!(stamp(), empty);
        fs::write(folder.path().join("src/main.rs"), "x").expect("file");
        let one = stamp();
        assert_ne!(one, empty);
        fs::write(folder.path().join("src/main.rs"), "xy").expect("file");
        assert_ne!(stamp(), one);
    }

    #[test]
    fn a_missing_wasm_file_is_named() {
        let source = Source::find(Path::new("no/such.wasm"), BuildOptions::default());
        let source = source.expect("a file");
        assert_eq!(source.name(), "such");
        let error = source.build(&Terminal::new(), None).expect_err("missing");
        assert!(
            error.to_string().contains("cannot read no/such.wasm"),
            "{error}"
        );
    }
}
