//! The configuration file, `wapod.toml`.
//!
//! Its keys are the names of the options. A `Wapod.toml` of Wapo 0.x is read,
//! too: what has an effect is taken over, settings of its web framework are
//! named in a warning, and anything else is an error with its line.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};
use wapo_rpc::limits::{BLOB_CALL_BYTES_MAX, BODY_BYTES_MAX, CALL_BYTES_MAX};
use wapod::{ByteSize, EgressRule, QuotaList, TlsFiles};

use super::layer::{KEYS, Layer, similar};
use super::small_file::read_small;

/// Names that are looked for in the working directory.
const NAMES: [&str; 2] = ["wapod.toml", "Wapod.toml"];

/// Bytes of the file. A hundred times what all settings with comments have.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Settings that may be lists.
const LISTS: [&str; 3] = ["egress-allow", "egress-deny", "trusted-proxies"];

/// Keys of the web framework of Wapo 0.x, in the sections of its servers.
const FRAMEWORK_KEYS: &[&str] = &[
    "cli_colors",
    "ident",
    "ip_header",
    "keep_alive",
    "log_level",
    "max_blocking",
    "proxy_proto_header",
    "secret_key",
    "shutdown",
    "temp_dir",
    "workers",
];

/// Finds the file of a folder. Folders above are not looked at: who can write
/// there must not decide what the daemon does.
///
/// # Errors
///
/// A text when there are two.
pub(super) fn find(folder: &Path) -> Result<Option<PathBuf>, String> {
    // By listing, because some file systems do not tell the names apart.
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(None);
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut found: Vec<_> = names
        .filter(|name| NAMES.contains(&name.as_str()))
        .collect();
    let file = found.pop();
    match (file, found.is_empty()) {
        (Some(file), true) => Ok(Some(PathBuf::from(file))),
        (Some(_), false) => Err(format!(
            "there are both {} and {}: remove one, or name one with --config",
            NAMES[0], NAMES[1]
        )),
        (None, _) => Ok(None),
    }
}

/// A file's settings, and what its owner should know.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) layer: Layer,
    pub(super) warnings: Vec<String>,
}

/// Reads a file.
///
/// # Errors
///
/// A text of one line, with the file and the number of the line.
pub(super) fn read(path: &Path) -> Result<Read, String> {
    let shown = path.display();
    let text = read_small(path, FILE_BYTES_MAX);
    let text = text.map_err(|error| format!("cannot read {shown}: {error}"))?;
    parse(&text, &shown.to_string())
}

fn parse(text: &str, file: &str) -> Result<Read, String> {
    let reader = Reader { text, file };
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        reader.error(span, error.message().lines().next().unwrap_or_default())
    })?;
    let mut read = Read {
        layer: Layer::default(),
        warnings: Vec::new(),
    };
    // The servers' own sections decide over what holds for both.
    let mut sections: Vec<_> = table.get_ref().iter().collect();
    sections.sort_by_key(|(key, _)| (key.get_ref() != "default", key.span().start));
    for (key, value) in sections {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("default" | "admin" | "user", DeValue::Table(table)) => {
                reader.server(key.get_ref(), table, &mut read)?;
            }
            ("runtime", DeValue::Table(table)) => reader.runtime(table, &mut read)?,
            ("quotas", DeValue::Table(table)) => reader.quotas(table, &mut read.layer)?,
            _ => reader.setting(key, value, &mut read.layer)?,
        }
    }
    Ok(read)
}

/// The file that is being read, for messages.
struct Reader<'a> {
    text: &'a str,
    file: &'a str,
}

impl Reader<'_> {
    fn error(&self, at: Range<usize>, text: &str) -> String {
        format!("{}: {text}", self.place(at))
    }

    fn place(&self, at: Range<usize>) -> String {
        let before = self.text.get(..at.start).unwrap_or_default();
        format!("{}:{}", self.file, before.matches('\n').count() + 1)
    }

    /// One of our settings.
    fn setting(
        &self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        layer: &mut Layer,
    ) -> Result<(), String> {
        let name = key.get_ref();
        let Some((_, set)) = KEYS.iter().find(|(known, _)| known == name) else {
            let text = match name.as_ref() {
                "admin-token" | "admin-api-token" => {
                    "a token does not belong here: put it into a file of its own and name that with `admin-token-file`".to_owned()
                }
                _ => match similar(name) {
                    Some(known) => {
                        format!("unknown setting `{name}`; did you mean `{known}`?")
                    }
                    None => format!(
                        "unknown setting `{name}`: they are the long options of `wapod --help`"
                    ),
                },
            };
            return Err(self.error(key.span(), &text));
        };
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Array(parts) if LISTS.contains(&name.as_ref()) => {
                let parts = parts.iter().map(|part| part.get_ref().as_str());
                let Some(parts) = parts.collect::<Option<Vec<_>>>() else {
                    let text = format!("`{name}` takes a list of texts");
                    return Err(self.error(value.span(), &text));
                };
                parts.join(",")
            }
            _ => {
                let text = format!("`{name}` takes a text, a number, true or false");
                return Err(self.error(value.span(), &text));
            }
        };
        set(layer, &text).map_err(|error| self.error(value.span(), &format!("`{name}`: {error}")))
    }

    /// A section of a web server of Wapo 0.x.
    fn server(&self, section: &str, table: &DeTable<'_>, read: &mut Read) -> Result<(), String> {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if matches!(name, "address" | "port") {
                for server in ["admin", "user"] {
                    if section == server || section == "default" {
                        let ours = DeString::from(format!("{server}-{name}"));
                        let ours = Spanned::new(key.span(), ours);
                        self.setting(&ours, value, &mut read.layer)?;
                    }
                }
            } else if name == "limits" {
                self.size_limits(value)?;
            } else if name == "tls" {
                self.tls(section, key, value, read)?;
            } else if FRAMEWORK_KEYS.contains(&name) {
                read.warnings.push(format!(
                    "{}: `{name}` has no effect any more",
                    self.place(key.span())
                ));
            } else {
                let text = format!("unknown key `{name}` in [{section}]");
                return Err(self.error(key.span(), &text));
            }
        }
        Ok(())
    }

    /// Certificate and key of a server of Wapo 0.x.
    fn tls(
        &self,
        section: &str,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        read: &mut Read,
    ) -> Result<(), String> {
        let DeValue::Table(tls) = value.get_ref() else {
            return Err(self.error(value.span(), "`tls` takes a section"));
        };
        let (mut certificate, mut private) = (None, None);
        for (name, value) in tls {
            match (name.get_ref().as_ref(), value.get_ref().as_str()) {
                ("certs", Some(path)) => certificate = Some(PathBuf::from(path)),
                ("key", Some(path)) => private = Some(PathBuf::from(path)),
                ("ciphers" | "prefer_server_cipher_order", _) => read.warnings.push(format!(
                    "{}: `{}` has no effect any more",
                    self.place(name.span()),
                    name.get_ref()
                )),
                (other, _) => {
                    let text = format!(
                        "`tls`: `{other}` cannot be used: it takes `certs` and `key`, each the name of a PEM file"
                    );
                    return Err(self.error(name.span(), &text));
                }
            }
        }
        let Some(certificate) = certificate else {
            return Err(self.error(key.span(), "`tls` names no `certs`"));
        };
        let key = private;
        let files = Some(TlsFiles { certificate, key });
        if section != "user" {
            read.layer.tls.admin_tls.clone_from(&files);
        }
        if section != "admin" {
            read.layer.tls.user_tls = files;
        }
        Ok(())
    }

    /// Limits of bodies in Wapo 0.x. Those of methods are fixed here: what differs
    /// would be a limit that does not hold.
    fn size_limits(&self, limits: &Spanned<DeValue<'_>>) -> Result<(), String> {
        let DeValue::Table(limits) = limits.get_ref() else {
            return Err(self.error(limits.span(), "`limits` takes a section"));
        };
        for (key, value) in limits {
            let method = key.get_ref();
            // The others were of forms, which no method takes.
            if !method.contains('.') {
                continue;
            }
            let fixed = match method.as_ref() {
                "Operation.BlobPut" => BLOB_CALL_BYTES_MAX,
                query if query.ends_with("Query") => BODY_BYTES_MAX,
                _ => CALL_BYTES_MAX,
            } as u64;
            let asked = value.get_ref().as_str().map(str::parse::<ByteSize>);
            if !matches!(asked, Some(Ok(ByteSize(bytes))) if bytes == fixed) {
                let text = format!(
                    "`limits`: bodies of `{method}` have at most {} in this version, which cannot be set; leave it out",
                    ByteSize(fixed)
                );
                return Err(self.error(value.span(), &text));
            }
        }
        Ok(())
    }

    /// The section of quotas: of each app, and in a section of its own of all apps
    /// together.
    fn quotas(&self, table: &DeTable<'_>, layer: &mut Layer) -> Result<(), String> {
        let mut each = QuotaList::default();
        for (key, value) in table {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("worker", DeValue::Table(table)) => {
                    let mut of_all = QuotaList::default();
                    for (key, value) in table {
                        self.quota(key, value, &mut of_all)?;
                    }
                    layer.worker_quotas = Some(of_all);
                }
                _ => self.quota(key, value, &mut each)?,
            }
        }
        layer.quotas = Some(each);
        Ok(())
    }

    fn quota(
        &self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        list: &mut QuotaList,
    ) -> Result<(), String> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            _ => {
                let text = format!("`{}` takes a text or a number", key.get_ref());
                return Err(self.error(value.span(), &text));
            }
        };
        let set = list.set(key.get_ref(), &text);
        set.map_err(|error| self.error(key.span(), &error))
    }

    /// The section of Wapo 0.x about the daemon.
    fn runtime(&self, table: &DeTable<'_>, read: &mut Read) -> Result<(), String> {
        for (key, value) in table {
            let name = key.get_ref();
            if name != "tcp_connect_blacklist" {
                let text = format!("unknown key `{name}` in [runtime]");
                return Err(self.error(key.span(), &text));
            }
            let DeValue::Array(hosts) = value.get_ref() else {
                let text = format!("`{name}` takes a list of texts");
                return Err(self.error(value.span(), &text));
            };
            for host in hosts {
                let failed = |text: &str| self.error(host.span(), &format!("`{name}`: {text}"));
                let text = host.get_ref().as_str();
                let text = text.ok_or_else(|| failed("a list of texts"))?.trim();
                if text.is_empty() || text.starts_with('#') {
                    continue;
                }
                let rule = text.parse::<EgressRule>();
                let rule = rule.map_err(|error| failed(&error.to_string()))?;
                read.layer.egress.blacklist.push(rule);
            }
            read.warnings.push(format!(
                "{}: `{name}` denies also what an app is allowed, and names with all their addresses; its new name is `egress-deny`",
                self.place(key.span())
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Read {
        parse(text, "wapod.toml").expect(text)
    }

    fn error(text: &str) -> String {
        parse(text, "wapod.toml").expect_err(text)
    }

    #[test]
    fn settings_have_the_names_of_the_options() {
        let read = read(
            "instance-memory-size = \"1g\"\nmax-instances = 500\nno-mem-pool = true\n\
             admin-address = \"127.0.0.1:9001\"\ntcp-listen-port-range = \"none\"\n",
        );
        assert_eq!(
            read.layer.instance_memory_size.map(|size| size.0),
            Some(1 << 30)
        );
        assert_eq!(read.layer.max_instances, Some(500));
        assert_eq!(read.layer.no_mem_pool, Some(true));
        let place = read.layer.admin_address.expect("an address");
        assert_eq!(place.port, Some(9001));
        assert!(read.warnings.is_empty());
    }

    #[test]
    fn quotas_have_sections_of_their_own() {
        let read = read(
            "[quotas]\nconnections-in = 100\ncpu = 0.5\negress-per-second = \"10M\"\n\
             [quotas.worker]\ncpu = 1.5\n",
        );
        let shown = |list: Option<QuotaList>| list.expect("set").to_string();
        assert_eq!(
            shown(read.layer.quotas),
            "connections-in=100,egress-per-second=10M,cpu=0.5"
        );
        assert_eq!(shown(read.layer.worker_quotas), "cpu=1.5");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            (
                "\nmax-instance = 3",
                "wapod.toml:2: unknown setting `max-instance`; did you mean `max-instances`?",
            ),
            (
                "max-instances = \"many\"",
                "wapod.toml:1: `max-instances`: `many` is not a number",
            ),
            ("max-instances = [1]", "wapod.toml:1: `max-instances` takes"),
            ("max-instances = 1\nmax-instances = 2", "wapod.toml:2: "),
            ("\n\n= 3", "wapod.toml:3: "),
            (
                "admin-token = \"secret\"",
                "wapod.toml:1: a token does not belong",
            ),
            (
                "[admin]\naddres = \"::1\"",
                "wapod.toml:2: unknown key `addres` in [admin]",
            ),
            ("[admni]\nport = 1", "wapod.toml:1: unknown setting `admni`"),
            (
                "[default.tls]\ncerts = \"c.pem\"\nmutual = {}",
                "wapod.toml:3: `tls`: `mutual` cannot be used",
            ),
            (
                "[default.limits]\n\"Operation.BlobPut\" = \"1MiB\"",
                "wapod.toml:2: `limits`: bodies of `Operation.BlobPut` have at most",
            ),
            (
                "[quotas]\nconections-in = 1",
                "wapod.toml:2: there is no quota `conections-in`; did you mean `connections-in`?",
            ),
            (
                "[quotas]\ncpu = \"much\"",
                "wapod.toml:2: `cpu`: `much` is not a number of cores",
            ),
            (
                "[quotas]\ncpu = [1]",
                "wapod.toml:2: `cpu` takes a text or a number",
            ),
            (
                "[quotas.worker]\ngas = 5\ncpu = \"much\"",
                "wapod.toml:3: `cpu`: `much` is not a number of cores",
            ),
            (
                "[runtime]\nx = 1",
                "wapod.toml:2: unknown key `x` in [runtime]",
            ),
        ] {
            let error = error(text);
            assert!(error.starts_with(expected), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_file_of_wapo_0_is_taken_over() {
        let read = read(
            "[default]\nworkers = 8\naddress = \"0.0.0.0\"\n\
             [default.limits]\n\"Operation.BlobPut\" = \"50MiB\"\n\
             [admin]\naddress = \"127.0.0.1\"\nport = 9001\n[user]\nport = 9002\n\
             [admin.tls]\ncerts = \"c.pem\"\nkey = \"k.pem\"\nciphers = []\n\
             [runtime]\ntcp_connect_blacklist = [\"192.168.0.0/16\", \"localhost\", \"127.0.0.1\", \"::1\"]\n",
        );
        let ip = |place: Option<super::super::values::Place>| place.expect("set").ip.to_string();
        assert_eq!(ip(read.layer.admin_address), "127.0.0.1");
        assert_eq!(ip(read.layer.user_address), "0.0.0.0");
        assert_eq!(read.layer.admin_port, Some(9001));
        assert_eq!(read.layer.user_port, Some(9002));
        let tls = read.layer.tls.admin_tls.expect("files");
        assert_eq!(tls.to_string(), "c.pem,k.pem");
        assert_eq!(read.layer.tls.user_tls, None);
        assert_eq!(read.warnings.len(), 3, "{:?}", read.warnings);
    }

    #[test]
    fn the_blacklist_of_wapo_0_becomes_rules_that_deny() {
        let read = read(
            "egress-deny = [\"*:25\", \"10.0.0.0/8\"]\negress-allow = \"a.test, b.test\"\n\
             [runtime]\ntcp_connect_blacklist = [\"8.8.8.0/24\", \"\", \"# no\", \"Evil.example\", \"::1\"]\n",
        );
        let shown = |rules: &[EgressRule]| {
            let texts: Vec<_> = rules.iter().map(ToString::to_string).collect();
            texts.join(" ")
        };
        let egress = &read.layer.egress;
        assert_eq!(shown(&egress.blacklist), "8.8.8.0/24 evil.example ::1/128");
        let list =
            |list: &Option<super::super::egress::RuleList>| shown(&list.as_ref().expect("given").0);
        assert_eq!(list(&egress.egress_deny), "*:25 10.0.0.0/8");
        assert_eq!(list(&egress.egress_allow), "a.test b.test");
        for (host, line) in [("10.0.0.0/x", 3), ("a b", 3)] {
            let text = format!("[runtime]\ntcp_connect_blacklist = [\n\"{host}\"]");
            let error = error(&text);
            let expected = format!("wapod.toml:{line}: `tcp_connect_blacklist`: `{host}`");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    fn only_the_folder_itself_is_searched() {
        let folder = tempfile::tempdir().expect("folder");
        let below = folder.path().join("below");
        fs::create_dir(&below).expect("made");
        fs::write(folder.path().join("Wapod.toml"), "").expect("written");
        assert_eq!(find(&below), Ok(None));
        assert_eq!(find(folder.path()), Ok(Some("Wapod.toml".into())));
        fs::write(folder.path().join("wapod.toml"), "").expect("written");
        if fs::read_dir(folder.path()).expect("folder").count() == 3 {
            assert!(find(folder.path()).is_err());
        }
    }
}
