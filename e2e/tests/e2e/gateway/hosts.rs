//! Which app a request reaches, and what it learns about the client.

use e2e::{App, Daemon, Operator, Probe, client, guest};
use http_body_util::BodyExt as _;
use wapo_rpc::message::AppSettings;
use wapo_rpc::{Encoding, QueryArgs};
use wapod::Config;

use super::{Http2, Raw, ReceivedRequest, get_of, head, raw};

async fn greeter(change: impl FnOnce(&mut Config)) -> App {
    let daemon = Daemon::with(change).await;
    let mut config = guest("hello-http");
    config.label = "Greeter".into();
    daemon.deploy(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_the_whole_path_of_its_host_names() {
    let app = greeter(|_| {}).await;
    let base32 = app.handle().address().to_base32();
    for host in [
        "greeter.localhost".to_owned(),
        "GREETER.LocalHost:1234".to_owned(),
        "greeter.localhost.:80".to_owned(),
        format!("{base32}.localhost"),
        format!("{}.localhost:8002", base32.to_ascii_uppercase()),
    ] {
        for path in ["you", "prpc/User.Info", "health", "app/x", ".well-known/a"] {
            let answer = get_of(app.gateway(), &host, &format!("/{path}"), "").await;
            assert_eq!(answer.text(), format!("Hello, {path}!\n"), "{host} /{path}");
            assert_eq!(answer.header("x-phactory-signature"), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_names_that_nobody_has_say_so() {
    let app = greeter(|_| {}).await;
    for host in ["nobody.localhost:1", "a.greeter.localhost", ".localhost"] {
        let answer = get_of(app.gateway(), host, "/", "").await;
        assert_eq!(answer.status, 404, "{host}");
        let name = host.split(':').next().unwrap();
        let expected = format!("no app has the host name `{name}` here\n");
        assert_eq!(answer.text(), expected);
    }
    for host in [
        "localhost",
        "127.0.0.1:8002",
        "[::1]:8002",
        "greeter.example",
    ] {
        let answer = get_of(app.gateway(), host, "/health", "").await;
        assert_eq!(answer.text(), "ok\n", "{host}");
        let answer = get_of(app.gateway(), host, "/you", "").await;
        assert_eq!(answer.status, 404, "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_is_at_no_app_reads_what_this_is_and_where_apps_are() {
    let app = greeter(|_| {}).await;
    for path in ["/", "/favicon.ico"] {
        let answer = get_of(app.gateway(), "127.0.0.1:8002", path, "").await;
        assert_eq!(answer.status, 404);
        let text = answer.text();
        for words in [
            "the gateway of a Wapo worker",
            "at http://<name>.localhost:8002/ and below /app/<address>/",
            "`wapo list`",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("text/plain; charset=utf-8"));
    }
    let answer = get_of(app.gateway(), "localhost", "/", "").await;
    assert!(answer.text().contains("http://<name>.localhost/ and"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_base_domain_is_the_operators_choice() {
    let app = greeter(|config| config.base_domain = "apps.example".into()).await;
    let answer = get_of(app.gateway(), "greeter.apps.example", "/a", "").await;
    assert_eq!(answer.text(), "Hello, a!\n");
    let answer = get_of(app.gateway(), "greeter.localhost", "/health", "").await;
    assert_eq!(answer.text(), "ok\n");
    let answer = get_of(app.gateway(), "other.apps.example", "/health", "").await;
    assert_eq!(answer.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_http_2_is_a_host_name() {
    let app = greeter(|_| {}).await;
    let mut client = Http2::connect(app.gateway()).await;
    let answer = client.get("http://greeter.localhost:99/two").await;
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "Hello, two!\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_pass_on_host_names_and_where_the_operator_allows_them() {
    let operator = Operator::start().await;
    let mut config = guest("sdk-suite");
    config.label = "plain".into();
    let plain = operator.deploy(&config).await;
    config.label = "sweet".into();
    let settings = AppSettings {
        pass_cookies: true,
        ..AppSettings::default()
    };
    let sweet = operator
        .deploy_with(&config, |args| args.settings = Some(settings))
        .await;
    let gateway = operator.gateway();
    for (host, base, passes) in [
        ("plain.localhost", "/".to_owned(), true),
        ("h", format!("/app/{plain}/"), false),
        ("h", format!("/app/{sweet}/"), true),
    ] {
        let answer = get_of(gateway, host, &base, "cookie: taste=sweet\r\n").await;
        let arrived = answer.text().contains("cookie: taste=sweet");
        assert_eq!(arrived, passes, "{host} {base}");
        let answer = get_of(gateway, host, &format!("{base}cookies"), "").await;
        let set = answer.head.matches("set-cookie:").count();
        assert_eq!(set, if passes { 2 } else { 0 }, "{host} {base}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_use_an_app_where_the_operator_allows_it() {
    let operator = Operator::start().await;
    let mut config = guest("sdk-suite");
    config.label = "closed".into();
    operator.deploy(&config).await;
    config.label = "open".into();
    let settings = AppSettings {
        cors: true,
        ..AppSettings::default()
    };
    let open = operator
        .deploy_with(&config, |args| args.settings = Some(settings))
        .await;
    let asks = "origin: https://page.example\r\naccess-control-request-method: PUT\r\n\
                access-control-request-headers: x-one, x-two\r\n";
    let gateway = operator.gateway();
    let preflight = |host: &str| {
        let request = format!("OPTIONS / HTTP/1.1\r\nhost: {host}\r\n{asks}\r\n");
        raw(gateway, request)
    };
    // Without the setting it is the app's business.
    let answer = preflight("closed.localhost").await;
    assert!(answer.text().starts_with("OPTIONS "), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), None);

    let answer = preflight("open.localhost").await;
    assert_eq!(answer.status, 204);
    let allowed = |name: &str| answer.header(&format!("access-control-{name}"));
    assert_eq!(allowed("allow-origin"), Some("https://page.example"));
    assert_eq!(allowed("allow-credentials"), Some("true"));
    assert_eq!(allowed("allow-headers"), Some("x-one, x-two"));
    assert!(allowed("allow-methods").is_some_and(|all| all.contains("put")));
    // Answers as well, those that the gateway gives in the app's place among them.
    for path in ["/status/200", "/status/500", "/drop"] {
        let from = "origin: https://page.example\r\n";
        let answer = get_of(gateway, "open.localhost", path, from).await;
        let origin = answer.header("access-control-allow-origin");
        assert_eq!(origin, Some("https://page.example"), "{path}");
        assert_eq!(answer.header("vary"), Some("origin"), "{path}");
    }
    let answer = get_of(gateway, "h", &format!("/app/{open}/"), "").await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        None,
        "no page asks"
    );
}

const CLAIMS: &str = "x-forwarded-for: 203.0.113.7\r\nx-forwarded-proto: https\r\n\
                      x-forwarded-host: bank.example\r\nforwarded: for=203.0.113.7\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_say_about_themselves_is_dropped() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut client = Raw::connect(probe.app().gateway()).await;
    let own = client.stream.local_addr().unwrap();
    let path = format!("/app/{}/x?y", probe.app().handle().address());
    let request = format!("GET {path} HTTP/1.1\r\nhost: h:1\r\n{CLAIMS}\r\n");
    client.send(request).await;
    let asked = ReceivedRequest::next(&probe, channel).await;
    assert_eq!(asked.method, "GET");
    assert_eq!(asked.url, "http://h:1/x?y");
    assert_eq!(asked.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(asked.header("x-forwarded-proto"), Some("http"));
    assert_eq!(asked.header("x-forwarded-host"), Some("h:1"));
    assert_eq!(asked.header("forwarded"), None);
    assert_eq!(asked.headers.len(), 4, "{:?}", asked.headers);
    let peer = probe.http_peer(asked.stream).await;
    assert_eq!(peer, Ok(Some(own.to_string())));
}

#[tokio::test(flavor = "multi_thread")]
async fn trusted_proxies_speak_for_their_clients() {
    let daemon = Daemon::with(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let probe = Probe::on(&daemon, |_| {}).await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut client = Raw::connect(probe.app().gateway()).await;
    let path = format!("/app/{}/", probe.app().handle().address());
    let request = format!("GET {path} HTTP/1.1\r\nhost: h:1\r\n{CLAIMS}\r\n");
    client.send(request).await;
    let asked = ReceivedRequest::next(&probe, channel).await;
    assert_eq!(asked.url, "https://h:1/");
    let chain = asked.header("x-forwarded-for");
    assert_eq!(chain, Some("203.0.113.7, 127.0.0.1"));
    assert_eq!(asked.header("x-forwarded-proto"), Some("https"));
    assert_eq!(asked.header("x-forwarded-host"), Some("bank.example"));
    assert_eq!(asked.header("forwarded"), Some("for=203.0.113.7"));
    let peer = probe.http_peer(asked.stream).await;
    assert_eq!(peer, Ok(Some("203.0.113.7:0".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_reach_the_guest_as_they_were_sent() {
    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let mut client = Raw::connect(probe.app().gateway()).await;
    let base = format!("/app/{}", probe.app().handle().address());
    for path in [
        "/a%3Fb%23c",
        "/.well-known/x",
        "//a//b//",
        "/a/../b/./c/",
        "/?",
        "/%00%2F%2e?a=%23&b=?&c",
        "/caf%C3%A9?x=/app/",
    ] {
        client
            .send(format!("GET {base}{path} HTTP/1.1\r\nhost: h\r\n\r\n"))
            .await;
        let asked = ReceivedRequest::next(&probe, channel).await;
        assert_eq!(asked.url, format!("http://h{path}"));
        let answer = head(200, &[("content-length", "0")]);
        probe.oneshot_send(asked.reply, &answer).await.unwrap();
        probe.close(asked.stream).await.unwrap();
        assert_eq!(client.answer().await.status, 200);
    }
    let bare = get_of(probe.app().gateway(), "h", &format!("{base}?a=1&b"), "").await;
    assert_eq!(bare.status, 308);
    assert_eq!(bare.header("location"), Some(&*format!("{base}/?a=1&b")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_of_an_absolute_request_says_which_host_is_meant() {
    let app = greeter(|_| {}).await;
    let request = "GET http://greeter.localhost/a HTTP/1.1\r\nhost: nobody.localhost\r\n\r\n";
    assert_eq!(raw(app.gateway(), request).await.text(), "Hello, a!\n");
    let request = "GET http://nobody.localhost/a HTTP/1.1\r\nhost: greeter.localhost\r\n\r\n";
    assert_eq!(raw(app.gateway(), request).await.status, 404);

    let probe = Probe::start().await;
    let channel = probe.create_input_channel(4).await.unwrap();
    let url = probe.app().url("/x");
    let mut client = Raw::connect(probe.app().gateway()).await;
    let request = format!("GET {url} HTTP/1.1\r\nhost: evil.example\r\n\r\n");
    client.send(request).await;
    let asked = ReceivedRequest::next(&probe, channel).await;
    let gateway = probe.app().gateway().to_string();
    assert_eq!(asked.url, format!("http://{gateway}/x"));
    assert_eq!(asked.header("host"), Some(&*gateway));
    assert_eq!(asked.header("x-forwarded-host"), Some(&*gateway));
}

fn is_signed(key: &[u8], body: &[u8], signature: Option<&str>) -> bool {
    let Some(signature) = signature else {
        return false;
    };
    assert!(!signature.bytes().any(|byte| byte.is_ascii_uppercase()));
    let signature = hex::decode(signature).unwrap();
    let signature = schnorrkel::Signature::from_bytes(&signature).unwrap();
    let key = schnorrkel::PublicKey::from_bytes(key).unwrap();
    let message = [&[0xff, 1], body].concat();
    key.verify_simple(b"substrate", &message, &signature)
        .is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_calls_are_signed_and_what_apps_say_is_not() {
    const NAME: &str = "x-phactory-signature";
    let daemon = Daemon::start().await;
    let suite = daemon.deploy(guest("sdk-suite")).await;
    let probe = Probe::on(&daemon, |_| {}).await;
    let key = probe.worker_pubkey().await.unwrap();
    let gateway = probe.app().gateway();
    let base = format!("http://{gateway}");
    let address = probe.app().handle().address();
    for (path, status) in [
        ("/prpc/User.Info?json", 200),
        ("/prpc/User.Nothing?json", 404),
    ] {
        let answer = client::get(&format!("{base}{path}")).await;
        answer.expect_status(status);
        assert!(is_signed(&key, &answer.body, answer.header(NAME)), "{path}");
    }
    let large = QueryArgs {
        address: suite.handle().address().0.to_vec(),
        path: "/echo".into(),
        payload: vec![7; 300_000],
        ..QueryArgs::default()
    };
    let url = format!("{base}/prpc/User.Query");
    let answer = client::post(&url, Encoding::Protobuf.encode(&large)).await;
    assert!(answer.body.len() > 300_000);
    assert!(is_signed(&key, &answer.body, answer.header(NAME)));

    let channel = probe.create_input_channel(4).await.unwrap();
    for (method, status) in [("GET", 200), ("HEAD", 200), ("GET", 204)] {
        let mut client = Raw::connect(gateway).await;
        client
            .send(format!(
                "{method} /app/{address}/ HTTP/1.1\r\nhost: h\r\n\r\n"
            ))
            .await;
        let asked = ReceivedRequest::next(&probe, channel).await;
        // Nor may an app claim that the worker said something.
        let answer = head(status, &[(NAME, "00")]);
        probe.oneshot_send(asked.reply, &answer).await.unwrap();
        probe.close(asked.stream).await.unwrap();
        let head = client.head().await;
        assert_eq!(super::header(&head, NAME), None, "{method} {status}");
    }
}
