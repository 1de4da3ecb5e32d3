//! Backups of folders that were made by hand. Those of a daemon's folder are in
//! `tests/backup.rs`.

use super::*;

const CONTENT: &[u8] = b"content of a blob";

/// A data folder with a key, a state, a blob and the record of an app.
fn worker(root: &Path) -> PathBuf {
    let path = root.join("data");
    let data = DataDir::open(&path).expect("folder");
    Identity::open(&data.key_file()).expect("key");
    drop(Store::open(&data.store_file()).expect("state"));
    let blobs = BlobFolder::new(data.blobs(), None);
    for algorithm in ["sha256:", "sha512:"] {
        blobs
            .put(algorithm.parse().expect("name"), CONTENT)
            .expect("stored");
    }
    let record = data.blobs().join(format!("{}-bootdata", "ab".repeat(32)));
    fs::write(record, b"sealed").expect("written");
    path
}

fn reason(result: Result<Restored, BackupError>) -> String {
    result.expect_err("is refused").to_string()
}

/// An archive with these files, in this order.
fn archive(path: &Path, files: &[(&str, &[u8])]) {
    let mut archive = tar::Builder::new(File::create(path).expect("made"));
    for (name, content) in files {
        let mut header = header(content.len() as u64, 0);
        let field = &mut header.as_gnu_mut().expect("a GNU header").name;
        // By hand: the library refuses paths that lead elsewhere.
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, *content).expect("appended");
    }
    archive.finish().expect("finished");
}

fn list_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let listed = |(path, content): &(&str, &[u8])| Listed {
        path: (*path).to_owned(),
        bytes: content.len() as u64,
        sha256: hex::encode(Sha256::digest(content)),
    };
    let list = List {
        format: FORMAT,
        wapod: "0".to_owned(),
        files: files.iter().map(listed).collect(),
    };
    serde_json::to_vec(&list).expect("JSON")
}

#[test]
fn a_folder_comes_back_as_it_was() {
    let root = tempfile::tempdir().expect("folder");
    let data = worker(root.path());
    let file = root.path().join("backup.tar");
    let written = create(&data, None, &file).expect("written");
    assert_eq!((written.files, written.left_out.len()), (5, 0));
    let mode = fs::metadata(&file).expect("file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let other = root.path().join("other");
    let restored = restore(&file, &other, Existing::Keep).expect("restored");
    assert_eq!((restored.files, restored.moved_aside), (5, None));
    for path in [KEY, STATE] {
        assert!(other.join(path).is_file(), "{path}");
    }
    assert_eq!(
        fs::read(data.join(KEY)).expect("key"),
        fs::read(other.join(KEY)).expect("key")
    );
    let blobs = names(&data.join(BLOBS)).expect("names");
    assert_eq!(blobs, names(&other.join(BLOBS)).expect("names"));
    assert_eq!(blobs.len(), 3);
    let left: Vec<_> = names(&other).expect("names");
    assert!(
        !left.iter().any(|name| name.contains("restoring")),
        "{left:?}"
    );
}

#[test]
fn backups_and_workers_are_not_overwritten() {
    let root = tempfile::tempdir().expect("folder");
    let data = worker(root.path());
    let file = root.path().join("backup.tar");
    create(&data, None, &file).expect("written");
    let again = create(&data, None, &file).expect_err("is there");
    assert!(matches!(again, BackupError::Exists(_)), "{again}");
    let nothing = create(&root.path().join("none"), None, &root.path().join("b2"));
    assert!(matches!(nothing, Err(BackupError::NoWorker(_))));
    assert!(!root.path().join("none").exists());

    let error = reason(restore(&file, &data, Existing::Keep));
    assert!(error.contains("--force"), "{error}");
    let key = fs::read(data.join(KEY)).expect("key");
    fs::write(data.join("notes.txt"), b"mine").expect("written");
    let restored = restore(&file, &data, Existing::MoveAside).expect("restored");
    let aside = restored.moved_aside.expect("the former content");
    assert_eq!(fs::read(aside.join(KEY)).expect("key"), key);
    assert_eq!(fs::read(data.join(KEY)).expect("key"), key);
    assert_eq!(names(&aside.join(BLOBS)).expect("names").len(), 3);
    assert!(data.join("notes.txt").exists());
}

#[test]
fn a_key_that_is_elsewhere_is_in_no_backup_and_neither_is_one_from_before() {
    let root = tempfile::tempdir().expect("folder");
    let data = worker(root.path());
    let file = root.path().join("backup.tar");
    let key = root.path().join("key");
    fs::copy(data.join(KEY), &key).expect("copied");
    let error = create(&data, Some(&key), &file).expect_err("is elsewhere");
    assert!(matches!(error, BackupError::KeyElsewhere(_)), "{error}");
    assert!(!file.exists());
    fs::remove_file(data.join(KEY)).expect("removed");
    let error = create(&data, None, &file).expect_err("is not there");
    assert!(matches!(error, BackupError::KeyElsewhere(_)), "{error}");
    fs::rename(&key, data.join(KEY)).expect("moved");
    let same = root
        .path()
        .join("data/storage_files/../protected_files/worker.key");
    create(&data, Some(&same), &file).expect("the same file");
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let root = tempfile::tempdir().expect("folder");
    let data = worker(root.path());
    let file = root.path().join("backup.tar");
    create(&data, None, &file).expect("written");
    let _daemon = DataDir::open(&data).expect("as a daemon has it");
    let error = create(&data, None, &root.path().join("b2")).expect_err("in use");
    assert!(error.to_string().contains("stop it"), "{error}");
    let error = reason(restore(&file, &data, Existing::MoveAside));
    assert!(error.contains("stop it"), "{error}");
}

#[test]
fn damaged_blobs_are_left_out_and_named() {
    let root = tempfile::tempdir().expect("folder");
    let data = worker(root.path());
    let name = hex::encode(Sha256::digest(CONTENT));
    fs::write(data.join(BLOBS).join(&name), b"forged").expect("written");
    fs::write(data.join(BLOBS).join("notes"), b"mine").expect("written");
    let file = root.path().join("backup.tar");
    let written = create(&data, None, &file).expect("written");
    assert_eq!(written.files, 4);
    assert_eq!(written.left_out.len(), 2);
    assert!(
        written.left_out[0].contains(&name),
        "{:?}",
        written.left_out
    );
    restore(&file, &root.path().join("other"), Existing::Keep).expect("restored");
}

#[test]
fn damage_anywhere_in_an_archive_is_found_before_anything_changes() {
    let root = tempfile::tempdir().expect("folder");
    let data = worker(root.path());
    let file = root.path().join("backup.tar");
    create(&data, None, &file).expect("written");
    let whole = fs::read(&file).expect("file");
    let other = worker(&root.path().join("second"));
    let key = fs::read(other.join(KEY)).expect("key");

    let half = root.path().join("half.tar");
    let key_at = whole
        .windows(64)
        .position(|window| window == fs::read(data.join(KEY)).expect("key"))
        .expect("the key is in there");
    let mut forged = whole.clone();
    forged[key_at] ^= 1;
    for bad in [
        &whole[..whole.len() / 2],
        &whole[..key_at],
        &forged,
        b"",
        b"text",
    ] {
        fs::write(&half, bad).expect("written");
        let error = reason(restore(&half, &other, Existing::MoveAside));
        assert!(error.contains("Nothing was changed"), "{error}");
        assert_eq!(fs::read(other.join(KEY)).expect("key"), key);
    }
}

#[test]
fn an_archive_cannot_write_elsewhere() {
    let root = tempfile::tempdir().expect("folder");
    let key: &[u8] = &[1; 64];
    let file = root.path().join("bad.tar");
    let data = root.path().join("data");
    let forged = format!("{BLOBS}/{}", "00".repeat(32));
    for bad in ["../escaped", "/tmp/escaped", "modules/x", "lock", &forged] {
        let files: &[(&str, &[u8])] = &[(KEY, key), (bad, b"evil")];
        let list = list_of(files);
        archive(&file, &[(LIST, &list), files[0], files[1]]);
        let error = reason(restore(&file, &data, Existing::Keep));
        assert!(error.contains("cannot be restored"), "{bad}: {error}");
        let unlisted = list_of(&files[..1]);
        archive(&file, &[(LIST, &unlisted), files[0], files[1]]);
        let error = reason(restore(&file, &data, Existing::Keep));
        assert!(error.contains("not in its list"), "{bad}: {error}");
    }
    archive(&file, &[(LIST, &list_of(&[])), (KEY, key)]);
    let error = reason(restore(&file, &data, Existing::Keep));
    assert!(error.contains("key is missing"), "{error}");
    assert!(!root.path().join("escaped").exists());
    assert!(!data.join(KEY).exists());
}
