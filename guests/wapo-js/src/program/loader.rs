//! Finds modules: those of the boot code, and those of the program.
//!
//! Names of boot modules begin with `wapo:boot/`; only boot modules can name
//! them. Programs import their own files, as `wapo:NAME` the boot modules below `api/`,
//! and modules of Node: `node:path` and `path` are the boot module `node/path.js`. These
//! are evaluated when the first of them is imported.

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Error, Exception, JsLifetime, Module, Object, Runtime};

use super::files::{Files, join};
use crate::engine::boot;
use crate::native::Native;

/// What names of boot modules begin with.
const BOOT: &str = "wapo:boot/";
/// What names of modules for programs begin with, and the folder that they are in.
const OFFERED: &str = "wapo:";
const OFFERED_FOLDER: &str = "wapo:boot/api/";
/// What evaluates a module of Node for `require`.
pub(crate) const BRIDGE: &str = "wapo:boot/bridge.js";
/// Where modules of Node are among those of the boot code.
const NODE: &str = "node/";
/// What may stand before the names of Node's modules.
const NODE_PREFIX: &str = "node:";
/// The natives.
const NATIVE: &str = "wapo:native";
/// What names of files begin with that are not code.
const JSON: &str = "json:";
const TEXT: &str = "text:";
/// What the name of a bundle begins with, so that its places in stack traces are
/// told from those in files.
pub(crate) const BUNDLE: &str = "bundle:";

/// The files of the program, once it is known.
#[derive(JsLifetime)]
struct Source(Files);

/// Has a runtime find modules here.
pub(crate) fn install(runtime: &Runtime) {
    runtime.set_loader(Modules, Modules);
}

/// Tells a context which files its program has.
pub(crate) fn set_files(ctx: &Ctx<'_>, files: Files) {
    let _ = ctx.store_userdata(Source(files));
}

struct Modules;

impl Resolver for Modules {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        attributes: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        if let Some(base) = base.strip_prefix(BOOT) {
            return Ok(resolve_boot(base, name));
        }
        if let Some(offered) = name.strip_prefix(OFFERED) {
            let module = format!("{OFFERED_FOLDER}{offered}.js");
            return match boot::source(&module) {
                Some(_) => Ok(module),
                None => Err(Exception::throw_type(
                    ctx,
                    &format!("cannot find module {name:?}: this engine has none of that name"),
                )),
            };
        }
        let base = [JSON, TEXT, BUNDLE]
            .iter()
            .find_map(|kind| base.strip_prefix(kind))
            .unwrap_or(base);
        let source = ctx.userdata::<Source>();
        let file = source
            .as_ref()
            .and_then(|source| source.0.resolve(base, name));
        let Some(file) = file else {
            return node_module(name).ok_or_else(|| missing(ctx, base, name));
        };
        let is_bundle = source.is_some_and(|source| source.0.map.is_some());
        let kind = attributes.and_then(|attributes| attributes.get_type().ok().flatten());
        match kind.as_deref() {
            None if is_bundle => Ok(format!("{BUNDLE}{file}")),
            None => Ok(file),
            Some("json") => Ok(format!("{JSON}{file}")),
            Some("text") => Ok(format!("{TEXT}{file}")),
            Some(other) => Err(Exception::throw_type(
                ctx,
                &format!("{name:?} cannot be imported as {other:?}: expected \"json\" or \"text\""),
            )),
        }
    }
}

/// The exception for what is neither a file of the program nor a module of Node.
fn missing(ctx: &Ctx<'_>, base: &str, name: &str) -> Error {
    let hint = if name.starts_with(['.', '/']) {
        "the program has no such file".to_owned()
    } else if name.starts_with(NODE_PREFIX) {
        no_node_module(name)
    } else {
        "packages have to be bundled, or named in the import map".to_owned()
    };
    let message = format!("cannot find module {name:?}, imported from {base:?}: {hint}");
    Exception::throw_type(ctx, &message)
}

/// The boot module that is a module of Node, by the name that a program has for it.
pub(crate) fn node_module(name: &str) -> Option<String> {
    let id = name.strip_prefix(NODE_PREFIX).unwrap_or(name);
    // Packages write it so for the package of that name, which is the same.
    let id = match id.strip_suffix('/').unwrap_or(id) {
        "process/browser" | "process/browser.js" => "process",
        id => id,
    };
    let is_known = node_modules().any(|known| known == id);
    is_known.then(|| format!("{BOOT}{NODE}{id}.js"))
}

/// The names of Node's modules that there are.
pub(crate) fn node_modules() -> impl Iterator<Item = &'static str> {
    boot::names(NODE).filter_map(|name| name.strip_suffix(".js"))
}

/// Says that there is no such module of Node, and which there are.
pub(crate) fn no_node_module(name: &str) -> String {
    let known: Vec<&str> = node_modules().collect();
    format!(
        "WapoJS has no module {name:?}; of Node's it has {}",
        known.join(", ")
    )
}

fn resolve_boot(base: &str, name: &str) -> String {
    if name == NATIVE {
        return name.to_owned();
    }
    if let Some(id) = name.strip_prefix(NODE_PREFIX) {
        return format!("{BOOT}{NODE}{id}.js");
    }
    match name.strip_prefix("npm:") {
        Some(package) => format!("{BOOT}npm/{package}.js"),
        None if name.starts_with(BOOT) => name.to_owned(),
        None => format!("{BOOT}{}", join(base, name)),
    }
}

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        if name == NATIVE {
            return Module::declare_def::<Native, _>(ctx.clone(), name);
        }
        if let Some(module) = boot::declare(ctx, name) {
            return module;
        }
        let source = ctx
            .userdata::<Source>()
            .ok_or_else(|| Error::new_loading(name))?;
        let text = |file: &str| {
            let text = source.0.text(file);
            text.map_err(|error| Exception::throw_type(ctx, &error))
        };
        if let Some(file) = name.strip_prefix(JSON) {
            return declare_json(ctx, name, &text(file)?);
        }
        if let Some(file) = name.strip_prefix(TEXT) {
            let literal = ctx.json_stringify(text(file)?)?;
            let literal = literal.map_or(Ok(String::new()), |literal| literal.to_string())?;
            return Module::declare(ctx.clone(), name, format!("export default {literal}"));
        }
        let file = name.strip_prefix(BUNDLE).unwrap_or(name);
        let module = Module::declare(ctx.clone(), name, text(file)?)?;
        let meta: Object<'js> = module.meta()?;
        meta.set("url", format!("file:///{file}"))?;
        Ok(module)
    }
}

/// A module whose default export is what a JSON text says.
///
/// JSON is an expression of JavaScript but for the name `__proto__`, which has
/// another meaning there, so the text is parsed by the engine's parser at run time.
fn declare_json<'js>(
    ctx: &Ctx<'js>,
    name: &str,
    text: &str,
) -> rquickjs::Result<Module<'js, Declared>> {
    // Wrong JSON is told when the module is loaded.
    ctx.json_parse(text)?;
    let literal = ctx.json_stringify(text)?;
    let literal = literal.map_or(Ok(String::new()), |literal| literal.to_string())?;
    let module = Module::declare(
        ctx.clone(),
        name,
        format!("export default import.meta.parse({literal})"),
    )?;
    let parse = rquickjs::Function::new(ctx.clone(), |ctx: Ctx<'js>, text: String| {
        ctx.json_parse(text)
    })?;
    module.meta()?.set("parse", parse)?;
    Ok(module)
}
