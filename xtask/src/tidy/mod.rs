//! Checks the house rules that no compiler knows.

pub(crate) mod dependencies;
/// x
pub(crate) fn run() -> anyhow::Result<()> {
    Ok(())
}
