//! Hardware that a test plays, in the place of an enclave's: it makes no quote before it
//! is told to.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::mpsc;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use wapod::{AttestationMode, Config};

use crate::attestation::REPORT_DATA;

/// Hardware that makes a quote for each time that it is told to.
pub(crate) struct Hardware {
    dir: tempfile::TempDir,
    make: mpsc::Sender<()>,
}

impl Hardware {
    /// Pipes in the place of Gramine's files.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["user_report_data", "quote"] {
            let mode = Mode::RUSR | Mode::WUSR;
            mknodat(CWD, dir.path().join(name), FileType::Fifo, mode, 0).unwrap();
        }
        fs::write(dir.path().join("attestation_type"), "dcap\n").unwrap();
        let (make, told) = mpsc::channel();
        let folder = dir.path().to_owned();
        std::thread::spawn(move || serve(&folder, &told));
        Self { dir, make }
    }

    /// Has a daemon ask it.
    pub(crate) fn configure(&self, config: &mut Config) {
        config.attestation.mode = AttestationMode::Auto;
        config.attestation.gramine_dir = self.dir.path().to_owned();
    }

    /// Has it make so many, now or when they are asked for.
    pub(crate) fn make(&self, count: usize) {
        (0..count).for_each(|_| self.make.send(()).unwrap());
    }
}

/// Ends when the folder or the owner is gone.
fn serve(folder: &Path, told: &mpsc::Receiver<()>) {
    loop {
        let mut data = Vec::new();
        let asked = File::open(folder.join("user_report_data"));
        if asked
            .and_then(|mut file| file.read_to_end(&mut data))
            .is_err()
            || told.recv().is_err()
        {
            return;
        }
        let mut quote = vec![0; 1000];
        quote[REPORT_DATA].copy_from_slice(&data);
        let reader = OpenOptions::new().write(true).open(folder.join("quote"));
        if reader.and_then(|mut file| file.write_all(&quote)).is_err() {
            return;
        }
    }
}
