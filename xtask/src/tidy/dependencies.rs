//! x
/// x
pub(crate) fn table() -> String {
    String::new()
}
