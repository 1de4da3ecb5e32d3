//! What every row of the table has to keep to.

use super::*;
use crate::caps::Excess;
use crate::wire;

#[test]
fn rows_fit_the_calling_convention() {
    for call in CALLS {
        assert!(
            call.slots() <= wire::SLOTS,
            "{} needs too many slots",
            call.name
        );
        assert!(call.id >= 100, "{} has a reserved id", call.name);
        assert!(!call.doc.is_empty(), "{} has no documentation", call.name);
        assert!(call.gas.bytes > 0, "{} divides by zero", call.name);
        let slices = call.args.iter().filter(|arg| is_slice(arg.kind)).count();
        assert!(
            slices <= 1,
            "{}: the price per byte is of one slice",
            call.name
        );
        assert_eq!(name_of(call.id), call.name);
    }
}

fn is_slice(kind: &str) -> bool {
    matches!(kind, "str" | "bytes" | "bytes_mut")
}

#[test]
fn every_slice_has_a_cap() {
    for call in CALLS {
        for arg in call.args {
            assert_eq!(
                arg.cap.is_some(),
                is_slice(arg.kind),
                "{} of {}: a slice has a cap and nothing else has",
                arg.name,
                call.name
            );
        }
        assert_eq!(
            call.input_cap.is_some(),
            call.mode.encodes_input(),
            "{}: encoded input has a cap and nothing else has",
            call.name
        );
    }
}

#[test]
fn a_cap_refuses_with_an_error_of_its_row() {
    for call in CALLS {
        let caps = call.args.iter().filter_map(|arg| arg.cap);
        for cap in caps.chain(call.input_cap) {
            if let Excess::Refused(errno) = cap.excess {
                assert!(
                    call.errors.contains(&errno),
                    "{} lacks {errno:?} in its errors",
                    call.name
                );
            }
        }
    }
}

#[test]
fn ids_and_names_are_unique() {
    for (index, call) in CALLS.iter().enumerate() {
        for other in &CALLS[index + 1..] {
            assert_ne!(call.id, other.id);
            assert_ne!(call.name, other.name);
        }
    }
}

#[test]
fn prices_per_byte() {
    let price = |id| CALLS.iter().find(|call| call.id == id).expect("row").gas;
    assert_eq!(price(113).of(7), 70);
    assert_eq!(price(202).of(256), 1002);
    assert_eq!(price(220).of(11), 11);
    assert_eq!(price(101).of(0), 200);
}
