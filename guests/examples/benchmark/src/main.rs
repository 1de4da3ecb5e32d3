//! Hashes all the time and tells how fast: a measure of a worker's processor
//! that the worker itself counts, in gas per second.
//!
//! Queries: `/version`, `/score` (JSON), `/signedScore` (JSON with the score as
//! text and the worker's signature over that text, in hex).

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use sha2::{Digest, Sha256};

/// Hashes between two looks at other tasks: about a millisecond of work.
const HASHES_PER_TURN: u32 = 1_000;
/// How often the score is renewed, unless the first argument says otherwise.
const PERIOD_DEFAULT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Default)]
struct Score {
    gas_per_second: u64,
    gas_consumed: u64,
    timestamp_secs: u64,
}

#[wapo::main]
async fn main() -> wapo::Result<()> {
    wapo::log::init();
    let seconds = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let period = seconds.map_or(PERIOD_DEFAULT, Duration::from_secs);
    let score = Rc::new(Cell::new(Score::default()));
    wapo::spawn_named("hash", hash());
    wapo::spawn_named("measure", measure(period, Rc::clone(&score)));
    wapo::query::serve(move |query| {
        let answer = answer(&query.path, score.get());
        async { answer }
    })
    .await;
    Ok(())
}

async fn hash() {
    let mut state = [0u8; 32];
    loop {
        for _ in 0..HASHES_PER_TURN {
            state = Sha256::digest(state).into();
        }
        wapo::task::yield_now().await;
    }
}

async fn measure(period: Duration, score: Rc<Cell<Score>>) -> wapo::Result<()> {
    let mut before = wapo::app::gas_used()?.gas;
    loop {
        let start = Instant::now();
        wapo::time::sleep(period).await;
        let gas_consumed = wapo::app::gas_used()?.gas;
        let millis = u64::try_from(start.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let timestamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        score.set(Score {
            gas_per_second: gas_consumed.saturating_sub(before).saturating_mul(1000) / millis,
            gas_consumed,
            timestamp_secs: timestamp.as_secs(),
        });
        before = gas_consumed;
        log::info!("{} gas per second", score.get().gas_per_second);
    }
}

fn answer(path: &str, score: Score) -> Result<String, String> {
    let text = json!({
        "gas_per_second": score.gas_per_second,
        "gas_consumed": score.gas_consumed,
        "timestamp_secs": score.timestamp_secs,
    })
    .to_string();
    match path {
        "/version" => Ok(env!("CARGO_PKG_VERSION").to_owned()),
        "/score" => Ok(text),
        "/signedScore" => {
            let signature = wapo::attest::sign(text.as_bytes()).map_err(|e| e.to_string())?;
            let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(json!({ "score": text, "signature": hex }).to_string())
        }
        _ => Err(format!("no such path: {path}")),
    }
}
