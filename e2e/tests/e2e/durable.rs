//! What a worker remembers when it is started again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use e2e::operator::{address, args, manifest, settings};
use e2e::{Operator, guest, text_guest};
use hyper::Method;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use wapo_rpc::AppAddress;
use wapo_rpc::message::*;
use wapod::{Server, StartError};

use crate::lifecycle_apps::IDLE;
use crate::statements::metrics;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_what_it_was_before_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let app = guest("sdk-suite");
    operator.put_code(&app).await;
    let mut wanted = args(&app);
    manifest(&mut wanted).resizable = true;
    wanted.name = "shop".to_owned();
    settings(&mut wanted).weight = 3;
    let first = address(&operator.try_deploy(wanted).await.unwrap());
    let resize = ResizeArgs {
        address: first.0.to_vec(),
        instances: 3,
    };
    operator.app_resize(resize).await.unwrap();
    let stopped = operator.deploy(&text_guest(IDLE)).await;
    operator.app_stop(stopped.into()).await.unwrap();
    let gone = operator.deploy(&guest("query")).await;
    operator.remove(gone).await;
    let bench = SetBenchAppArgs {
        app_address: [&[1], first.0.as_slice()].concat(),
        instances: 3,
    };
    operator.set_bench_app(bench).await.unwrap();
    let secret = operator.query(first, "/secret/x").await.unwrap();
    operator.query(first, "/tip/5").await.unwrap();
    let before = operator.info(Empty {}).await.unwrap();
    let (token, bills, _) = metrics(&operator, Addresses::default()).await;
    operator.shutdown().await;

    let operator = Operator::in_folder(folder.path()).await;
    let after = operator.info(Empty {}).await.unwrap();
    assert_eq!(
        (after.pubkey, after.session),
        (before.pubkey, before.session)
    );
    assert_eq!(after.bench_app_address, first.0);
    assert_eq!((after.bench_app_instances, after.deployed_apps), (3, 2));
    let all = operator.until("three instances", first, |app| {
        app.instances == 3 && app.state == "running"
    });
    let info = all.await;
    assert_eq!((info.sn, info.target, &info.name[..]), (0, 3, "shop"));
    assert_eq!(info.settings.unwrap().weight, 3);
    let info = operator.find(stopped).await.unwrap();
    assert_eq!(
        (&info.state[..], info.target, info.instances),
        ("stopped", 0, 0)
    );
    assert_eq!(operator.query(first, "/secret/x").await.unwrap(), secret);
    let (next, later, _) = metrics(&operator, Addresses::default()).await;
    assert_eq!((next.sn, next.session), (token.sn + 1, token.session));
    assert_eq!(later.len(), bills.len());
    for (before, after) in bills.iter().zip(&later) {
        assert_eq!(
            (before.address, before.session),
            (after.address, after.session)
        );
        assert_eq!(before.tip, after.tip);
        assert!(after.gas_consumed >= before.gas_consumed);
    }
    // Numbers of deployments go on as well.
    let more = operator.deploy(&guest("query")).await;
    assert_eq!(operator.find(more).await.unwrap().sn, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_worker() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    let mut config = e2e::daemon::config();
    config.data_dir = Some(folder.path().to_owned());
    let second = Server::start(config.clone()).await.err().unwrap();
    assert!(matches!(second, StartError::DataDirInUse(_)), "{second}");
    let name = folder.path().display().to_string();
    assert!(second.to_string().contains(&name), "{second}");
    assert!(operator.info(Empty {}).await.is_ok(), "the first goes on");
    operator.shutdown().await;
    let again = Server::start(config).await.unwrap();
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_state_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let operator = Operator::in_folder(folder.path()).await;
    operator.deploy(&text_guest(IDLE)).await;
    operator.shutdown().await;
    let mut config = e2e::daemon::config();
    config.data_dir = Some(folder.path().to_owned());
    for (file, words) in [
        ("state.redb", "restore"),
        ("protected_files/worker.key", "backup"),
    ] {
        let path = folder.path().join(file);
        let good = fs::read(&path).unwrap();
        fs::write(&path, b"something else").unwrap();
        let error = Server::start(config.clone()).await.err().unwrap();
        let error = error.to_string();
        assert!(error.contains(file) && error.contains(words), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"something else");
        fs::write(&path, good).unwrap();
    }
    let operator = Operator::in_folder(folder.path()).await;
    assert_eq!(operator.apps().await.len(), 1);
}

/// The key of the documented vectors, as Wapo 0.x stored it, and its public part.
const KEY: &str = "0bdd6dbf4edf8925e8c128bc2ddd9ed555e36240ca30ca7633d80e18d177de0d\
                   b17a2a2cf3d4a41a8e4e18cc45c8656d558eceddb0adb46bfa088a5f53bed252";
const PUBLIC: &str = "189dac29296d31814dc8c56cf3d36a0543372bba7538fa322a4aebfebc39e056";

/// Boot data as Wapo 0.x wrote it: ciphertext, tag, nonce.
fn boot_data_of_0(secret: &[u8], data: &[u8]) -> Vec<u8> {
    let key = UnboundKey::new(&AES_256_GCM, &secret[..32]).unwrap();
    let nonce = [5; 12];
    let mut file = data.to_vec();
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut file)
        .unwrap();
    file.extend(nonce);
    file
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_of_wapo_0_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("storage_files/blobs");
    let keys = folder.path().join("protected_files");
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&keys).unwrap();
    let key_file = keys.join("worker.key");
    fs::write(&key_file, hex::decode(KEY).unwrap()).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    let app = guest("sdk-suite");
    let digits = app.module.hash().split_off("sha256:".len());
    fs::write(blobs.join(&digits), app.module.wasm()).unwrap();
    // An upload that was cut off long ago.
    fs::create_dir(blobs.join(".tmp")).unwrap();
    fs::write(blobs.join(".tmp/half"), b"half a blob").unwrap();

    let operator = Operator::in_folder(folder.path()).await;
    let info = operator.info(Empty {}).await.unwrap();
    assert_eq!(hex::encode(&info.pubkey), PUBLIC);
    assert_eq!(mode(&key_file), 0o600, "nobody else reads the key");
    assert!(!blobs.join(".tmp/half").exists());
    // No upload: the blob is there.
    let address = address(&operator.try_deploy(args(&app)).await.unwrap());
    let query = QueryArgs {
        address: address.0.to_vec(),
        path: "/secret/enc_bootdata".to_owned(),
        ..QueryArgs::default()
    };
    let secret = operator.app_query(query).await.unwrap().output;
    let record = blobs.join(format!("{address}-bootdata"));
    fs::write(&record, boot_data_of_0(&secret, b"from long ago")).unwrap();
    let read = operator.query(address, "/boot").await.unwrap();
    assert_eq!(read, "from long ago");
    // Sealed anew: with the old key nobody can read it any more.
    assert!(fs::read(&record).unwrap().starts_with(b"wapo sealed"));
    assert_eq!(operator.query(address, "/boot").await.unwrap(), read);
}

/// A small disk for the length of a test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` when this process may not mount anything.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]);
        let status = mount.arg(folder.path()).output().ok()?.status;
        status.success().then_some(Self(folder))
    }

    fn fill(&self) {
        let rest = vec![0; 16 << 20];
        let filled = fs::write(self.0.path().join("filler"), rest);
        assert!(filled.is_err(), "it is full");
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = std::process::Command::new("umount");
        let _ = unmount.arg("--lazy").arg(self.0.path()).status();
    }
}

async fn upload_fails(operator: &Operator) {
    let blob = Blob {
        hash: String::new(),
        body: vec![9; 2 << 20],
    };
    let error = operator.blob_put(blob).await.unwrap_err().to_string();
    assert!(error.contains("cannot store the blob"), "{error}");
    let content = vec![9; 2 << 20];
    let answer = operator
        .send(Method::POST, "/blob/sha256:", &[], content)
        .await;
    answer.expect_status(500);
    let text = answer.text();
    assert!(text.contains("cannot store the blob"), "{text}");
}

/// Deploys until the worker cannot write it down; gives those that are there.
async fn deploy_until_refused(operator: &Operator) -> Vec<AppAddress> {
    let mut deployed = Vec::new();
    for number in 0..1000 {
        let mut wanted = args(&text_guest(IDLE));
        manifest(&mut wanted).label = format!("many {number}");
        manifest(&mut wanted).on_demand = true;
        manifest(&mut wanted).args = vec!["x".repeat(15_000)];
        match operator.try_deploy(wanted).await {
            Ok(answer) => deployed.push(address(&answer)),
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("cannot write the worker's state"), "{error}");
                return deployed;
            }
        }
    }
    panic!("the disk is not full")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_an_error_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        println!("no permission to mount a small disk: uploads are checked with a broken folder");
        let folder = tempfile::tempdir().unwrap();
        let operator = Operator::in_folder(folder.path()).await;
        fs::write(folder.path().join("storage_files/blobs/.tmp"), b"no folder").unwrap();
        return upload_fails(&operator).await;
    };
    let path = disk.0.path().join("data");
    let operator = Operator::in_folder(&path).await;
    let first = operator.deploy(&text_guest(IDLE)).await;
    disk.fill();
    upload_fails(&operator).await;
    let uploads = fs::read_dir(path.join("storage_files/blobs/.tmp")).unwrap();
    assert_eq!(uploads.count(), 0, "nothing half is left");
    let deployed = deploy_until_refused(&operator).await;
    assert_eq!(operator.apps().await.len(), deployed.len() + 1);
    // What cannot be written down is not done: neither a stop nor a removal.
    let stopped = operator.app_stop(first.into()).await;
    let removed = operator.app_remove(first.into()).await;
    assert!(
        stopped.is_err() && removed.is_err(),
        "{stopped:?} {removed:?}"
    );
    let signed = operator.app_metrics(Addresses::default()).await;
    assert!(signed.is_err(), "nothing is signed that could be forgotten");
    let info = operator.until("a start", first, |app| app.state == "running");
    assert_eq!(info.await.target, 1);

    disk.free();
    // It recovers by itself.
    let more = operator.deploy(&guest_of_text("more")).await;
    operator.app_stop(first.into()).await.unwrap();
    let mut expected = operator.apps().await.len();
    assert_eq!(expected, deployed.len() + 2);
    operator.remove(more).await;
    expected -= 1;
    operator.shutdown().await;
    let operator = Operator::in_folder(&path).await;
    assert_eq!(operator.apps().await.len(), expected);
    for app in deployed {
        assert!(operator.find(app).await.is_some());
    }
    assert_eq!(operator.find(first).await.unwrap().state, "stopped");
    operator.shutdown().await;
}

fn guest_of_text(label: &str) -> wapod::AppConfig {
    let mut app = text_guest(IDLE);
    app.label = label.to_owned();
    app
}
