//! Domains of apps: host names that an operator binds, and whom they lead to.

use e2e::operator::Operator;
use e2e::{Authority, guest};
use wapo_rpc::AppAddress;
use wapo_rpc::message::{AppInfo, DomainAddArgs, DomainRemoveArgs};
use wapod::{AppConfig, limits};

use super::gateway::{RawAnswer, raw};

const SHOP: &str = "shop.example.com";

fn labelled(label: &str) -> AppConfig {
    AppConfig {
        label: label.to_owned(),
        ..guest("sdk-suite")
    }
}

async fn add(operator: &Operator, app: AppAddress, domain: &str) -> Result<(), String> {
    let args = DomainAddArgs {
        address: app.0.to_vec(),
        domain: domain.to_owned(),
        ..DomainAddArgs::default()
    };
    let added = operator.domain_add(args).await;
    added.map(drop).map_err(|error| error.to_string())
}

async fn remove(operator: &Operator, app: AppAddress, domain: &str) -> bool {
    let args = DomainRemoveArgs {
        address: app.0.to_vec(),
        domain: domain.to_owned(),
    };
    operator.domain_remove(args).await.unwrap().value
}

async fn get(operator: &Operator, host: &str) -> RawAnswer {
    let request = format!("GET /collect/5 HTTP/1.1\r\nhost: {host}\r\n\r\n");
    raw(operator.gateway(), request).await
}

async fn is_served(operator: &Operator, host: &str) -> bool {
    let answer = get(operator, host).await;
    assert!(matches!(answer.status, 200 | 404), "{answer:?}");
    answer.status == 200
}

async fn deploy(operator: &Operator, label: &str) -> AppAddress {
    let app = operator.deploy(&labelled(label)).await;
    takes_http(operator, app).await;
    app
}

async fn takes_http(operator: &Operator, app: AppAddress) -> AppInfo {
    operator
        .until("it takes requests", app, |info| {
            info.instance_list.iter().any(|one| one.takes_http)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_leads_to_its_app_until_it_is_removed() {
    let operator = Operator::start().await;
    let app = deploy(&operator, "one").await;
    assert!(!is_served(&operator, SHOP).await);
    add(&operator, app, "Shop.Example.COM.").await.unwrap();
    for host in [SHOP, "SHOP.example.com:8002", "shop.example.com."] {
        assert!(is_served(&operator, host).await, "{host}");
    }
    for host in [
        "example.com",
        "a.shop.example.com",
        "shop.example.com.evil.example",
    ] {
        assert!(!is_served(&operator, host).await, "{host}");
    }
    add(&operator, app, "*.shop.example.com").await.unwrap();
    assert!(is_served(&operator, "a.shop.example.com").await);
    assert!(!is_served(&operator, "b.a.shop.example.com").await);
    let info = operator.find(app).await.unwrap();
    assert_eq!(info.domains, ["*.shop.example.com", SHOP]);
    // Once more is the same.
    add(&operator, app, SHOP).await.unwrap();
    assert!(remove(&operator, app, SHOP).await);
    assert!(!remove(&operator, app, SHOP).await);
    assert!(!is_served(&operator, SHOP).await);
    operator.remove(app).await;
    assert!(!is_served(&operator, "a.shop.example.com").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_holder_keeps_a_domain_and_a_removed_one_frees_it() {
    let operator = Operator::start().await;
    let one = deploy(&operator, "one").await;
    let two = deploy(&operator, "two").await;
    add(&operator, one, SHOP).await.unwrap();
    let error = add(&operator, two, SHOP).await.expect_err("taken");
    assert!(error.contains(&one.to_string()), "{error}");
    assert!(!remove(&operator, two, SHOP).await);
    assert!(is_served(&operator, SHOP).await);
    operator.remove(one).await;
    add(&operator, two, SHOP).await.unwrap();
    assert!(is_served(&operator, SHOP).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_domain_or_of_the_base_domain_is_refused() {
    let operator = Operator::start().await;
    let app = deploy(&operator, "one").await;
    let long = format!("{}.example", "a".repeat(64));
    for bad in [
        "",
        "shop example",
        "127.0.0.1",
        "[::1]",
        "shop.example.com:443",
        "https://shop.example.com",
        "*.*.example",
        "shop.*",
        "bücher.example",
        &long,
    ] {
        let error = add(&operator, app, bad).await.expect_err(bad);
        assert!(error.contains("is not a domain"), "{bad}: {error}");
    }
    for ours in ["localhost", "two.localhost", "*.localhost", "a.b.localhost"] {
        let error = add(&operator, app, ours).await.expect_err(ours);
        assert!(error.contains("base domain"), "{ours}: {error}");
    }
    for number in 0..limits::DOMAINS_OF_APP_MAX {
        let domain = format!("d{number}.example");
        add(&operator, app, &domain).await.unwrap();
    }
    let error = add(&operator, app, SHOP).await.expect_err("too many");
    assert!(error.contains("at most"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_follow_their_app_through_replacements_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, in_folder) = (Authority::new(), folder.path());
    let identity = authority.issue(SHOP);
    let operator = Operator::in_folder(in_folder).await;
    let first = deploy(&operator, "first").await;
    let args = DomainAddArgs {
        address: first.0.to_vec(),
        domain: SHOP.to_owned(),
        certificate: identity.cert,
        key: identity.key,
    };
    operator.domain_add(args).await.unwrap();
    add(&operator, first, "*.shop.example.com").await.unwrap();
    // Its requests are answered all the time.
    let second = {
        let config = labelled("second");
        let replacing = operator.deploy_with(&config, |args| {
            args.replaces = first.0.to_vec();
        });
        tokio::pin!(replacing);
        loop {
            tokio::select! {
                second = &mut replacing => break second,
                served = is_served(&operator, SHOP) => assert!(served),
            }
        }
    };
    assert!(operator.find(first).await.is_none());
    let domains = ["*.shop.example.com", SHOP];
    assert_eq!(operator.find(second).await.unwrap().domains, domains);
    assert!(is_served(&operator, SHOP).await);
    operator.shutdown().await;

    let operator = Operator::in_folder(in_folder).await;
    let info = takes_http(&operator, second).await;
    assert_eq!(info.domains, domains);
    assert!(is_served(&operator, SHOP).await);
    assert!(is_served(&operator, "a.shop.example.com").await);
    assert!(remove(&operator, second, SHOP).await);
    operator.shutdown().await;
    let operator = Operator::in_folder(in_folder).await;
    assert!(!is_served(&operator, SHOP).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_for_the_domain_is_refused_and_changes_nothing() {
    let operator = Operator::start().await;
    let app = deploy(&operator, "one").await;
    let authority = Authority::new();
    let (own, other) = (authority.issue(SHOP), authority.issue("other.example"));
    let (none, long) = (
        String::new(),
        "x".repeat(limits::DOMAIN_CERTIFICATE_BYTES_MAX),
    );
    for (certificate, key, reason) in [
        (&other.cert, &other.key, "not for shop.example.com"),
        (&own.cert, &other.key, "does not belong"),
        (&own.cert, &none, "no private key"),
        (&long, &own.key, "are the most"),
    ] {
        let args = DomainAddArgs {
            address: app.0.to_vec(),
            domain: SHOP.to_owned(),
            certificate: certificate.clone(),
            key: key.clone(),
        };
        let error = operator.domain_add(args).await.expect_err(reason);
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!is_served(&operator, SHOP).await);
    }
}

/// The daemon's own files show that no key is in the clear.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_domain_is_sealed_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = deploy(&operator, "one").await;
    let identity = Authority::new().issue(SHOP);
    let secret = identity.key.lines().nth(1).unwrap().to_owned();
    let args = DomainAddArgs {
        address: app.0.to_vec(),
        domain: SHOP.to_owned(),
        certificate: identity.cert,
        key: identity.key,
    };
    operator.domain_add(args).await.unwrap();
    operator.shutdown().await;
    let state = std::fs::read(folder.path().join("state.redb")).unwrap();
    assert!(!contains(&state, secret.as_bytes()));
    assert!(contains(&state, SHOP.as_bytes()), "the record is there");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
