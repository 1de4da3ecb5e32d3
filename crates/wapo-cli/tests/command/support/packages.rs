//! Packages of npm that `cargo xtask packages` has fetched, for programs in folders of
//! their own.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A path within the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the repository").join(path)
}

/// A folder in which programs find the packages of a project.
pub(crate) fn with_packages(project: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    let installed = repository("target/packages")
        .join(project)
        .join("node_modules");
    assert!(
        installed.is_dir(),
        "fetch the packages first: cargo xtask packages"
    );
    let link = folder.path().join("node_modules");
    std::os::unix::fs::symlink(installed, link).expect("a link");
    folder
}

/// Copies the files of a folder, not those of folders in it.
pub(crate) fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let name = path.file_name().expect("a name");
            std::fs::copy(&path, to.join(name)).expect("a copy");
        }
    }
}
