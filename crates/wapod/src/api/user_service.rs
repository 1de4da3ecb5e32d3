//! What all connections of the user port share.
//!
//! Answers nothing itself: `api` does, and `gateway` what is for apps. Made by `server`.

use std::sync::Arc;

use super::clients::Clients;
use super::signed_answer::Pace;
use super::signing::Signatures;
use crate::worker::Worker;

/// What all connections of the user port share.
pub(crate) struct UserService {
    pub(super) worker: Arc<Worker>,
    pub(super) base_domain: Arc<str>,
    pub(super) clients: Arc<Clients>,
    pub(super) signatures: Signatures,
    pub(super) pace: Pace,
}

impl UserService {
    pub(crate) fn new(worker: Arc<Worker>, base_domain: &str, clients: Arc<Clients>) -> Arc<Self> {
        Arc::new(Self {
            worker,
            base_domain: base_domain.trim_matches('.').into(),
            clients,
            signatures: Signatures::default(),
            pace: Pace::default(),
        })
    }
}
