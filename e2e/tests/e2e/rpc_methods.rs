//! Every method of the worker, in both encodings, as it should go.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use e2e::operator::{address, args, manifest};
use e2e::{Operator, client, guest, ports, within};
use wapo_rpc::message::*;
use wapo_rpc::private_query::PrivateAnswer;
use wapo_rpc::statement::{self, AppEvidence};
use wapo_rpc::{AppAddress, Encoding, OperationMethod, UserMethod};

/// One who calls in one encoding and notes which methods were called.
struct Caller<'a> {
    operator: &'a Operator,
    encoding: Encoding,
    called: BTreeSet<String>,
}

macro_rules! call {
    ($caller:expr, $method:literal, $args:expr => $answer:ty) => {{
        let body = $caller.encoding.encode(&$args);
        let content = $caller.post($method, body).await;
        let answer: $answer = $caller.encoding.decode(&content).unwrap();
        answer
    }};
}

impl Caller<'_> {
    async fn post(&mut self, method: &str, body: Vec<u8>) -> Vec<u8> {
        let answer = match self.encoding {
            Encoding::Json => {
                let body = String::from_utf8(body).unwrap();
                self.operator.json(method, &body).await
            }
            Encoding::Protobuf => self.operator.protobuf(method, body).await,
        };
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        let kind = answer.header("content-type");
        assert_eq!(kind, Some(self.encoding.content_type()), "{method}");
        self.called.insert(method.to_owned());
        answer.body
    }

    async fn statements(&mut self) {
        let info = call!(self, "Info", Empty {} => WorkerInfo);
        assert_eq!((info.pubkey.len(), info.session.len()), (32, 32));
        let begun = call!(self, "WorkerInit", InitArgs::default() => InitResponse);
        assert_eq!(begun.pubkey, info.pubkey);
        let after = call!(self, "Info", Empty {} => WorkerInfo);
        assert_ne!(after.session, info.session, "another session");
        let registration = SignRegisterInfoArgs {
            genesis_block_hash: vec![2; 32],
            operator: vec![0],
            para_id: 7,
        };
        let signed = call!(self, "SignRegisterInfo", registration => SignRegisterInfoResponse);
        assert_eq!(signed.encoded_report[0], 1, "there is a quote");
        let endpoints = SignEndpointsArgs {
            endpoints: vec!["http://worker.example".to_owned()],
        };
        let signed = call!(self, "SignEndpoints", endpoints => SignEndpointsResponse);
        assert_eq!(signed.signature.len(), 64);
        let description = SignWorkerDescriptionArgs {
            description: "hi".to_owned(),
            prices: vec![0; 9],
        };
        let signed =
            call!(self, "SignWorkerDescription", description => SignWorkerDescriptionResponse);
        assert!(signed.encoded_signed_description.len() > 9 + 64 + 32);
    }

    async fn blob_and_app(&mut self) -> (Blob, AppAddress) {
        let app = guest("sdk-suite");
        let blob = Blob {
            hash: "sha256:".to_owned(),
            body: app.module.wasm().to_vec(),
        };
        let stored = call!(self, "BlobPut", blob => Blob);
        assert_eq!(stored.hash, app.module.hash());
        assert!(stored.body.is_empty());
        assert!(call!(self, "BlobExists", stored.clone() => Boolean).value);
        let mut wanted = args(&app);
        manifest(&mut wanted).resizable = true;
        manifest(&mut wanted).label = "The Suite".to_owned();
        let deployed = call!(self, "AppDeploy", wanted => DeployResponse);
        assert_eq!(deployed.session.len(), 32);
        assert_eq!(deployed.name, "the-suite");
        (stored, address(&deployed))
    }

    async fn life(&mut self, app: AppAddress) {
        let target = Address::from(app);
        call!(self, "AppStop", target.clone() => Empty);
        call!(self, "AppStart", target.clone() => Empty);
        let resize = ResizeArgs {
            address: app.0.to_vec(),
            instances: 2,
        };
        assert_eq!(call!(self, "AppResize", resize => Number).value, 2);
        let bench = SetBenchAppArgs {
            app_address: [&[1], app.0.as_slice()].concat(),
            instances: 1,
        };
        call!(self, "SetBenchApp", bench => Empty);
        let info = call!(self, "Info", Empty {} => WorkerInfo);
        assert_eq!(info.bench_app_address, app.0);
        assert_eq!((info.bench_app_instances, info.running_instances), (1, 1));
        let secret = SecretSetArgs {
            address: app.0.to_vec(),
            name: "TOKEN".to_owned(),
            value: b"hidden".to_vec(),
        };
        call!(self, "SecretSet", secret => Empty);
        let gone = SecretRemoveArgs {
            address: app.0.to_vec(),
            name: "TOKEN".to_owned(),
        };
        assert!(call!(self, "SecretRemove", gone.clone() => Boolean).value);
        assert!(!call!(self, "SecretRemove", gone => Boolean).value);
        let quota = AppSettingsSetArgs {
            address: app.0.to_vec(),
            quotas: vec![StringPair {
                key: "timers".to_owned(),
                value: "5".to_owned(),
            }],
            weight: 4,
            egress: None,
        };
        let set = call!(self, "AppSettingsSet", quota.clone() => AppSettingsResponse);
        let settings = set.settings.unwrap();
        assert_eq!((settings.quotas, settings.weight), (quota.quotas, 4));
        let address = Address::from(app);
        let settings = call!(self, "AppSettingsGet", address => AppSettingsResponse);
        let mut quotas = settings.quotas.iter();
        assert!(quotas.any(|quota| quota.name == "timers" && quota.max == 5));
        let domain = DomainAddArgs {
            address: app.0.to_vec(),
            domain: "shop.example".to_owned(),
            ..DomainAddArgs::default()
        };
        call!(self, "DomainAdd", domain => Empty);
        let gone = DomainRemoveArgs {
            address: app.0.to_vec(),
            domain: "shop.example".to_owned(),
        };
        assert!(call!(self, "DomainRemove", gone.clone() => Boolean).value);
        assert!(!call!(self, "DomainRemove", gone => Boolean).value);
        let list = call!(self, "AppList", AppListArgs::default() => AppListResponse);
        assert_eq!(list.apps.len(), 1);
        let metrics = call!(self, "AppMetrics", Addresses::default() => AppMetricsResponse);
        assert_eq!((metrics.signature.len(), metrics.next_cursor), (64, 0));
    }

    async fn evidence(&mut self, app: AppAddress) {
        let evidence = call!(self, "WorkerEvidence", WorkerEvidenceArgs::default() => Evidence);
        assert!(!evidence.evidence.is_empty());
        let args = AppEvidenceArgs {
            address: app.0.to_vec(),
            nonce: b"nonce".to_vec(),
        };
        assert!(
            !call!(self, "AppEvidence", args => Evidence)
                .evidence
                .is_empty()
        );
        let nonce = call!(self, "KeyHandover", KeyHandoverArgs::default() => KeyHandoverResponse);
        assert_eq!((nonce.nonce.len(), nonce.handover.len()), (32, 0));
        let rotate = RotateKeysArgs::default();
        assert_eq!(
            call!(self, "RotateKeys", rotate => RotateKeysResponse).key_version,
            2
        );
    }
}

fn simulated(config: &mut wapod::Config) {
    config.attestation.mode = wapod::AttestationMode::Simulator;
    let measurement = "ab".repeat(32);
    let policy = format!("host_controlled = []\n[[sgx]]\nmeasurement = \"{measurement}\"");
    let policy = wapod::config::HandoverPolicy::parse(&policy);
    config.handover.to = Some(policy.unwrap());
}

/// A query that only the worker can read.
async fn seal(operator: &Operator, query: &QueryArgs) -> EncryptedQueryArgs {
    let worker = operator.info(Empty {}).await.unwrap().pubkey;
    EncryptedQueryArgs::seal(query, &worker.try_into().unwrap(), [9; 32]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_of_the_operator_works_in_both_encodings() {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let operator = Operator::with(simulated).await;
        let mut caller = Caller {
            operator: &operator,
            encoding,
            called: BTreeSet::new(),
        };
        caller.statements().await;
        let (blob, app) = caller.blob_and_app().await;
        caller.life(app).await;
        caller.evidence(app).await;
        let query = QueryArgs {
            address: app.0.to_vec(),
            path: "/echo".to_owned(),
            payload: vec![0, 1, 255],
            ..QueryArgs::default()
        };
        let sealed = seal(&operator, &query).await;
        let answer = call!(caller, "AppQuery", query => QueryResponse);
        assert_eq!(answer.output, [0, 1, 255]);
        let answer = call!(caller, "AppEncryptedQuery", sealed => QueryResponse);
        assert_eq!(answer.output, [0, 1, 255]);
        let visit = AppVisitArgs {
            address: app.0.to_vec(),
            path: "/".to_owned(),
        };
        let answer = call!(caller, "AppVisit", visit => AppVisitResponse);
        assert_eq!(answer.status, 200);
        let bill = call!(caller, "UsageExport", UsageExportArgs::default() => UsageExportResponse);
        assert_eq!(bill.pubkey.len(), 32);
        call!(caller, "AppRemove", Address::from(app) => Empty);
        call!(caller, "AppRemoveAll", Empty {} => Empty);
        call!(caller, "BlobRemove", blob.clone() => Empty);
        assert!(!call!(caller, "BlobExists", blob => Boolean).value);
        let exit = operator.daemon().running().exit_requested();
        call!(caller, "WorkerExit", Empty {} => Empty);
        within("the request to end", exit).await;
        let all: BTreeSet<_> = OperationMethod::ALL
            .iter()
            .map(|method| method.name().to_owned())
            .collect();
        assert_eq!(caller.called, all);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_for_users_works_in_both_encodings() {
    let operator = Operator::with(simulated).await;
    let app = operator.deploy(&guest("query")).await;
    assert_eq!(UserMethod::ALL.len(), 6);
    let query = QueryArgs {
        address: app.0.to_vec(),
        path: "/echo".to_owned(),
        payload: b"ping".to_vec(),
        ..QueryArgs::default()
    };
    for (encoding, flag) in [(Encoding::Json, "?json"), (Encoding::Protobuf, "")] {
        let url = operator.user_url(&format!("/prpc/User.Query{flag}"));
        let answer = client::post(&url, encoding.encode(&query)).await;
        answer.expect_status(200);
        let answer: QueryResponse = encoding.decode(&answer.body).unwrap();
        assert_eq!(answer.output, b"ping");
        let sealed = seal(&operator, &query).await;
        let url = operator.user_url(&format!("/prpc/User.EncryptedQuery{flag}"));
        let answer = client::post(&url, encoding.encode(&sealed)).await;
        answer.expect_status(200);
        let answer: QueryResponse = encoding.decode(&answer.body).unwrap();
        assert_eq!(answer.output, b"ping");
        for nonce in [Vec::new(), b"nonce".to_vec()] {
            let url = operator.user_url(&format!("/prpc/User.WorkerEvidence{flag}"));
            let args = WorkerEvidenceArgs {
                nonce: nonce.clone(),
            };
            let answer = client::post(&url, encoding.encode(&args)).await;
            let answer: Evidence = encoding.decode(&answer.body).unwrap();
            assert!(!answer.evidence.is_empty());
            let url = operator.user_url(&format!("/prpc/User.AppEvidence{flag}"));
            let address = app.0.to_vec();
            let args = AppEvidenceArgs { address, nonce };
            let answer = client::post(&url, encoding.encode(&args)).await;
            let answer: Evidence = encoding.decode(&answer.body).unwrap();
            let evidence: AppEvidence = statement::decode(&answer.evidence).unwrap();
            let worker = evidence.worker.worker_claims().unwrap();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let seed = rand::random();
            let sealed = PrivateQueryArgs::seal(&query, &worker, now.as_secs(), &seed);
            let (sealed, reader) = sealed.unwrap();
            let url = operator.user_url(&format!("/prpc/User.PrivateQuery{flag}"));
            let answer = client::post(&url, encoding.encode(&sealed)).await;
            let answer: PrivateQueryResponse = encoding.decode(&answer.body).unwrap();
            let output = PrivateAnswer::Output(b"ping".to_vec());
            assert_eq!(reader.read(&answer), Ok(output));
        }
        let url = operator.user_url(&format!("/prpc/User.Info{flag}"));
        let answer = client::post(&url, encoding.encode(&Empty {})).await;
        let info: WorkerInfo = encoding.decode(&answer.body).unwrap();
        assert_eq!((info.deployed_apps, info.running_instances), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_shows_where_it_can_be_reached() {
    let operator = Operator::start().await;
    let port = ports::free();
    let mut app = guest("http-server");
    app.listen_ports = ports::only(port);
    app.args = vec![format!("127.0.0.1:{port}")];
    let server = operator.deploy(&app).await;
    let is_open = |info: &AppInfo| !info.instance_list[0].listening.is_empty();
    let info = operator.until("a listener", server, is_open).await;
    let one = &info.instance_list[0];
    assert_eq!(one.listening, [format!("127.0.0.1:{port}")]);
    assert_eq!(one.listening_tls, one.listening);
    assert!(!one.takes_http && !one.takes_queries);

    let suite = operator.deploy(&guest("sdk-suite")).await;
    let takes = |info: &AppInfo| {
        let one = &info.instance_list[0];
        one.takes_http && one.takes_queries
    };
    let info = operator.until("open channels", suite, takes).await;
    assert!(info.instance_list[0].listening.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn users_do_not_see_what_concerns_only_the_operator() {
    let operator = Operator::with(|config| config.memory_budget_bytes = Some(1 << 30)).await;
    let app = operator.deploy(&guest("query")).await;
    let bench = SetBenchAppArgs {
        app_address: [&[1], app.0.as_slice()].concat(),
        instances: 1,
    };
    operator.set_bench_app(bench).await.unwrap();
    let own = operator.info(Empty {}).await.unwrap();
    assert!(own.memory_usage.is_some() && own.module_loader_info.is_some());
    assert_eq!((own.memory_budget, own.bench_app_instances), (1 << 30, 1));
    assert!(own.memory_committed > 0 && !own.user_address.is_empty());
    assert_eq!(own.base_domain, "localhost");
    let answer = client::get(&operator.user_url("/prpc/User.Info")).await;
    let seen: WorkerInfo = Encoding::Json.decode(&answer.body).unwrap();
    assert!(seen.memory_usage.is_none() && seen.module_loader_info.is_none());
    assert!(seen.bench_app_address.is_empty() && seen.user_address.is_empty());
    let hidden = (
        seen.bench_app_instances,
        seen.memory_budget,
        seen.memory_committed,
    );
    assert_eq!(hidden, (0, 0, 0));
    assert_eq!((seen.pubkey, seen.session), (own.pubkey, own.session));
    let foreign = client::post(&operator.user_url("/prpc/Operation.Info"), []).await;
    foreign.expect_status(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_in_order_and_pages() {
    let operator = Operator::start().await;
    let app = guest("query");
    operator.put_code(&app).await;
    let mut expected = Vec::new();
    for number in 0..7 {
        let mut wanted = args(&app);
        manifest(&mut wanted).label = format!("app {number}");
        manifest(&mut wanted).on_demand = true;
        expected.push(operator.try_deploy(wanted).await.unwrap().address);
    }
    let list = async |start, count| {
        let asked = AppListArgs {
            start,
            count,
            ..AppListArgs::default()
        };
        let page = operator.app_list(asked).await;
        let apps = page.unwrap().apps;
        apps.into_iter().map(|app| app.address).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        assert_eq!(list(0, 0).await, expected);
    }
    let pages = [list(0, 3).await, list(3, 3).await, list(6, 3).await];
    assert_eq!(pages.concat(), expected);
    assert!(list(7, 3).await.is_empty());
    assert_eq!(list(5, u32::MAX).await, expected[5..]);
}
