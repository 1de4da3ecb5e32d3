//! Plays the kernel and Gramine in tests: files that answer as theirs do.
//!
//! Pipes stand for files whose content is made when they are read. A thread serves
//! them until its owner is dropped. Used by tests of the sources only.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

/// Makes a quote of report data.
pub(super) type Hardware = fn(&[u8]) -> Vec<u8>;

const PAUSE: Duration = Duration::from_micros(200);

/// A folder that is served.
pub(super) struct Played {
    dir: tempfile::TempDir,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Played {
    /// Gramine's files.
    pub(super) fn gramine(hardware: Hardware) -> Self {
        Self::start(move |dir, is_over| {
            pipe(&dir.join("user_report_data"));
            pipe(&dir.join("quote"));
            fs::write(dir.join("attestation_type"), "dcap\n").expect("written");
            while let Some(data) = taken(&dir.join("user_report_data"), &is_over) {
                give(&dir.join("quote"), &hardware(&data), &is_over);
            }
        })
    }

    /// The kernel's reports. `steps` is how far the generation goes for each.
    pub(super) fn reports(
        provider: &'static str,
        hardware: Hardware,
        auxiliary: &'static [u8],
        steps: u64,
    ) -> Self {
        Self::start(move |dir, is_over| {
            let mut known = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                for folder in folders(&dir) {
                    if known.contains(&folder) {
                        continue;
                    }
                    known.push(folder.clone());
                    let is_over = Arc::clone(&is_over);
                    std::thread::spawn(move || {
                        serve_report(&folder, provider, (hardware, auxiliary), steps, &is_over);
                    });
                }
                std::thread::park_timeout(PAUSE);
            }
        })
    }

    fn start(serve: impl FnOnce(PathBuf, Arc<AtomicBool>) + Send + 'static) -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let is_over = Arc::new(AtomicBool::new(false));
        let (path, over) = (dir.path().to_owned(), Arc::clone(&is_over));
        Self {
            dir,
            is_over,
            thread: Some(std::thread::spawn(move || serve(path, over))),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve_report(
    folder: &Path,
    provider: &str,
    (hardware, auxiliary): (Hardware, &[u8]),
    steps: u64,
    is_over: &AtomicBool,
) {
    // The folder may be gone already: a caller looked for the provider only.
    let made = [
        mknodat(CWD, folder.join("inblob"), FileType::Fifo, Mode::RWXU, 0).is_ok(),
        mknodat(CWD, folder.join("outblob"), FileType::Fifo, Mode::RWXU, 0).is_ok(),
        fs::write(folder.join("auxblob"), auxiliary).is_ok(),
        put(folder, "generation", "0"),
        put(folder, "provider", provider),
    ];
    if made.contains(&false) {
        return;
    }
    if let Some(data) = taken(&folder.join("inblob"), is_over) {
        put(folder, "generation", &steps.to_string());
        give(&folder.join("outblob"), &hardware(&data), is_over);
    }
}

/// Writes a word so that nobody sees half of it.
fn put(folder: &Path, name: &str, word: &str) -> bool {
    let new = folder.join(format!("{name}.new"));
    fs::write(&new, format!("{word}\n")).is_ok() && fs::rename(new, folder.join(name)).is_ok()
}

fn pipe(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("folder").flatten();
    entries.map(|entry| entry.path()).collect()
}

/// What was last written into a pipe, once something was; `None` when it is over.
fn taken(path: &Path, is_over: &AtomicBool) -> Option<Vec<u8>> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag");
    let mut opened = OpenOptions::new();
    let mut file = opened.read(true).custom_flags(flags).open(path).ok()?;
    let mut written = Vec::new();
    while !is_over.load(Ordering::Relaxed) && path.exists() {
        // Nothing to read is an error here while another process has it open for
        // writing.
        let _ = file.read_to_end(&mut written);
        if written.len() >= 64 {
            return Some(written.split_off(written.len() - 64));
        }
        std::thread::park_timeout(PAUSE);
    }
    None
}

/// Gives a reader of a pipe all of it, once there is one.
fn give(path: &Path, content: &[u8], is_over: &AtomicBool) {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag");
    while !is_over.load(Ordering::Relaxed) && path.exists() {
        let mut options = OpenOptions::new();
        match options.write(true).custom_flags(flags).open(path) {
            Ok(mut file) => {
                let _ = file.write_all(content);
                return;
            }
            Err(_) => std::thread::park_timeout(PAUSE),
        }
    }
}
