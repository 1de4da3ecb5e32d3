//! Identity of worker and app: keys, signatures, secrets, quotes, addresses.

use e2e::probe::{SCRATCH, Script};
use e2e::{Daemon, Errno, Probe};

#[tokio::test(flavor = "multi_thread")]
async fn an_app_knows_its_address() {
    let probe = Probe::start().await;
    let address = probe.app_address().await.unwrap();
    assert_eq!(address, probe.app().handle().address().0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_says_which_app_signed() {
    let probe = Probe::start().await;
    let key = probe.worker_pubkey().await.unwrap();
    let key = schnorrkel::PublicKey::from_bytes(&key).unwrap();
    let address = probe.app_address().await.unwrap();
    for data in [b"data".as_slice(), b""] {
        let signature = probe.sign(data).await.unwrap();
        assert_eq!(signature.len(), 64);
        let signature = schnorrkel::Signature::from_bytes(&signature).unwrap();
        // The separator and the number of the content type, then the app.
        let message = [&[0xff, 0x65], address.as_slice(), data].concat();
        let verify = |message: &[u8]| key.verify_simple(b"substrate", message, &signature);
        assert!(verify(&message).is_ok());
        assert!(verify(data).is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_or_quoted_is_not_too_long() {
    const MAX: u32 = 64 * 1024;
    let probe = Probe::start().await;
    for call in [250, 252] {
        assert!(probe.slow_only(call, [SCRATCH, MAX, 0, 0]).await.is_ok());
        for long in [MAX + 1, 0xf_ffff] {
            let refused = probe.slow_only(call, [SCRATCH, long, 0, 0]).await;
            assert_eq!(refused, Err(Errno::InvalidParameter), "{call} {long}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_quote_outside_an_enclave() {
    let probe = Probe::start().await;
    assert_eq!(
        probe.sgx_quote(b"data").await,
        Ok(vec![0]),
        "an encoded none"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_follow_from_worker_app_and_path() {
    let daemon = Daemon::start().await;
    let probe = Probe::on(&daemon, |_| {}).await;
    let secret = probe.derive_secret(b"path").await.unwrap();
    assert_eq!(secret.len(), 64);
    assert_eq!(probe.derive_secret(b"path").await.unwrap(), secret);
    assert_ne!(probe.derive_secret(b"other").await.unwrap(), secret);
    let other_app = Probe::on(&daemon, |app| app.label = "other".into()).await;
    assert_ne!(other_app.derive_secret(b"path").await.unwrap(), secret);
    let other_worker = Probe::start().await;
    assert_ne!(other_worker.derive_secret(b"path").await.unwrap(), secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_secrets_are_bytes_and_not_too_long() {
    let probe = Probe::start().await;
    assert!(probe.derive_secret(&[0xff; 256]).await.is_ok());
    let long = probe.derive_secret(&[0; 257]).await;
    assert_eq!(long, Err(Errno::InvalidParameter));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_reaches_whoever_runs_the_program() {
    const MAX: u32 = 1 << 20;
    let probe = Probe::start().await;
    probe.emit_program_output(b"one, ").await.unwrap();
    probe.emit_program_output(b"two").await.unwrap();
    assert_eq!(probe.app().handle().take_output(), b"one, two");
    assert!(probe.app().handle().take_output().is_empty());
    let grow = Script::new().grow(1);
    let script = grow
        .fast(243, [SCRATCH, MAX, 0, 0])
        .fast(243, [SCRATCH, MAX + 1, 0, 0]);
    let mut output = probe.run(&script).await;
    assert_eq!(output.number(), 32, "pages before");
    assert_eq!(output.result(), Ok(0));
    assert_eq!(output.result(), Ok(0), "what is too long is cut");
    let taken = probe.app().handle().take_output();
    assert_eq!(taken.len(), 2 * MAX as usize);
}
