//! Who of several listeners gets a connection.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use wapo_host::AcceptedIo;

use super::*;

const OURS: u64 = 7;

/// Listeners of some instances of an app, each with the number of its instance.
struct Instances {
    serving: Serving,
    numbers: Vec<u64>,
    listener: TcpListener,
}

impl Instances {
    async fn new(serials: &[u64]) -> Self {
        let serving = Serving::new(Arc::new(Kin::of_test(OURS)), OURS);
        let offer = || {
            Arc::new(Offer {
                tls: None,
                attested: None,
                signs_slowly: false,
                protocols: Vec::new(),
                _charge: MemoryCharge::none(),
            })
        };
        let numbers = serials.iter().zip(0..).map(|(serial, id)| {
            let number = serving.register(InstanceId(id), *serial, offer(), Arc::default());
            number.expect("room")
        });
        Self {
            numbers: numbers.collect(),
            serving,
            listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        }
    }

    /// Lets a connection wait.
    async fn push(&self, only: Option<InstanceId>) -> Option<QueuedConnection> {
        self.push_attested(only, None).await
    }

    /// The same, whose client has seen evidence of an app.
    async fn push_attested(
        &self,
        only: Option<InstanceId>,
        attested: Option<u64>,
    ) -> Option<QueuedConnection> {
        let address = self.listener.local_addr().expect("bound");
        let tcp = TcpStream::connect(address).await.expect("a connection");
        let ready = Ready {
            accepted: Accepted {
                io: AcceptedIo::Raw {
                    first: Vec::new(),
                    tcp,
                },
                peer: SocketAddr::from(([127, 0, 0, 1], 1)),
                server_name: "shop.example".into(),
                guard: Box::new(()),
            },
            is_tls: false,
            protocol: None,
            only,
            attested,
        };
        self.serving.push(ready).ok()
    }

    /// What an instance gets at this moment.
    fn take(&self, instance: usize) -> Option<Taken> {
        let number = self.numbers[instance];
        match self.serving.poll_take(number, Waker::noop()) {
            Poll::Ready(taken) => taken.ok(),
            Poll::Pending => None,
        }
    }
}

#[tokio::test]
async fn the_least_busy_instance_gets_the_next_connection() {
    let all = Instances::new(&[OURS; 3]).await;
    let mut open = Vec::new();
    for _ in 0..9 {
        all.push(None).await.expect("room");
        let mut takers = Vec::new();
        for instance in 0..3 {
            takers.extend(all.take(instance).map(|taken| (instance, taken)));
        }
        assert_eq!(takers.len(), 1);
        open.extend(takers);
    }
    for instance in 0..3 {
        let count = open.iter().filter(|(one, _)| *one == instance).count();
        assert_eq!(count, 3);
    }
    // Two of the second end: it has the fewest.
    open.retain(|(instance, _)| *instance != 1);
    for _ in 0..3 {
        all.push(None).await.expect("room");
        assert!(all.take(0).is_none() && all.take(2).is_none());
        open.push((1, all.take(1).expect("its own")));
    }
}

#[tokio::test]
async fn who_has_seen_evidence_of_one_version_does_not_come_to_another() {
    let all = Instances::new(&[OURS; 2]).await;
    all.push_attested(None, Some(OURS - 1)).await.expect("room");
    assert!(all.take(0).is_none() && all.take(1).is_none());
    let entry = all.serving.state().ready[0].number;
    all.serving.offer_to_all(entry);
    all.serving.all_look();
    assert!(all.take(0).is_none() && all.take(1).is_none());
    all.push_attested(None, Some(OURS)).await.expect("room");
    assert!(all.take(0).or_else(|| all.take(1)).is_some());
}

#[tokio::test]
async fn what_an_instance_does_not_take_goes_to_others() {
    let all = Instances::new(&[OURS; 2]).await;
    let late = all.push(None).await.expect("room");
    assert!(all.take(1).is_none(), "it is meant for the first");
    all.serving.offer_to_all(late.number);
    let _first = all.take(1).expect("free for all");
    // One that leaves gets nothing, and loses what was meant for it.
    all.push(None).await.expect("room");
    let _ = all.serving.leave(InstanceId(0));
    assert!(all.take(0).is_none());
    let _second = all.take(1).expect("free for all");
    all.push(None).await.expect("room");
    let _ = all.serving.deregister(all.numbers[1]);
    assert!(all.take(1).is_none());
}

#[tokio::test]
async fn only_the_app_that_serves_takes_connections() {
    let all = Instances::new(&[OURS, OURS + 1]).await;
    all.push(None).await.expect("room");
    all.push(None).await.expect("room");
    assert!(all.take(1).is_none(), "it has not taken over");
    let _one = all.take(0).expect("meant for it");
    all.serving.kin().set_serial_of_test(OURS + 1);
    let _ = all.serving.all_look();
    assert!(all.take(0).is_none(), "another one has taken over");
    let _other = all.take(1).expect("it serves");
}

#[tokio::test]
async fn a_connection_for_one_instance_is_for_no_other() {
    let all = Instances::new(&[OURS; 2]).await;
    let one = all.push(Some(InstanceId(1))).await.expect("room");
    assert!(all.take(0).is_none());
    all.serving.offer_to_all(one.number);
    assert!(all.take(0).is_none());
    assert!(all.take(1).is_some());
}

#[tokio::test]
async fn a_bounded_number_waits_and_none_when_the_name_is_nobodys() {
    let all = Instances::new(&[OURS]).await;
    let mut waiting = Vec::new();
    for _ in 0..READY_OF_NAME_MAX {
        waiting.push(all.push(None).await.expect("room"));
    }
    assert!(all.push(None).await.is_none());
    assert!(all.serving.take_out(waiting[0].number).is_some());
    assert!(all.serving.take_out(waiting[0].number).is_none(), "once");
    let last = all.push(None).await.expect("room");
    all.serving.end();
    assert!(last.taken.await.is_err());
    assert!(all.push(None).await.is_none());
    let gone = all.serving.poll_take(all.numbers[0], Waker::noop());
    assert!(matches!(gone, Poll::Ready(Err(Errno::END_OF_FILE))));
}
