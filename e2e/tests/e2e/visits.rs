//! Looks at apps by `AppVisit`, as the console has them.

use std::time::{Duration, Instant};

use e2e::{Operator, guest, script, within};
use wapo_rpc::AppAddress;
use wapo_rpc::message::{AppVisitArgs, AppVisitResponse};

/// Answers each path in another way.
const PROGRAM: &str = r#"
    const more = (size) => new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(size).fill(97)) });
    const answers = {
      "/request": (request) => Response.json({
        method: request.method, host: request.headers.get("host"), agent: request.headers.get("user-agent"),
        url: request.url,
      }),
      "/set": () => new Response("made", { status: 201, headers: { "x-own": "yes", "set-cookie": "a=b" } }),
      "/much": () => new Response(more(16 * 1024)),
      "/slow": () => new Response(new ReadableStream({ start: (to) => to.enqueue(new TextEncoder().encode("first")) })),
      "/broken": () => new Response(new ReadableStream({ start(to) { to.enqueue(new Uint8Array([111, 107])); },
        pull() { throw new Error("no more"); } })),
      "/throw": () => { throw new Error("a secret"); },
      "/never": () => new Promise(() => setTimeout(() => {}, 1e6)),
    };
    addEventListener("fetch", (event) => {
      const { pathname } = new URL(event.request.url);
      event.respondWith((async () => answers[pathname](event.request))());
    });
"#;

async fn visit(operator: &Operator, app: AppAddress, path: &str) -> AppVisitResponse {
    let args = AppVisitArgs {
        address: app.0.to_vec(),
        path: path.to_owned(),
    };
    within(path, operator.app_visit(args)).await.expect(path)
}

fn text(answer: &AppVisitResponse) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_seen_as_a_visitor_at_its_host_name_sees_it() {
    let operator = Operator::start().await;
    let mut app = script(PROGRAM);
    app.label = "shop".to_owned();
    let app = operator.deploy(&app).await;
    let answer = visit(&operator, app, "/request?a=b").await;
    let port = operator.gateway().port();
    let seen: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let host = format!("shop.localhost:{port}");
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["host"], host);
    assert_eq!(seen["url"], format!("http://{host}/request?a=b"));
    let agent = seen["agent"].as_str().expect("a text");
    assert!(agent.starts_with("wapod/"), "{agent}");
    let answer = visit(&operator, app, "/set").await;
    assert_eq!((answer.status, text(&answer).as_str()), (201, "made"));
    assert!(!answer.is_cut);
    let has = |name: &str, value: &str| {
        let mut fields = answer.headers.iter();
        fields.any(|field| field.key == name && field.value == value)
    };
    assert!(
        has("x-own", "yes") && has("set-cookie", "a=b"),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_end_is_seen_as_far_as_it_came() {
    let operator = Operator::start().await;
    let app = operator.deploy(&script(PROGRAM)).await;
    let answer = visit(&operator, app, "/much").await;
    assert_eq!((answer.body.len(), answer.is_cut), (64 * 1024, true));
    let begun = Instant::now();
    let answer = visit(&operator, app, "/slow").await;
    assert_eq!((text(&answer).as_str(), answer.is_cut), ("first", true));
    assert!(begun.elapsed() >= Duration::from_secs(2));
    let answer = visit(&operator, app, "/broken").await;
    assert!(answer.is_cut, "{answer:?}");
    // Nobody takes more of what has no end: the app has no request any more.
    let is_free = |info: &wapo_rpc::message::AppInfo| info.instance_list[0].requests == 0;
    operator.until("no request", app, is_free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn for_want_of_an_answer_a_visit_gives_what_the_gateway_says() {
    let operator = Operator::start().await;
    let app = operator.deploy(&script(PROGRAM)).await;
    let answer = visit(&operator, app, "/throw").await;
    assert_eq!(answer.status, 500);
    assert!(!text(&answer).contains("secret"), "{answer:?}");
    let mute = operator.deploy(&guest("query")).await;
    let answer = visit(&operator, mute, "").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let answer = visit(&operator, app, "/never").await;
    assert_eq!(answer.status, 504, "{answer:?}");
    assert_eq!(text(&answer), "the app did not answer in time\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_path_is_not_asked_for() {
    let operator = Operator::start().await;
    let app = operator.deploy(&script(PROGRAM)).await;
    let long = format!("/{}", "x".repeat(20_000));
    for path in [
        "x",
        "http://elsewhere.example/",
        "//elsewhere/",
        "/a b",
        "*",
        "/\r\nx: y",
        "/\u{fc}",
    ] {
        let args = AppVisitArgs {
            address: app.0.to_vec(),
            path: path.to_owned(),
        };
        let outcome = operator.app_visit(args).await;
        let asked = outcome.as_ref().map(|answer| answer.status);
        let refused = outcome.as_ref().err().map(ToString::to_string);
        let is_refused = refused.is_some_and(|text| text.contains("is no path"));
        // What looks like another host is a path of this app, or none.
        assert!(
            is_refused || asked.is_ok_and(|status| status == 500),
            "{path:?}: {outcome:?}"
        );
    }
    assert_eq!(visit(&operator, app, &long).await.status, 414);
}
