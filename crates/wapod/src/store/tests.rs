//! The promises of the store: a transaction is whole or absent, and damage is an
//! error.

use super::contents::APPS;
use super::*;
use wapo_rpc::AppManifest;

fn app(label: &str, serial: u64) -> Box<AppRecord> {
    Box::new(AppRecord {
        serial,
        session: [7; 32],
        manifest: AppManifest {
            version: 1,
            label: label.to_owned(),
            ..AppManifest::default()
        },
        reuse_instances: true,
        name: String::new(),
        target: 1,
        deployed_at_ms: 7,
        settings: Settings::default(),
        domains: Vec::new(),
        more_listen_ports: Vec::new(),
        claims: Vec::new(),
        attested: false,
    })
}

fn session() -> SessionRecord {
    SessionRecord {
        id: [1; 32],
        nonce: [2; 32],
        pnonce: b"abc".to_vec(),
        recipient: Vec::new(),
        reserved: 64,
    }
}

#[tokio::test]
async fn what_was_committed_is_there_again() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("state.redb");
    let (one, two) = (app("one", 2), app("two", 1));
    let (store, contents) = Store::open(&path).expect("made");
    assert!(contents.apps.is_empty() && contents.session.is_none());
    let totals = Totals {
        gas: 5,
        ..Totals::default()
    };
    let usage = UsageRecord {
        totals,
        at_ms: 10,
        instances: 1,
        ..UsageRecord::default()
    };
    let secret = |app: &AppRecord| Change::PutSecret {
        app: app.address(),
        name: "TOKEN".to_owned(),
        sealed: vec![9],
    };
    let changes = vec![
        Change::PutApp(one.clone()),
        Change::PutApp(two.clone()),
        Change::PutUsage { serial: 2, usage },
        Change::PutUsage { serial: 1, usage },
        secret(&one),
        secret(&two),
        Change::PutSession(session()),
        Change::PutNextSerial(3),
        Change::PutClock(12),
    ];
    store.commit(changes).await.expect("written");
    let remove = Change::RemoveApp {
        app: two.address(),
        serial: 1,
    };
    store.commit(vec![remove]).await.expect("written");
    drop(store);

    let (_store, contents) = Store::open(&path).expect("opened");
    assert_eq!(contents.apps, std::slice::from_ref(one.as_ref()));
    let later = Totals {
        running_us: 2_000,
        ..totals
    };
    assert_eq!(contents.usage.get(&2), Some(&later));
    assert_eq!(contents.usage.len(), 1);
    assert_eq!(contents.secrets.len(), 1, "secrets go with their app");
    assert_eq!(
        contents.secrets[&one.address()],
        [("TOKEN".to_owned(), vec![9])]
    );
    assert_eq!(contents.session, Some(session()));
    assert_eq!(contents.next_serial, 3);
}

#[tokio::test]
async fn usage_after_the_last_word_about_an_app_is_added_to_it_once() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("state.redb");
    let (store, _) = Store::open(&path).expect("made");
    let totals = |gas, tip| Totals {
        gas,
        tip,
        ..Totals::default()
    };
    let departed = DepartedRecord {
        serial: 3,
        address: [3; 32],
        session: [4; 32],
        totals: totals(10, 5),
    };
    // An instance that was leaving when the daemon ended.
    let usage = UsageRecord {
        totals: totals(12, 4),
        at_ms: 1_000,
        instances: 1,
        ..UsageRecord::default()
    };
    let exchange = vec![
        Change::PutUsage { serial: 3, usage },
        Change::PutDeparted(departed.clone()),
    ];
    store.commit(exchange).await.expect("written");
    let later = vec![
        Change::PutUsage { serial: 3, usage },
        Change::PutClock(1_250),
    ];
    store.commit(later).await.expect("written");
    drop(store);

    let together = Totals {
        running_us: 250_000,
        ..totals(12, 5)
    };
    let (store, mut contents) = Store::open(&path).expect("opened");
    let changes = contents.settle_departed();
    assert_eq!(contents.departed[&3].totals, together);
    assert!(contents.usage.is_empty());
    store.commit(changes).await.expect("written");
    let clock = vec![Change::PutClock(9_000)];
    store.commit(clock).await.expect("written");
    drop(store);
    let (_store, mut contents) = Store::open(&path).expect("opened");
    assert!(contents.settle_departed().is_empty());
    assert_eq!(
        contents.departed[&3].totals, together,
        "time goes on without it"
    );
}

#[tokio::test]
async fn the_next_serial_number_never_falls() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("state.redb");
    let (store, _) = Store::open(&path).expect("made");
    for serial in [7, 6] {
        let change = Change::PutNextSerial(serial);
        store.commit(vec![change]).await.expect("written");
    }
    drop(store);
    let (_store, contents) = Store::open(&path).expect("opened");
    assert_eq!(contents.next_serial, 7);
}

#[tokio::test]
async fn damaged_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("state.redb");
    let (store, _) = Store::open(&path).expect("made");
    store
        .commit(vec![Change::PutApp(app("one", 1))])
        .await
        .expect("written");
    drop(store);
    let good = fs::read(&path).expect("file");

    let half = &good[..good.len() / 2];
    let mut scribbled = good.clone();
    scribbled[..64].fill(0xaa);
    for bad in [&b""[..], b"no store at all", half, &scribbled] {
        fs::write(&path, bad).expect("write");
        let error = Store::open(&path).err().expect("is refused").to_string();
        assert!(error.contains("state.redb"), "{error}");
        assert!(error.contains("restore"), "{error}");
        assert_eq!(fs::read(&path).expect("file"), bad, "left alone");
    }
    fs::write(&path, &good).expect("write");
    let (_store, contents) = Store::open(&path).expect("the good one opens");
    assert_eq!(contents.apps.len(), 1);
}

#[tokio::test]
async fn many_writers_share_transactions() {
    let (store, _) = Store::in_memory().expect("store");
    let store = std::sync::Arc::new(store);
    let writers: Vec<_> = (0..200)
        .map(|serial| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                let change = Change::PutApp(app(&serial.to_string(), serial));
                store.commit(vec![change]).await
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("task").expect("written");
    }
}

#[tokio::test]
async fn what_a_newer_daemon_wrote_is_called_newer_and_left_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("state.redb");
    drop(Store::open(&path).expect("made"));
    {
        let database = Database::open(&path).expect("a store");
        let transaction = database.begin_write().expect("a transaction");
        {
            let mut apps = transaction.open_table(APPS).expect("the table");
            let record = [&[9_u8][..], b"whatever it may be"].concat();
            apps.insert(&[7_u8; 32][..], record.as_slice())
                .expect("written");
        }
        transaction.commit().expect("committed");
    }
    let before = fs::read(&path).expect("the file");
    let error = Store::open(&path).err().expect("refused").to_string();
    assert!(error.contains("written by a newer wapod"), "{error}");
    assert!(error.contains("version 9"), "{error}");
    assert_eq!(fs::read(&path).expect("the file").len(), before.len());
}

/// A store with some of everything, and what is in it.
async fn filled(path: &Path) -> Contents {
    let (store, _) = Store::open(path).expect("made");
    for serial in 0..40 {
        let mut app = app(&"label".repeat(40), serial);
        app.manifest.args = vec![serial.to_string()];
        let secret = Change::PutSecret {
            app: app.address(),
            name: "TOKEN".to_owned(),
            sealed: vec![9; 100],
        };
        let usage = Change::PutUsage {
            serial,
            usage: UsageRecord::default(),
        };
        let changes = vec![Change::PutApp(app), usage, secret];
        store.commit(changes).await.expect("written");
    }
    let changes = vec![Change::PutSession(session()), Change::PutNextSerial(40)];
    store.commit(changes).await.expect("written");
    drop(store);
    let (store, contents) = Store::open(path).expect("opened");
    drop(store);
    contents
}

/// Numbers that are the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("small");
        usize::try_from(self.next() % end).expect("small")
    }
}

/// Opens a damaged file: what it holds must be what was written, or it is
/// refused with advice and left alone.
fn opens_right_or_is_refused(path: &Path, damaged: &[u8], right: &Contents, what: &str) -> bool {
    fs::write(path, damaged).expect("written");
    match Store::open(path) {
        Ok((store, contents)) => {
            drop(store);
            assert_eq!(format!("{contents:?}"), format!("{right:?}"), "{what}");
            true
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("wapod restore"), "{what}: {error}");
            assert!(
                fs::read(path).expect("file") == damaged,
                "{what}: left alone"
            );
            false
        }
    }
}

#[tokio::test]
async fn whatever_the_damage_it_is_noticed_and_never_a_panic() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("state.redb");
    let right = filled(&path).await;
    let good = fs::read(&path).expect("file");
    let mut numbers = Numbers(7);
    let (mut opened, mut refused) = (0, 0);
    let mut check = |damaged: &[u8], what: &str| match opens_right_or_is_refused(
        &path, damaged, &right, what,
    ) {
        true => opened += 1,
        false => refused += 1,
    };
    // Every byte that says how the file is laid out, then bits anywhere.
    let places = (0..320).chain((0..400).map(|_| numbers.below(good.len())));
    let places: Vec<_> = places.collect();
    for place in places {
        let mut damaged = good.clone();
        let bit = numbers.below(8);
        damaged[place] ^= 1 << bit;
        check(&damaged, &format!("bit {bit} of byte {place}"));
    }
    for _ in 0..60 {
        let length = numbers.below(good.len());
        check(&good[..length], &format!("cut to {length} bytes"));
        let mut damaged = good.clone();
        let page = numbers.below(good.len() / 4096) * 4096;
        damaged[page..page + 4096].fill(0);
        check(&damaged, &format!("page at {page} zeroed"));
    }
    assert!(
        refused > 50,
        "{refused} of {} were refused",
        refused + opened
    );
}

#[test]
fn a_panic_of_the_library_is_an_error_that_names_the_file() {
    let panics = contained::<()>(|| panic!("as the library does"));
    let error = panics.expect_err("contained").at(Path::new("state.redb"));
    assert!(error.to_string().contains("wapod restore"), "{error}");
}

/// A disk of some bytes, on which the folder of the store is all there is.
#[derive(Debug)]
struct SmallDisk {
    file: redb::backends::FileBackend,
    folder: std::path::PathBuf,
    bytes: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl SmallDisk {
    fn check(&self, more: u64) -> io::Result<()> {
        let files = fs::read_dir(&self.folder)?;
        let used = files.map(|file| Ok(file?.metadata()?.len()));
        let used = used.sum::<io::Result<u64>>()?;
        let bytes = self.bytes.load(std::sync::atomic::Ordering::Relaxed);
        match used + more > bytes {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl redb::StorageBackend for SmallDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check(len.saturating_sub(self.len()?))?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Copies on write have no room either, however long the file is.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check(64 << 10)?;
        self.file.write(offset, data)
    }
}

#[tokio::test]
async fn on_a_full_disk_the_reserve_lets_apps_be_removed_and_nothing_else() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("state.redb");
    filled(&path).await;
    let bytes = std::sync::Arc::new(AtomicU64::new(u64::MAX));
    let open = || -> Opener {
        let (folder, bytes) = (folder.path().to_owned(), std::sync::Arc::clone(&bytes));
        Box::new(move |path| {
            let file = fs::File::options().read(true).write(true).open(path)?;
            let disk = SmallDisk {
                file: redb::backends::FileBackend::new(file).map_err(redb::Error::from)?,
                folder: folder.clone(),
                bytes: std::sync::Arc::clone(&bytes),
            };
            Ok(Database::builder().create_with_backend(disk)?)
        })
    };
    let mut reserve = Reserve::new(folder.path());
    reserve.remake();
    let kept = folder.path().join(crate::reserve::RESERVE);
    assert!(kept.exists());
    let used = || -> u64 {
        let files = fs::read_dir(folder.path()).expect("folder");
        files
            .map(|file| file.expect("file").metadata().expect("file").len())
            .sum()
    };

    // A daemon that starts on a full disk needs room for its first transaction.
    bytes.store(used(), Ordering::Relaxed);
    let (store, contents) = Store::open_with(&path, Some(reserve), open()).expect("starts");
    assert!(!kept.exists(), "it was needed");
    drop(store);

    // While it runs, the reserve is for removals.
    bytes.store(u64::MAX, Ordering::Relaxed);
    let mut reserve = Reserve::new(folder.path());
    reserve.remake();
    let (store, _) = Store::open_with(&path, Some(reserve), open()).expect("starts");
    bytes.store(used(), Ordering::Relaxed);
    let usage = Change::PutUsage {
        serial: 1,
        usage: UsageRecord::default(),
    };
    let deployed = vec![Change::PutNextSerial(99), Change::PutApp(app("new", 98))];
    for changes in [vec![usage], deployed] {
        let refused = store.commit(changes).await.expect_err("no room");
        assert!(refused.to_string().contains("make room"), "{refused}");
        assert!(kept.exists(), "it is for something else");
    }
    let gone = &contents.apps[0];
    let remove = Change::RemoveApp {
        app: gone.address(),
        serial: gone.serial,
    };
    store.commit(vec![remove]).await.expect("removed");
    assert!(!kept.exists());
    drop(store);
    let (_store, after) = Store::open(&path).expect("opens");
    assert_eq!(after.apps.len(), contents.apps.len() - 1);
}

#[test]
fn apps_of_every_version_are_read() {
    let now = *app("one", 1);
    let written = records::encode(&now);
    // Each added an empty list or a flag, or both, behind what there was before.
    let mut content = &written[1..];
    for (version, bytes) in [(7, 1), (6, 1), (5, 1), (4, 1), (3, 1), (2, 2), (1, 1)] {
        content = &content[..content.len() - bytes];
        let older = [&[version], content].concat();
        assert_eq!(
            records::decode::<AppRecord>(&older),
            Ok(now.clone()),
            "{version}"
        );
    }
}
