//! What every host call does for a guest, family by family.

use e2e::{Errno, Probe};

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_fires_and_can_be_set_again() {
    let probe = Probe::start().await;
    let timer = probe.create_timer(10).await.unwrap();
    assert_eq!(probe.poll_timer(timer).await, Ok(0));
    assert_eq!(probe.reset_timer(timer, 10).await, Ok(0));
    assert_eq!(probe.poll_timer(timer).await, Ok(0));
    assert_eq!(probe.close(timer).await, Ok(0));
    assert_eq!(probe.close(timer).await, Err(Errno::NotFound));
    probe.check_wakers(&[]).await;
}
