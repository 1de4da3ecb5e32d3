//! Names to addresses.
//!
//! One resolver per engine, shared by all instances; the answers are kept for each
//! app on its own (`names`). It never blocks a thread for longer than it takes to look
//! at a file. The system's
//! configuration is read again when it has changed. Called by `connect`; what
//! may be done with the answer is the policy's business.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as StdInstant};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::time::Instant;
use tracing::{info, warn};
use wapo_abi::NetFailure;

use crate::limits::{ANSWER_ADDRESSES_MAX, DNS_TIMEOUT, RESOLV_CONF_BYTES_MAX};
use crate::net::dns_sockets::{Asker, DnsSockets};
use crate::net::failure::Failure;
use crate::net::names::{AddressFamily, Answer, AnswerRoom, NameShare, TooManyNames};

/// Where the system says which servers resolve names.
const SYSTEM_FILE: &str = "/etc/resolv.conf";

/// Names that need no server.
const HOSTS_FILE: &str = "/etc/hosts";

/// Time between two looks at whether the configuration has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Asks name servers by sockets that are counted.
type NameResolver = hickory_resolver::Resolver<DnsSockets>;

/// Who resolves names for outgoing connections.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolver {
    /// As the system is configured, and anew when that changes.
    System,
    /// As this file in the form of `/etc/resolv.conf` says, in the same way.
    File(PathBuf),
    /// These DNS servers only.
    Servers(Vec<SocketAddr>),
}

/// Resolves names for all guests of an engine.
pub(crate) struct Dns {
    source: Source,
    room: Arc<AnswerRoom>,
}

enum Source {
    Fixed(NameResolver),
    File(Mutex<FromFile>),
}

/// A resolver that is set up by a file.
struct FromFile {
    path: PathBuf,
    seen: [Option<Stamp>; 2],
    looked: StdInstant,
    /// Rises with each change of the resolver.
    generation: u64,
    /// The resolver by the last file that could be used, or why there is none.
    resolver: Result<NameResolver, String>,
}

/// What changes with the content of a file.
type Stamp = (u64, u64, i64, i64, u64);

impl Dns {
    /// A missing or unusable configuration of the
    /// system is no error: names fail until there is one.
    ///
    /// # Errors
    ///
    /// When no resolver can be set up for the servers that are given.
    pub(crate) fn new(config: &Resolver) -> Result<Self, String> {
        let source = match config {
            Resolver::System => Source::File(Mutex::new(FromFile::new(SYSTEM_FILE.into()))),
            Resolver::File(path) => Source::File(Mutex::new(FromFile::new(path.clone()))),
            Resolver::Servers(servers) => {
                let servers = servers.iter().map(|server| name_server(*server)).collect();
                let config = ResolverConfig::from_parts(None, Vec::new(), servers);
                Source::Fixed(build(config, ResolverOpts::default())?)
            }
        };
        Ok(Self {
            source,
            room: Arc::default(),
        })
    }

    /// The addresses of one family that a name has, in the order of the answer, for
    /// an app: at its rate, from its answers or anew, by sockets of `asker`. The name is
    /// a whole one; domains to search, as the system may have them, are not put behind it.
    ///
    /// # Errors
    ///
    /// [`NetFailure::NO_SUCH_NAME`] when there are none,
    /// [`NetFailure::LOOKUP_FAILED`] when nobody can be asked,
    /// [`NetFailure::TIMED_OUT`] when no server answers,
    /// [`NetFailure::LIMIT`] when the app asks too much.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; a question that was begun counts for the rate.
    pub(crate) async fn lookup_for(
        &self,
        app: &NameShare,
        asker: &Arc<Asker>,
        host: &str,
        family: AddressFamily,
    ) -> Result<Vec<IpAddr>, Failure> {
        let (resolver, generation) = self.resolver()?;
        let mut name = parse_name(host).ok_or_else(|| Failure::of(NetFailure::NO_SUCH_NAME))?;
        // The policy has judged this name, and none that the system's list of domains to
        // search would make of it.
        name.set_fqdn(true);
        let answer = match app.known(host, family, generation, Instant::now()) {
            Some(answer) => answer,
            None => {
                let wait = app
                    .turn(Instant::now())
                    .map_err(|TooManyNames| too_many_names())?;
                tokio::time::sleep(wait).await;
                let turn = app.under_way.acquire().await;
                let _turn = turn.map_err(|_| too_many_names())?;
                let (answer, ttl) = asker.ask(ask(&resolver, name, family)).await?;
                let of = (host, family, generation);
                app.keep(&self.room, of, answer.clone(), ttl, Instant::now());
                answer
            }
        };
        let answer = answer.ok_or_else(|| Failure::of(NetFailure::NO_SUCH_NAME))?;
        Ok(answer.to_vec())
    }

    /// The same for the worker itself: always anew, at any rate, and with the
    /// domains that the system searches.
    ///
    /// # Errors
    ///
    /// As [`lookup_for`](Self::lookup_for).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(crate) async fn lookup(
        &self,
        asker: &Arc<Asker>,
        host: &str,
        family: AddressFamily,
    ) -> Result<Vec<IpAddr>, Failure> {
        let (resolver, _) = self.resolver()?;
        let name = parse_name(host).ok_or_else(|| Failure::of(NetFailure::NO_SUCH_NAME))?;
        let (answer, _) = asker.ask(ask(&resolver, name, family)).await?;
        let answer = answer.ok_or_else(|| Failure::of(NetFailure::NO_SUCH_NAME))?;
        Ok(answer.to_vec())
    }

    fn resolver(&self) -> Result<(NameResolver, u64), Failure> {
        let file = match &self.source {
            Source::Fixed(resolver) => return Ok((resolver.clone(), 0)),
            Source::File(file) => file,
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.looked.elapsed() >= LOOK_INTERVAL {
            file.look();
        }
        let resolver = file.resolver.clone();
        let resolver =
            resolver.map_err(|reason| Failure::new(NetFailure::LOOKUP_FAILED, reason))?;
        Ok((resolver, file.generation))
    }
}

/// Asks the name servers. Gives also the time for which the answer holds.
async fn ask(
    resolver: &NameResolver,
    name: Name,
    family: AddressFamily,
) -> Result<(Answer, Duration), Failure> {
    let kind = match family {
        AddressFamily::V4 => RecordType::A,
        AddressFamily::V6 => RecordType::AAAA,
    };
    let looking = tokio::time::timeout(DNS_TIMEOUT, resolver.lookup(name, kind)).await;
    let found = match looking.map_err(|_| no_answer())? {
        Ok(found) => found,
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            let ttl = none.negative_ttl.unwrap_or_default();
            return Ok((None, Duration::from_secs(ttl.into())));
        }
        Err(error) => return Err(lookup_failure(error)),
    };
    let ttl = found.answers().iter().map(|record| record.ttl).min();
    let addresses = found
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        });
    let addresses: Arc<[IpAddr]> = addresses.take(ANSWER_ADDRESSES_MAX).collect();
    let ttl = Duration::from_secs(ttl.unwrap_or_default().into());
    Ok((Some(addresses).filter(|all| !all.is_empty()), ttl))
}

impl FromFile {
    fn new(path: PathBuf) -> Self {
        let mut file = Self {
            path,
            seen: [None; 2],
            looked: StdInstant::now(),
            generation: 0,
            resolver: Err(String::new()),
        };
        file.read();
        file
    }

    /// Reads the file again if it, or the file of hosts, has changed.
    fn look(&mut self) {
        self.looked = StdInstant::now();
        if self.seen != self.stamps() {
            self.read();
        }
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [stamp(&self.path), stamp(Path::new(HOSTS_FILE))]
    }

    fn read(&mut self) {
        // Before the content, so that a change in between is seen later.
        self.seen = self.stamps();
        self.generation += 1;
        match (resolver_by(&self.path), &self.resolver) {
            (Ok(resolver), _) => {
                info!(file = %self.path.display(), "names are resolved as the file says");
                self.resolver = Ok(resolver);
            }
            // It may be half written; what was there works as well as nothing.
            (Err(reason), Ok(_)) => {
                warn!("{reason}: names are resolved as before");
            }
            (Err(reason), Err(_)) => {
                warn!("{reason}: guests cannot connect to names until the file names a server");
                self.resolver = Err(reason);
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.mtime(),
        found.mtime_nsec(),
        found.len(),
    ))
}

/// A resolver as a file in the form of resolv.conf says.
fn resolver_by(path: &Path) -> Result<NameResolver, String> {
    let no_server = |reason: &dyn std::fmt::Display| {
        format!("{} names no DNS server ({reason})", path.display())
    };
    let size = fs::metadata(path).map_err(|error| no_server(&error))?.len();
    if size > RESOLV_CONF_BYTES_MAX {
        return Err(no_server(&"it is too large"));
    }
    let content = fs::read(path).map_err(|error| no_server(&error))?;
    let (config, options) = parse_resolv_conf(content).map_err(|error| no_server(&error))?;
    build(config, options)
}

fn build(config: ResolverConfig, options: ResolverOpts) -> Result<NameResolver, String> {
    let mut builder = NameResolver::builder_with_config(config, DnsSockets::default());
    *builder.options_mut() = options;
    // Families are asked for one by one.
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4Only;
    // Answers are kept for each app on its own.
    builder.options_mut().cache_size = 0;
    builder
        .build()
        .map_err(|error| format!("cannot set up name resolution: {error}"))
}

/// A name as people and programs write it, also with `_`, which is no character
/// of a host name and yet in use (RFC 2181, section 11, allows all).
fn parse_name(host: &str) -> Option<Name> {
    let name = match host.is_ascii() && host.contains('_') {
        true => Name::from_ascii(host.to_ascii_lowercase()),
        false => Name::from_utf8(host),
    };
    name.ok()
}

fn too_many_names() -> Failure {
    Failure::new(
        NetFailure::LIMIT,
        "this app has too many names resolved at a time: ask less often, or keep connections",
    )
}

fn no_answer() -> Failure {
    Failure::new(NetFailure::TIMED_OUT, "no DNS server answered in time")
}

fn lookup_failure(error: NetError) -> Failure {
    match error {
        NetError::Timeout => no_answer(),
        error => Failure::new(
            NetFailure::LOOKUP_FAILED,
            format!("{}: {error}", NetFailure::LOOKUP_FAILED),
        ),
    }
}

fn name_server(server: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = server.port();
    }
    NameServerConfig::new(server.ip(), true, connections)
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::op::Message;

    use super::*;
    use crate::descriptors::{DescriptorBudget, DescriptorLimits, DescriptorShare};
    use crate::limits::LOOKUP_SOCKETS_MAX;

    fn budget(per_instance: u64) -> Arc<DescriptorBudget> {
        let limits = DescriptorLimits {
            total: 10_000,
            per_instance,
        };
        DescriptorBudget::new(limits, 1)
    }

    fn asker() -> Arc<Asker> {
        let share = DescriptorShare::new(&budget(10), &Arc::default());
        Asker::with_lent(&share)
    }

    #[test]
    fn names_with_an_underscore_are_names() {
        for text in [
            "my_service",
            "under_score.test",
            "_sip.a_b.test",
            "Plain.test",
        ] {
            let name = parse_name(text).expect(text);
            assert_eq!(name.to_string(), text.to_lowercase());
        }
        assert!(parse_name("a b_c..").is_none());
    }

    /// A server that knows no name, and notes each that it is asked for.
    async fn unknowing() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await;
        let socket = socket.expect("a port");
        let address = socket.local_addr().expect("bound");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let names = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut packet).await {
                let question = Message::from_vec(&packet[..len]).expect("a question");
                names
                    .lock()
                    .expect("names")
                    .push(question.queries[0].name().to_string());
                // A response, and there is no such name.
                packet[2] |= 0x80;
                packet[3] = 0x83;
                let _ = socket.send_to(&packet[..len], from).await;
            }
        });
        (address, asked)
    }

    #[tokio::test]
    async fn apps_ask_for_the_name_that_was_judged_and_the_worker_may_search() {
        let (address, asked) = unknowing().await;
        let search = |text: &str| Name::from_utf8(text).expect("a name");
        let config = ResolverConfig::from_parts(
            Some(search("domain.test.")),
            vec![search("search.test.")],
            vec![name_server(address)],
        );
        let dns = Dns {
            source: Source::Fixed(build(config, ResolverOpts::default()).expect("a resolver")),
            room: Arc::default(),
        };
        for host in ["db", "db.other.test", "my_db"] {
            let app = NameShare::default();
            let found = dns
                .lookup_for(&app, &asker(), host, AddressFamily::V4)
                .await;
            assert!(found.is_err(), "{found:?}");
            let names = std::mem::take(&mut *asked.lock().expect("names"));
            assert!(!names.is_empty());
            assert!(
                names.iter().all(|name| *name == format!("{host}.")),
                "{names:?}"
            );
        }
        assert!(dns.lookup(&asker(), "db", AddressFamily::V4).await.is_err());
        let names = asked.lock().expect("names").clone();
        assert!(names.contains(&"db.search.test.".to_owned()), "{names:?}");
    }

    /// Sockets of this process that are connected to nothing and speak UDP.
    fn sockets_open() -> usize {
        let all = fs::read_dir("/proc/self/fd").expect("own files");
        let links = all.filter_map(|one| fs::read_link(one.ok()?.path()).ok());
        links
            .filter(|link| link.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// Two servers that hear and say nothing.
    async fn silent_servers() -> (Vec<tokio::net::UdpSocket>, NameResolver) {
        let one = tokio::net::UdpSocket::bind("127.0.0.1:0").await;
        let one = one.expect("a port");
        let port = one.local_addr().expect("bound").port();
        let other = tokio::net::UdpSocket::bind(("127.0.0.2", port)).await;
        let servers = vec![one, other.expect("a port")];
        let configs = servers
            .iter()
            .map(|server| name_server(server.local_addr().expect("bound")));
        let config = ResolverConfig::from_parts(None, Vec::new(), configs.collect());
        let resolver = build(config, ResolverOpts::default()).expect("a resolver");
        (servers, resolver)
    }

    /// The most sockets that were open while some questions of one instance were not
    /// answered, the instance's descriptors at that time, and how many it has after.
    async fn while_servers_are_silent(questions: usize, per_instance: u64) -> (usize, u64, u64) {
        let (_servers, resolver) = silent_servers().await;
        let dns = Arc::new(Dns {
            source: Source::Fixed(resolver),
            room: Arc::default(),
        });
        let budget = budget(per_instance);
        let share = DescriptorShare::new(&budget, &Arc::default());
        let before = sockets_open();
        let asking: Vec<_> = (0..questions)
            .map(|number| {
                let asker = Asker::new(&share, share.take(1).ok());
                let dns = Arc::clone(&dns);
                tokio::spawn(async move {
                    let (app, name) = (NameShare::default(), format!("n{number}.test"));
                    dns.lookup_for(&app, &asker, &name, AddressFamily::V4).await
                })
            })
            .collect();
        let (mut open, mut charged) = (0, 0);
        // Resends follow each other within milliseconds on loopback.
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let charged_before = share.held_count();
            let open_now = sockets_open().saturating_sub(before);
            if open_now > open {
                (open, charged) = (open_now, charged_before.max(share.held_count()));
            }
        }
        for one in &asking {
            one.abort();
        }
        for one in asking {
            assert!(one.await.is_err(), "nobody has answered");
        }
        (open, charged, share.held_count())
    }

    #[test]
    fn the_sockets_of_questions_are_few_and_counted() {
        // In a process of its own, as nextest runs it, and on one thread, so that the
        // sockets that are counted are these.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (open, charged, after) = while_servers_are_silent(50, 1_000).await;
            assert_eq!(
                open,
                50 * LOOKUP_SOCKETS_MAX,
                "two servers are asked at once"
            );
            assert_eq!((charged, after), (open as u64, 0));
            // An instance that has no more than the first of each has no more.
            let (open, charged, after) = while_servers_are_silent(50, 50).await;
            assert_eq!((open, charged, after), (50, 50, 0));
        });
    }

    #[tokio::test]
    async fn a_question_without_a_descriptor_waits_and_is_answered_with_one() {
        let (address, asked) = unknowing().await;
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server(address)]);
        let dns = Dns {
            source: Source::Fixed(build(config, ResolverOpts::default()).expect("a resolver")),
            room: Arc::default(),
        };
        let share = DescriptorShare::new(&budget(1), &Arc::default());
        let app = NameShare::default();
        let first = Asker::new(&share, share.take(1).ok());
        for name in ["a.test", "b.test"] {
            let answer = dns.lookup_for(&app, &first, name, AddressFamily::V4).await;
            let failure = answer.expect_err("there is none");
            assert_eq!(
                failure.kind,
                NetFailure::NO_SUCH_NAME,
                "one after the other"
            );
        }
        let none = Asker::new(&share, share.take(1).ok());
        let asking = dns.lookup_for(&app, &none, "c.test", AddressFamily::V4);
        let waited = tokio::time::timeout(Duration::from_millis(300), asking).await;
        assert!(waited.is_err(), "{waited:?}");
        assert_eq!(asked.lock().expect("names").len(), 2);
        assert!(first.take_back().is_some());
        assert_eq!(share.held_count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_comes_later_or_changes_is_used() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("resolv.conf");
        let mut file = FromFile::new(path.clone());
        assert!(file.resolver.is_err(), "there is none yet");
        fs::write(&path, "nameserver 127.0.0.77\n").expect("write");
        file.look();
        assert!(file.resolver.is_ok());
        let seen = file.seen;
        fs::write(&path, "nameserver 127.0.0.7\nnameserver 127.0.0.8\n").expect("write");
        file.look();
        assert!(file.seen != seen && file.resolver.is_ok());
        fs::write(&path, "").expect("write");
        file.look();
        assert!(file.resolver.is_ok(), "half a file changes nothing");
    }

    #[tokio::test]
    async fn without_a_configuration_names_fail_and_say_why() {
        let dns = Dns::new(&Resolver::File("/no/such/file".into())).expect("starts");
        let failed = dns.lookup(&asker(), "name.test", AddressFamily::V4).await;
        let failure = failed.expect_err("nobody to ask");
        assert_eq!(failure.kind, NetFailure::LOOKUP_FAILED);
        assert!(
            failure.text().contains("/no/such/file"),
            "{}",
            failure.text()
        );
    }
}
