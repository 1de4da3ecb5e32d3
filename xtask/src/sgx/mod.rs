//! Packages the daemon for an SGX enclave under Gramine: `cargo xtask dist --sgx`.
//!
//! Fills a folder that `./gramine-sgx wapod` runs in: program, libraries, Gramine's own
//! files, manifest, signature, launchers. Gramine need not be there: what needs it is
//! left out then, with a word; `--dry-run` also does without a build. What each part is
//! for and the steps on a real machine: docs/sgx.md.

mod check;
mod files;
mod keys;
mod manifest;
mod options;
mod rules;
mod sigstruct;

// The daemon keeps to these numbers; it is too much to compile for a task runner.
#[path = "../../../crates/wapod/src/limits/enclave.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "some of them are the daemon's business only"
)]
mod enclave;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::reproducible::{self, copy};
use crate::{process, toolchain};
use files::Gramine;
use manifest::{Mode, RUNTIME, SEAL_DIR, STORAGE_DIR, Trusted};
use options::{KEY_POLICIES, Options, policy_name};
use sigstruct::Sigstruct;

pub(crate) use check::{life, run as check};
pub(crate) use options::USAGE;

/// Names of the launcher in the folder: it looks at its own.
const LAUNCHERS: [&str; 2] = ["gramine-sgx", "gramine-direct"];
/// Gramine's tool that measures and signs.
const SIGN: &str = "gramine-sgx-sign";

/// Packages as the command line says.
///
/// # Errors
///
/// The command line, the build, a file or Gramine's tool.
pub(crate) fn dist(arguments: &[&str]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let made = package(&options)?;
    println!("{}", made.folder.display());
    println!("{}", made.signature);
    Ok(())
}

/// Prints what a signature file says.
///
/// # Errors
///
/// It is none.
pub(crate) fn print_sigstruct(path: &str) -> Result<()> {
    let bytes = fs::read(path).with_context(|| path.to_owned())?;
    println!("{}", Sigstruct::parse(&bytes)?);
    Ok(())
}

/// What was packaged.
struct Packaged {
    folder: PathBuf,
    /// The program that was put in, if there is one.
    program: Option<PathBuf>,
    has_gramine: bool,
    /// What there is to say about the signature.
    signature: String,
}

fn package(options: &Options) -> Result<Packaged> {
    let folder = options.output.clone();
    prepare(&folder)?;
    let program = program(options)?;
    let inside = program.as_ref().map(|_| folder.join("wapod"));
    if let (Some(from), Some(to)) = (&program, &inside) {
        copy(from, to)?;
    }
    let runtime = folder.join(RUNTIME);
    let gramine = Gramine::find();
    match &gramine {
        Some(gramine) => gramine.copy_to(&runtime)?,
        None => println!(
            "Gramine is not on the path: its loader is not in the folder, the C library is this machine's"
        ),
    }
    let own = std::env::current_exe()?;
    let libraries = runtime.join("lib");
    files::copy_libraries(
        gramine.as_ref(),
        program.as_ref().unwrap_or(&own),
        &libraries,
    )?;
    if let Some(program) = &inside {
        files::check_program(program, &libraries, !options.is_dry_run)?;
    }
    if let Some(config) = &options.config {
        copy(config, &folder.join("wapod.toml"))?;
    }
    for (option, policy) in &options.policies {
        copy(policy, &folder.join(policy_name(option)))?;
    }
    let launcher = process::root().join("packaging/gramine/launcher");
    for name in LAUNCHERS {
        copy(&launcher, &folder.join(name))?;
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755))?;
    }
    let trusted = trusted(options, &folder)?;
    for (mode, name) in Mode::ALL {
        let text = manifest::render(&manifest::values(options, mode, &trusted))?;
        let problems = rules::check(&manifest::parse(&text)?, mode);
        ensure!(problems.is_empty(), "{name}: {}", problems.join("; "));
        fs::write(folder.join(name), text)?;
    }
    Ok(Packaged {
        signature: sign(options, &folder)?,
        has_gramine: gramine.is_some(),
        program: inside,
        folder,
    })
}

/// Makes the folders, and takes away what an earlier run has left; the data stay.
fn prepare(folder: &Path) -> Result<()> {
    let is_ours = |folder: &Path| folder.join(LAUNCHERS[0]).exists();
    let is_empty = |folder: &Path| fs::read_dir(folder).map(|mut all| all.next().is_none());
    if folder.exists() && !is_ours(folder) && !is_empty(folder)? {
        bail!(
            "{} has something else in it: choose an empty folder with -o",
            folder.display()
        );
    }
    let runtime = folder.join(RUNTIME);
    if runtime.exists() {
        fs::remove_dir_all(runtime)?;
    }
    let names = ["wapod", "wapod.toml", "wapod.manifest.sgx", "wapod.sig"].map(str::to_owned);
    for name in names.into_iter().chain(KEY_POLICIES.map(policy_name)) {
        let file = folder.join(name);
        if file.exists() {
            fs::remove_file(file)?;
        }
    }
    for name in [SEAL_DIR, STORAGE_DIR] {
        let folder = folder.join(name);
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Builds the daemon; in a dry run, takes what was built last where this program was.
fn program(options: &Options) -> Result<Option<PathBuf>> {
    if !options.is_dry_run {
        let arguments = [
            "build",
            "--profile",
            "dist",
            "--package",
            "wapod",
            "--locked",
        ];
        // Every builder of the same sources gets the same measurement.
        process::run(&mut reproducible::cargo(&process::root(), &arguments))?;
        return Ok(Some(process::root().join("target/dist/wapod")));
    }
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).context("cargo has built this")?;
    let builds = ["dist", "release", "debug"].map(|name| target.join(name).join("wapod"));
    let built = builds.into_iter().filter_map(|path| {
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
        Some((modified.ok()?, path))
    });
    let built = built.max().map(|(_, path)| path);
    if built.is_none() {
        println!("the daemon is not built: the manifest has no hash of it");
    }
    Ok(built)
}

/// What is measured, with its hash.
fn trusted(options: &Options, folder: &Path) -> Result<Vec<Trusted>> {
    let libraries = files::LIBRARIES
        .iter()
        .map(|name| format!("{RUNTIME}/lib/{name}"));
    let config = options.config.iter().map(|_| "wapod.toml".to_owned());
    let policies = options
        .policies
        .iter()
        .map(|(option, _)| policy_name(option));
    let files = config.chain(policies);
    let paths = libraries.chain(["wapod".to_owned()]).chain(files);
    let trusted = paths.map(|path| {
        let sha256 = files::sha256(&folder.join(&path))?;
        Ok(Trusted { path, sha256 })
    });
    trusted.collect()
}

/// Signs, when there is a key; says which enclave it is.
fn sign(options: &Options, folder: &Path) -> Result<String> {
    let Some(key) = &options.key else {
        return Ok("not signed: no --key, so gramine-direct alone can run it".to_owned());
    };
    ensure!(key.is_file(), "there is no key {}", key.display());
    if !toolchain::on_path(SIGN) {
        ensure!(
            options.is_dry_run,
            "{SIGN} is not on the path: install Gramine, or leave --key out"
        );
        return Ok(format!("not signed: {SIGN} is not on the path"));
    }
    let mut command = Command::new(SIGN);
    command
        .args(["--manifest", "wapod.manifest"])
        .args(["--output", "wapod.manifest.sgx", "--key"])
        .arg(key)
        .current_dir(folder);
    process::run(&mut command)?;
    let bytes = fs::read(folder.join("wapod.sig")).context("wapod.sig")?;
    Ok(Sigstruct::parse(&bytes)?.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::fs::symlink;
    use std::process::{Child, Output, Stdio};

    use super::*;

    /// A dist folder whose loader says that it runs, and ends with the code that it
    /// reads.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("wapo-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let direct = folder.join("cruntime/direct");
        fs::create_dir_all(&direct).expect("made");
        let launcher = process::root().join("packaging/gramine/launcher");
        for name in LAUNCHERS {
            copy(&launcher, &folder.join(name)).expect("copied");
        }
        let loader = "#!/bin/sh\necho \"$*\"\nread code\nexit \"$code\"\n";
        fs::write(direct.join("loader"), loader).expect("written");
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(direct.join("loader"), mode).expect("set");
        fs::write(folder.join("direct.manifest"), "").expect("written");
        folder
    }

    fn launch(folder: &Path, name: &str, arguments: &[&str]) -> Child {
        let mut command = Command::new(folder.join(name));
        command.args(arguments).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("started")
    }

    fn end(mut child: Child, code: &str) -> Output {
        let mut input = child.stdin.take().expect("piped");
        let _ = writeln!(input, "{code}");
        drop(input);
        child.wait_with_output().expect("ended")
    }

    #[test]
    fn a_second_start_on_the_same_data_ends_with_a_code_of_its_own() {
        let folder = folder("launcher");
        let mut first = launch(&folder, "gramine-direct", &["wapod"]);
        let output = first.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("read");
        assert_eq!(line, "cruntime/direct/libpal.so init direct\n");

        let second = end(launch(&folder, "gramine-direct", &["wapod"]), "0");
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert_eq!(second.status.code(), Some(75), "{said}");
        assert!(said.contains("another wapod runs"), "{said}");

        assert_eq!(end(first, "7").status.code(), Some(7));
        let third = end(launch(&folder, "gramine-direct", &["wapod"]), "0");
        assert_eq!(third.status.code(), Some(0));
        for name in [SEAL_DIR, STORAGE_DIR] {
            let mode = fs::metadata(folder.join(name)).expect("made").permissions();
            assert_eq!(mode.mode() & 0o777, 0o700);
        }
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_launcher_takes_no_arguments_and_tells_what_is_missing() {
        let folder = folder("launcher-lacks");
        for arguments in [&[][..], &["other"], &["wapod", "--user-port=80"]] {
            let refused = end(launch(&folder, "gramine-direct", arguments), "0");
            assert_eq!(refused.status.code(), Some(64), "{arguments:?}");
        }
        let unsigned = end(launch(&folder, "gramine-sgx", &["wapod"]), "0");
        assert_eq!(unsigned.status.code(), Some(69));
        let path = folder.join("path");
        fs::create_dir(&path).expect("made");
        for name in ["basename", "dirname", "mkdir", "chmod"] {
            let program = toolchain::find(name).expect("a program of every machine");
            symlink(program, path.join(name)).expect("linked");
        }
        let mut command = Command::new(folder.join("gramine-direct"));
        let lockless = command.arg("wapod").env("PATH", &path).output();
        let lockless = lockless.expect("ended");
        let said = String::from_utf8_lossy(&lockless.stderr).into_owned();
        assert_eq!(lockless.status.code(), Some(69), "{said}");
        assert!(said.contains("flock is missing"), "{said}");
        fs::remove_file(folder.join("direct.manifest")).expect("removed");
        let empty = end(launch(&folder, "gramine-direct", &["wapod"]), "0");
        assert_eq!(empty.status.code(), Some(69));
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_folder_with_something_else_in_it_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("wapo-else-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join("mine"), "").expect("written");
        let error = prepare(&folder).expect_err("refused").to_string();
        assert!(error.contains("something else"), "{error}");
        assert!(folder.join("mine").exists());
        fs::remove_dir_all(folder).expect("removed");
    }
}
