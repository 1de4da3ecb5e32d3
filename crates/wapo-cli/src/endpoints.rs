//! Where a deployed app can be reached, as something to click on or to paste.
//!
//! No I/O: from what a worker says of itself and of an app to lines of text.
//! What `wapo run` shows is in `urls`.

use std::net::{IpAddr, SocketAddr};

use wapo_rpc::message::WorkerInfo;

use crate::apps::FoundApp;
use crate::urls::{listener, udp};

/// All addresses of an app, the nicest first. `worker_url` is where the worker
/// was reached.
pub(crate) fn of(app: &FoundApp, worker: &WorkerInfo, worker_url: &str) -> Vec<String> {
    let mut urls = Vec::new();
    if !app.is_off_the_gateway()
        && let Ok(gateway) = worker.user_address.parse::<SocketAddr>()
    {
        let scheme = gateway_scheme(worker);
        let (name, domain) = (&app.info.name, &worker.base_domain);
        if !name.is_empty() && !domain.is_empty() {
            urls.push(format!("{scheme}://{name}.{domain}:{}/", gateway.port()));
        }
        for domain in &app.info.domains {
            // A wildcard is no address.
            if !domain.starts_with('*') {
                urls.push(format!("{scheme}://{domain}:{}/", gateway.port()));
            }
        }
        let gateway = reachable(gateway, worker_url);
        urls.push(format!("{scheme}://{gateway}/app/{}/", app.address));
    }
    if let Ok(tls) = worker.tls_address.parse::<SocketAddr>() {
        let names = app.server_names().into_iter();
        // A wildcard is no address.
        let names = names.filter(|name| !name.starts_with('*'));
        urls.extend(names.map(|name| format!("https://{name}:{}/", tls.port())));
    }
    for (text, has_tls) in app.listening() {
        if let Ok(bound) = text.parse() {
            urls.push(listener(reachable(bound, worker_url), has_tls));
        }
    }
    for text in app.listening_udp() {
        if let Ok(bound) = text.parse() {
            urls.push(udp(reachable(bound, worker_url)));
        }
    }
    urls
}

/// The user port of a worker that was reached at `worker_url`.
pub(crate) fn users(worker: &WorkerInfo, worker_url: &str) -> Option<String> {
    let bound = worker.user_address.parse().ok()?;
    let scheme = gateway_scheme(worker);
    Some(format!("{scheme}://{}", reachable(bound, worker_url)))
}

/// How URLs of a worker's gateway begin.
pub(crate) fn gateway_scheme(worker: &WorkerInfo) -> &'static str {
    if worker.user_tls { "https" } else { "http" }
}

/// Host and port to connect to, for an address that a socket of the worker is
/// bound to.
fn reachable(bound: SocketAddr, worker_url: &str) -> String {
    if !bound.ip().is_unspecified() {
        return bound.to_string();
    }
    let host = host(worker_url).unwrap_or_else(|| match bound.ip() {
        IpAddr::V4(_) => "127.0.0.1".to_owned(),
        IpAddr::V6(_) => "[::1]".to_owned(),
    });
    format!("{host}:{}", bound.port())
}

/// The host in a URL.
fn host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = match authority.rsplit_once(':') {
        // A colon inside of brackets begins no port.
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    (!host.is_empty()).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wapo_rpc::AppAddress;
    use wapo_rpc::message::{AppInfo, InstanceInfo};

    fn app(name: &str, listening: &[&str]) -> FoundApp {
        let instance = InstanceInfo {
            listening: listening.iter().map(|text| (*text).to_owned()).collect(),
            takes_http: true,
            ..InstanceInfo::default()
        };
        FoundApp {
            address: AppAddress([0xaa; 32]),
            info: AppInfo {
                name: name.to_owned(),
                instance_list: vec![instance.clone(), instance],
                ..AppInfo::default()
            },
        }
    }

    fn worker(user_address: &str) -> WorkerInfo {
        WorkerInfo {
            user_address: user_address.to_owned(),
            base_domain: "localhost".to_owned(),
            ..WorkerInfo::default()
        }
    }

    #[test]
    fn every_way_to_an_app_is_listed_once() {
        let app = app("shop", &["0.0.0.0:3000", "127.0.0.1:3001"]);
        let path = format!("/app/{}/", "aa".repeat(32));
        let urls = of(&app, &worker("127.0.0.1:8002"), "http://127.0.0.1:8001");
        assert_eq!(
            urls,
            [
                "http://shop.localhost:8002/".to_owned(),
                format!("http://127.0.0.1:8002{path}"),
                "tcp://127.0.0.1:3000".to_owned(),
                "tcp://127.0.0.1:3001".to_owned(),
            ]
        );
    }

    #[test]
    fn an_app_that_serves_a_name_is_reached_on_the_tls_port() {
        let mut app = app("shop", &[]);
        for instance in &mut app.info.instance_list {
            instance.takes_http = false;
            instance.server_names = vec!["*.example.com".into(), "shop.example.com".into()];
        }
        let mut worker = worker("127.0.0.1:8002");
        worker.tls_address = "0.0.0.0:8443".to_owned();
        let urls = of(&app, &worker, "http://127.0.0.1:8001");
        assert_eq!(urls, ["https://shop.example.com:8443/"]);
    }

    #[test]
    fn a_gateway_with_tls_has_urls_that_say_so() {
        let worker = WorkerInfo {
            user_tls: true,
            ..worker("127.0.0.1:8002")
        };
        let urls = of(&app("shop", &[]), &worker, "https://127.0.0.1:8001");
        assert_eq!(urls[0], "https://shop.localhost:8002/");
        assert!(
            urls[1].starts_with("https://127.0.0.1:8002/app/"),
            "{urls:?}"
        );
    }

    #[test]
    fn an_app_that_takes_queries_only_is_not_looked_for_at_the_gateway() {
        let mut app = app("oracle", &[]);
        for instance in &mut app.info.instance_list {
            instance.takes_http = false;
            instance.takes_queries = true;
        }
        let urls = of(&app, &worker("127.0.0.1:8002"), "http://127.0.0.1:8001");
        assert!(urls.is_empty(), "{urls:?}");
    }

    #[test]
    fn an_app_with_ports_only_is_not_looked_for_at_the_gateway() {
        let mut app = app("echo", &["0.0.0.0:3000", "127.0.0.1:3001"]);
        for instance in &mut app.info.instance_list {
            instance.takes_http = false;
            instance.listening_tls = vec!["0.0.0.0:3000".to_owned()];
        }
        let urls = of(&app, &worker("127.0.0.1:8002"), "http://127.0.0.1:8001");
        assert_eq!(urls, ["https://127.0.0.1:3000/", "tcp://127.0.0.1:3001"]);
        // Nothing is known of an app that has not come so far.
        app.info.instance_list.clear();
        let urls = of(&app, &worker("127.0.0.1:8002"), "http://127.0.0.1:8001");
        assert_eq!(urls[0], "http://echo.localhost:8002/");
    }

    #[test]
    fn a_worker_elsewhere_is_reached_by_its_own_host() {
        let path = format!("/app/{}/", "aa".repeat(32));
        for (url, host) in [
            ("https://worker.example.com/admin", "worker.example.com"),
            ("http://10.0.0.1:8001", "10.0.0.1"),
            ("http://[fd00::1]:8001", "[fd00::1]"),
            ("http://[fd00::1]", "[fd00::1]"),
        ] {
            let urls = of(&app("", &[]), &worker("0.0.0.0:8002"), url);
            assert_eq!(urls, [format!("http://{host}:8002{path}")]);
        }
    }
}
