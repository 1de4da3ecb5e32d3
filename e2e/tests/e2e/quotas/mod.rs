//! Every quota of an app at its limit and beyond, with a neighbour that must not
//! notice; settings that change while the app runs; guests that try to get around.

mod counts;
mod getting_around;
mod nothing;
mod rates;
mod settings;
mod together;

use std::time::{Duration, Instant};

use e2e::{App, Daemon, Probe, guest, within};
use tokio::task::JoinHandle;
use wapod::{QuotaLimits, QuotaList};

/// Kind of the failure of a connection that a limit refused.
const LIMIT: u8 = 16;

/// Longer than an answer of a neighbour takes on a machine with too much to do, and
/// much shorter than what an app at its quotas waits for.
const SOON: Duration = Duration::from_secs(5);

/// Quotas as an operator writes them.
fn quotas(text: &str) -> QuotaLimits {
    let list: QuotaList = text.parse().expect("quotas");
    list.0
}

/// A probe with quotas that may listen on a port and connect to loopback.
async fn probe_on(daemon: &Daemon, text: &str) -> (Probe, u16) {
    let port = e2e::ports::free();
    let probe = Probe::on(daemon, |app| {
        app.quotas = quotas(text);
        app.listen_ports = e2e::ports::only(port);
        app.label = format!("probe-{port}");
        app.egress = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    (probe, port)
}

/// Another customer's app on the same daemon.
struct Neighbour(App);

impl Neighbour {
    async fn on(daemon: &Daemon) -> Self {
        let mut hello = guest("hello-http");
        hello.label = "neighbour".to_owned();
        let app = daemon.deploy(hello).await;
        app.get("/").await.expect_text("Hello, World!\n");
        Self(app)
    }

    /// It answers as it does when it is alone.
    async fn answers(&self) {
        for _ in 0..20 {
            let begun = Instant::now();
            self.0.get("/").await.expect_text("Hello, World!\n");
            let took = begun.elapsed();
            assert!(took < SOON, "the neighbour took {took:?}");
        }
    }

    /// It answers, again and again, for so long.
    async fn answers_for(&self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.answers().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Makes a probe loop for ever. Aborting the task takes the request back.
async fn spin(probe: Probe) -> JoinHandle<()> {
    probe.run(&e2e::probe::Script::new()).await;
    let app = probe.app().clone();
    let before = app.usage().requests;
    let asking = tokio::spawn(async move {
        let _ = probe.try_run(&e2e::probe::Script::new().spin()).await;
    });
    let begun = async {
        while app.usage().requests == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    within("the loop", begun).await;
    asking
}

/// Time of processors that threads of guests which hog have used so far, in steps of
/// ten milliseconds for each thread.
fn hog_time() -> Duration {
    let ticks = rustix::param::clock_ticks_per_second();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let used = tasks.filter_map(|task| {
        let path = task.ok()?.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        if !["wapo-hog", "wapo-begin"].contains(&name.trim()) {
            return None;
        }
        // Behind the name in brackets: user and system time are fields 14 and 15.
        let text = std::fs::read_to_string(path.join("stat")).ok()?;
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<i64> = rest.split(' ').filter_map(|one| one.parse().ok()).collect();
        let field = |number: usize| u64::try_from(*fields.get(number - 4)?).ok();
        Some(field(14)? + field(15)?)
    });
    Duration::from_millis(used.sum::<u64>() * 1000 / ticks)
}
