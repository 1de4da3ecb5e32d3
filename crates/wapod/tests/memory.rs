//! What is left of secrets in the memory of a daemon that runs: the whole of it is looked
//! through, as an attacker with a core dump could.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

use support::{Daemon, Folder};

/// Bytes of a mapping that is looked through. Larger ones are reserved for instances, of
/// which there are none.
const MAPPING_BYTES_MAX: u64 = 256 << 20;

/// A page of nothing.
const EMPTY: [u8; 4096] = [0; 4096];

/// How often something is in what a daemon can write to.
fn count(daemon: &Daemon, needle: &[u8]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{}/maps", daemon.id())).expect("maps");
    let memory = File::open(format!("/proc/{}/mem", daemon.id())).expect("its memory");
    let mut found = 0;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').expect("a mapping");
        let (from, to) = range.split_once('-').expect("a range");
        let number = |text: &str| u64::from_str_radix(text, 16).expect("an address");
        let (from, to) = (number(from), number(to));
        if !rest.starts_with("rw") || to - from > MAPPING_BYTES_MAX {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(to - from).expect("fits")];
        // A mapping may have gone meanwhile.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            found += count_in(&bytes, needle);
        }
    }
    found
}

/// How often something is in bytes, most of whose pages were never written to.
fn count_in(bytes: &[u8], needle: &[u8]) -> usize {
    let pages: Vec<_> = bytes.chunks(EMPTY.len()).collect();
    let runs = pages.split(|page| *page == EMPTY);
    let count = |run: &[&[u8]]| {
        let run = run.concat();
        run.windows(needle.len())
            .filter(|one| *one == needle)
            .count()
    };
    runs.map(count).sum()
}

fn write_private(folder: &Folder, name: &str, content: &str) {
    let path = folder.path(name);
    fs::write(&path, content).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
}

#[test]
fn neither_passphrase_nor_token_is_left_in_memory_and_the_key_is_there_once() {
    // Random, so that nothing else in the daemon is equal to it.
    let secret = |name: &str| format!("{name}-{:032x}", rand::random::<u128>());
    let (passphrase, token) = (secret("passphrase"), secret("token"));
    let folder = Folder::new();
    let first = folder.start(&["--no-mem-pool"]);
    let key = fs::read(folder.path("data/protected_files/worker.key")).expect("a key");
    // The half that nothing else is made of.
    let nonce = &key[32..];
    let in_clear = count(&first, nonce);
    drop(first);
    write_private(&folder, "passphrase", &passphrase);
    write_private(&folder, "token", &token);
    let daemon = folder.start(&[
        "--no-mem-pool",
        "--key-passphrase-file",
        "passphrase",
        "--admin-token-file",
        "token",
    ]);
    let closed = count(&daemon, nonce);
    let left = [passphrase, token].map(|secret| count(&daemon, secret.as_bytes()));
    assert_eq!((in_clear, closed, left), (1, 1, [0, 0]));
}
