//! The async context: one value of JavaScript that follows a program through
//! promises, `await`, microtasks and timers. `AsyncLocalStorage` keeps its stores
//! in it (`js/node/async_hooks.js`); most programs have none, and pay a comparison.
//!
//! Between two calls from outside, and between two jobs, there is none. A function
//! that waits in a promise carries the one of the code that left it there: the engine's
//! C code is rewritten to bind it (`c/wapo_context.h`).

#![allow(unsafe_code, reason = "functions that C code calls by their names")]

use std::cell::Cell;
use std::ffi::c_int;
use std::slice;

use rquickjs::{Ctx, Value, qjs};

thread_local! {
    /// The context of what runs; `undefined` for none. It owns its value, which
    /// belongs to the runtime that runs.
    static CURRENT: Cell<qjs::JSValue> = const { Cell::new(qjs::JS_UNDEFINED) };
}

/// The context of what was interrupted, which may be of another runtime.
#[must_use]
pub(super) struct Outer(qjs::JSValue);

/// Begins a call from outside, without a context.
pub(super) fn leave() -> Outer {
    Outer(CURRENT.replace(qjs::JS_UNDEFINED))
}

/// Ends a call from outside.
pub(super) fn come_back(outer: Outer) {
    CURRENT.set(outer.0);
}

/// Drops the context that a call or a job of this engine has left.
pub(super) fn clear(engine: &rquickjs::Context) {
    if !is_none(CURRENT.get()) {
        engine.with(|ctx| put(&ctx, qjs::JS_UNDEFINED));
    }
}

/// The present context.
pub(crate) fn get<'js>(ctx: &Ctx<'js>) -> Value<'js> {
    let raw = ctx.as_raw().as_ptr();
    // SAFETY: the value is of the runtime that runs; the copy is the caller's.
    unsafe { Value::from_raw(ctx.clone(), qjs::JS_DupValue(raw, CURRENT.get())) }
}

/// Replaces the present context.
pub(crate) fn set<'js>(ctx: &Ctx<'js>, value: &Value<'js>) {
    // SAFETY: the copy is owned by the cell.
    put(ctx, unsafe {
        qjs::JS_DupValue(ctx.as_raw().as_ptr(), value.as_raw())
    });
}

fn put(ctx: &Ctx<'_>, value: qjs::JSValue) {
    let old = CURRENT.replace(value);
    // SAFETY: the cell owned it. It is replaced first: freeing may run a finalizer.
    unsafe { qjs::JS_FreeValue(ctx.as_raw().as_ptr(), old) };
}

/// Whether there is none.
fn is_none(value: qjs::JSValue) -> bool {
    // SAFETY: asks for the value's tag.
    unsafe { qjs::JS_IsUndefined(value) }
}

/// Copies values, and binds those of some bits to the present context. Answers
/// whether the copies have to be given to [`wapo_js_unbind`].
#[unsafe(no_mangle)]
extern "C" fn wapo_js_bind(
    ctx: *mut qjs::JSContext,
    values: *const qjs::JSValue,
    count: c_int,
    which: c_int,
    bound: *mut qjs::JSValue,
) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the C code gives arrays of that many values, which do not overlap.
    let (values, bound) = unsafe {
        (
            slice::from_raw_parts(values, count),
            slice::from_raw_parts_mut(bound, count),
        )
    };
    let context = CURRENT.get();
    if is_none(context) {
        bound.copy_from_slice(values);
        return 0;
    }
    for (index, (from, to)) in values.iter().zip(bound).enumerate() {
        let is_wanted = which & (1 << index) != 0;
        // SAFETY: values of this context; each copy is owned by its place.
        *to = unsafe {
            match is_wanted && qjs::JS_IsFunction(ctx, *from) {
                true => bind(ctx, *from, context),
                false => qjs::JS_DupValue(ctx, *from),
            }
        };
    }
    1
}

/// A function that calls another in a context.
///
/// # Safety
///
/// Values of this context.
unsafe fn bind(
    ctx: *mut qjs::JSContext,
    function: qjs::JSValue,
    context: qjs::JSValue,
) -> qjs::JSValue {
    let mut data = [function, context];
    // SAFETY: the engine copies the two values, and calls with them.
    unsafe {
        let bound = qjs::JS_NewCFunctionData(ctx, Some(call), 1, 0, 2, data.as_mut_ptr());
        if !qjs::JS_IsException(bound) {
            return bound;
        }
        // No memory: the function is called all the same.
        qjs::JS_FreeValue(ctx, qjs::JS_GetException(ctx));
        qjs::JS_DupValue(ctx, function)
    }
}

/// Calls the first value of `data` in the context that is the second.
///
/// # Safety
///
/// Called by the engine, with what [`bind`] gave it.
unsafe extern "C" fn call(
    ctx: *mut qjs::JSContext,
    this: qjs::JSValue,
    count: c_int,
    arguments: *mut qjs::JSValue,
    _: c_int,
    data: *mut qjs::JSValue,
) -> qjs::JSValue {
    // SAFETY: the engine keeps the values alive while this runs; what the cell owns
    // afterwards is a copy, or what it owned before.
    unsafe {
        let (function, context) = (*data, *data.add(1));
        let before = CURRENT.replace(qjs::JS_DupValue(ctx, context));
        let result = qjs::JS_Call(ctx, function, this, count, arguments);
        let after = CURRENT.replace(before);
        qjs::JS_FreeValue(ctx, after);
        result
    }
}

/// Gives copies back.
#[unsafe(no_mangle)]
extern "C" fn wapo_js_unbind(ctx: *mut qjs::JSContext, count: c_int, bound: *mut qjs::JSValue) {
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: what `wapo_js_bind` has written, and owns.
    for value in unsafe { slice::from_raw_parts(bound, count) } {
        unsafe { qjs::JS_FreeValue(ctx, *value) };
    }
}
