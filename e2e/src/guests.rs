//! Where guests come from: built programs and fixtures in the text format.

use std::path::PathBuf;

use wapod::{AppConfig, Module};

/// A program of the workspace `guests/`, as an app without permissions.
///
/// # Panics
///
/// When it was not built.
pub fn guest(name: &str) -> AppConfig {
    let path = path_of(name);
    match Module::read(&path) {
        Ok(module) => AppConfig::new(module),
        Err(error) => panic!("{error}\nbuild the guests first: cargo xtask guests"),
    }
}

/// Path of the wasm file of a program of the workspace `guests/`.
pub fn path_of(name: &str) -> PathBuf {
    root()
        .join("guests/target/wasm32-wasip1/release")
        .join(name)
        .with_extension("wasm")
}

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

/// A program in JavaScript for the engine that the daemon was compiled with, as an app
/// without permissions.
///
/// # Panics
///
/// When the engine was not built before.
pub fn script(code: &str) -> AppConfig {
    let engine = wapod::javascript::engine();
    let engine = engine.expect("build the engine first: cargo xtask guests");
    let mut config = AppConfig::new(engine);
    config.args = vec!["-c".to_owned(), code.to_owned()];
    config
}

/// A fixture in the text format, as an app without permissions.
///
/// # Panics
///
/// When there is none of that name, or it is no module.
pub fn fixture(name: &str) -> AppConfig {
    fixture_with(name, &[])
}

/// A fixture with pieces of its text exchanged, to vary one thing.
///
/// # Panics
///
/// As [`fixture`], and when a piece is not there.
pub fn fixture_with(name: &str, changes: &[(&str, &str)]) -> AppConfig {
    let path = root().join("e2e/fixtures").join(name).with_extension("wat");
    let mut text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (from, to) in changes {
        assert!(text.contains(from), "{name} does not say {from}");
        text = text.replace(from, to);
    }
    text_guest(&text)
}

/// A guest in the text format, as an app without permissions.
///
/// # Panics
///
/// When the text is no module.
pub fn text_guest(text: &str) -> AppConfig {
    let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    AppConfig::new(Module::new(wasm))
}
