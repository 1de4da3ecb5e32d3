//! Rows: the methods of each service.
//!
//! A row is `Name: function(Argument) -> Answer, verb, size;`. The verb `get`
//! marks what only reads, so that a plain GET may call it; the size names the
//! limit of the request's body (`limits`). Expanded by `schema`, `method`,
//! `client` and the daemon's dispatch.

/// Hands the methods of the service `User`, open to everyone, to a macro.
#[macro_export]
macro_rules! for_each_user_method {
    ($each:ident) => {
        $each! {
            User
            /// The worker at a glance, without what concerns only its operator.
            Info: info(Empty) -> WorkerInfo, get, call;
            /// Sends a query to an app.
            Query: query(QueryArgs) -> QueryResponse, post, query;
            /// Sends an encrypted query to an app. The answer is not encrypted.
            EncryptedQuery: encrypted_query(EncryptedQueryArgs) -> QueryResponse, post, query;
            /// Evidence of the worker: its claims and a quote over them. With a nonce the
            /// quote is made for this call, of which a few a second are for everyone.
            WorkerEvidence: worker_evidence(WorkerEvidenceArgs) -> Evidence, get, call;
            /// Evidence of an app: that of the worker, and the app's claims with the
            /// worker's signature. With a nonce as for the worker.
            AppEvidence: app_evidence(AppEvidenceArgs) -> Evidence, post, call;
            /// Sends an encrypted query to an app, and encrypts the answer; a query
            /// that was sent before is refused.
            PrivateQuery: private_query(PrivateQueryArgs) -> PrivateQueryResponse, post, query;
        }
    };
}

/// Hands the methods of the service `Operation`, for the operator, to a macro.
#[macro_export]
macro_rules! for_each_operation_method {
    ($each:ident) => {
        $each! {
            Operation
            /// The worker at a glance.
            Info: info(Empty) -> WorkerInfo, get, call;
            /// Begins a new billing session, for one recipient. Refused while an app is
            /// deployed.
            WorkerInit: worker_init(InitArgs) -> InitResponse, post, call;
            /// What a chain needs to know to register the worker, with a quote when the
            /// worker runs in an enclave.
            SignRegisterInfo: sign_register_info(SignRegisterInfoArgs) -> SignRegisterInfoResponse, post, call;
            /// Signs where the worker is reached.
            SignEndpoints: sign_endpoints(SignEndpointsArgs) -> SignEndpointsResponse, post, call;
            /// Signs what the worker offers, and for how much.
            SignWorkerDescription: sign_worker_description(SignWorkerDescriptionArgs) -> SignWorkerDescriptionResponse, post, call;
            /// Ends the daemon, after open requests.
            WorkerExit: worker_exit(Empty) -> Empty, post, call;
            /// Stores a blob and answers with its hash. Large ones go to `POST /blob/`.
            BlobPut: blob_put(Blob) -> Blob, post, blob;
            /// Removes a blob, named by its hash.
            BlobRemove: blob_remove(Blob) -> Empty, post, call;
            /// Whether a blob is there.
            BlobExists: blob_exists(Blob) -> Boolean, post, call;
            /// Deploys an app. Answers when it runs, or, on demand, when it could; one
            /// that replaces another, when it has proved itself and the old one has left.
            AppDeploy: app_deploy(DeployArgs) -> DeployResponse, post, call;
            /// Stops an app after its requests in flight, and removes it.
            AppRemove: app_remove(Address) -> Empty, post, call;
            /// Starts an app that was stopped, and answers when it is ready. Refused for
            /// apps on demand.
            AppStart: app_start(Address) -> Empty, post, call;
            /// Stops an app after its requests in flight. It stays
            /// deployed.
            AppStop: app_stop(Address) -> Empty, post, call;
            /// Sets how many instances an app has, and answers how many there are when
            /// they are ready.
            AppResize: app_resize(ResizeArgs) -> Number, post, call;
            /// What the operator allows an app, its quotas, and what it uses of them.
            AppSettingsGet: app_settings_get(Address) -> AppSettingsResponse, post, call;
            /// Changes quotas of an app, its weight, or where it may connect to, at once
            /// and without a restart. Quotas are kept when another app takes its place.
            AppSettingsSet: app_settings_set(AppSettingsSetArgs) -> AppSettingsResponse, post, call;
            /// What apps have used, signed; 64 of them at a time, removed apps last.
            AppMetrics: app_metrics(Addresses) -> AppMetricsResponse, post, call;
            /// The bill: signed reports of usage, each of which names the one before.
            UsageExport: usage_export(UsageExportArgs) -> UsageExportResponse, post, call;
            /// Lists apps.
            AppList: app_list(AppListArgs) -> AppListResponse, get, call;
            /// Stops and removes every app.
            AppRemoveAll: app_remove_all(Empty) -> Empty, post, call;
            /// Sends a query to an app.
            AppQuery: app_query(QueryArgs) -> QueryResponse, post, query;
            /// Sends an encrypted query to an app. The answer is not encrypted.
            AppEncryptedQuery: app_encrypted_query(EncryptedQueryArgs) -> QueryResponse, post, query;
            /// Asks an app for a path by GET, as a visitor at its host name would, and gives
            /// the beginning of the answer. What the gateway would say for want of one is an
            /// answer as well.
            AppVisit: app_visit(AppVisitArgs) -> AppVisitResponse, post, call;
            /// Says which app measures the worker, and resizes it.
            SetBenchApp: set_bench_app(SetBenchAppArgs) -> Empty, post, call;
            /// Sets a secret of an app.
            SecretSet: secret_set(SecretSetArgs) -> Empty, post, call;
            /// Removes a secret of an app. Answers whether there was one.
            SecretRemove: secret_remove(SecretRemoveArgs) -> Boolean, post, call;
            /// Binds a domain to an app; the first app that has it keeps it. It follows
            /// the app when another one takes its place. Adding it again replaces its
            /// certificate.
            DomainAdd: domain_add(DomainAddArgs) -> Empty, post, call;
            /// Removes a domain from an app. Answers whether it had it.
            DomainRemove: domain_remove(DomainRemoveArgs) -> Boolean, post, call;
            /// Evidence of the worker, as everyone gets it; with a nonce, from places of the
            /// operator's own.
            WorkerEvidence: worker_evidence(WorkerEvidenceArgs) -> Evidence, get, call;
            /// Evidence of an app, likewise.
            AppEvidence: app_evidence(AppEvidenceArgs) -> Evidence, post, call;
            /// Raises the version of an app's key, or of the worker's keys for private queries
            /// and signatures of answers. The old one is in no new
            /// evidence.
            RotateKeys: rotate_keys(RotateKeysArgs) -> RotateKeysResponse, post, call;
            /// Hands the worker's key to another worker, whose evidence this one's policy
            /// accepts, encrypted to it. Without a request, gives the nonce for one.
            KeyHandover: key_handover(KeyHandoverArgs) -> KeyHandoverResponse, post, call;
        }
    };
}
