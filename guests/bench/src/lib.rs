//! How a measuring guest is asked: at its start or by queries.
//!
//! Used by the guests `calls` and `kernels`; what they measure is their own.

/// Measures what is asked for, as a name and a count.
type Measure = fn(&str, &str) -> Result<String, String>;

/// With arguments `name [count]`, measures that, writes the line to the log and
/// to the output, and ends; without, answers the queries `/name/count`.
///
/// # Errors
///
/// What the measurement says, or that the output is not taken.
pub async fn serve(measure: Measure) -> Result<(), String> {
    wapo::log::init();
    let mut arguments = std::env::args().skip(1);
    if let Some(name) = arguments.next() {
        let line = measure(&name, arguments.next().as_deref().unwrap_or_default())?;
        log::info!("{line}");
        return wapo::app::output(&line).map_err(|error| error.to_string());
    }
    wapo::query::serve(move |query| async move {
        let (name, count) = query
            .path
            .trim_matches('/')
            .split_once('/')
            .unwrap_or_default();
        measure(name, count)
    })
    .await;
    Ok(())
}
