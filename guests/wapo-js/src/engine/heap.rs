//! The heap of an isolate: a room with a limit, and every block that is in it.
//!
//! An engine that has run out of memory in the wrong moment loses sight of some of
//! its objects. Their memory comes back all the same: when the engine is gone, the
//! heap gives back whatever is left in it. The program's own engine has another one
//! (`spare`).

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use rquickjs::allocator::Allocator;
use rquickjs::{Ctx, qjs};

use super::Engine;
use super::spare::has_spare;

/// Bytes that all isolates of an instance may take together.
///
/// Each has a limit of its own, for which no memory is reserved: 32 isolates with 128
/// MiB each are not there in any instance.
const ALL_BYTES_MAX: usize = 512 * 1024 * 1024;

/// What the engine's blocks are aligned to.
const ALIGN: usize = align_of::<u64>();

thread_local! {
    /// What all rooms hold.
    static ALL: Cell<usize> = const { Cell::new(0) };
}

/// How much an isolate has, and may have: objects of JavaScript and memories of
/// WebAssembly.
pub(crate) struct Room {
    used: Cell<usize>,
    limit: Cell<usize>,
    /// Something was refused.
    is_full: Cell<bool>,
}

impl Room {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            used: Cell::new(0),
            limit: Cell::new(usize::MAX),
            is_full: Cell::new(false),
        })
    }

    /// Allows so much more than there is.
    pub(crate) fn allow_more(&self, bytes: usize) {
        self.limit.set(self.used.get().saturating_add(bytes));
    }

    /// Whether something was refused.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.get()
    }

    /// Bytes in it.
    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }

    /// Takes bytes, unless that is too much.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let used = self.used.get().saturating_add(bytes);
        let all = ALL.get().saturating_add(bytes);
        let fits = used <= self.limit.get() && all <= ALL_BYTES_MAX && has_spare(bytes);
        if fits {
            self.used.set(used);
            ALL.set(all);
        } else {
            self.is_full.set(true);
        }
        fits
    }

    /// Gives bytes back.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_sub(bytes));
        ALL.set(ALL.get().saturating_sub(bytes));
    }
}

/// Bytes outside of an engine's heap that count on the room of its isolate, for as long
/// as this is there. What the program has is limited by its instance alone.
pub(crate) struct Share {
    room: Option<Rc<Room>>,
    bytes: usize,
}

impl Share {
    /// Takes bytes for the script that a context runs, unless that is too much.
    pub(crate) fn take(ctx: &Ctx<'_>, bytes: usize) -> Option<Self> {
        Self::of(Engine::of(ctx).as_ref(), bytes)
    }

    /// As [`take`](Self::take), for the script of an engine.
    pub(crate) fn of(engine: Option<&Engine>, bytes: usize) -> Option<Self> {
        let isolate = engine.and_then(Engine::isolate);
        let room = isolate.map(|isolate| Rc::clone(isolate.room()));
        let fits = room.as_ref().is_none_or(|room| room.take(bytes));
        fits.then_some(Self { room, bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.give_back(self.bytes);
        }
    }
}

/// Bytes that the objects of a context's engine take. Looks at all of them.
pub(crate) fn in_use(ctx: &Ctx<'_>) -> u64 {
    let mut usage = MaybeUninit::<qjs::JSMemoryUsage>::zeroed();
    // SAFETY: the engine of the context, which is asked by code that runs in it; it
    // fills in numbers, for all of which zeros stand before.
    let usage = unsafe {
        let runtime = qjs::JS_GetRuntime(ctx.as_raw().as_ptr());
        qjs::JS_ComputeMemoryUsage(runtime, usage.as_mut_ptr());
        usage.assume_init()
    };
    u64::try_from(usage.malloc_size).unwrap_or(0)
}

/// Has the engine of a context collect garbage. It does so itself when its own
/// objects are many, but it does not see what they hold outside of its heap.
pub(crate) fn collect(ctx: &Ctx<'_>) {
    // SAFETY: the engine of the context, from a native function, where it may collect.
    unsafe { qjs::JS_RunGC(qjs::JS_GetRuntime(ctx.as_raw().as_ptr())) };
}

/// The blocks of one engine.
pub(super) struct Heap {
    room: Rc<Room>,
    first: *mut Head,
}

/// What is before each block.
struct Head {
    /// Bytes of the block, without this.
    size: usize,
    previous: *mut Head,
    next: *mut Head,
}

/// Bytes of the head, so that the block behind it is aligned.
const HEAD_BYTES: usize = size_of::<Head>().next_multiple_of(ALIGN);

impl Heap {
    pub(super) fn new(room: Rc<Room>) -> Self {
        Self {
            room,
            first: ptr::null_mut(),
        }
    }

    fn block(&mut self, size: usize, make: unsafe fn(Layout) -> *mut u8) -> *mut u8 {
        let Some(layout) = layout(size) else {
            return ptr::null_mut();
        };
        if !self.room.take(layout.size()) {
            return ptr::null_mut();
        }
        // SAFETY: the layout has the size of a head at least.
        let Some(head) = NonNull::new(unsafe { make(layout) }) else {
            self.room.give_back(layout.size());
            return ptr::null_mut();
        };
        let head = head.as_ptr().cast::<Head>();
        // SAFETY: there is room for the head, and the block begins behind it.
        unsafe {
            head.write(Head {
                size: layout.size() - HEAD_BYTES,
                previous: ptr::null_mut(),
                next: self.first,
            });
            self.link(head);
            head.cast::<u8>().add(HEAD_BYTES)
        }
    }

    /// Has the neighbours of a head know where it is.
    ///
    /// # Safety
    ///
    /// The head is one of this heap's, and so are those that it names.
    unsafe fn link(&mut self, head: *mut Head) {
        // SAFETY: as the caller says.
        unsafe {
            if let Some(next) = NonNull::new((*head).next) {
                (*next.as_ptr()).previous = head;
            }
            match NonNull::new((*head).previous) {
                Some(previous) => (*previous.as_ptr()).next = head,
                None => self.first = head,
            }
        }
    }
}

/// How a block of a size lies in memory, with its head.
fn layout(size: usize) -> Option<Layout> {
    let size = size
        .checked_next_multiple_of(ALIGN)?
        .checked_add(HEAD_BYTES)?;
    Layout::from_size_align(size, ALIGN).ok()
}

// SAFETY: blocks are of the global allocator, aligned, and as large as asked for.
unsafe impl Allocator for Heap {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        self.block(size, alloc)
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        match count.checked_mul(size) {
            Some(size) => self.block(size, alloc_zeroed),
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&mut self, block: *mut u8) {
        // SAFETY: the engine gives back what it got here, once.
        unsafe {
            let head = block.sub(HEAD_BYTES).cast::<Head>();
            let Head {
                size,
                previous,
                next,
            } = head.read();
            match NonNull::new(previous) {
                Some(previous) => (*previous.as_ptr()).next = next,
                None => self.first = next,
            }
            if let Some(next) = NonNull::new(next) {
                (*next.as_ptr()).previous = previous;
            }
            let layout = Layout::from_size_align_unchecked(size + HEAD_BYTES, ALIGN);
            self.room.give_back(layout.size());
            dealloc(head.cast(), layout);
        }
    }

    unsafe fn realloc(&mut self, block: *mut u8, size: usize) -> *mut u8 {
        if block.is_null() {
            return self.alloc(size);
        }
        let Some(new) = layout(size) else {
            return ptr::null_mut();
        };
        // SAFETY: the engine names a block that it got here.
        unsafe {
            let head = block.sub(HEAD_BYTES).cast::<Head>();
            let old = Layout::from_size_align_unchecked((*head).size + HEAD_BYTES, ALIGN);
            if new.size() > old.size() && !self.room.take(new.size() - old.size()) {
                return ptr::null_mut();
            }
            let Some(head) = NonNull::new(realloc(head.cast(), old, new.size())) else {
                self.room.give_back(new.size().saturating_sub(old.size()));
                return ptr::null_mut();
            };
            self.room.give_back(old.size().saturating_sub(new.size()));
            let head = head.as_ptr().cast::<Head>();
            (*head).size = new.size() - HEAD_BYTES;
            self.link(head);
            head.cast::<u8>().add(HEAD_BYTES)
        }
    }

    unsafe fn usable_size(block: *mut u8) -> usize {
        // SAFETY: the engine names a block that it got here.
        unsafe { (*block.sub(HEAD_BYTES).cast::<Head>()).size }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        let mut next = self.first;
        while let Some(head) = NonNull::new(next) {
            // SAFETY: a block of this heap, which nobody can reach any more: its
            // engine is gone. Each is given back once.
            unsafe {
                let Head {
                    size, next: after, ..
                } = head.as_ptr().read();
                next = after;
                let layout = Layout::from_size_align_unchecked(size + HEAD_BYTES, ALIGN);
                self.room.give_back(layout.size());
                dealloc(head.as_ptr().cast(), layout);
            }
        }
    }
}
