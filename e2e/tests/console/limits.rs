//! The limits of the worker, as its page shows them.

use e2e::{Daemon, Errno, Probe, ports};
use tokio::net::TcpStream;
use wapod::DescriptorLimits;

use crate::audit;
use crate::page::Page;

const DESCRIPTORS: DescriptorLimits = DescriptorLimits {
    total: 120,
    per_instance: 16,
};

/// The bar of a limit.
fn meter(scope: &str, name: &str) -> String {
    format!("#worker-meters [data-scope={scope}] .meter[data-key={name}]")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apps_and_clients_take_is_shown_and_goes_back() {
    let daemon = Daemon::with(|config| {
        config.admin_address = Some(([127, 0, 0, 1], 0).into());
        config.guest_descriptors = Some(DESCRIPTORS);
        config.memory_budget_bytes = Some(64 << 20);
    })
    .await;
    let page = Page::open(&daemon).await;
    page.show("#/worker").await;
    let descriptors = meter("guests", "descriptors");
    page.until_says(&descriptors, "0 of 120").await;
    page.until_says(&meter("guests", "instances"), "0 of 16")
        .await;
    page.until_says(&meter("guests", "memory_bytes"), "of 64 MiB")
        .await;
    page.until_says(&meter("daemon", "compile_queue"), "0 of 64")
        .await;
    page.until_says(&meter("user", "body_bytes"), "0 B of 128 MiB")
        .await;

    let port = ports::free();
    let probe = Probe::on(&daemon, |app| app.listen_ports = ports::only(port)).await;
    let address = format!("127.0.0.1:{port}");
    let listener = probe.tcp_listen(&address, None).await.expect("a listener");
    let mut clients = Vec::new();
    // A listener has two.
    for _ in 2..DESCRIPTORS.per_instance {
        clients.push(TcpStream::connect(&address).await.expect("connected"));
        let accepted = probe.tcp_accept_no_addr(listener).await;
        assert!(accepted.is_ok(), "{accepted:?}");
    }
    page.until_says(&descriptors, "16 of 120").await;
    page.until_says(&meter("guests", "instances"), "1 of 16")
        .await;
    let bar = format!("document.querySelector({descriptors:?}).querySelector('[role=meter]')");
    let spoken = page
        .until(format!("{bar}.getAttribute('aria-label')"))
        .await;
    assert_eq!(spoken, "Apps: Descriptors");
    let value = page
        .until(format!("{bar}.getAttribute('aria-valuetext')"))
        .await;
    assert_eq!(value, "16 of 120");
    let another = probe.tcp_listen(&format!("127.0.0.2:{port}"), None).await;
    assert_eq!(another, Err(Errno::Limited));
    page.until_says(&descriptors, "1 refused").await;
    for (scheme, width) in [("light", 1280), ("dark", 400)] {
        page.prefer(scheme).await;
        page.resize(width, 900).await;
        let what = format!("limits-{scheme}");
        page.screenshot(&what).await;
        audit::contrast(&page, &what).await;
        audit::room(&page, &what).await;
        audit::names(&page, &what).await;
    }

    probe.app().stop().await;
    page.until_says(&descriptors, "0 of 120").await;
    // It is told since the start.
    page.until_says(&descriptors, "1 refused").await;
    let strangers: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(daemon.running().user_address()))
        .collect();
    let strangers = futures_util::future::join_all(strangers).await;
    let connections = meter("user", "connections");
    page.until_says(&connections, "3 of ").await;
    drop(strangers);
    page.until_says(&connections, "0 of ").await;
    page.close(&[]).await;
}
