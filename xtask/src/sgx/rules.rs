//! What a manifest has to say, so that what we promise of an enclave is true.
//!
//! `keys` knows which keys there may be; this knows what they may mean together. Each
//! rule gives a text for the person who changed the template. Used on each manifest
//! that is made, and by `ci rest`.

use toml::{Table, Value};

use super::enclave::enclave_threads;
use super::files::LIBRARIES;
use super::keys;
use super::manifest::{Mode, RUNTIME, STORAGE_DIR, arenas};
use super::options::{FROM_HOST, KEY_POLICIES, size};

/// A rule: what is wrong, if anything.
type Rule = fn(&Table) -> Option<String>;

/// Everything that is wrong with a manifest.
pub(super) fn check(manifest: &Table, mode: Mode) -> Vec<String> {
    let mut problems = keys::check(manifest);
    let rules: [Rule; 11] = [
        program,
        environment,
        from_host,
        sizes,
        threads,
        root,
        storage_is_last,
        folders_are_apart,
        trusted_files,
        key_policies,
        switches,
    ];
    // What only a key of the processor makes possible.
    let of_enclaves: &[Rule] = match mode {
        Mode::Sgx => &[data_is_encrypted, allowed_files],
        Mode::Direct => &[],
    };
    let rules = rules.iter().chain(of_enclaves);
    problems.extend(rules.filter_map(|rule| rule(manifest)));
    problems
}

fn get<'a>(manifest: &'a Table, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let first = manifest.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn text<'a>(manifest: &'a Table, path: &str) -> &'a str {
    let found = get(manifest, path).and_then(Value::as_str);
    found.unwrap_or_default()
}

fn elements<'a>(manifest: &'a Table, path: &str) -> &'a [Value] {
    let found = get(manifest, path).and_then(Value::as_array);
    found.map_or(&[], Vec::as_slice)
}

fn of<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn unless(holds: bool, text: &str) -> Option<String> {
    (!holds).then(|| text.to_owned())
}

/// The program's arguments, its name first.
pub(super) fn argv(manifest: &Table) -> impl Iterator<Item = &str> {
    elements(manifest, "loader.argv")
        .iter()
        .filter_map(Value::as_str)
}

/// The program's variables: texts, or tables for those that the host gives.
pub(super) fn variables(manifest: &Table) -> Option<&Table> {
    get(manifest, "loader.env").and_then(Value::as_table)
}

fn program(manifest: &Table) -> Option<String> {
    unless(
        text(manifest, "libos.entrypoint") == "/wapod" && argv(manifest).next() == Some("wapod"),
        "loader.argv: fixed, `wapod` first",
    )
}

fn environment(manifest: &Table) -> Option<String> {
    let is = |name: &str| text(manifest, &format!("loader.env.{name}"));
    let workers = is("TOKIO_WORKER_THREADS").parse().unwrap_or_default();
    let arenas = format!("narenas:{}", arenas(workers));
    let holds = is("MALLOC_ARENA_MAX") == "1"
        && is("_RJEM_MALLOC_CONF") == arenas
        && is("LD_LIBRARY_PATH") == "/lib"
        && is("WAPOD_DATA_DIR") == "/data"
        && is("RUST_LOG_SANITIZED") == "true"
        && is("WAPOD_MEASURED") == measured(manifest)
        && is("WAPOD_ENCLAVE_SIZE") == text(manifest, "sgx.enclave_size");
    unless(
        holds,
        "loader.env: MALLOC_ARENA_MAX=1, _RJEM_MALLOC_CONF=narenas: and one more than TOKIO_WORKER_THREADS, LD_LIBRARY_PATH=/lib, WAPOD_DATA_DIR=/data, RUST_LOG_SANITIZED=true, WAPOD_ENCLAVE_SIZE as sgx.enclave_size, WAPOD_MEASURED without `environment` when a variable comes from the host",
    )
}

/// What the daemon may claim to be measured: not the environment when the host gives a
/// part of it.
fn measured(manifest: &Table) -> &'static str {
    let is_of_host = variables(manifest).is_some_and(|all| all.values().any(Value::is_table));
    match is_of_host {
        true => "command-line,file",
        false => "command-line,file,environment",
    }
}

fn from_host(manifest: &Table) -> Option<String> {
    let others: Vec<&str> = variables(manifest)?
        .iter()
        .filter(|(_, value)| value.is_table())
        .map(|(name, _)| name.as_str())
        .filter(|name| !FROM_HOST.contains(name))
        .collect();
    unless(
        others.is_empty(),
        &format!(
            "loader.env: {} must not come from the host",
            others.join(", ")
        ),
    )
}

fn sizes(manifest: &Table) -> Option<String> {
    let bytes = size(text(manifest, "sgx.enclave_size")).unwrap_or_default();
    unless(
        bytes.is_power_of_two(),
        "sgx.enclave_size: has to be a power of two",
    )
}

fn threads(manifest: &Table) -> Option<String> {
    let workers = text(manifest, "loader.env.TOKIO_WORKER_THREADS").parse();
    let places = get(manifest, "sgx.max_threads").and_then(Value::as_integer);
    let needed = workers.map(enclave_threads).unwrap_or(usize::MAX);
    let holds = places.is_some_and(|places| usize::try_from(places).is_ok_and(|n| n >= needed));
    unless(
        holds,
        "sgx.max_threads, loader.env.TOKIO_WORKER_THREADS: fewer places than the daemon has threads",
    )
}

fn root(manifest: &Table) -> Option<String> {
    unless(
        text(manifest, "fs.root.type") == "tmpfs",
        "fs.root.type: has to be tmpfs, otherwise the host's working folder is the root",
    )
}

fn data_is_encrypted(manifest: &Table) -> Option<String> {
    let mounts = elements(manifest, "fs.mounts");
    let encrypted: Vec<&Value> = mounts
        .iter()
        .filter(|mount| of(mount, "type") == "encrypted")
        .collect();
    let holds = encrypted.len() == 1
        && of(encrypted[0], "path") == "/data"
        && ["_sgx_mrenclave", "_sgx_mrsigner"].contains(&of(encrypted[0], "key_name"))
        && encrypted[0].get("enable_recovery") == Some(&Value::Boolean(true));
    unless(
        holds,
        "fs.mounts: /data, and nothing else, is encrypted by a key of the processor, with enable_recovery",
    )
}

fn storage_is_last(manifest: &Table) -> Option<String> {
    let mounts = elements(manifest, "fs.mounts");
    let at = |path: &str| mounts.iter().position(|mount| of(mount, "path") == path);
    let below_data: Vec<&str> = mounts
        .iter()
        .map(|mount| of(mount, "path"))
        .filter(|path| path.starts_with("/data/"))
        .collect();
    unless(
        below_data == ["/data/storage_files"] && at("/data") < at("/data/storage_files"),
        "fs.mounts: below /data there is /data/storage_files alone, and behind it in the list",
    )
}

fn folders_are_apart(manifest: &Table) -> Option<String> {
    let mounts = elements(manifest, "fs.mounts");
    let uris: Vec<&str> = mounts.iter().map(|mount| of(mount, "uri")).collect();
    let is_within = |one: &str, other: &str| {
        let below = one.strip_prefix(other.trim_end_matches('/'));
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    for (index, one) in uris.iter().enumerate() {
        for (place, other) in uris.iter().enumerate() {
            if index != place && is_within(one, other) {
                return Some(format!("fs.mounts: {one} and {other} overlap on the host"));
            }
        }
    }
    None
}

fn trusted_files(manifest: &Table) -> Option<String> {
    let trusted = elements(manifest, "sgx.trusted_files");
    let has = |uri: &str| trusted.iter().any(|file| of(file, "uri") == uri);
    let missing: Vec<String> = LIBRARIES
        .iter()
        .map(|name| format!("file:{RUNTIME}/lib/{name}"))
        .chain(["file:wapod".to_owned()])
        .filter(|uri| !has(uri))
        .collect();
    if !missing.is_empty() {
        let text = format!("sgx.trusted_files: {} missing", missing.join(", "));
        return Some(text);
    }
    let is_of_host = |file: &&Value| of(file, "uri").starts_with("file:data");
    let wrong = trusted.iter().find(is_of_host)?;
    Some(format!(
        "sgx.trusted_files: {} changes as the daemon runs",
        of(wrong, "uri")
    ))
}

/// Who may have the worker's key must not be for the host to say.
fn key_policies(manifest: &Table) -> Option<String> {
    let trusted = elements(manifest, "sgx.trusted_files");
    let mounts = elements(manifest, "fs.mounts");
    let is_measured = |file: &str| {
        let path = format!("/{}", file.trim_start_matches('/'));
        let mut mounts = mounts.iter();
        let mount = mounts.find(|mount| of(mount, "path") == path);
        mount.is_some_and(|mount| {
            trusted
                .iter()
                .any(|file| of(file, "uri") == of(mount, "uri"))
        })
    };
    let words = argv(manifest).collect::<Vec<_>>();
    for (index, word) in words.iter().enumerate() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (*word, words.get(index + 1).copied()),
        };
        if KEY_POLICIES.contains(&option) && !value.is_some_and(is_measured) {
            return Some(format!(
                "loader.argv: {option} names a file that is not measured: give it to `dist --sgx`, before the two dashes"
            ));
        }
    }
    None
}

fn allowed_files(manifest: &Table) -> Option<String> {
    let allowed = elements(manifest, "sgx.allowed_files");
    let storage = format!("file:{STORAGE_DIR}/");
    unless(
        allowed.len() == 1 && allowed[0].as_str() == Some(&storage),
        "sgx.allowed_files: the storage folder and nothing else",
    )
}

fn switches(manifest: &Table) -> Option<String> {
    let is = |path: &str, value: bool| get(manifest, path) == Some(&Value::Boolean(value));
    let holds = is("sgx.debug", false)
        && is("sys.experimental__enable_flock", true)
        && is("sys.enable_sigterm_injection", true)
        && is("sys.enable_extra_runtime_domain_names_conf", true)
        && text(manifest, "sgx.remote_attestation") == "dcap";
    unless(
        holds,
        "sgx.debug off; flock, SIGTERM, names of the host and DCAP on",
    )
}

#[cfg(test)]
mod tests {
    use super::super::manifest::{Trusted, parse, render, values};
    use super::super::options::{Options, policy_name};
    use super::*;

    fn rendered(line: &[&str], mode: Mode) -> String {
        let options = Options::parse(line).expect("options");
        let trusted: Vec<_> = LIBRARIES
            .iter()
            .map(|name| format!("{RUNTIME}/lib/{name}"))
            .chain(["wapod".to_owned()])
            .chain(
                options
                    .policies
                    .iter()
                    .map(|(option, _)| policy_name(option)),
            )
            .map(|path| Trusted {
                path,
                sha256: Some("ab".repeat(32)),
            })
            .collect();
        render(&values(&options, mode, &trusted)).expect("rendered")
    }

    #[test]
    fn each_way_of_packaging_gives_a_manifest_that_keeps_the_rules() {
        for line in [
            &[][..],
            &["--edmm", "--workers", "16"],
            &["--seal", "mrsigner", "--svn", "7", "--enclave-size", "8G"],
            &["--rpc-threads", "8", "--from-host", "RUST_LOG"],
            &["--key-to-policy", "p", "--key-from-policy", "q"],
            &["--", "--base-domain", "a\"b\\c'd<e>&.example"],
        ] {
            for (mode, _) in Mode::ALL {
                let manifest = parse(&rendered(line, mode)).expect("TOML");
                assert_eq!(check(&manifest, mode), Vec::<String>::new(), "{line:?}");
            }
        }
        let many = rendered(&["--workers", "16"], Mode::Sgx);
        assert!(many.contains("\"narenas:17\""), "{many}");
        let text = rendered(&["--", "--base-domain", "a\"b\\c'd<e>&.example"], Mode::Sgx);
        let manifest = parse(&text).expect("TOML");
        let argv = elements(&manifest, "loader.argv");
        assert_eq!(argv[6].as_str(), Some("a\"b\\c'd<e>&.example"));
    }

    #[test]
    fn a_policy_for_the_workers_key_that_the_host_can_change_is_refused() {
        for argument in ["--key-to-policy=/data/storage_files/p", "--key-from-policy"] {
            let line = ["--", argument, "/data/storage_files/p"];
            let manifest = parse(&rendered(&line, Mode::Sgx)).expect("TOML");
            let problems = check(&manifest, Mode::Sgx).join("; ");
            assert!(
                problems.contains("names a file that is not measured"),
                "{problems}"
            );
        }
    }

    /// What a slip in the template would look like, and a part of what is said of it.
    const GIVES_AWAY: &[(&str, &str, &str)] = &[
        (
            "[loader.env]",
            "[loader.env]\nRUST_LOG = { passthrough = true }",
            "WAPOD_MEASURED without `environment`",
        ),
        ("debug = false", "debug = true", "sgx.debug off"),
        ("[sys]", "[sys]\ninsecure__allow_eventfd = true", "no more"),
        ("[fs]", "[fs]\ninsecure__keys.a = \"00\"", "not a key"),
        (
            "argv = [",
            "insecure__use_cmdline_argv = true\nargv = [",
            "no more",
        ),
        ("type = \"encrypted\"", "type = \"chroot\"", "is encrypted"),
        ("_sgx_mrenclave", "default", "is encrypted"),
        (
            "enable_recovery = true",
            "enable_recovery = false",
            "is encrypted",
        ),
        (
            "\"/data/storage_files\", uri = \"file:data/storage_files\"",
            "\"/data/storage_files\", uri = \"file:data/protected_files/x\"",
            "overlap",
        ),
        (
            "path = \"/data/storage_files\"",
            "path = \"/data/other\"",
            "below /data",
        ),
        (
            "\"file:data/storage_files/\" ]",
            "\"file:data/storage_files/\", \"file:data/protected_files/\" ]",
            "allowed_files",
        ),
        (
            "allowed_files = [",
            "allowed_files = [ \"file:wapod.toml\", ",
            "allowed_files",
        ),
        ("root.type = \"tmpfs\"", "root.type = \"chroot\"", "tmpfs"),
        ("  \"wapod\",\n", "", "loader.argv"),
        (
            "MALLOC_ARENA_MAX = \"1\"",
            "MALLOC_ARENA_MAX = \"4\"",
            "MALLOC_ARENA_MAX",
        ),
        (
            "\"narenas:5\"",
            "\"narenas:4\"",
            "_RJEM_MALLOC_CONF=narenas",
        ),
        (
            "WAPOD_ENCLAVE_SIZE = \"4G\"",
            "WAPOD_ENCLAVE_SIZE = \"8G\"",
            "as sgx.enclave_size",
        ),
        (
            "\nenclave_size = \"4G\"",
            "\nenclave_size = \"5G\"",
            "power of two",
        ),
        (
            "[loader.env]",
            "[loader.env]\nLD_PRELOAD = { passthrough = true }",
            "LD_PRELOAD must not",
        ),
        (
            "TOKIO_WORKER_THREADS = \"4\"",
            "TOKIO_WORKER_THREADS = \"64\"",
            "fewer places",
        ),
        (
            "uri = \"file:wapod\", sha256",
            "uri = \"file:other\", sha256",
            "file:wapod missing",
        ),
        ("libm.so.6", "libn.so.6", "libm.so.6 missing"),
        (
            "trusted_files = [",
            "trusted_files = [\n  { uri = \"file:data/a\" },",
            "changes as the daemon runs",
        ),
        ("enable_flock = true", "enable_flock = false", "flock"),
        (
            "remote_attestation = \"dcap\"",
            "remote_attestation = \"none\"",
            "DCAP on",
        ),
    ];

    #[test]
    fn a_manifest_that_gives_something_away_is_refused() {
        let good = rendered(&[], Mode::Sgx);
        for (from, to, expected) in GIVES_AWAY {
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from}");
            let problems = check(&parse(&bad).expect("TOML"), Mode::Sgx);
            assert!(
                problems.iter().any(|text| text.contains(expected)),
                "{to}: {problems:?}"
            );
        }
    }

    #[test]
    fn the_manifest_for_trying_things_out_is_none_for_an_enclave() {
        let manifest = parse(&rendered(&[], Mode::Direct)).expect("TOML");
        let problems = check(&manifest, Mode::Sgx);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
