//! Answers whose signature a client asks for, and private queries: who has said what, to
//! which request, from the evidence on, with the simulator in the place of hardware.

use std::net::SocketAddr;

use bytes::Bytes;
use e2e::operator::manifest;
use e2e::{Operator, Probe, guest};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wapo_rpc::message::{
    AppEvidenceArgs, DeployArgs, Empty, PrivateQueryArgs, QueryArgs, RotateKeysArgs,
};
use wapo_rpc::private_query::PrivateAnswer;
use wapo_rpc::signed_answer::file::Exchange;
use wapo_rpc::signed_answer::{
    APP, CONTENT_DIGEST, KIND, Kind, SESSION, SIGNATURE, SIGNATURE_INPUT, UNSIGNED,
};
use wapo_rpc::statement::{self, AppEvidence, WorkerClaims};
use wapo_rpc::{AppAddress, Encoding, QueryResponse, UserClient};
use wapo_verify::{Context, Policy, Roots, Verdict, answer};
use wapod::AttestationMode;

use super::{ReceivedRequest, head};
use crate::statements::verifies;

const NONCE: &str = "2b7e151628aed2a6";
/// Content type of the older signature of answers to calls.
const OLDER_FORM: u8 = 1;
/// Private queries of one client that are remembered.
const CLIENT_MAX: usize = 10_000;

async fn attested() -> Operator {
    Operator::with(|config| config.attestation.mode = AttestationMode::Simulator).await
}

fn users(operator: &Operator) -> UserClient {
    UserClient::new(operator.user_url("").trim_end_matches('/')).unwrap()
}

async fn evidence(operator: &Operator, app: AppAddress) -> AppEvidence {
    let args = AppEvidenceArgs {
        address: app.0.to_vec(),
        nonce: Vec::new(),
    };
    let got = users(operator).app_evidence(args).await.unwrap();
    statement::decode(&got.evidence).unwrap()
}

/// What the worker in the evidence of an app says of itself.
async fn worker_of(operator: &Operator, app: AppAddress) -> WorkerClaims {
    let evidence = evidence(operator, app).await;
    evidence.worker.worker_claims().unwrap()
}

fn question(app: AppAddress, path: &str, payload: &[u8]) -> QueryArgs {
    QueryArgs {
        address: app.0.to_vec(),
        path: path.to_owned(),
        payload: payload.to_vec(),
        ..QueryArgs::default()
    }
}

async fn asked(operator: &Operator, app: AppAddress, path: &str) -> Exchange {
    let args = question(app, path, b"payload");
    users(operator).signed_query(&args, NONCE).await.unwrap()
}

async fn got(operator: &Operator, path: &str) -> Exchange {
    users(operator).signed_get(path, NONCE).await.unwrap()
}

fn verified_at(exchange: &Exchange, of: &AppEvidence, now: u64) -> (Verdict, Option<Kind>) {
    let policy = Policy {
        accept_simulator: true,
        ..Policy::default()
    };
    let context = Context {
        now,
        roots: &Roots::default(),
        policy: &policy,
        nonce: None,
    };
    answer::verify(exchange, of, None, None, &context)
}

/// Who has said it; `None` when it is refused.
fn said(exchange: &Exchange, of: &AppEvidence) -> Option<Kind> {
    verified_at(exchange, of, exchange.received_at).1
}

#[track_caller]
fn refused_for(exchange: &Exchange, of: &AppEvidence, check: &str) {
    let (verdict, kind) = verified_at(exchange, of, exchange.received_at);
    let failed: Vec<_> = verdict.failures().map(|one| one.name).collect();
    assert!(failed.contains(&check), "{failed:?}");
    assert_eq!(kind, None);
}

fn header<'a>(exchange: &'a mut Exchange, name: &str) -> &'a mut String {
    let mut headers = exchange.answer.headers.iter_mut();
    let found = headers.find(|(own, _)| own == name);
    &mut found.unwrap_or_else(|| panic!("no {name}")).1
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apps_answer_to_a_query_is_its_own_from_the_hardware_on() {
    let operator = attested().await;
    let app = operator.deploy(&guest("query")).await;
    let of = evidence(&operator, app).await;
    let answered = asked(&operator, app, "/echo").await;
    let (verdict, kind) = verified_at(&answered, &of, answered.received_at);
    assert_eq!(kind, Some(Kind::App), "{verdict:?}");
    let output: QueryResponse = Encoding::Protobuf.decode(&answered.answer.body).unwrap();
    assert_eq!(output.output, b"payload");

    // What existing clients read is still there, and signs the body alone.
    let older = answered.answer.header("x-phactory-signature").unwrap();
    let key = operator.info(Empty {}).await.unwrap().pubkey;
    let older = hex::decode(older).unwrap();
    assert!(verifies(&key, OLDER_FORM, &answered.answer.body, &older));

    // What an app says is wrong is the app's word, what is wrong without it the worker's.
    let refused = asked(&operator, app, "/x").await;
    assert_eq!(refused.answer.status, 400);
    assert_eq!(said(&refused, &of), Some(Kind::App));
    let nobody = asked(&operator, AppAddress([7; 32]), "/echo").await;
    assert_eq!(said(&nobody, &of), Some(Kind::Error));
    let health = got(&operator, "/health").await;
    assert_eq!(said(&health, &of), Some(Kind::Worker));
    operator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_of_an_answer_is_refused() {
    let operator = attested().await;
    let app = operator.deploy(&guest("query")).await;
    let of = evidence(&operator, app).await;
    let good = asked(&operator, app, "/echo").await;
    assert_eq!(said(&good, &of), Some(Kind::App));
    for name in [
        SIGNATURE,
        SIGNATURE_INPUT,
        CONTENT_DIGEST,
        KIND,
        APP,
        SESSION,
        "content-type",
    ] {
        for at in 0..good.answer.header(name).unwrap().len() {
            let mut changed = good.clone();
            let value = header(&mut changed, name);
            let mut bytes = value.clone().into_bytes();
            bytes[at] ^= 1;
            *value = String::from_utf8(bytes).unwrap();
            assert_eq!(said(&changed, &of), None, "{name}: {at}");
        }
        let mut without = good.clone();
        without.answer.headers.retain(|(own, _)| own != name);
        assert_eq!(said(&without, &of), None, "{name}");
    }
    for at in 0..good.answer.body.len() {
        let mut changed = good.clone();
        changed.answer.body[at] ^= 1;
        refused_for(&changed, &of, "answer.body");
    }
    for at in 0..good.request.body.len() {
        let mut changed = good.clone();
        changed.request.body[at] ^= 1;
        refused_for(&changed, &of, "answer.request");
    }
    let changes: [fn(&mut Exchange); 5] = [
        |one| one.answer.status = 201,
        |one| one.request.method = "PUT".to_owned(),
        |one| one.request.url += "?json",
        |one| one.request.url = one.request.url.replacen("//127", "//128", 1),
        |one| {
            one.request
                .headers
                .retain(|(name, _)| name != CONTENT_DIGEST)
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut changed = good.clone();
        change(&mut changed);
        assert_eq!(said(&changed, &of), None, "{number}");
    }
    operator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_not_taken_for_another_apps_nor_for_one_to_another_request() {
    let operator = attested().await;
    let app = operator.deploy(&guest("query")).await;
    let other = operator.deploy(&guest("sdk-suite")).await;
    let (of, of_other) = (
        evidence(&operator, app).await,
        evidence(&operator, other).await,
    );
    let good = asked(&operator, app, "/echo").await;
    assert_eq!(said(&good, &of), Some(Kind::App));
    refused_for(&good, &of_other, "answer.kind");
    let mut renamed = good.clone();
    *header(&mut renamed, APP) = other.to_string();
    refused_for(&renamed, &of_other, "answer.key");
    // Nor is it the worker's word, whatever it says.
    for kind in [Kind::Worker, Kind::Error] {
        let mut worker = good.clone();
        *header(&mut worker, KIND) = kind.name().to_owned();
        refused_for(&worker, &of, "answer.kind");
        worker.answer.headers.retain(|(name, _)| name != APP);
        refused_for(&worker, &of, "answer.signed");
    }

    // An old answer to an equal request: by the nonce, and by the time.
    let again = users(&operator)
        .signed_query(&question(app, "/echo", b"payload"), "fresh")
        .await
        .unwrap();
    assert_eq!(said(&again, &of), Some(Kind::App));
    let mut replayed = again.clone();
    replayed.answer = good.answer.clone();
    refused_for(&replayed, &of, "answer.nonce");
    let at = good.received_at;
    for (now, is_good) in [(at + 299, true), (at + 370, false), (at - 70, false)] {
        let kind = verified_at(&good, &of, now).1;
        assert_eq!(kind.is_some(), is_good, "{now} {at}");
    }
    // A later session of the worker, and another worker.
    let elsewhere = attested().await;
    let there = elsewhere.deploy(&guest("query")).await;
    let of_elsewhere = evidence(&elsewhere, there).await;
    assert_eq!(said(&good, &of_elsewhere), None);
    elsewhere.shutdown().await;
    operator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_app_answers_through_the_gateway_is_signed_when_it_ends() {
    let operator = attested().await;
    let app = operator.deploy(&guest("sdk-suite")).await;
    let of = evidence(&operator, app).await;
    for (path, status) in [
        ("", 200),
        ("chunks/5/1", 200),
        ("status/404", 404),
        ("status/204", 204),
    ] {
        let answered = got(&operator, &format!("/app/{app}/{path}?a=b")).await;
        assert_eq!(answered.answer.status, status, "{path}");
        let (verdict, kind) = verified_at(&answered, &of, answered.received_at);
        assert_eq!(kind, Some(Kind::App), "{path}: {verdict:?}");
    }
    let long = got(&operator, &format!("/app/{app}/big/10485761")).await;
    assert_eq!(long.answer.body.len(), 10_485_761, "it goes on");
    assert_eq!(long.answer.header(UNSIGNED), Some("too-long"));
    refused_for(&long, &of, "answer.signed");
    let longest = got(&operator, &format!("/app/{app}/big/10485760")).await;
    assert_eq!(said(&longest, &of), Some(Kind::App));
    let broken = got(&operator, &format!("/app/{app}/abort/3")).await;
    assert_eq!(
        said(&broken, &of),
        Some(Kind::Error),
        "{:?}",
        broken.answer.status
    );
    let nobody = got(&operator, "/nowhere").await;
    assert_eq!(said(&nobody, &of), Some(Kind::Error));
    operator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_cannot_sign_as_the_worker_nor_as_another_app() {
    let operator = attested().await;
    let probe = Probe::on(operator.daemon(), |_| {}).await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let app = probe.app().handle().address();
    let of = evidence(&operator, app).await;
    // Really signed by the worker, for another request.
    let health = got(&operator, "/health").await;
    let mut sent = vec![("content-length".to_owned(), "3".to_owned())];
    sent.extend(
        health
            .answer
            .headers
            .iter()
            .filter(|(name, _)| {
                [SIGNATURE, SIGNATURE_INPUT, CONTENT_DIGEST, KIND, SESSION].contains(&name.as_str())
            })
            .cloned(),
    );
    sent.push((APP.to_owned(), AppAddress([7; 32]).to_string()));
    assert_eq!(sent.len(), 7);
    let sent: Vec<_> = sent
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let client = users(&operator);
    let path = format!("/app/{app}/");
    let asking = tokio::spawn(async move { client.signed_get(&path, NONCE).await });
    let asked = ReceivedRequest::next(&probe, channel).await;
    let _ = probe.poll_write(asked.stream, b"ok\n").await;
    probe
        .oneshot_send(asked.reply, &head(200, &sent))
        .await
        .unwrap();
    probe.close(asked.stream).await.unwrap();
    let answered = asking.await.unwrap().unwrap();
    assert_eq!(answered.answer.body, b"ok\n");
    for (name, _) in &sent[1..] {
        let values = answered
            .answer
            .headers
            .iter()
            .filter(|(own, _)| own == name);
        assert_eq!(values.count(), 1, "{name}");
    }
    let (verdict, kind) = verified_at(&answered, &of, answered.received_at);
    assert_eq!(kind, Some(Kind::App), "{verdict:?}");
    assert_eq!(answered.answer.header(APP), Some(&*app.to_string()));
}

/// Seals for the worker with these claims, and asks.
async fn ask_privately(
    operator: &Operator,
    args: &QueryArgs,
    worker: &WorkerClaims,
    time: u64,
) -> Result<PrivateAnswer, String> {
    let seed = rand::random();
    let (sealed, reader) = PrivateQueryArgs::seal(args, worker, time, &seed).unwrap();
    let answer = users(operator).private_query(sealed).await;
    let answer = answer.map_err(|error| error.to_string())?;
    assert_eq!(answer.nonce.len(), 32);
    reader.read(&answer).map_err(|error| error.to_string())
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_query_is_answered_once_and_in_private() {
    let operator = attested().await;
    let app = operator.deploy(&guest("query")).await;
    let worker = worker_of(&operator, app).await;
    let echo = question(app, "/echo", b"a secret");
    let asked = ask_privately(&operator, &echo, &worker, now()).await;
    assert_eq!(asked, Ok(PrivateAnswer::Output(b"a secret".to_vec())));
    let refused = ask_privately(&operator, &question(app, "/x", b""), &worker, now()).await;
    let text = "no such path: /x".to_owned();
    assert_eq!(refused, Ok(PrivateAnswer::AppError(text)));
    let nobody = question(AppAddress([7; 32]), "/echo", b"");
    let nobody = ask_privately(&operator, &nobody, &worker, now()).await;
    let text = "App not found".to_owned();
    assert_eq!(nobody, Ok(PrivateAnswer::WorkerError(text)));

    // What is on the way shows nothing of it, and is answered once.
    let (sealed, reader) = PrivateQueryArgs::seal(&echo, &worker, now(), &[1; 32]).unwrap();
    let contains = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|one| one == part);
    assert!(!contains(&sealed.ciphertext, b"secret") && !contains(&sealed.ciphertext, &app.0));
    let answer = users(&operator)
        .private_query(sealed.clone())
        .await
        .unwrap();
    assert!(!contains(&answer.ciphertext, b"secret"));
    assert!(reader.read(&answer).is_ok());
    let again = users(&operator).private_query(sealed.clone()).await;
    let again = again.unwrap_err().to_string();
    assert!(again.contains("has come before"), "{again}");
    let at = sealed.ciphertext.len() - 1;
    for change in [
        (|one, _| one.key_version = 2) as fn(&mut PrivateQueryArgs, usize),
        |one, _| one.key_version = 0,
        |one, _| one.time -= 1,
        |one, _| one.encapsulated[0] ^= 1,
        |one, _| one.encapsulated.truncate(31),
        |one, at| one.ciphertext[at] ^= 1,
        |one, _| one.ciphertext.clear(),
    ] {
        let mut changed = sealed.clone();
        change(&mut changed, at);
        let error = users(&operator).private_query(changed).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("was changed on the way"), "{error}");
    }
    for time in [now() - 70, now() + 30] {
        let error = ask_privately(&operator, &echo, &worker, time)
            .await
            .unwrap_err();
        assert!(error.contains("look at your clock"), "{error}");
    }
    operator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_query_is_for_its_app_and_for_none_that_takes_its_place() {
    let operator = attested().await;
    let app = |name: &str, arguments: &[&str]| {
        let mut app = guest("sdk-suite");
        app.args = arguments.iter().map(|text| (*text).to_owned()).collect();
        app.env = vec![("WHO".to_owned(), name.to_owned())];
        app.label = name.to_owned();
        app
    };
    let on_demand = |wanted: &mut DeployArgs| manifest(wanted).on_demand = true;
    // What waits for its start waits for three seconds.
    let slow = app("first", &["wait=3000"]);
    let first = operator.deploy_with(&slow, on_demand).await;
    let worker = worker_of(&operator, first).await;
    let args = question(first, "/env/WHO", b"");
    let replacing = async {
        let starts = operator.until("its start", first, |app| app.instances == 1);
        starts.await;
        let replaces = |wanted: &mut DeployArgs| {
            on_demand(wanted);
            wanted.replaces = first.0.to_vec();
        };
        operator.deploy_with(&app("second", &[]), replaces).await
    };
    let (private, public, _second) = tokio::join!(
        ask_privately(&operator, &args, &worker, now()),
        operator.query(first, "/env/WHO"),
        replacing
    );
    assert_eq!(public, Ok("second".to_owned()));
    assert!(
        matches!(private, Ok(PrivateAnswer::WorkerError(_))),
        "{private:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn private_queries_for_a_key_that_was_given_up_are_still_read() {
    let operator = attested().await;
    let app = operator.deploy(&guest("query")).await;
    let before = worker_of(&operator, app).await;
    operator
        .rotate_keys(RotateKeysArgs::default())
        .await
        .unwrap();
    let after = worker_of(&operator, app).await;
    assert_eq!((before.key_version, after.key_version), (1, 2));
    assert_ne!(before.query_pubkey, after.query_pubkey);
    let echo = question(app, "/echo", b"Ada");
    for worker in [&before, &after] {
        let asked = ask_privately(&operator, &echo, worker, now()).await;
        assert_eq!(asked, Ok(PrivateAnswer::Output(b"Ada".to_vec())));
    }
    // One key under the version of the other, and a session that is over.
    let wrong = WorkerClaims {
        key_version: 2,
        ..before.clone()
    };
    let elsewhere = WorkerClaims {
        session: [0; 32],
        ..after
    };
    for worker in [wrong, elsewhere] {
        let error = ask_privately(&operator, &echo, &worker, now())
            .await
            .unwrap_err();
        assert!(
            error.contains("for another worker, session or version"),
            "{error}"
        );
    }
    operator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_queries_of_one_client_fill_its_own_room() {
    let operator = Operator::with(|config| {
        config.attestation.mode = AttestationMode::Simulator;
        config.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let app = operator.deploy(&guest("query")).await;
    let worker = worker_of(&operator, app).await;
    // No app has this address, so each is remembered, and costs no more than that.
    let nobody = question(AppAddress([7; 32]), "", b"");
    let mut client = http1(operator.gateway()).await;
    let mut refused = None;
    for number in 0..=CLIENT_MAX {
        let answer = private_of(&mut client, &nobody, &worker, "192.0.2.1").await;
        if answer.status() != 200 {
            refused = Some((number, answer));
            break;
        }
    }
    let (number, answer) = refused.expect("no end");
    assert_eq!((number, answer.status().as_u16()), (CLIENT_MAX, 503));
    assert!(answer.headers().contains_key("retry-after"));
    let other = private_of(&mut client, &nobody, &worker, "192.0.2.2").await;
    assert_eq!(other.status(), 200);
    operator.shutdown().await;
}

async fn private_of(
    client: &mut SendRequest<Full<Bytes>>,
    args: &QueryArgs,
    worker: &WorkerClaims,
    from: &str,
) -> Response<()> {
    let (sealed, _) = PrivateQueryArgs::seal(args, worker, now(), &rand::random()).unwrap();
    let request = Request::post("/prpc/User.PrivateQuery")
        .header("host", "h")
        .header("x-forwarded-for", from)
        .body(Full::new(Encoding::Protobuf.encode(&sealed).into()))
        .unwrap();
    client.ready().await.unwrap();
    let (head, body) = client.send_request(request).await.unwrap().into_parts();
    body.collect().await.unwrap();
    Response::from_parts(head, ())
}

async fn http1(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (client, connection) = handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}
