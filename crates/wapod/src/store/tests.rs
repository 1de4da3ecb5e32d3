//! What the store promises: everything or nothing, and never a guess.

use super::*;
use wapo_rpc::AppManifest;

fn app(label: &str, serial: u64) -> AppRecord {
    AppRecord {
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
    }
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
    assert_eq!(contents.apps, std::slice::from_ref(&one));
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
            let record = [&[2_u8][..], b"whatever it may be"].concat();
            apps.insert(&[7_u8; 32][..], record.as_slice())
                .expect("written");
        }
        transaction.commit().expect("committed");
    }
    let before = fs::read(&path).expect("the file");
    let error = Store::open(&path).err().expect("refused").to_string();
    assert!(error.contains("written by a newer wapod"), "{error}");
    assert!(error.contains("version 2"), "{error}");
    assert_eq!(fs::read(&path).expect("the file").len(), before.len());
}
