//! Calls of the family `lock`: named locks of an app.
//!
//! Locks belong to the app and are held by an instance; when it ends, in
//! whatever way, the embedder frees what it held.

use wapo_abi::Errno;

use super::{WORK_LOCK, family};
use crate::state::InstanceState;

impl family::lock::Calls for InstanceState {
    fn app_try_lock(&mut self, name: &str) -> Result<(), Errno> {
        self.add_work(WORK_LOCK);
        let taken = self.context.embedder.try_lock(self.context.id, name);
        taken.then_some(()).ok_or(Errno::CONDITION_ERROR)
    }

    fn app_unlock(&mut self, name: &str) -> Result<(), Errno> {
        self.add_work(WORK_LOCK);
        let given_back = self.context.embedder.unlock(self.context.id, name);
        given_back.then_some(()).ok_or(Errno::CONDITION_ERROR)
    }
}
