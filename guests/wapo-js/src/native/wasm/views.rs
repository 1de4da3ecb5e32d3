//! `buffer` of memories: an `ArrayBuffer` that is the memory itself, not a copy.
//!
//! The interpreter may move a memory when it grows, and only then. So a buffer is
//! detached before any script runs after that: between the interpreter's steps no script
//! runs, and each return of it to JavaScript passes by [`Views::settle`]. A buffer that a
//! script has given away could not be detached; [`Views::check`] refuses to run the
//! interpreter as long as there is one.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use rquickjs::{ArrayBuffer, ArrayBufferSource, Ctx, Object, Value};
use wasmi::Memory;

use super::world::World;

/// Buffers of a world, by the numbers of their memories.
#[derive(Default)]
pub(super) struct Views(RefCell<BTreeMap<u32, View>>);

struct View {
    memory: Memory,
    address: usize,
    bytes: usize,
    lease: Weak<Lease>,
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

impl Views {
    /// Whether every buffer is one that can be detached. Call it before the interpreter
    /// runs.
    pub(super) fn check(&self, ctx: &Ctx<'_>, roots: &Object<'_>) -> bool {
        let views = self.0.borrow();
        views.iter().all(|(id, view)| {
            view.lease.strong_count() == 0
                || buffer(roots, *id).is_some_and(|buffer| view.is_of(ctx, &buffer))
        })
    }

    /// Detaches the buffers of memories that have grown. Call it before a script runs
    /// after the interpreter did.
    pub(super) fn settle(&self, ctx: &Ctx<'_>, roots: &Object<'_>, world: &World) {
        let grown: Vec<u32> = {
            let store = world.store.borrow();
            let views = self.0.borrow();
            let is_other = |view: &View| {
                view.address != view.memory.data_ptr(&*store).addr()
                    || view.bytes != view.memory.data_size(&*store)
            };
            let grown = views.iter().filter(|(_, view)| is_other(view));
            grown.map(|(id, _)| *id).collect()
        };
        for id in grown {
            self.detach(ctx, roots, id);
        }
    }

    /// Detaches the buffer of a memory, if it has one.
    pub(super) fn detach(&self, ctx: &Ctx<'_>, roots: &Object<'_>, id: u32) {
        let Some(view) = self.0.borrow_mut().remove(&id) else {
            return;
        };
        if let Some(mut buffer) = buffer(roots, id)
            && view.is_of(ctx, &buffer)
        {
            buffer.detach();
        }
        if view.lease.strong_count() != 0 {
            // Checked before the interpreter ran; nothing else could be safe now.
            std::process::abort();
        }
    }

    /// The buffer of a memory, which is the same until it is detached.
    ///
    /// # Errors
    ///
    /// No memory for the object.
    pub(super) fn get<'js>(
        &self,
        ctx: &Ctx<'js>,
        roots: &Object<'js>,
        world: &Rc<World>,
        (id, memory): (u32, Memory),
    ) -> rquickjs::Result<Value<'js>> {
        let is_there = |view: &View| view.lease.strong_count() != 0;
        if self.0.borrow().get(&id).is_some_and(is_there)
            && let Some(buffer) = buffer(roots, id)
        {
            return Ok(buffer.into_value());
        }
        let (pointer, length) = {
            let store = world.store.borrow();
            (memory.data_ptr(&*store), memory.data_size(&*store))
        };
        let lease = Rc::new(Lease);
        let view = View {
            memory,
            address: pointer.addr(),
            bytes: length,
            lease: Rc::downgrade(&lease),
        };
        let bytes = Bytes {
            pointer,
            length,
            _lease: lease,
            _world: Rc::clone(world),
        };
        let buffer = ArrayBuffer::from_source(ctx.clone(), bytes)?;
        // Before anything else can happen: a buffer that is not known cannot be detached.
        self.0.borrow_mut().insert(id, view);
        let buffers: Object<'js> = roots.get("buffers")?;
        buffers.set(id, buffer.clone())?;
        Ok(buffer.into_value())
    }
}

impl View {
    /// Whether a buffer is that of the memory, and not detached.
    fn is_of(&self, ctx: &Ctx<'_>, buffer: &ArrayBuffer<'_>) -> bool {
        match buffer.as_raw() {
            Some(raw) => raw.cast::<u8>().addr().get() == self.address,
            None => {
                // The engine has an exception for it.
                ctx.catch();
                false
            }
        }
    }
}

fn buffer<'js>(roots: &Object<'js>, id: u32) -> Option<ArrayBuffer<'js>> {
    let buffers: Object<'js> = roots.get("buffers").ok()?;
    let value: Value<'js> = buffers.get(id).ok()?;
    ArrayBuffer::from_value(value)
}
