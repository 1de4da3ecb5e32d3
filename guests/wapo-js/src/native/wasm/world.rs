//! A world of WebAssembly: a store of the interpreter, what scripts know of it, and its
//! memory, which counts on the script's.
//!
//! Instances that are linked with each other are in one world, and go with it. It holds
//! no value of JavaScript: buffers of its memories are with its object, [`WasmWorld`],
//! and what scripts gave is in the `roots` of the boot code (`js/web/wasm-world.js`),
//! which every call brings along, so that the engine's collector sees all there is.
//! `roots` are not trusted: whatever they give is looked at as if it were a script's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use rquickjs::class::{Trace, Tracer};
use rquickjs::{Class, Ctx, JsLifetime};
use wasmi::errors::{MemoryError, TableError};
use wasmi::{
    CompilationMode, Config, CustomFuelCosts, Engine, Extern, ExternRef, Func, FuncType, Store,
};

use super::views::Views;
use crate::engine::Engine as Script;
use crate::engine::heap::{Room, collect};
use crate::engine::spare::has_room_for;

/// Calls within one module that may be nested.
const RECURSION_MAX: usize = 10_000;

/// Bytes of the interpreter's stack for them, which is outside of the script's room.
const STACK_BYTES_MAX: usize = 512 * 1024;

/// What is done at once. A function is translated without fuel: where it is not enough,
/// the call could not be resumed. It costs its caller the time, at most once, and gas
/// when the module is made ([`super::module`]). The others are the interpreter's own.
const COSTS: CustomFuelCosts = CustomFuelCosts {
    bytes_copied_per_fuel: 64,
    fuel_per_bytes_translated: 0,
    fuel_per_bytes_validated: 0,
};

/// Instances, memories and tables of one world.
const ITEMS_MAX: usize = 10_000;

/// What an element of a table takes.
const ELEMENT_BYTES: usize = 16;

/// Bytes of worlds after which the engine is to collect: they are not in its heap, so
/// it would not know that there is something to collect.
const PRESSURE_BYTES: usize = 16 * 1024 * 1024;

/// The interpreter's settings.
pub(super) fn engine() -> Engine {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        // Functions are translated when they are called for the first time, at the cost
        // of their caller; all of them are checked before.
        .compilation_mode(CompilationMode::LazyTranslation)
        .fuel_cost(COSTS)
        .set_max_recursion_depth(RECURSION_MAX)
        .set_max_stack_height(STACK_BYTES_MAX)
        .set_max_cached_stacks(1);
    Engine::new(&config)
}

pub(super) struct World {
    pub(super) store: RefCell<Store<Limiter>>,
    /// Calls into it that are under way.
    pub(super) depth: Cell<usize>,
    known: RefCell<Known>,
}

/// What scripts know, by the numbers that they use.
#[derive(Default)]
struct Known {
    externs: Vec<Extern>,
    ids: BTreeMap<String, u32>,
    /// References to values of scripts, by the numbers of these.
    references: BTreeMap<u32, ExternRef>,
}

impl World {
    pub(super) fn new(ctx: &Ctx<'_>, engine: &Engine, pressure: Pressure) -> Rc<Self> {
        let script = Script::of(ctx);
        let isolate = script.as_ref().and_then(Script::isolate);
        let limiter = Limiter {
            room: isolate.map(|isolate| Rc::clone(isolate.room())),
            taken: 0,
            last: 0,
            pressure,
        };
        let mut store = Store::new(engine, limiter);
        store.limiter(|limiter| limiter);
        Rc::new(Self {
            store: RefCell::new(store),
            depth: Cell::new(0),
            known: RefCell::default(),
        })
    }

    /// The number of something; the same thing has the same number.
    pub(super) fn id(&self, of: Extern) -> u32 {
        let mut known = self.known.borrow_mut();
        // The interpreter compares no handles, but shows what they are.
        let key = format!("{of:?}");
        if let Some(id) = known.ids.get(&key) {
            return *id;
        }
        // More than that are not in a memory of 32 bits.
        let id = u32::try_from(known.externs.len()).unwrap_or(u32::MAX);
        known.externs.push(of);
        known.ids.insert(key, id);
        id
    }

    /// What a number stands for.
    pub(super) fn get(&self, id: u32) -> Option<Extern> {
        let id = usize::try_from(id).ok()?;
        self.known.borrow().externs.get(id).cloned()
    }

    pub(super) fn func(&self, id: u32) -> Option<(Func, FuncType)> {
        let func = self.get(id)?.into_func()?;
        Some((func, func.ty(&*self.store.borrow())))
    }

    /// The reference to a value of a script, by its number.
    pub(super) fn reference(&self, number: u32) -> ExternRef {
        let mut known = self.known.borrow_mut();
        let make = || ExternRef::new(&mut *self.store.borrow_mut(), number);
        *known.references.entry(number).or_insert_with(make)
    }

    /// The number of the value that a reference stands for.
    pub(super) fn number_of(&self, reference: ExternRef) -> u32 {
        let store = self.store.borrow();
        let number = reference.data(&*store).downcast_ref::<u32>();
        number.copied().unwrap_or_default()
    }
}

/// What a script holds of a world: there is one object for each.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(super) struct WasmWorld<'js> {
    #[qjs(skip_trace)]
    pub(super) world: Rc<World>,
    #[qjs(skip_trace)]
    pub(super) views: Views<'js>,
}

/// The object of a world.
pub(super) type Handle<'js> = Class<'js, WasmWorld<'js>>;

impl<'js> Trace<'js> for WasmWorld<'js> {
    fn trace<'a>(&self, tracer: Tracer<'a, 'js>) {
        self.views.trace(tracer);
    }
}

/// Counts memories and tables.
pub(super) struct Limiter {
    /// Where an isolate's memory is counted. A program has what its instance has.
    room: Option<Rc<Room>>,
    taken: usize,
    /// What was taken last, for the case that the interpreter does not get it.
    last: usize,
    pressure: Pressure,
}

/// Bytes that worlds have taken since the engine has last collected.
#[derive(Clone, Default)]
pub(super) struct Pressure(Rc<Cell<usize>>);

impl Pressure {
    pub(super) fn add(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_add(bytes));
    }

    /// Has the engine collect unreachable worlds, if that is worth it.
    pub(super) fn relieve(&self, ctx: &Ctx<'_>) {
        if self.0.get() >= PRESSURE_BYTES {
            self.0.set(0);
            collect(ctx);
        }
    }
}

impl Limiter {
    fn take(&mut self, more: usize, whole: usize) -> bool {
        let fits = match &self.room {
            // While a memory grows there may be both, the old one and the new one.
            Some(room) => has_room_for(whole) && room.take(more),
            None => has_room_for(whole),
        };
        self.last = if fits { more } else { 0 };
        self.taken += self.last;
        self.pressure.add(self.last);
        fits
    }

    fn take_back(&mut self) {
        self.taken -= self.last;
        if let Some(room) = &self.room {
            room.give_back(self.last);
        }
        self.last = 0;
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.give_back(self.taken);
        }
    }
}

impl wasmi::ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Result<bool, wasmi_core::LimiterError> {
        Ok(self.take(desired.saturating_sub(current), desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Result<bool, wasmi_core::LimiterError> {
        let more = desired
            .saturating_sub(current)
            .saturating_mul(ELEMENT_BYTES);
        Ok(self.take(more, desired.saturating_mul(ELEMENT_BYTES)))
    }

    fn memory_grow_failed(&mut self, _: &MemoryError) -> Result<(), wasmi_core::LimiterError> {
        self.take_back();
        Ok(())
    }

    fn table_grow_failed(&mut self, _: &TableError) -> Result<(), wasmi_core::LimiterError> {
        self.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        ITEMS_MAX
    }

    fn tables(&self) -> usize {
        ITEMS_MAX
    }

    fn memories(&self) -> usize {
        ITEMS_MAX
    }
}
