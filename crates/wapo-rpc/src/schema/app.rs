//! Rows: deploying apps, looking at them, what they used.
//!
//! Expanded by `schema`, `message` and the tests.

macro_rules! app_messages {
    ($each:ident) => {
        $each! {
            /// What a worker is asked to run. The app's address is a hash of it.
            Manifest {
                /// Version of this structure: 1.
                version: u32 = 1,
                /// Blob of the code, as `sha256:<hex>`.
                code_hash: string = 2,
                /// Program arguments after the program's own name.
                args: [string] = 3,
                /// Environment variables. They are public; secrets are set with
                /// `SecretSet`.
                env_vars: [StringPair] = 4,
                /// Whether instances run only while a request needs one.
                on_demand: bool = 5,
                /// Whether the app may have many instances.
                resizable: bool = 6,
                /// Bytes of path and payload of a query at most.
                max_query_size: u32 = 7,
                /// Name for people, at most 64 bytes.
                label: string = 8,
                /// Blobs the app needs: hash, and where else it can be had.
                required_blobs: [StringPair] = 9,
            }
            /// Deploys an app.
            DeployArgs {
                /// What to run.
                manifest: Manifest = 1,
                /// Whether requests share instances; each gets its own otherwise.
                reuse_instances: bool = 2,
                /// Host name label that is wanted; when empty it is derived from the
                /// manifest's label, if that is free.
                name: string = 100,
                /// What the operator allows the app.
                settings: AppSettings = 101,
                /// Address of the app that this one takes the place of; empty for none.
                replaces: bytes = 102,
                /// Time in milliseconds that it has to stay alive before that one leaves;
                /// 0 for the worker's setting, at most a minute.
                settle_ms: u32 = 103,
            }
            /// The app that was deployed.
            DeployResponse {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
                /// A random number that tells this deployment from others of the app, 32
                /// bytes.
                session: bytes = 2,
                /// Host name label that the app got; may be empty.
                name: string = 100,
            }
            /// What the operator allows an app. Not part of its address.
            AppSettings {
                /// Whether an app that has finished is started again.
                restart_always: bool = 1,
                /// Memory of an instance, in bytes; 0 for the worker's limit.
                memory_max: u64 = 2,
                /// Gas that an instance may use; 0 for no limit.
                gas_max: u64 = 3,
                /// Share of the processor, compared with other apps; 0 counts as 1.
                weight: u32 = 4,
                /// Where the app may connect to besides public addresses, each as host
                /// pattern, CIDR network or port.
                egress: [string] = 5,
                /// Whether cookies pass where apps share an origin (`/app/<address>/`).
                pass_cookies: bool = 6,
                /// Ports that the app may listen on, and no other app without them, as
                /// `3000..3100,4000`; empty for the worker's range.
                listen_ports: string = 7,
                /// Instances to start at deploy; 0 counts as 1, more only for resizable
                /// apps.
                instances: u32 = 8,
                /// Requests at a time; 0 for the worker's limit.
                requests_max: u32 = 9,
                /// Whether every host call is logged.
                trace_calls: bool = 10,
                /// Whether the app's log goes to the daemon's own log as well.
                log_to_daemon: bool = 11,
                /// Whether the gateway lets web pages of other origins use the app, and
                /// answers their preflights.
                cors: bool = 100,
                /// Where the app may not connect to, whatever else it is allowed; written
                /// as `egress`.
                egress_deny: [string] = 120,
                /// Whether it may connect only to what rules allow, and to public addresses
                /// not without one.
                egress_only_allowed: bool = 121,
                /// Quotas of its own by name, such as `connections-in` and `100`. Of all
                /// others it has what the worker gives every app, or, when it replaces
                /// another one, what that one had. The value `default` takes one away.
                quotas: [StringPair] = 101,
                /// Whether the worker ends TLS for the app's names at the shared TLS port
                /// with a certificate that has the app's evidence, and keeps it new. A
                /// domain with a certificate of its own keeps that.
                attested: bool = 150,
            }
            /// Changes what the operator allows an app, while it runs.
            AppSettingsSetArgs {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
                /// Quotas to change, by name. `default` stands for what the worker gives
                /// every app, `unlimited` for no limit.
                quotas: [StringPair] = 2,
                /// Share of the CPU when apps compete, as in the settings of a
                /// deployment; 0 leaves it as it is. An instance has it when its
                /// present poll has ended.
                weight: u32 = 3,
                /// All rules for connections that hold from now on, in place of those
                /// before; without it they stay.
                egress: AppEgressRules = 4,
            }
            /// Where an app may connect to. Connections that are there stay.
            AppEgressRules {
                /// As `egress` of the settings.
                allow: [string] = 1,
                /// As `egress_deny` of the settings.
                deny: [string] = 2,
                /// As `egress_only_allowed` of the settings.
                only_allowed: bool = 3,
            }
            /// What the operator allows an app, and what it uses of that.
            AppSettingsResponse {
                /// What was decided for this app.
                settings: AppSettings = 1,
                /// All quotas, as they hold at the moment.
                quotas: [Quota] = 2,
            }
            /// A quota of an app at a glance. All instances of the app share it.
            Quota {
                /// Its name, such as `connections-in`.
                name: string = 1,
                /// For people: what there is so much of.
                title: string = 2,
                /// One of `count`, `bytes`, `bytes/s`, `gas`, `gas/s`, `millicores`.
                unit: string = 3,
                /// What happens at the limit: `refuse`, `wait`, `slow down`, `stop`.
                at_limit: string = 4,
                /// The limit as it is set, such as `10M`; `unlimited` for none.
                limit: string = 5,
                /// The limit in its unit; 0 also when there is none.
                max: u64 = 6,
                /// Whether there is a limit.
                is_limited: bool = 7,
                /// Whether it was decided for this app; else it is of every app.
                is_own: bool = 8,
                /// How much there is, in the same unit; of what is counted in a second,
                /// the average of the last one, while there is a limit.
                used: u64 = 9,
                /// How often more was refused, or had to wait.
                refused: u64 = 10,
            }
            /// Sets how many instances an app has.
            ResizeArgs {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
                /// Instances wanted.
                instances: u64 = 2,
            }
            /// Sets a secret of an app, which it gets as an environment variable at its
            /// next start.
            #[prost(skip_debug)]
            SecretSetArgs {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
                /// Name of the variable.
                name: string = 2,
                /// The secret.
                value: bytes = 3,
            }
            /// Binds a domain to an app.
            #[prost(skip_debug)]
            DomainAddArgs {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
                /// The domain, such as `shop.example.com` or `*.shop.example.com`.
                domain: string = 2,
                /// Certificate with which the worker ends TLS for it, and those between it
                /// and an authority, as a PEM text; empty for none, or for the one that it
                /// has.
                certificate: string = 3,
                /// The certificate's key as a PEM text.
                key: string = 4,
            }
            /// Removes a domain from an app.
            DomainRemoveArgs {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
                /// The domain.
                domain: string = 2,
            }
            /// Removes a secret of an app.
            SecretRemoveArgs {
                /// Address of the app, 32 bytes.
                address: bytes = 1,
                /// Name of the variable.
                name: string = 2,
            }
        }
    };
}
pub(crate) use app_messages;

macro_rules! usage_messages {
    ($each:ident) => {
        $each! {
            /// Which apps to list.
            AppListArgs {
                /// Apps to leave out, from the first serial number on. Not together with
                /// `since`.
                start: u32 = 1,
                /// Apps to list at most; 0 for all.
                count: u32 = 2,
                /// The `revision` of an earlier answer: only what has changed since then is
                /// listed. `0` for a client that has nothing yet and takes the list in
                /// parts of `count` apps; empty for the list itself.
                since: string = 100,
            }
            /// Apps in the order of their serial numbers.
            AppListResponse {
                /// The apps. With `since` those that were deployed or have changed. That
                /// time passes is no change: `last_query_elapsed`, `uptime_ms`,
                /// `next_start_ms`, `memory_mib_seconds` and `running_time_ms` are as they
                /// were when the answer was made.
                apps: [AppInfo] = 2,
                /// What to ask with as `since` next time; no client has to understand it.
                /// Empty in an answer to `start` or `count` without `since`.
                revision: string = 100,
                /// Addresses of apps that are gone since then, 32 bytes each; none of them
                /// is in `apps`.
                removed: [bytes] = 101,
                /// Whether `apps` and `removed` are what has changed. Otherwise they are
                /// (the beginning of) the whole list, in place of all that the client has:
                /// nothing else is known of apps since a revision that is too old, or of
                /// another run of the daemon.
                is_delta: bool = 102,
                /// Whether there is more than `count` apps: ask again at once, with
                /// `revision`.
                has_more: bool = 103,
            }
            /// An app at a glance.
            AppInfo {
                /// Serial number on this worker.
                sn: u64 = 1,
                /// Address of the app, 32 bytes.
                address: bytes = 2,
                /// Instances that there are.
                instances: u64 = 3,
                /// Seconds since the last query was answered, or since deploy.
                last_query_elapsed: u64 = 4,
                /// Whether requests share instances.
                reuse_instances: bool = 6,
                /// What runs.
                manifest: Manifest = 5,
                /// Host name label; may be empty.
                name: string = 100,
                /// One of `stopped`, `starting`, `running`, `waiting` (for its next
                /// start), `finished`, `failed`, `idle` (on demand, no instance at the
                /// moment).
                state: string = 101,
                /// Why it does not run.
                reason: string = 102,
                /// What the operator allows it.
                settings: AppSettings = 103,
                /// Instances wanted.
                target: u64 = 104,
                /// Each instance.
                instance_list: [InstanceInfo] = 105,
                /// What it has used since it was deployed.
                usage: AppUsage = 106,
                /// When it was deployed, in milliseconds since 1970.
                deployed_at_ms: u64 = 107,
                /// Host names that lead to it besides the one below the base domain.
                domains: [string] = 120,
            }
            /// An instance at a glance.
            InstanceInfo {
                /// Number of the instance on this worker.
                id: u64 = 1,
                /// One of `starting`, `running`, `waiting` (for its next start), `ended`.
                phase: string = 2,
                /// How often it was started again.
                restarts: u64 = 3,
                /// How long it has run since its last start, in milliseconds.
                uptime_ms: u64 = 4,
                /// Requests that it answers at the moment.
                requests: u64 = 5,
                /// Its memory, in bytes.
                memory: u64 = 6,
                /// Addresses that it listens on.
                listening: [string] = 7,
                /// Those of them where the worker ends TLS.
                listening_tls: [string] = 8,
                /// Whether it takes requests of the gateway at the moment.
                takes_http: bool = 9,
                /// Whether it takes queries at the moment.
                takes_queries: bool = 10,
                /// Time until its next start, in milliseconds, while it waits for that.
                next_start_ms: u64 = 11,
                /// Addresses on which it takes datagrams.
                listening_udp: [string] = 13,
                /// Server names that it serves on the TLS port.
                server_names: [string] = 14,
            }
            /// What an app has used since it was deployed. For looking at; `AppMetrics`
            /// has the signed figures.
            AppUsage {
                /// Requests and queries.
                requests: u64 = 1,
                /// Gas.
                gas: u64 = 2,
                /// Bytes received.
                network_ingress: u64 = 3,
                /// Bytes sent.
                network_egress: u64 = 4,
                /// Memory at the moment, in bytes.
                memory: u64 = 5,
                /// Memory by time, in MiB seconds.
                memory_mib_seconds: u64 = 6,
                /// Time that instances have run, added up, in milliseconds.
                running_time_ms: u64 = 7,
                /// Instances started.
                starts: u64 = 8,
                /// Instances started again after they ended.
                restarts: u64 = 9,
                /// Bytes stored at the moment.
                storage_bytes: u64 = 10,
                /// Bytes read from storage.
                storage_read: u64 = 11,
                /// Bytes written to storage.
                storage_write: u64 = 12,
                /// Tip that the app has asked to pay.
                tip: u64 = 13,
                /// Connections that the egress policy has refused since the daemon started.
                egress_denied: u64 = 120,
                /// Connections that it would have refused if the worker did not only audit.
                egress_audited: u64 = 121,
            }
            /// What apps have used, signed.
            AppMetricsResponse {
                /// SCALE `VersionedAppsMetrics` of at most 64 apps.
                encoded_metrics: bytes = 1,
                /// The worker's signature of it, content type 100.
                signature: bytes = 2,
                /// The `cursor` of the next page; 0 when that was all.
                next_cursor: u64 = 100,
            }
            /// Which part of the bill.
            UsageExportArgs {
                /// The first report; 0 for the oldest that the worker has.
                from_seq: u64 = 1,
                /// Address of the app whose entries are wanted, with proofs; empty for all
                /// entries.
                address: bytes = 2,
                /// Reports at most; 0 for as many as one answer may have.
                max: u32 = 3,
                /// Whether what was used since the last report is reported first.
                settle: bool = 4,
            }
            /// A part of the bill.
            UsageExportResponse {
                /// SCALE `ExportedReport` each, in order.
                reports: [bytes] = 1,
                /// The oldest report that the worker has; 0 for none.
                first_seq: u64 = 2,
                /// The newest one.
                last_seq: u64 = 3,
                /// Where to go on; 0 when that was all.
                next_seq: u64 = 4,
                /// Public key of the worker.
                pubkey: bytes = 5,
            }
        }
    };
}
pub(crate) use usage_messages;
