//! Blobs, boot data and locks.

use e2e::probe::{SCRATCH, Script};
use e2e::{Daemon, Errno, Probe};
use sha2::{Digest as _, Sha256, Sha512};

const BOOT_DATA_MAX: u32 = 65_536;

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_read_by_their_hash() {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let names = [
        format!("sha256:{}", hex::encode(Sha256::digest(&content))),
        format!("sha512:{}", hex::encode(Sha512::digest(&content))),
    ];
    for name in &names {
        let (_, file) = name.split_once(':').unwrap();
        std::fs::write(folder.path().join(file), &content).unwrap();
    }
    let daemon = Daemon::with(|config| config.blob_dir = Some(folder.path().into())).await;
    let probe = Probe::on(&daemon, |_| {}).await;
    for name in &names {
        let before = probe.app().usage().gas;
        assert_eq!(probe.blob_get(name.as_bytes()).await.unwrap(), content);
        // One poll is settled before the next begins.
        probe.run(&Script::new()).await;
        let gas = probe.app().usage().gas - before;
        assert!(gas >= 100 + 70_000 / 128, "{gas}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_are_not_there_or_not_right_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let hash = hex::encode(Sha256::digest(b"right"));
    std::fs::write(folder.path().join(&hash), b"wrong").unwrap();
    let daemon = Daemon::with(|config| config.blob_dir = Some(folder.path().into())).await;
    let probe = Probe::on(&daemon, |_| {}).await;
    let missing = format!("sha256:{}", "00".repeat(32));
    assert_eq!(
        probe.blob_get(missing.as_bytes()).await,
        Err(Errno::NotFound)
    );
    let damaged = format!("sha256:{hash}");
    assert_eq!(probe.blob_get(damaged.as_bytes()).await, Err(Errno::Io));
    for name in [
        "",
        "sha256:",
        "sha256:zz",
        "md5:00",
        "sha256:../../x",
        "sha512:00",
    ] {
        assert_eq!(
            probe.blob_get(name.as_bytes()).await,
            Err(Errno::Io),
            "{name}"
        );
    }
    let no_text = probe.blob_get(b"sha256:\xff").await;
    assert_eq!(no_text, Err(Errno::InvalidEncoding));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_folder_there_are_no_blobs() {
    let probe = Probe::start().await;
    let missing = format!("sha256:{}", "00".repeat(32));
    assert_eq!(
        probe.blob_get(missing.as_bytes()).await,
        Err(Errno::NotFound)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn boot_data_is_replaced_and_read_back() {
    let probe = Probe::start().await;
    assert_eq!(probe.read_boot_data().await, Ok(None));
    for data in [b"one".to_vec(), Vec::new(), b"another".to_vec()] {
        assert_eq!(probe.write_boot_data(&data).await, Ok(Vec::new()));
        assert_eq!(probe.read_boot_data().await, Ok(Some(data)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boot_data_of_the_largest_size_round_trips() {
    let probe = Probe::start().await;
    for size in [BOOT_DATA_MAX - 28, BOOT_DATA_MAX - 27, BOOT_DATA_MAX] {
        let write = Script::new().fill(SCRATCH, 9, size);
        let write = write.fetch(261, [SCRATCH, size, 0, 0]);
        assert_eq!(probe.run(&write).await.fetched(), Ok(Vec::new()));
        let read = probe.read_boot_data().await.unwrap().unwrap();
        assert_eq!((read.len(), read.first()), (size as usize, Some(&9)));
    }
    let long = probe.slow(261, [SCRATCH, BOOT_DATA_MAX + 1, 0, 0]).await;
    assert_eq!(long, Err(Errno::InvalidParameter));
    let kept = probe.read_boot_data().await.unwrap().unwrap();
    assert_eq!(kept.len(), BOOT_DATA_MAX as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_taken_once_and_given_back_once() {
    let probe = Probe::start().await;
    assert_eq!(probe.app_unlock(b"a").await, Err(Errno::Condition));
    assert_eq!(probe.app_try_lock(b"a").await, Ok(0));
    assert_eq!(probe.app_try_lock(b"a").await, Err(Errno::Condition));
    assert_eq!(probe.app_try_lock(b"b").await, Ok(0));
    assert_eq!(probe.app_unlock(b"a").await, Ok(0));
    assert_eq!(probe.app_unlock(b"a").await, Err(Errno::Condition));
    assert_eq!(probe.app_try_lock(b"a").await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_number_of_locks_are_bounded() {
    let probe = Probe::start().await;
    assert_eq!(probe.app_try_lock(&[b'x'; 64]).await, Ok(0));
    assert_eq!(probe.app_try_lock(&[b'x'; 65]).await, Err(Errno::Condition));
    assert_eq!(
        probe.app_try_lock(b"\xff").await,
        Err(Errno::InvalidEncoding)
    );
    for number in 1..64 {
        let name = number.to_string();
        assert_eq!(probe.app_try_lock(name.as_bytes()).await, Ok(0), "{name}");
    }
    assert_eq!(probe.app_try_lock(b"one more").await, Err(Errno::Condition));
    assert_eq!(probe.app_unlock(b"1").await, Ok(0));
    assert_eq!(probe.app_try_lock(b"one more").await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_do_not_share_locks_or_boot_data() {
    let daemon = Daemon::start().await;
    let one = Probe::on(&daemon, |_| {}).await;
    let other = Probe::on(&daemon, |app| app.label = "other".into()).await;
    assert_eq!(one.app_try_lock(b"a").await, Ok(0));
    assert_eq!(other.app_try_lock(b"a").await, Ok(0));
    one.write_boot_data(b"mine").await.unwrap();
    assert_eq!(other.read_boot_data().await, Ok(None));
}
