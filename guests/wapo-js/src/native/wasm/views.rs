//! `buffer` of memories: an `ArrayBuffer` that is the memory itself, not a copy.
//!
//! The interpreter may move a memory when it grows, and only then. So a buffer is
//! detached before any script runs after that: between the interpreter's steps no script
//! runs, and each return of it to JavaScript passes by [`Views::settle`]. A buffer that a
//! script has given away could not be detached; [`Views::check`] refuses to run the
//! interpreter as long as there is one.
//!
//! Which buffers there are is known here and nowhere else: nothing that a script could
//! reach or replace is asked, so there is never a buffer of a memory that is not known.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use rquickjs::class::{Trace as _, Tracer};
use rquickjs::{ArrayBuffer, ArrayBufferSource, Ctx, JsLifetime, Value};
use wasmi::Memory;

use super::world::World;

/// Buffers of a world, by the numbers of their memories. They belong to the world's
/// object, with which the engine's collector sees them.
#[derive(Default)]
pub(super) struct Views<'js>(RefCell<BTreeMap<u32, View<'js>>>);

struct View<'js> {
    memory: Memory,
    address: usize,
    bytes: usize,
    lease: Weak<Lease>,
    buffer: ArrayBuffer<'js>,
}

// SAFETY: the lifetime of the values in it, and of nothing else.
unsafe impl<'js> JsLifetime<'js> for Views<'js> {
    type Changed<'to> = Views<'to>;
}

/// Lives as long as some `ArrayBuffer` has the memory's bytes.
struct Lease;

/// What an `ArrayBuffer` owns of a memory.
struct Bytes {
    pointer: *mut u8,
    length: usize,
    _lease: Rc<Lease>,
    /// The memory is there as long as its world.
    _world: Rc<World>,
}

// SAFETY: the bytes are there as long as the world, which this keeps, and where they are
// until the memory grows: the buffer is detached before a script could use it then, as
// the head of this file says. The interpreter does not run while a script does.
unsafe impl ArrayBufferSource for Bytes {
    fn as_ptr(&self) -> *mut u8 {
        self.pointer
    }

    fn len(&self) -> usize {
        self.length
    }
}

impl<'js> Views<'js> {
    /// Shows the buffers to the engine's collector.
    pub(super) fn trace<'a>(&self, tracer: Tracer<'a, 'js>) {
        // It is not borrowed while the engine allocates, which is when it collects.
        if let Ok(views) = self.0.try_borrow() {
            for view in views.values() {
                view.buffer.trace(tracer);
            }
        }
    }

    /// Whether every buffer is one that can be detached. Call it before the interpreter
    /// runs.
    pub(super) fn check(&self, ctx: &Ctx<'js>) -> bool {
        let views = self.0.borrow();
        views
            .values()
            .all(|view| !view.is_leased() || view.is_whole(ctx))
    }

    /// Detaches the buffers of memories that have grown. Call it before a script runs
    /// after the interpreter did.
    pub(super) fn settle(&self, ctx: &Ctx<'js>, world: &World) {
        let grown: Vec<u32> = {
            let store = world.store.borrow();
            let views = self.0.borrow();
            let is_other = |view: &View<'js>| {
                view.address != view.memory.data_ptr(&*store).addr()
                    || view.bytes != view.memory.data_size(&*store)
            };
            let grown = views.iter().filter(|(_, view)| is_other(view));
            grown.map(|(id, _)| *id).collect()
        };
        for id in grown {
            self.detach(ctx, id);
        }
    }

    /// Detaches the buffer of a memory, if it has one.
    pub(super) fn detach(&self, ctx: &Ctx<'js>, id: u32) {
        let Some(mut view) = self.0.borrow_mut().remove(&id) else {
            return;
        };
        if view.is_whole(ctx) {
            view.buffer.detach();
        }
        if view.is_leased() {
            // Checked before the interpreter ran; nothing else could be safe now.
            std::process::abort();
        }
    }

    /// The buffer of a memory, which is the same until it is detached.
    ///
    /// # Errors
    ///
    /// No memory for the object.
    pub(super) fn get(
        &self,
        ctx: &Ctx<'js>,
        world: &Rc<World>,
        (id, memory): (u32, Memory),
    ) -> rquickjs::Result<Value<'js>> {
        if let Some(view) = self.0.borrow().get(&id)
            && view.is_leased()
        {
            // One that was given away is detached, and stays the memory's only one.
            return Ok(view.buffer.clone().into_value());
        }
        let (pointer, length) = {
            let store = world.store.borrow();
            (memory.data_ptr(&*store), memory.data_size(&*store))
        };
        let lease = Rc::new(Lease);
        let known = Rc::downgrade(&lease);
        let bytes = Bytes {
            pointer,
            length,
            _lease: lease,
            _world: Rc::clone(world),
        };
        let buffer = ArrayBuffer::from_source(ctx.clone(), bytes)?;
        let view = View {
            memory,
            address: pointer.addr(),
            bytes: length,
            lease: known,
            buffer: buffer.clone(),
        };
        // Before anything else can happen: a buffer that is not known cannot be detached.
        let before = self.0.borrow_mut().insert(id, view);
        drop(before);
        Ok(buffer.into_value())
    }
}

impl View<'_> {
    /// Whether some `ArrayBuffer` has the memory's bytes, be it this one or another that
    /// they were transferred to.
    fn is_leased(&self) -> bool {
        self.lease.strong_count() != 0
    }

    /// Whether the buffer is that of the memory, and not detached.
    fn is_whole(&self, ctx: &Ctx<'_>) -> bool {
        match self.buffer.as_raw() {
            Some(raw) => raw.cast::<u8>().addr().get() == self.address,
            None => {
                // The engine has an exception for it.
                ctx.catch();
                false
            }
        }
    }
}
