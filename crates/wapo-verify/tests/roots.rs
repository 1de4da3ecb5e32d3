//! The roots are what their makers and the simulator publish.

use wapo_simulator::{DEVELOPMENT_SEED, Enclave, Platform, Simulator};
use wapo_verify::Roots;

fn fingerprint(der: &[u8]) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, der))
}

#[test]
fn the_simulators_root_is_that_of_its_public_seed() {
    let simulator = Simulator::new(&DEVELOPMENT_SEED, Enclave::default(), Platform::default());
    let simulator = simulator.expect("certificates");
    let (made, kept) = (simulator.root(), Roots::default().simulator);
    assert_eq!(hex::encode(made), hex::encode(kept));
}

#[test]
fn the_roots_of_makers_are_those_they_publish() {
    let roots = Roots::default();
    assert_eq!(
        fingerprint(&roots.intel),
        "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
    );
    let amd: Vec<_> = roots.amd.iter().map(|amd| fingerprint(&amd.root)).collect();
    assert_eq!(
        amd,
        [
            "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
            "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
            "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
        ]
    );
}
