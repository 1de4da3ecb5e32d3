//! What a module is made of, as far as its image is concerned, and whether it
//! can have one.

use wasmparser::{
    DataKind, ExternalKind, FuncType, Operator, Parser, Payload, TypeRef, ValType, Validator,
};

use crate::Error;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Indices and types of the globals that code may change.
    pub(crate) globals: Vec<(u32, ValType)>,
}

/// Looks at all of a module.
pub(crate) fn check(module: &[u8], export: &str) -> Result<Facts, Error> {
    let types = Validator::new().validate_all(module)?;
    let types = types.as_ref();
    let mut facts = Facts::default();
    let mut memories = 0;
    let mut is_exported = false;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if !matches!(import?.ty, TypeRef::Func(_)) {
                        return Err(Error::Unsupported("imports other than functions"));
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    memories += 1;
                    if memory.shared || memory.memory64 || memory.page_size_log2.is_some() {
                        return Err(Error::Unsupported("shared or unusual memory"));
                    }
                }
            }
            Payload::GlobalSection(section) => {
                for (index, global) in (0..).zip(section) {
                    let ty = global?.ty;
                    if ty.mutable {
                        facts.globals.push((index, number(ty.content_type)?));
                    }
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    if matches!(data?.kind, DataKind::Passive) {
                        return Err(Error::Unsupported("passive data segments"));
                    }
                }
            }
            Payload::ExportSection(section) => {
                for found in section {
                    let found = found?;
                    if found.name == export && found.kind == ExternalKind::Func {
                        let ty = types.core_function_at(found.index);
                        is_exported = types[ty].unwrap_func() == &FuncType::new([], []);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let mut operators = body.get_operators_reader()?;
                while !operators.eof() {
                    keeps(&operators.read()?)?;
                }
            }
            _ => {}
        }
    }
    match memories {
        1 if is_exported => Ok(facts),
        1 => Err(Error::NoExport(export.to_owned())),
        0 => Err(Error::Unsupported("no memory")),
        _ => Err(Error::Unsupported("several memories")),
    }
}

/// A type that a global can begin with whatever its value is.
fn number(ty: ValType) -> Result<ValType, Error> {
    match ty {
        ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 => Ok(ty),
        _ => Err(Error::Unsupported("mutable globals that are no numbers")),
    }
}

/// Whether an instruction changes only memory and globals.
///
/// The state of tables and of segments is not part of an image, so no code may
/// change it: neither while the image is made nor later, when the numbers of
/// segments are others.
fn keeps(operator: &Operator<'_>) -> Result<(), Error> {
    match operator {
        Operator::TableSet { .. }
        | Operator::TableGrow { .. }
        | Operator::TableFill { .. }
        | Operator::TableCopy { .. }
        | Operator::TableInit { .. }
        | Operator::ElemDrop { .. } => Err(Error::Unsupported("tables that change")),
        Operator::MemoryInit { .. } | Operator::DataDrop { .. } => {
            Err(Error::Unsupported("code that names data segments"))
        }
        _ => Ok(()),
    }
}
