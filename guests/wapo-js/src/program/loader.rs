//! Finds modules: those of the boot code, and those of the program.

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Error, Module, Runtime};

use crate::engine::boot;
use crate::native::Native;

/// What names of boot modules begin with.
const BOOT: &str = "wapo:boot/";
/// The natives.
const NATIVE: &str = "wapo:native";

/// Has a runtime find modules here.
pub(crate) fn install(runtime: &Runtime) {
    runtime.set_loader(Modules, Modules);
}

struct Modules;

impl Resolver for Modules {
    fn resolve<'js>(
        &mut self,
        _: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        if let Some(base) = base.strip_prefix(BOOT) {
            if name == NATIVE {
                return Ok(name.to_owned());
            }
            if let Some(package) = name.strip_prefix("npm:") {
                return Ok(format!("{BOOT}npm/{package}.js"));
            }
            return Ok(format!("{BOOT}{}", join(base, name)));
        }
        Err(Error::new_resolving(base, name))
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
        let source = boot::source(name).ok_or_else(|| Error::new_loading(name))?;
        Module::declare(ctx.clone(), name, source)
    }
}

/// Joins a relative name to the folder of the module that imports it.
fn join(base: &str, name: &str) -> String {
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
