//! Which keys a manifest for Gramine may have, as data of ours.
//!
//! Gramine passes over keys that it does not know, so a slip of the pen would turn a
//! protection off without a word. Compared with what the template gives; used by `rules`.

use toml::{Table, Value};

/// What a key's value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A number with K, M or G, as a text.
    Size,
    /// A place on the host, `file:` in front.
    Uri,
    /// True or false.
    Flag,
    /// A number.
    Number,
    /// 64 hexadecimal digits.
    Sha256,
}

/// Every key that the template may write. `[]` stands for each element of an array,
/// `*` for any name.
const KEYS: &[(&str, Kind)] = &[
    ("libos.entrypoint", Kind::Text),
    ("loader.entrypoint.uri", Kind::Uri),
    ("loader.log_level", Kind::Text),
    ("loader.argv[]", Kind::Text),
    ("loader.env.*", Kind::Text),
    ("loader.env.*.passthrough", Kind::Flag),
    ("fs.root.type", Kind::Text),
    ("fs.mounts[].type", Kind::Text),
    ("fs.mounts[].path", Kind::Text),
    ("fs.mounts[].uri", Kind::Uri),
    ("fs.mounts[].key_name", Kind::Text),
    ("fs.mounts[].enable_recovery", Kind::Flag),
    ("sys.stack.size", Kind::Size),
    ("sys.brk.max_size", Kind::Size),
    ("sys.experimental__enable_flock", Kind::Flag),
    ("sys.enable_sigterm_injection", Kind::Flag),
    ("sys.enable_extra_runtime_domain_names_conf", Kind::Flag),
    ("sgx.debug", Kind::Flag),
    ("sgx.enclave_size", Kind::Size),
    ("sgx.edmm_enable", Kind::Flag),
    ("sgx.max_threads", Kind::Number),
    ("sgx.isvprodid", Kind::Number),
    ("sgx.isvsvn", Kind::Number),
    ("sgx.remote_attestation", Kind::Text),
    // The only one with `insecure__` in its name: calls are made by threads of the host,
    // which see what they would see anyway.
    ("sgx.insecure__rpc_thread_num", Kind::Number),
    ("sgx.trusted_files[].uri", Kind::Uri),
    ("sgx.trusted_files[].sha256", Kind::Sha256),
    ("sgx.allowed_files[]", Kind::Uri),
];

/// Keys of older releases, and what is written today.
const GONE: &[(&str, &str)] = &[
    ("loader.argv0_override", "loader.argv"),
    ("loader.entrypoint", "loader.entrypoint.uri"),
    ("loader.insecure__use_cmdline_argv", "loader.argv"),
    ("sgx.nonpie_binary", "nothing: it is found out"),
    ("sgx.thread_num", "sgx.max_threads"),
    ("sgx.ra_client_spid", "nothing: EPID is over"),
    ("sgx.ra_client_linkable", "nothing: EPID is over"),
    ("sys.insecure__allow_eventfd", "nothing: not needed"),
];

/// What of a manifest is not in the list, or not of its kind; a text for each.
pub(super) fn check(manifest: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, value) in manifest {
        look(name, value, &mut problems);
    }
    problems
}

fn look(path: &str, value: &Value, problems: &mut Vec<String>) {
    match value {
        Value::Table(table) if !table.is_empty() => {
            for (name, value) in table {
                // Names of variables are free.
                let name = match path {
                    "loader.env" => "*",
                    _ => name,
                };
                look(&format!("{path}.{name}"), value, problems);
            }
        }
        Value::Array(values) => {
            for value in values {
                look(&format!("{path}[]"), value, problems);
            }
        }
        value => problems.extend(problem(path, value)),
    }
}

fn problem(path: &str, value: &Value) -> Option<String> {
    if let Some((_, instead)) = GONE.iter().find(|(gone, _)| *gone == path) {
        return Some(format!(
            "{path}: Gramine has this key no more; write {instead}"
        ));
    }
    let Some((_, kind)) = KEYS.iter().find(|(known, _)| *known == path) else {
        return Some(format!("{path}: not a key that we know"));
    };
    (!fits(*kind, value)).then(|| format!("{path}: {value:?} is no {kind:?}"))
}

fn fits(kind: Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Text, Value::String(_)) | (Kind::Flag, Value::Boolean(_)) => true,
        (Kind::Size, Value::String(text)) => super::options::size(text).is_ok(),
        (Kind::Uri, Value::String(text)) => text.strip_prefix("file:").is_some_and(|path| {
            let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
            path.trim_end_matches('/').split('/').all(is_plain)
        }),
        (Kind::Number, Value::Integer(number)) => *number >= 0,
        (Kind::Sha256, Value::String(text)) => {
            text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_gone_unknown_or_of_another_kind_are_named() {
        let problems = |text: &str| check(&text.parse().expect("TOML"));
        for (gone, _) in GONE {
            let value = if *gone == "loader.entrypoint" {
                "\"file:libsysdb.so\""
            } else {
                "true"
            };
            let found = problems(&format!("{gone} = {value}"));
            assert!(found[0].contains("no more"), "{found:?}");
        }
        for (text, expected) in [
            ("sgx.enclav_size = \"4G\"", "not a key"),
            ("sgx.debug = \"no\"", "is no Flag"),
            ("sgx.enclave_size = \"lots\"", "is no Size"),
            ("sgx.enclave_size = 4", "is no Size"),
            ("sgx.allowed_files = [\"data\"]", "is no Uri"),
            ("sgx.allowed_files = [\"file:../data\"]", "is no Uri"),
            ("sgx.max_threads = -1", "is no Number"),
            (
                "sgx.trusted_files = [{ uri = \"file:a\", sha256 = \"12\" }]",
                "is no Sha256",
            ),
            ("fs.mounts = [\"file:a\"]", "not a key"),
            ("[sgx.insecure__new]", "not a key"),
        ] {
            let found = problems(text);
            assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
        }
        assert!(problems("loader.env.ANY = \"x\"\nsgx.debug = false").is_empty());
    }
}
