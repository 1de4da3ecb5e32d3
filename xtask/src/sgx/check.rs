//! What CI checks of the packaging, with and without Gramine.
//!
//! A dry run in a folder of its own, then: plain Jinja2, from PyPI, gives the same
//! manifest, and the daemon finds its settings in the manifest's arguments and
//! variables. With `gramine-direct` on the path, the daemon's life under it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use toml::Table;

use super::manifest::{Mode, TEMPLATE, parse, render, values};
use super::options::Options;
use super::{Packaged, package, rules, trusted};
use crate::process::{self, stage};
use crate::{python, toolchain};

/// Renders the template that it is given with the values that it is given.
const JINJA: &str = "\
import jinja2, json, sys
values = json.load(sys.stdin)
template = open(sys.argv[1]).read()
environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
sys.stdout.write(environment.from_string(template).render(**values))
";
/// Names and versions of what that program needs.
const REQUIREMENTS: &str = "packaging/gramine/requirements.txt";
/// Where it is installed.
const ENVIRONMENT: &str = "target/jinja";
/// The test that is also run under Gramine.
const LIFE: &str = "the_daemon_lives_with_the_system_calls_of_gramine_alone";
/// As the test starts the daemon itself.
const LIFE_SETTINGS: &[&str] = &[
    "--memory",
    "64M",
    "--instances",
    "4",
    "--",
    "--admin-port",
    "0",
    "--user-port",
    "0",
    "-l",
    "1024..65535",
];
/// A policy as one would be.
const POLICY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../packaging/gramine/key-to-policy.example.toml"
);
/// Ways of packaging that are tried.
const WAYS: &[&[&str]] = &[
    &["--dry-run"],
    &["--dry-run", "--edmm", "--seal", "mrsigner", "--svn", "3"],
    &["--dry-run", "--key-to-policy", POLICY],
    &[
        "--dry-run",
        "--enclave-size",
        "8G",
        "--memory",
        "64M",
        "--workers",
        "8",
        "--from-host",
        "RUST_LOG",
        "--rpc-threads",
        "16",
        "--",
        "--user-address",
        "0.0.0.0",
        "--base-domain",
        "apps.example.com",
    ],
];

/// Packages in each way, without a build, and looks at what comes of it.
///
/// # Errors
///
/// The first thing that is wrong.
pub(crate) fn run() -> Result<()> {
    let programs = stage("Jinja2, installed", || {
        python::environment(ENVIRONMENT, REQUIREMENTS)
    })?;
    stage("dist --sgx --dry-run", || {
        let root = process::root();
        // With all packages: one alone has other features.
        process::run(&mut process::cargo(&["build", "--workspace", "--bins"]))?;
        for (index, way) in WAYS.iter().enumerate() {
            let output = root.join("target/sgx-check").join(index.to_string());
            if output.exists() {
                fs::remove_dir_all(&output)?;
            }
            let output = output.display().to_string();
            let line = [&["-o", output.as_str()], *way].concat();
            let options = Options::parse(&line)?;
            let made = package(&options)?;
            for (mode, _) in Mode::ALL {
                same_with_jinja(&programs, &options, mode, &made.folder)?;
            }
            settings_are_found(&made)?;
            fs::remove_dir_all(&made.folder)?;
        }
        println!(
            "{} ways of packaging give manifests that keep the rules",
            WAYS.len()
        );
        Ok(())
    })
}

/// Gives the same values to plain Jinja2.
fn same_with_jinja(programs: &Path, options: &Options, mode: Mode, folder: &Path) -> Result<()> {
    let values = values(options, mode, &trusted(options, folder)?);
    let ours = render(&values)?;
    let file = folder.join("values.json");
    fs::write(&file, serde_json::to_string(&values)?)?;
    let output = Command::new(programs.join("python"))
        .args(["-c", JINJA])
        .arg(process::root().join(TEMPLATE))
        .stdin(fs::File::open(&file)?)
        .output()?;
    ensure!(
        output.status.success() && output.stdout == ours.as_bytes(),
        "plain Jinja2 gives another manifest: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Has the daemon read its settings from the manifest's arguments and variables, and
/// from nothing else. It refuses more instances than fit, and tells unknown variables.
fn settings_are_found(made: &Packaged) -> Result<()> {
    let program = made.program.as_ref().context("the daemon is not built")?;
    let manifest = parse(&fs::read_to_string(made.folder.join("wapod.manifest"))?)?;
    let mut command = daemon(program, &manifest);
    // What is beside the program there is in the root of the enclave.
    let output = command.current_dir(&made.folder).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && !said.contains("not known"),
        "wapod does not take the manifest's settings: {said}"
    );
    let shown = String::from_utf8_lossy(&output.stdout);
    for setting in ["data-dir = \"/data\"", "no-mem-pool = true"] {
        ensure!(shown.contains(setting), "wapod shows no {setting}: {shown}");
    }
    Ok(())
}

/// The daemon as Gramine would start it, but for a look at its settings.
fn daemon(program: &Path, manifest: &Table) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.args(rules::argv(manifest).skip(1));
    command.arg("--check-config");
    for (name, value) in rules::variables(manifest).into_iter().flatten() {
        // Gramine's own matter: the folder of libraries inside.
        if let Some(value) = value.as_str()
            && name != "LD_LIBRARY_PATH"
        {
            command.env(name, value);
        }
    }
    command
}

/// Runs the daemon's life under `gramine-direct`, where there is one.
///
/// # Errors
///
/// It does not live as it does without.
pub(crate) fn life() -> Result<()> {
    if !toolchain::on_path("gramine-direct") {
        println!("gramine-direct is not on the path: the life under it was not tried");
        return Ok(());
    }
    stage("the daemon's life under gramine-direct", || {
        process::run(&mut process::cargo(&["build", "--workspace", "--bins"]))?;
        let output = process::root().join("target/sgx-life");
        let output = output.display().to_string();
        let line = [&["--dry-run", "-o", output.as_str()][..], LIFE_SETTINGS].concat();
        let made = package(&Options::parse(&line)?)?;
        ensure!(made.has_gramine, "Gramine's folder was not found");
        let mut test = process::cargo(&["test", "--package", "wapod", "--test", "enclave"]);
        test.args(["--", "--exact", LIFE]);
        process::run(test.env("WAPO_DIST_FOLDER", &made.folder))
    })
}
