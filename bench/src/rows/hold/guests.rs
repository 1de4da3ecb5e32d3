//! Row `hostile-guests`: a neighbour beside guests that drive the host's work
//! with a number, and how soon such guests and their daemon can be stopped.

use anyhow::Result;

use super::hostile_guest::ATTACKS;
use super::{Scene, report_ends, report_neighbour, sampling_time};
use crate::plan::Plan;
use crate::report::Report;
use crate::worker::{Deploy, pause};

/// Instances of each hostile guest where there are fewer cores; else as many as
/// there are cores, so that a loop could run on each of them.
const INSTANCES_MIN: usize = 2;
/// Attacks that a smoke test tries.
const SMOKE_ATTACKS: usize = 2;

pub(in crate::rows) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let instances = cores.max(INSTANCES_MIN);
    let count = if plan.smoke {
        SMOKE_ATTACKS
    } else {
        ATTACKS.len()
    };
    for attack in ATTACKS.iter().take(count) {
        let scene = Scene::open(plan, &["-m", "128m"])?;
        let wasm = wat::parse_str(attack.text())?;
        let (samples, app) = scene.beside(plan, |worker| {
            let app = worker.deploy(Deploy::new("hostile", &wasm));
            // A start that never ends may be answered with an error; the app is
            // there all the same, or is not deployed.
            let app = app.ok();
            if let Some(app) = app {
                let _ = worker.resize(app, instances as u64);
            }
            pause(sampling_time(plan) / 2);
            Ok(app)
        })?;
        let what = format!("{instances} × {}", attack.what);
        report_neighbour(report, "hostile-guests", &what, &scene.idle, &samples);
        report_ends(report, "hostile-guests", &what, scene.worker, app)?;
    }
    Ok(())
}
