//! A Merkle tree: one hash for a list, and a short proof for each of its members.
//!
//! The shape is that of RFC 9162, section 2.1; the hash is BLAKE2b-256, and leaves
//! and nodes are hashed behind names of their own, so that neither passes for the
//! other. The signer of a root signs the number of leaves with it. Called by reports
//! of usage and by verifiers.

use crate::hash::blake2b_256;

/// A leaf, a node or a root.
pub type Hash = [u8; 32];

/// Before the content of a leaf.
const LEAF: &[u8] = b"wapo/usage-leaf/1";
/// Before two hashes.
const NODE: &[u8] = b"wapo/usage-node/1";

/// The hash of a member of the list.
pub fn leaf(content: &[u8]) -> Hash {
    blake2b_256(&[LEAF, content].concat())
}

fn node(left: &Hash, right: &Hash) -> Hash {
    blake2b_256(&[NODE, left, right].concat())
}

/// The hash of the whole list; zeros for an empty one.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => [0; 32],
        [only] => *only,
        several => {
            let (left, right) = several.split_at(left_leaves(several.len()));
            node(&root(left), &root(right))
        }
    }
}

/// Proofs for several leaves, made in one pass over the list.
///
/// For each place in `indices`, in that order, what proves that the leaf is in the list
/// there: the hashes beside its way to the root, from below. `None` for a place behind
/// the end.
pub fn paths(leaves: &[Hash], indices: &[usize]) -> Vec<Option<Vec<Hash>>> {
    let inside = |index: &usize| (*index < leaves.len()).then(Vec::new);
    let mut paths: Vec<_> = indices.iter().map(inside).collect();
    let mut ways: Vec<_> = indices
        .iter()
        .zip(&mut paths)
        .filter_map(|(index, path)| Some((*index, path.as_mut()?)))
        .collect();
    ways.sort_unstable_by_key(|(index, _)| *index);
    climb(leaves, &mut ways);
    paths
}

/// The root of a part of the list. Ways that begin in it, by place, get what is beside
/// them.
fn climb(leaves: &[Hash], ways: &mut [(usize, &mut Vec<Hash>)]) -> Hash {
    if leaves.len() < 2 || ways.is_empty() {
        return root(leaves);
    }
    let middle = left_leaves(leaves.len());
    let (left, right) = leaves.split_at(middle);
    let (lower, upper) = ways.split_at_mut(ways.partition_point(|(index, _)| *index < middle));
    upper.iter_mut().for_each(|(index, _)| *index -= middle);
    let (below, beside) = (climb(left, lower), climb(right, upper));
    lower.iter_mut().for_each(|(_, path)| path.push(beside));
    upper.iter_mut().for_each(|(_, path)| path.push(below));
    node(&below, &beside)
}

/// The root that a leaf at a place of a list of `count` has with this path; `None`
/// for a path that no such place has (RFC 9162, section 2.1.3.2).
pub fn root_of_path(leaf: Hash, index: u32, count: u32, path: &[Hash]) -> Option<Hash> {
    let mut place = index;
    let mut last = count.checked_sub(1).filter(|last| place <= *last)?;
    let mut hash = leaf;
    for beside in path {
        if last == 0 {
            return None;
        }
        if place % 2 == 1 || place == last {
            hash = node(beside, &hash);
            // On the right edge there is nothing beside for some levels.
            let levels = place.trailing_zeros();
            place = place.checked_shr(levels).unwrap_or_default();
            last = last.checked_shr(levels).unwrap_or_default();
        } else {
            hash = node(&hash, beside);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Leaves below the left child: the largest power of two below the count, which is
/// at least two.
fn left_leaves(count: usize) -> usize {
    count.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u32) -> Vec<Hash> {
        (0..count).map(|n| leaf(&n.to_le_bytes())).collect()
    }

    #[test]
    fn every_leaf_of_every_size_is_proved_at_its_place_only() {
        for count in 1..=33 {
            let leaves = leaves(count);
            let root = root(&leaves);
            // In any order, and one of them twice.
            let places: Vec<usize> = (0..leaves.len()).rev().chain([0]).collect();
            let paths = paths(&leaves, &places);
            for (place, path) in places.iter().zip(paths) {
                let index = u32::try_from(*place).expect("small");
                let path = path.expect("a path");
                let leaf = leaves[index as usize];
                let proved = |index, count| root_of_path(leaf, index, count, &path) == Some(root);
                assert!(proved(index, count), "{index} of {count}");
                for other in (0..count).filter(|other| *other != index) {
                    assert!(!proved(other, count), "{index} of {count} as {other}");
                }
                assert_eq!(root_of_path(leaf, index, 0, &path), None);
                let longer = [path.as_slice(), &[[0; 32]]].concat();
                assert_eq!(root_of_path(leaf, index, count, &longer), None);
                if let Some(shorter) = path.split_last().map(|(_, rest)| rest) {
                    assert_ne!(root_of_path(leaf, index, count, shorter), Some(root));
                }
            }
            let behind = [leaves.len(), usize::MAX];
            assert_eq!(super::paths(&leaves, &behind), [None, None]);
        }
    }

    #[test]
    fn a_node_is_no_leaf_and_nothing_has_a_root_of_its_own() {
        let leaves = leaves(2);
        assert_ne!(root(&leaves), leaf(&leaves.concat()));
        assert_eq!(root(&[]), [0; 32]);
        assert_eq!(root_of_path(leaves[0], u32::MAX, u32::MAX, &[]), None);
    }
}
