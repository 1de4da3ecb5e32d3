//! Quotas of things that exist, each and all together; rates of a meter.

use super::*;

fn limits(pairs: &[(QuotaKind, u64)]) -> QuotaLimits {
    let mut limits = QuotaLimits::default();
    for (kind, limit) in pairs {
        limits.set(*kind, Some(*limit));
    }
    limits
}

fn app(pairs: &[(QuotaKind, u64)], all: Option<&Arc<Quotas>>) -> Arc<Quotas> {
    Arc::new(Quotas::new(&limits(pairs), all.cloned(), 0))
}

fn take_all(app: &Arc<Quotas>, kind: QuotaKind) -> Vec<QuotaPermit> {
    std::iter::from_fn(|| app.take(kind, 1).ok()).collect()
}

#[test]
fn permits_are_given_up_to_the_limit_and_back() {
    let kind = QuotaKind::ConnectionsIn;
    let app = app(&[(kind, 3)], None);
    let held = take_all(&app, kind);
    assert_eq!(held.len(), 3);
    let reading = app.read(kind, &Meter::default());
    assert_eq!(
        (reading.limit, reading.used, reading.refused),
        (Some(3), 3, 1)
    );
    let refusal = app.take(kind, 1).expect_err("full").to_string();
    assert!(refusal.contains("3 of 3 connections in"), "{refusal}");
    drop(held);
    assert_eq!(app.used(kind), 0);
}

#[test]
fn limits_change_in_place_and_what_was_taken_stays() {
    let kind = QuotaKind::Timers;
    let app = app(&[], None);
    let held: Vec<_> = (0..10).map(|_| app.take(kind, 1).expect("room")).collect();
    app.set(&limits(&[(kind, 4)]));
    assert_eq!(app.used(kind), 10);
    assert!(app.take(kind, 1).is_err());
    drop(held);
    assert_eq!(take_all(&app, kind).len(), 4);
    app.set(&QuotaLimits::default());
    assert!(app.take(kind, 1_000).is_ok());
    assert_eq!(app.used(kind), 0);
}

#[test]
fn one_app_leaves_others_half_of_what_all_may_have() {
    let kind = QuotaKind::ConnectionsOut;
    let all = app(&[(kind, 100)], None);
    let (one, other) = (app(&[], Some(&all)), app(&[], Some(&all)));
    let greedy = take_all(&one, kind);
    assert_eq!(greedy.len(), 50);
    assert_eq!(one.used(kind), 50, "what was refused is not counted");
    let refusal = one.take(kind, 1).expect_err("its half").to_string();
    assert!(
        refusal.contains("all apps together have 50 of 100"),
        "{refusal}"
    );
    assert_eq!(take_all(&other, kind).len(), 25);
    drop(greedy);
    assert_eq!(all.used(kind), 0);
}

#[test]
fn a_look_says_what_taking_does_of_what_all_may_have_as_well() {
    let kind = QuotaKind::Handles;
    let all = app(&[(kind, 100)], None);
    let (one, other) = (app(&[], Some(&all)), app(&[(kind, 40)], Some(&all)));
    let mut held = Vec::new();
    for more in [1, 2, 7, 50] {
        for app in [&one, &other, &one] {
            let (has_room, is_fine) = (app.has_room(kind, more), app.check(kind, more).is_ok());
            let taken = app.take(kind, more);
            assert_eq!(
                (has_room, is_fine),
                (taken.is_ok(), taken.is_ok()),
                "{more}"
            );
            held.extend(taken);
        }
    }
    held.extend(take_all(&one, kind));
    held.extend(take_all(&other, kind));
    assert!(!one.has_room(kind, 1) && !other.has_room(kind, 1));
    assert!(one.has_room(kind, 0), "what it has it keeps");
    let refused = || all.read(kind, &Meter::default()).refused;
    let before = refused();
    let refusal = one.check(kind, 1).expect_err("its half").to_string();
    assert!(refusal.contains("all apps together have"), "{refusal}");
    assert_eq!(refused(), before + 1);
}

#[test]
fn bytes_that_the_meter_counts_are_counted_from_the_moment_of_the_limit() {
    let meter = Meter::default();
    let app = app(&[], None);
    meter.add_egress(1 << 40);
    assert_eq!(app.allow(QuotaKind::Egress, 77, &meter), Ok(77));
    app.set(&limits(&[(QuotaKind::Egress, 1000)]));
    let burst = usize::try_from(QUOTA_BYTES_BURST_MIN).expect("small");
    assert_eq!(app.allow(QuotaKind::Egress, usize::MAX, &meter), Ok(burst));
    meter.add_egress(QUOTA_BYTES_BURST_MIN);
    assert_eq!(app.allow(QuotaKind::Ingress, 77, &meter), Ok(77));
    let wait = app.allow(QuotaKind::Egress, 77, &meter);
    assert!(wait.is_err_and(|wait| wait <= QUOTA_LOOK_MAX));
    assert_eq!(app.read(QuotaKind::Egress, &meter).refused, 1);
}

#[test]
fn gas_and_time_beyond_a_rate_make_an_instance_wait() {
    let meter = Meter::default();
    let app = app(&[(QuotaKind::Cpu, 500), (QuotaKind::GasRate, 1000)], None);
    assert_eq!(app.pause(&meter), None);
    app.add_cpu(Duration::from_secs(3));
    let pause = app.pause(&meter).expect("six seconds at this rate");
    assert_eq!(pause, QUOTA_LOOK_MAX, "and it is asked again sooner");
    let reading = app.read(QuotaKind::Cpu, &meter);
    assert_eq!((reading.limit, reading.refused), (Some(500), 1));
    app.set(&limits(&[(QuotaKind::GasRate, 1000)]));
    assert_eq!(app.pause(&meter), None);
    meter.add_gas(10_000);
    assert!(app.pause(&meter).is_some());
}

#[test]
fn gas_in_all_counts_what_was_used_before() {
    let meter = Meter::default();
    let app = Quotas::new(&limits(&[(QuotaKind::Gas, 100)]), None, 60);
    meter.add_gas(39);
    assert_eq!(app.gas_used_up(&meter), None);
    meter.add_gas(1);
    assert_eq!(app.gas_used_up(&meter), Some(GasQuota::OfApp(100)));
    app.set(&limits(&[(QuotaKind::Gas, 101)]));
    assert_eq!(app.gas_used_up(&meter), None);
}

#[test]
fn what_replaces_something_is_checked_as_a_whole() {
    let app = app(&[(QuotaKind::Storage, 100)], None);
    assert!(app.replace(QuotaKind::Storage, 100).is_ok());
    assert!(app.replace(QuotaKind::Storage, 101).is_err());
    assert_eq!(app.used(QuotaKind::Storage), 100);
}

#[test]
fn storage_and_gas_of_an_app_count_among_all_while_it_is_there() {
    let all = app(&[(QuotaKind::Storage, 100), (QuotaKind::Gas, 1000)], None);
    let one = app(&[], Some(&all));
    assert_eq!(one.replace(QuotaKind::Storage, 50), Ok(()));
    assert!(one.replace(QuotaKind::Storage, 51).is_err());
    assert_eq!(all.used(QuotaKind::Storage), 50, "nothing has changed");
    assert_eq!(one.replace(QuotaKind::Storage, 30), Ok(()));
    one.note(QuotaKind::Storage, 60);
    assert!(one.check_of_all(QuotaKind::Storage).is_err());
    one.note(QuotaKind::Storage, 20);
    assert!(one.check_of_all(QuotaKind::Storage).is_ok());

    let meter = Meter::default();
    meter.add_gas(499);
    assert_eq!(one.gas_used_up(&meter), None);
    let other = Quotas::new(&QuotaLimits::default(), Some(Arc::clone(&all)), 10);
    assert_eq!(one.gas_used_up(&meter), Some(GasQuota::OfAll(1000)));
    assert_eq!(other.gas_used_up(&Meter::default()), None);
    let used = || all.read(QuotaKind::Gas, &Meter::default()).used;
    assert_eq!((used(), all.used(QuotaKind::Storage)), (509, 20));
    drop(one);
    assert_eq!((used(), all.used(QuotaKind::Storage)), (10, 0));
}

#[test]
fn what_no_meter_has_is_held_by_a_rate_as_well() {
    let meter = Meter::default();
    let app = app(&[(QuotaKind::Egress, 1000)], None);
    assert!(app.allow(QuotaKind::Egress, 1, &meter).is_ok());
    let burst = usize::try_from(QUOTA_BYTES_BURST_MIN).expect("small");
    app.add_unmetered(QuotaKind::Egress, burst);
    assert!(app.allow(QuotaKind::Egress, 1, &meter).is_err());
    assert_eq!(meter.egress_bytes(), 0);
}
