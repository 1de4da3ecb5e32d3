//! `wapo new`: makes a project.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::templates::Template;
use crate::terminal::Terminal;
use crate::{folders, sdk};

/// Command line of `wapo new`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Name of the project; a folder of that name is made.
    name: PathBuf,

    /// What the project does.
    #[arg(long, value_enum, default_value_t = Template::Http)]
    template: Template,
}

/// Makes the project.
///
/// # Errors
///
/// A bad name, a folder that is in use, or a disk that cannot be written.
pub(crate) fn run(options: &Options, terminal: &Terminal) -> Result<ExitCode> {
    let folder = &options.name;
    let name = package_name(folder)?;
    let is_used = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if is_used || folder.is_file() {
        bail!("{} exists already; choose another name", folder.display());
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if options.template.is_script() {
        write_all(folder, options.template.files(&name, ""))?;
        let shown = folder.display();
        terminal.note("Made", &format!("{shown}/ with a program and package.json"));
        terminal.hint(&format!("next: wapo run {shown} --watch"));
        return Ok(ExitCode::SUCCESS);
    }
    let folder_absolute = folder.canonicalize()?;
    let wapo = match sdk::in_checkout(&folder_absolute) {
        Some(wapo) => relative(&folder_absolute, &wapo),
        None => sdk::unpack(&folders::cache()?)?,
    };
    let Some(wapo) = wapo.to_str() else {
        bail!(
            "{} is not a path that a Cargo.toml can hold",
            wapo.display()
        );
    };
    let lock = ("Cargo.lock", sdk::LOCK.to_owned());
    let mut files = options.template.files(&name, wapo);
    files.push(lock);
    write_all(folder, files)?;
    let shown = folder.display();
    terminal.note("Made", &format!("{shown}/ with src/main.rs and Cargo.toml"));
    terminal.hint(&format!("next: wapo run {shown} --watch"));
    Ok(ExitCode::SUCCESS)
}

fn write_all(folder: &Path, files: Vec<(&'static str, String)>) -> Result<()> {
    for (path, content) in files {
        let path = folder.join(path);
        let write = || {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&path, content)
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The last part of a path, when cargo takes it as the name of a package.
fn package_name(folder: &Path) -> Result<String> {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let is_valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !is_valid {
        bail!("`{name}` is not a name: use letters, digits, `-` and `_`, a letter first");
    }
    if matches!(
        name,
        "wapo" | "log" | "futures-util" | "test" | "std" | "core"
    ) {
        bail!("`{name}` would be mistaken for another crate; choose another name");
    }
    Ok(name.to_owned())
}

/// The way from one folder to another, both absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from
        .components()
        .zip(to.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = from.components().skip(shared).map(|_| "..");
    let down = to.components().skip(shared);
    up.collect::<PathBuf>().join(down.collect::<PathBuf>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_cargo_takes() {
        for (path, name) in [("hello", "hello"), ("a/b-1", "b-1"), ("./x_y/", "x_y")] {
            assert_eq!(package_name(Path::new(path)).expect(path), name);
        }
        for path in ["", "..", "1a", "a b", "a.b", "-x", "wapo", "ü"] {
            assert!(package_name(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn paths_are_relative_inside_a_checkout() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to));
        assert_eq!(
            way("/c/hello", "/c/crates/wapo"),
            Path::new("../crates/wapo")
        );
        assert_eq!(
            way("/c/a/b", "/c/crates/wapo"),
            Path::new("../../crates/wapo")
        );
    }

    #[test]
    fn a_folder_in_use_is_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let name = folder.path().join("mine");
        fs::create_dir(&name).expect("folder");
        fs::write(name.join("precious"), "x").expect("file");
        let options = Options {
            name: name.clone(),
            template: Template::Http,
        };
        let error = run(&options, &Terminal::new()).expect_err("in use");
        assert!(error.to_string().contains("exists already"), "{error}");
        assert_eq!(fs::read_dir(&name).expect("folder").count(), 1);
    }
}
