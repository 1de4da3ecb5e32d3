//! What the worker signs, checked by code that is not the worker's.

use e2e::operator::{address, args, manifest};
use e2e::{Operator, guest};
use wapo_rpc::message::*;
use wapo_rpc::statement::{
    self, AppMetrics, AttestationReport, Endpoints, MetricsToken, Prices, SessionUpdate,
    SignedWorkerDescription, VersionedAppsMetrics, WorkerEndpointPayload, WorkerRegistrationInfoV2,
};

const ENDPOINTS: u8 = 2;
const METRICS: u8 = 100;
const DESCRIPTION: u8 = 103;
const SESSION: u8 = 104;

/// Whether a signature is the worker's, over a statement of this content type.
pub(crate) fn verifies(key: &[u8], content_type: u8, statement: &[u8], signature: &[u8]) -> bool {
    let key = schnorrkel::PublicKey::from_bytes(key).unwrap();
    let signature = schnorrkel::Signature::from_bytes(signature).unwrap();
    let message = [&[0xff, content_type], statement].concat();
    key.verify_simple(b"substrate", &message, &signature)
        .is_ok()
}

/// The report on these apps, or on a page of all, verified.
pub(crate) async fn metrics(
    operator: &Operator,
    addresses: Addresses,
) -> (MetricsToken, Vec<AppMetrics>, u64) {
    let key = operator.info(Empty {}).await.unwrap().pubkey;
    let report = operator.app_metrics(addresses).await.unwrap();
    assert!(verifies(
        &key,
        METRICS,
        &report.encoded_metrics,
        &report.signature
    ));
    let decoded = statement::decode(&report.encoded_metrics).unwrap();
    let VersionedAppsMetrics::V0(decoded) = decoded;
    (decoded.token, decoded.apps.into_inner(), report.next_cursor)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_signed_and_named_by_its_nonces() {
    let operator = Operator::start().await;
    let key = operator.info(Empty {}).await.unwrap().pubkey;
    let alice = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    for (recipient, bytes) in [(alice, 32), ("", 0)] {
        let begun = operator.worker_init(InitArgs {
            pnonce: b"abc".to_vec(),
            recipient: recipient.to_owned(),
        });
        let begun = begun.await.unwrap();
        assert_eq!(begun.pubkey, key);
        assert!(verifies(
            &key,
            SESSION,
            &begun.session_update,
            &begun.signature
        ));
        assert!(!verifies(
            &key,
            METRICS,
            &begun.session_update,
            &begun.signature
        ));
        let update: SessionUpdate = statement::decode(&begun.session_update).unwrap();
        assert_eq!(update.recipient.len(), bytes);
        let info = operator.info(Empty {}).await.unwrap();
        assert_eq!(info.session, update.session);
        let (token, ..) = metrics(&operator, Addresses::default()).await;
        assert_eq!((token.sn, token.session), (1, update.session));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_cannot_change_under_a_deployed_app() {
    let operator = Operator::start().await;
    let before = operator.info(Empty {}).await.unwrap().session;
    let app = operator.deploy(&guest("query")).await;
    let error = operator.worker_init(InitArgs::default()).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.starts_with("init session failed, apps already deployed"),
        "{error}"
    );
    assert_eq!(operator.info(Empty {}).await.unwrap().session, before);
    operator.remove(app).await;
    let (_, apps, _) = metrics(&operator, Addresses::default()).await;
    assert_eq!(apps.len(), 1, "the last word about it");
    operator.worker_init(InitArgs::default()).await.unwrap();
    let (_, apps, _) = metrics(&operator, Addresses::default()).await;
    assert!(apps.is_empty(), "it belonged to the session before");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_reports_rise_by_one() {
    let operator = Operator::start().await;
    let mut nonces = Vec::new();
    for number in 1..=5 {
        let (token, ..) = metrics(&operator, Addresses::default()).await;
        assert_eq!(token.sn, number);
        assert!(!nonces.contains(&token.nonce), "nonces are random");
        nonces.push(token.nonce);
    }
    // Readings of guests are counted as well.
    let app = operator.deploy(&guest("sdk-suite")).await;
    operator.query(app, "/gas").await.unwrap();
    let (token, ..) = metrics(&operator, Addresses::default()).await;
    assert_eq!(token.sn, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_tell_what_was_used() {
    let operator = Operator::start().await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    for _ in 0..3 {
        operator.query(app, "/tip/5").await.unwrap();
    }
    let asked = Addresses {
        addresses: vec![app.0.to_vec()],
        cursor: 0,
    };
    let (_, apps, next) = metrics(&operator, asked.clone()).await;
    let [first] = &apps[..] else {
        panic!("{apps:?}")
    };
    assert_eq!((first.address, next), (app, 0));
    assert_eq!((first.tip, first.starts), (15, 1));
    assert!(first.gas_consumed > 0);
    let (_, apps, _) = metrics(&operator, asked).await;
    let second = &apps[0];
    assert_eq!(second.session, first.session);
    assert!(second.gas_consumed >= first.gas_consumed);
    assert!(second.running_time_ms >= first.running_time_ms);
    let both = Addresses {
        addresses: vec![app.0.to_vec(), vec![9; 32], app.0.to_vec()],
        cursor: 0,
    };
    let (_, apps, _) = metrics(&operator, both).await;
    assert_eq!(apps.len(), 2, "unknown ones are skipped, others repeated");
    let info = operator.find(app).await.unwrap();
    assert_eq!(info.usage.unwrap().tip, 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_64_apps_are_reported_in_pages() {
    const APPS: usize = 150;
    let operator = Operator::start().await;
    let app = guest("query");
    operator.put_code(&app).await;
    let mut expected = Vec::new();
    for number in 0..APPS {
        let mut wanted = args(&app);
        manifest(&mut wanted).label = number.to_string();
        manifest(&mut wanted).on_demand = true;
        expected.push(address(&operator.try_deploy(wanted).await.unwrap()));
    }
    operator.remove(expected[3]).await;
    let (mut seen, mut cursor, mut pages) = (Vec::new(), 0, Vec::new());
    loop {
        let page = Addresses {
            addresses: Vec::new(),
            cursor,
        };
        let (_, apps, next) = metrics(&operator, page).await;
        pages.push(apps.len());
        seen.extend(apps.iter().map(|app| app.address));
        if next == 0 {
            break;
        }
        cursor = next;
    }
    assert_eq!(pages, [64, 64, 22]);
    let removed = expected.remove(3);
    expected.push(removed);
    assert_eq!(seen, expected, "in order, the removed one last");
    let many = Addresses {
        addresses: vec![vec![1; 32]; 65],
        cursor: 0,
    };
    let error = operator.app_metrics(many).await.unwrap_err().to_string();
    assert!(error.contains("at most 64"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_reported_to_clients_that_know_no_pages() {
    let operator = Operator::start().await;
    let app = guest("query");
    operator.put_code(&app).await;
    let deploy = async |label: String| {
        let mut wanted = args(&app);
        manifest(&mut wanted).label = label;
        manifest(&mut wanted).on_demand = true;
        address(&operator.try_deploy(wanted).await.unwrap())
    };
    for number in 0..70 {
        let gone = deploy(number.to_string()).await;
        operator.remove(gone).await;
    }
    let here = deploy("here".to_owned()).await;
    let (_, apps, next) = metrics(&operator, Addresses::default()).await;
    assert_eq!((apps.len(), apps[0].address), (64, here));
    // One that goes between two pages is on a later one.
    operator.remove(here).await;
    let page = Addresses {
        addresses: Vec::new(),
        cursor: next,
    };
    let (_, rest, last) = metrics(&operator, page).await;
    assert_eq!((rest.len(), last), (8, 0));
    assert_eq!(rest[7].address, here);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_and_description_are_signed() {
    let operator = Operator::start().await;
    let key = operator.info(Empty {}).await.unwrap().pubkey;
    let urls = vec!["http://a.example".to_owned(), "http://b.example".to_owned()];
    let signed = operator.sign_endpoints(SignEndpointsArgs {
        endpoints: urls.clone(),
    });
    let signed = signed.await.unwrap();
    let encoded = &signed.encoded_endpoint_payload;
    assert!(verifies(&key, ENDPOINTS, encoded, &signed.signature));
    let payload: WorkerEndpointPayload = statement::decode(encoded).unwrap();
    assert_eq!(payload.pubkey.as_slice(), key);
    assert_eq!(payload.endpoints, Endpoints::V1(urls));
    // 2020 or later, in milliseconds.
    assert!(payload.signing_time > 1_577_836_800_000);

    let prices = [vec![1], 7_u128.to_le_bytes().to_vec(), vec![0; 8]].concat();
    let signed = operator.sign_worker_description(SignWorkerDescriptionArgs {
        description: "cheap".to_owned(),
        prices: prices.clone(),
    });
    let signed = signed.await.unwrap().encoded_signed_description;
    let description: SignedWorkerDescription = statement::decode(&signed).unwrap();
    assert_eq!(description.worker_pubkey.as_slice(), key);
    let expected = Prices {
        general_fee_per_second: Some(7),
        ..Prices::default()
    };
    assert_eq!(description.worker_description.prices, expected);
    assert_eq!(&*description.worker_description.description, "cheap");
    // What is signed is the description as it was encoded: prices, then text.
    let message = [prices, vec![5 << 2], b"cheap".to_vec()].concat();
    assert!(verifies(
        &key,
        DESCRIPTION,
        &message,
        &description.signature
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_names_the_worker_and_its_operator() {
    let operator = Operator::start().await;
    let key = operator.info(Empty {}).await.unwrap().pubkey;
    let registration = operator.sign_register_info(SignRegisterInfoArgs {
        genesis_block_hash: vec![2; 32],
        operator: [vec![1], vec![3; 32]].concat(),
        para_id: 2035,
    });
    let registration = registration.await.unwrap();
    let info: WorkerRegistrationInfoV2 =
        statement::decode(&registration.encoded_runtime_info).unwrap();
    assert_eq!(info.version, 0x0003_0000);
    assert_eq!(
        (info.pubkey, info.ecdh_pubkey),
        (key[..].try_into().unwrap(), info.pubkey)
    );
    assert_eq!(
        (info.genesis_block_hash, info.operator),
        ([2; 32], Some([3; 32]))
    );
    assert_eq!((info.para_id, info.max_consensus_version), (2035, 0));
    assert!(info.machine_id.is_empty() && info.features.is_empty());
    let report: Option<AttestationReport> =
        statement::decode(&registration.encoded_report).unwrap();
    assert_eq!(report, None);
}
