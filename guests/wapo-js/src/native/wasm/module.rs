//! Modules: checked, and described to the boot code.

use rquickjs::class::{Trace, Tracer};
use rquickjs::{Array, Class, Ctx, JsLifetime, Object, TypedArray, Value};
use wasmi::{ExternType, Module};

use super::run::{FUEL_PER_GAS, take_gas};
use super::{Kind, engine, pressure, raise, start, type_name};
use crate::engine::bytes::vector;
use crate::engine::heap::Share;
use crate::engine::spare::has_room_for;
use crate::engine::{Failure, stop};

/// Bytes of a module.
const MODULE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the interpreter keeps of a module, for each of its bytes: code that was called
/// has several times its size.
const KEPT_PER_BYTE: usize = 8;

/// Fuel for each byte of a module, which is checked at once and translated later: what
/// the interpreter itself would take for both.
const FUEL_PER_BYTE: u64 = 9;

/// A module that is valid.
#[derive(JsLifetime)]
#[rquickjs::class]
pub(super) struct WasmModule {
    #[qjs(skip_trace)]
    pub(super) module: Module,
    /// The name of the export that is the start function.
    #[qjs(skip_trace)]
    pub(super) start: Option<String>,
    #[qjs(skip_trace)]
    _memory: Share,
}

impl<'js> Trace<'js> for WasmModule {
    fn trace<'a>(&self, _: Tracer<'a, 'js>) {}
}

/// Room for what the interpreter keeps of a module.
fn room_for(ctx: &Ctx<'_>, module: usize) -> rquickjs::Result<Share> {
    let bytes = module.saturating_mul(KEPT_PER_BYTE);
    let fits = module <= MODULE_BYTES_MAX && has_room_for(bytes);
    let share = fits.then(|| Share::take(ctx, bytes)).flatten();
    share.ok_or_else(|| {
        let message = format!("there is no room for a module of {module} bytes");
        Failure::range_error(message).throw(ctx)
    })
}

/// Whether bytes are a valid module.
pub(super) fn validate<'js>(ctx: Ctx<'js>, bytes: Value<'js>) -> rquickjs::Result<bool> {
    let bytes = vector(&ctx, &bytes)?;
    Ok(bytes.len() <= MODULE_BYTES_MAX && Module::validate(&engine(&ctx), &bytes).is_ok())
}

/// `{module, imports, exports, sections}`: each import and export as an object of the
/// interface's `ModuleImportDescriptor` and `ModuleExportDescriptor`, with more of its
/// type for the boot code; sections as names and bytes in turn.
pub(super) fn compile<'js>(ctx: Ctx<'js>, bytes: Value<'js>) -> rquickjs::Result<Object<'js>> {
    let mut bytes = vector(&ctx, &bytes)?;
    let pressure = pressure(&ctx);
    pressure.relieve(&ctx);
    pressure.add(bytes.len().saturating_mul(KEPT_PER_BYTE));
    let memory = room_for(&ctx, bytes.len())?;
    // A module has at most some megabytes.
    take_gas(&ctx, bytes.len() as u64 * FUEL_PER_BYTE / FUEL_PER_GAS);
    stop::look(&ctx)?;
    let engine = engine(&ctx);
    let mut start = None;
    // Checked as it is: what is taken out below is not looked at any more.
    if Module::validate(&engine, &bytes).is_ok()
        && let Some(opened) = start::open(&bytes)
    {
        bytes = opened.module;
        start = Some(opened.start);
    }
    let module = Module::new(&engine, &bytes)
        .map_err(|error| raise(&ctx, Kind::Compile, &error.to_string()))?;
    drop(bytes);
    let described = Object::new(ctx.clone())?;
    let imports = Array::new(ctx.clone())?;
    for (index, import) in module.imports().enumerate() {
        let item = describe(&ctx, import.ty())?;
        item.set("module", import.module())?;
        item.set("name", import.name())?;
        imports.set(index, item)?;
    }
    let exports = Array::new(ctx.clone())?;
    let is_public = |name: &str| start.as_deref() != Some(name);
    let public = module.exports().filter(|export| is_public(export.name()));
    for (index, export) in public.enumerate() {
        let item = describe(&ctx, export.ty())?;
        item.set("name", export.name())?;
        exports.set(index, item)?;
    }
    let sections = Array::new(ctx.clone())?;
    for (index, section) in module.custom_sections().enumerate() {
        sections.set(2 * index, section.name())?;
        let data = TypedArray::<u8>::new_copy(ctx.clone(), section.data())?;
        sections.set(2 * index + 1, data)?;
    }
    let module = WasmModule {
        module,
        start,
        _memory: memory,
    };
    described.set("module", Class::instance(ctx, module)?)?;
    described.set("imports", imports)?;
    described.set("exports", exports)?;
    described.set("sections", sections)?;
    Ok(described)
}

fn describe<'js>(ctx: &Ctx<'js>, ty: &ExternType) -> rquickjs::Result<Object<'js>> {
    let item = Object::new(ctx.clone())?;
    let kind = match ty {
        ExternType::Func(_) => "function",
        ExternType::Memory(_) => "memory",
        ExternType::Table(_) => "table",
        ExternType::Global(global) => {
            item.set("type", type_name(global.content()))?;
            item.set("mutable", global.mutability().is_mut())?;
            "global"
        }
    };
    item.set("kind", kind)?;
    Ok(item)
}
