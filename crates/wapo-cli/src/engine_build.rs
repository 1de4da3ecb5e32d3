//! How the engine of JavaScript apps is built: npm packages into the boot code,
//! QuickJS and our code to wasm, then the image of its memory after the start.
//!
//! `cargo xtask guests` does it in a checkout, the `wapo` command with the
//! sources that it carries, by the same lines: `xtask` includes this file by path.
//! The result depends on the sources and the compilers, not on folders or the time.

#![allow(dead_code, reason = "wapo-cli and xtask each use a part of it")]
#![allow(
    clippy::disallowed_methods,
    reason = "where cargo keeps its packages is a property of the machine"
)]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::toolchain::{self, TARGET, Toolchain};

/// Compiler and archiver of the engine's C part, of one release.
pub(crate) const CLANG: &str = "clang-22";
pub(crate) const ARCHIVER: &str = "llvm-ar-22";
/// A header of the C library, where Debian has it.
const LIBC_HEADER: &str = "/usr/include/wasm32-wasi/wasi/api.h";
/// Debian's packages with these.
const PACKAGES: &[&str] = &["clang-22", "llvm-22", "wasi-libc"];

/// What the engine exports for its image: evaluates the boot code.
const PREPARE: &str = "wapo_js_prepare";

/// The engine's package, below `guests/`.
const PACKAGE: &str = "wapo-js";

/// The engine's sources and where its build writes.
#[derive(Clone, Debug)]
pub(crate) struct EngineBuild {
    /// The repository, or a copy of the parts that the engine is made of.
    root: PathBuf,
    /// Cargo's target folder.
    target: PathBuf,
}

impl EngineBuild {
    /// Names the folders; nothing is looked at yet.
    pub(crate) fn new(root: PathBuf, target: PathBuf) -> Self {
        Self { root, target }
    }

    /// What the machine lacks; `None` when the engine can be built.
    pub(crate) fn lack() -> Option<String> {
        let mut missing: Vec<&str> = [CLANG, ARCHIVER]
            .into_iter()
            .filter(|program| !toolchain::on_path(program))
            .collect();
        if !Path::new(LIBC_HEADER).exists() {
            missing.push(LIBC_HEADER);
        }
        (!missing.is_empty()).then(|| {
            format!(
                "the JavaScript engine needs {}; on Debian: apt-get install {}",
                missing.join(", "),
                PACKAGES.join(" ")
            )
        })
    }

    /// Builds the engine and gives its wasm. Blocks, and shows what the
    /// compilers say.
    ///
    /// # Errors
    ///
    /// With the step that failed.
    pub(crate) fn build(&self, toolchain: &Toolchain) -> Result<Vec<u8>, String> {
        let packages = self.packages()?;
        let mut cargo = self
            .cargo(toolchain, packages.as_deref())
            .map_err(|error| format!("cannot write to {}: {error}", self.target.display()))?;
        run(&mut cargo)?;
        let plain = self
            .target
            .join(TARGET)
            .join("release")
            .join(PACKAGE)
            .with_extension("wasm");
        let wasm = fs::read(&plain).map_err(|error| format!("{}: {error}", plain.display()))?;
        wapo_snapshot::snapshot(&wasm, PREPARE)
            .map_err(|error| format!("the image of {}: {error}", plain.display()))
    }

    /// Lays out a workspace of links in which all our crates are below its root.
    ///
    /// Cargo numbers crates by their paths, those outside of the workspace by the
    /// whole path: the same sources would give another wasm in another folder.
    fn workspace(&self) -> io::Result<PathBuf> {
        let guests = self.root.join("guests");
        let folder = self.target.join("workspace");
        fs::create_dir_all(&folder)?;
        toolchain::link(&self.root, &folder.join("root"))?;
        toolchain::link(&guests.join(PACKAGE), &folder.join(PACKAGE))?;
        let manifest = fs::read_to_string(guests.join("Cargo.toml"))?;
        let manifest = own_manifest(&manifest)
            .ok_or_else(|| io::Error::other("guests/Cargo.toml has no list of members"))?;
        write_if_changed(&folder.join("Cargo.toml"), manifest.as_bytes())?;
        fs::copy(guests.join("Cargo.lock"), folder.join("Cargo.lock"))?;
        Ok(folder)
    }

    /// The call of cargo that compiles the engine.
    fn cargo(&self, toolchain: &Toolchain, packages: Option<&Path>) -> io::Result<Command> {
        let workspace = self.workspace()?;
        let mut cargo = toolchain.cargo("build", &self.target)?;
        let maps = self.renamed_folders();
        let remap: Vec<String> = maps
            .iter()
            .map(|(from, to)| format!("{:?}", format!("--remap-path-prefix={from}={to}")))
            .collect();
        // Cargo joins this with what the toolchain and the folder say.
        cargo
            .args(["--release", "--package", PACKAGE])
            // Smaller than with "thin", which links the other guests sooner.
            .args(["--config", "profile.release.lto=\"fat\"", "--config"])
            .arg(format!("target.{TARGET}.rustflags=[{}]", remap.join(", ")))
            .current_dir(&workspace)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CC_wasm32_wasip1", CLANG)
            .env("AR_wasm32_wasip1", ARCHIVER)
            .env("CC_SHELL_ESCAPED_FLAGS", "1")
            .env("CFLAGS_wasm32_wasip1", self.c_flags(&maps))
            .env("RQUICKJS_SYS_NO_WASI_SDK", "1");
        // What the person has set for programs of their own is not meant for this one.
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CFLAGS", "WASI_SDK"] {
            cargo.env_remove(name);
        }
        match packages {
            Some(folder) => cargo.env("WAPO_JS_NPM", folder),
            None => cargo.env_remove("WAPO_JS_NPM"),
        };
        Ok(cargo)
    }

    /// Flags of the C compiler, quoted for a shell.
    fn c_flags(&self, maps: &[(String, String)]) -> String {
        let headers = self.root.join("guests").join(PACKAGE).join("c");
        let mut flags = vec![
            // Debian's C library has its folders below this name of the target.
            "--target=wasm32-wasi".to_owned(),
            "--sysroot=/usr".to_owned(),
            format!("-isystem{}", headers.display()),
            // Says why: `wasi/api.h` in that folder.
            "-U__wasi__".to_owned(),
            // The guard of the stack, which is ours.
            "-include".to_owned(),
            "wapo_stack.h".to_owned(),
            // What follows a program through promises.
            "-include".to_owned(),
            "wapo_context.h".to_owned(),
        ];
        let maps = maps
            .iter()
            .map(|(from, to)| format!("-ffile-prefix-map={from}={to}"));
        flags.extend(maps);
        let quoted: Vec<String> = flags
            .iter()
            .map(|flag| format!("'{}'", flag.replace('\'', r"'\''")))
            .collect();
        quoted.join(" ")
    }

    /// Folders of this machine and the names that the result has for them.
    fn renamed_folders(&self) -> Vec<(String, String)> {
        let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
        let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home);
        let folders = [
            (cargo_home, "/cargo"),
            (Some(self.root.clone()), "/wapo"),
            // The last one that fits counts: the target folder is in the root as a rule.
            (Some(self.target.clone()), "/target"),
        ];
        folders
            .into_iter()
            .filter_map(|(from, to)| Some((from?.display().to_string(), to.to_owned())))
            .collect()
    }

    /// Fetches the npm packages that the boot code imports and bundles each into
    /// one file; gives their folder, or `None` when there are none.
    fn packages(&self) -> Result<Option<PathBuf>, String> {
        let folder = self.root.join("guests").join(PACKAGE);
        let manifest = folder.join("npm/package.json");
        let mut names = BTreeSet::new();
        imported_packages(&folder.join("js"), &mut names)
            .map_err(|error| format!("{}: {error}", folder.join("js").display()))?;
        if !manifest.exists() || names.is_empty() {
            return Ok(None);
        }
        let work = self.target.join("wapo-js-npm-work");
        let out = self.target.join("wapo-js-npm");
        fetch_packages(&folder.join("npm"), &work)?;
        let bundled = self.bundle(&names, &work, &out);
        bundled.map_err(|error| format!("bundles of npm packages: {error}"))?;
        Ok(Some(out))
    }

    /// Bundles packages, each into a file of its own; files that are not of them go.
    fn bundle(&self, names: &BTreeSet<String>, work: &Path, out: &Path) -> io::Result<()> {
        let mut expected = BTreeSet::new();
        let node = node_modules(&self.root.join("guests").join(PACKAGE).join("js/node"), "")?;
        for name in names {
            // Modules of Node are ours, also where a package of that name exists.
            let externals = node.iter().map(String::as_str).chain(["qs"]);
            let externals = externals
                .filter(|id| id != name)
                .map(|id| format!("--external:{id}"));
            let mut esbuild = Command::new(work.join("node_modules/.bin/esbuild"));
            esbuild
                .arg(name)
                .args(["--bundle", "--format=esm", "--platform=neutral"])
                .args(["--main-fields=module,main", "--target=es2023"])
                .args(["--minify-syntax", "--minify-whitespace"])
                .args(["--legal-comments=none", "--log-level=warning"])
                .args(externals)
                .current_dir(work)
                .stderr(Stdio::inherit());
            let output = esbuild.output()?;
            if !output.status.success() {
                return Err(io::Error::other(format!(
                    "esbuild {name}: {}",
                    output.status
                )));
            }
            let path = out.join(format!("{name}.js"));
            fs::create_dir_all(path.parent().unwrap_or(out))?;
            let text = String::from_utf8(output.stdout).map_err(io::Error::other)?;
            write_if_changed(&path, with_requires(&text, &node).as_bytes())?;
            expected.insert(path);
        }
        remove_others(out, &expected)
    }
}

/// Fetches the packages of npm that a folder's lock file names into another folder,
/// unless they are there.
pub(crate) fn fetch_packages(from: &Path, work: &Path) -> Result<(), String> {
    let write = || -> io::Result<bool> {
        fs::create_dir_all(work)?;
        let mut is_changed = !work.join("node_modules/.package-lock.json").exists();
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            let Ok(text) = fs::read(from.join(name)) else {
                continue;
            };
            is_changed |= write_if_changed(&work.join(name), &text)?;
        }
        Ok(is_changed)
    };
    let is_changed = write().map_err(|error| format!("{}: {error}", work.display()))?;
    if !is_changed {
        return Ok(());
    }
    // What an earlier call has left when it was broken off is not complete.
    let _ = fs::remove_file(work.join("node_modules/.package-lock.json"));
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(work);
    run(&mut npm)
}

/// The modules of Node that the engine has: names of files below a folder, without
/// their extension.
fn node_modules(folder: &Path, prefix: &str) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            names.extend(node_modules(&path, &format!("{prefix}{name}/"))?);
        } else if let Some(name) = name.strip_suffix(".js") {
            names.insert(format!("{prefix}{name}"));
        }
    }
    Ok(names)
}

/// A bundle that imports what it requires of Node's modules: esbuild leaves calls of
/// `require` for them, which is no name that the boot code has.
fn with_requires(bundle: &str, node: &BTreeSet<String>) -> String {
    let calls = bundle.split("__require(\"").skip(1);
    let ids: BTreeSet<&str> = calls
        .filter_map(|rest| rest.split_once('"'))
        .map(|(id, _)| id)
        .collect();
    let (mut imports, mut members) = (String::new(), String::new());
    for (index, id) in ids.into_iter().enumerate() {
        let name = match id.trim_end_matches('/').trim_start_matches("node:") {
            // The package reads queries as the module does, and is larger.
            "qs" => "querystring",
            name => name,
        };
        if node.contains(name) {
            imports.push_str(&format!("import m{index} from \"node:{name}\";"));
            members.push_str(&format!("{id:?}:m{index},"));
        }
    }
    match imports.is_empty() {
        true => bundle.to_owned(),
        false => format!("{imports}const require=id=>({{{members}}})[id];\n{bundle}"),
    }
}

/// Removes the files below a folder that are not among those.
fn remove_others(folder: &Path, expected: &BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, expected)?;
        } else if !expected.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The manifest of the workspace of guests, for one whose root is a folder beside it
/// and whose only member is the engine.
fn own_manifest(guests: &str) -> Option<String> {
    let (head, rest) = guests.split_once("members = [")?;
    let (_, tail) = rest.split_once("]\n")?;
    let tail = tail.replace("\"../crates/", "\"root/crates/");
    let tail: Vec<&str> = tail
        .split('\n')
        .filter(|line| !line.starts_with("exclude = "))
        .collect();
    Some(format!(
        "{head}members = [{PACKAGE:?}]\nexclude = [\"root\"]\n{}",
        tail.join("\n")
    ))
}

/// Writes a file unless it has this content, so that cargo sees no change.
pub(crate) fn write_if_changed(path: &Path, content: &[u8]) -> io::Result<bool> {
    if fs::read(path).ok().as_deref() == Some(content) {
        return Ok(false);
    }
    fs::write(path, content).map(|()| true)
}

/// Collects the packages that modules below a folder import as `"npm:NAME"`.
fn imported_packages(folder: &Path, into: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            imported_packages(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "js") {
            let text = fs::read_to_string(&path)?;
            let after = text.split("\"npm:").skip(1);
            let names = after.filter_map(|rest| rest.split_once('"'));
            into.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
    Ok(())
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Result<(), String> {
    let shown = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{shown}: {status}")),
        Err(error) => Err(format!("cannot run {shown}: {error}")),
    }
}
