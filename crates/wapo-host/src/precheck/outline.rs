//! The outline of a module: everything but the bodies of its functions, read
//! once, and checked against the limits.

use wapo_abi::{LEGACY_POLL_EXPORT, MEMORY_EXPORT, POLL_EXPORT};
use wasmparser::{
    BinaryReaderError, CompositeInnerType, ConstExpr, DataKind, ElementItems, ElementKind, Export,
    ExternalKind, FuncType, FunctionBody, MemoryType, Operator, Parser, Payload, TypeRef,
};

use super::features::Feature;
use crate::limits::{
    INSTANCE_BYTES_MAX, MODULE_FUNCTIONS_MAX, MODULE_IMPORTS_MAX, MODULE_SEGMENTS_MAX,
    MODULE_TYPES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX,
};
use crate::load_error::LoadError;

/// Both names of the poll export, the present one first.
const POLL_EXPORTS: [&str; 2] = [POLL_EXPORT, LEGACY_POLL_EXPORT];

/// Bytes of a page of linear memory.
const PAGE_BYTES: u64 = 65_536;
/// Bytes that the engine keeps for a function whose address is taken.
const FUNCTION_REFERENCE_BYTES: usize = 32;
/// Bytes that the engine keeps for a global.
const GLOBAL_BYTES: usize = 16;
/// Globals that the engine has room for.
const GLOBALS_MAX: usize = INSTANCE_BYTES_MAX / GLOBAL_BYTES;
/// Bytes that the engine keeps for anything else of an instance: imports,
/// memory, tables, pointers.
const INSTANCE_BASE_BYTES: usize = 64 * 1024;

/// An import: a function's type, or `None` for what is no function.
pub(super) struct Import<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
    pub(super) ty: Option<String>,
}

/// What a module says of itself.
#[derive(Default)]
pub(crate) struct Outline<'a> {
    /// Types of functions; `None` for other types.
    pub(super) types: Vec<Option<FuncType>>,
    pub(super) imports: Vec<Import<'a>>,
    /// Type of each function, the imported ones first.
    pub(super) functions: Vec<u32>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    memory: Option<MemoryType>,
    tables: Vec<wasmparser::TableType>,
    globals: usize,
    exports: Vec<Export<'a>>,
    /// Whether the address of a function is taken.
    is_referenced: Vec<bool>,
}

pub(super) fn invalid(error: BinaryReaderError) -> LoadError {
    LoadError::Invalid(error.to_string())
}

/// A type as both of our libraries write it.
pub(super) fn signature(
    params: impl Iterator<Item = impl ToString>,
    results: impl Iterator<Item = impl ToString>,
) -> String {
    let params: Vec<_> = params.map(|ty| ty.to_string()).collect();
    let results: Vec<_> = results.map(|ty| ty.to_string()).collect();
    format!("({}) -> ({})", params.join(", "), results.join(", "))
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes.div_ceil(1 << 10)),
    }
}

/// Refuses a section with too many entries before it is read.
fn at_most(what: &str, count: u32, max: usize) -> Result<(), LoadError> {
    match usize::try_from(count) {
        Ok(count) if count <= max => Ok(()),
        _ => Err(LoadError::Exceeds(format!(
            "the module has {count} {what}; {max} are allowed"
        ))),
    }
}

impl<'a> Outline<'a> {
    /// Reads a module up to the bodies of its functions.
    ///
    /// # Errors
    ///
    /// It is damaged, or uses what is switched off.
    pub(super) fn read(wasm: &'a [u8]) -> Result<Self, LoadError> {
        let mut outline = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            outline.take(payload.map_err(invalid)?)?;
        }
        Ok(outline)
    }

    fn take(&mut self, payload: Payload<'a>) -> Result<(), LoadError> {
        match payload {
            Payload::TypeSection(types) => {
                at_most("types", types.count(), MODULE_TYPES_MAX)?;
                for group in types {
                    self.take_types(&group.map_err(invalid)?)?;
                }
            }
            Payload::ImportSection(imports) => {
                at_most("imports", imports.count(), MODULE_IMPORTS_MAX)?;
                for import in imports.into_imports() {
                    let import = import.map_err(invalid)?;
                    if self.imports.len() >= MODULE_IMPORTS_MAX {
                        return at_most("imports", u32::MAX, MODULE_IMPORTS_MAX);
                    }
                    self.take_import(&import)?;
                }
            }
            Payload::FunctionSection(functions) => {
                at_most("functions", functions.count(), MODULE_FUNCTIONS_MAX)?;
                for function in functions {
                    self.functions.push(function.map_err(invalid)?);
                }
                self.is_referenced = vec![false; self.functions.len()];
            }
            Payload::TableSection(tables) => {
                at_most("tables", tables.count(), TABLES_MAX as usize)?;
                for table in tables {
                    self.tables.push(table.map_err(invalid)?.ty);
                }
            }
            Payload::MemorySection(memories) if memories.count() > 1 => {
                return Err(Feature::MultiMemory.refused());
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.memory = Some(memory.map_err(invalid)?);
                }
            }
            Payload::TagSection(_) => return Err(Feature::Exceptions.refused()),
            Payload::GlobalSection(globals) => {
                at_most("globals", globals.count(), GLOBALS_MAX)?;
                for global in globals {
                    self.globals += 1;
                    self.refer_in(&global.map_err(invalid)?.init_expr)?;
                }
            }
            Payload::ExportSection(exports) => {
                at_most("exports", exports.count(), MODULE_FUNCTIONS_MAX)?;
                for export in exports {
                    self.take_export(export.map_err(invalid)?);
                }
            }
            Payload::ElementSection(elements) => {
                at_most("element segments", elements.count(), MODULE_SEGMENTS_MAX)?;
                for element in elements {
                    self.take_element(element.map_err(invalid)?.items)?;
                }
            }
            Payload::DataSection(segments) => {
                at_most("data segments", segments.count(), MODULE_SEGMENTS_MAX)?;
            }
            Payload::CodeSectionStart { count, .. } => {
                at_most("functions", count, MODULE_FUNCTIONS_MAX)?;
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            _ => {}
        }
        Ok(())
    }

    fn take_types(&mut self, group: &wasmparser::RecGroup) -> Result<(), LoadError> {
        for ty in group.types() {
            if self.types.len() >= MODULE_TYPES_MAX {
                return at_most("types", u32::MAX, MODULE_TYPES_MAX);
            }
            self.types.push(match &ty.composite_type.inner {
                CompositeInnerType::Func(ty) => Some(ty.clone()),
                CompositeInnerType::Cont(_) => return Err(Feature::StackSwitching.refused()),
                _ => return Err(Feature::Gc.refused()),
            });
        }
        Ok(())
    }

    fn take_import(&mut self, import: &wasmparser::Import<'a>) -> Result<(), LoadError> {
        let mut text = None;
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.functions.push(ty);
                let found = usize::try_from(ty).ok().and_then(|ty| self.types.get(ty));
                let Some(Some(ty)) = found else {
                    return Err(LoadError::Invalid(format!("unknown type {ty}")));
                };
                text = Some(signature(ty.params().iter(), ty.results().iter()));
            }
            TypeRef::Memory(memory) if memory.shared => return Err(Feature::Threads.refused()),
            TypeRef::Memory(memory) if memory.memory64 => return Err(Feature::Memory64.refused()),
            TypeRef::Tag(_) => return Err(Feature::Exceptions.refused()),
            TypeRef::Memory(_) | TypeRef::Table(_) | TypeRef::Global(_) => {}
        }
        self.imports.push(Import {
            module: import.module,
            name: import.name,
            ty: text,
        });
        Ok(())
    }

    fn take_export(&mut self, export: Export<'a>) {
        if export.kind == ExternalKind::Func {
            self.refer(export.index);
        }
        let is_ours = POLL_EXPORTS.contains(&export.name)
            || [MEMORY_EXPORT, COMMAND_EXPORT].contains(&export.name);
        if is_ours {
            self.exports.push(export);
        }
    }

    fn take_element(&mut self, items: ElementItems<'a>) -> Result<(), LoadError> {
        match items {
            ElementItems::Functions(functions) => {
                for function in functions {
                    self.refer(function.map_err(invalid)?);
                }
            }
            ElementItems::Expressions(_, expressions) => {
                for expression in expressions {
                    self.refer_in(&expression.map_err(invalid)?)?;
                }
            }
        }
        Ok(())
    }

    fn refer(&mut self, function: u32) {
        let function = usize::try_from(function).unwrap_or(usize::MAX);
        if let Some(is_referenced) = self.is_referenced.get_mut(function) {
            *is_referenced = true;
        }
    }

    fn refer_in(&mut self, expression: &ConstExpr<'a>) -> Result<(), LoadError> {
        for operator in expression.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator.map_err(invalid)? {
                self.refer(function_index);
            }
        }
        Ok(())
    }

    /// The shape of a function's type: parameters and results.
    pub(super) fn shape(&self, ty: u32) -> Option<(usize, usize)> {
        let ty = self.types.get(usize::try_from(ty).ok()?)?.as_ref()?;
        Some((ty.params().len(), ty.results().len()))
    }

    fn export(&self, name: &str) -> Option<&Export<'a>> {
        self.exports.iter().find(|export| export.name == name)
    }

    /// Checks that the host can poll the module and reach its memory.
    ///
    /// # Errors
    ///
    /// [`LoadError`] says what is missing.
    pub(super) fn check_exports(&self) -> Result<(), LoadError> {
        let mut wrong = None;
        let mut is_polled = false;
        for name in POLL_EXPORTS {
            let Some(export) = self.export(name) else {
                continue;
            };
            let index = usize::try_from(export.index).unwrap_or(usize::MAX);
            let ty = self.functions.get(index).copied();
            let ty = ty.filter(|_| export.kind == ExternalKind::Func);
            let ty = ty.and_then(|ty| self.types.get(usize::try_from(ty).ok()?)?.as_ref());
            let is_right = ty.is_some_and(|ty| {
                ty.params().is_empty() && ty.results() == [wasmparser::ValType::I32]
            });
            is_polled |= is_right;
            if !is_right {
                wrong.get_or_insert(name);
            }
        }
        if !is_polled {
            return Err(match wrong {
                Some(name) => LoadError::WrongPoll(name),
                None if self.export(COMMAND_EXPORT).is_some() => LoadError::Command,
                None => LoadError::NoPoll,
            });
        }
        match self.export(MEMORY_EXPORT) {
            Some(export) if export.kind == ExternalKind::Memory => Ok(()),
            _ => Err(LoadError::NoMemory),
        }
    }

    /// Checks memory, tables and what the engine keeps for each instance.
    ///
    /// # Errors
    ///
    /// [`LoadError::Exceeds`], or what is switched off.
    pub(super) fn check_size(&self, memory_max_bytes: u64) -> Result<(), LoadError> {
        if let Some(memory) = &self.memory {
            check_memory(memory, memory_max_bytes)?;
        }
        for (index, table) in self.tables.iter().enumerate() {
            if table.table64 {
                return Err(Feature::Memory64.refused());
            }
            let max = TABLE_ELEMENTS_MAX as u64;
            if table.initial > max {
                return Err(LoadError::Exceeds(format!(
                    "table {index} of the module begins with {} elements; {max} are allowed (as \
                     many functions may have their address taken)",
                    table.initial
                )));
            }
        }
        let referenced = self.is_referenced.iter().filter(|is| **is).count();
        let bytes = INSTANCE_BASE_BYTES
            + referenced * FUNCTION_REFERENCE_BYTES
            + self.globals * GLOBAL_BYTES;
        if bytes > INSTANCE_BYTES_MAX {
            return Err(LoadError::Exceeds(format!(
                "the module takes the address of {referenced} functions and has {} globals, {} \
                 for each instance; {} are allowed (100000 functions and 40000 globals)",
                self.globals,
                size(bytes as u64),
                size(INSTANCE_BYTES_MAX as u64),
            )));
        }
        Ok(())
    }

    /// Bytes of memory that the module begins with.
    pub(crate) fn memory_min_bytes(&self) -> u64 {
        let pages = self.memory.map_or(0, |memory| memory.initial);
        pages.saturating_mul(PAGE_BYTES)
    }

    /// Checks that segments with a known place fit there.
    ///
    /// # Errors
    ///
    /// [`LoadError::Segment`].
    pub(super) fn check_segments(&self, wasm: &[u8]) -> Result<(), LoadError> {
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(invalid)? {
                Payload::DataSection(segments) => {
                    for (index, segment) in segments.into_iter().enumerate() {
                        self.check_data(index, &segment.map_err(invalid)?)?;
                    }
                }
                Payload::ElementSection(segments) => {
                    for (index, segment) in segments.into_iter().enumerate() {
                        self.check_element(index, &segment.map_err(invalid)?)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_data(&self, index: usize, data: &wasmparser::Data<'_>) -> Result<(), LoadError> {
        let DataKind::Active { offset_expr, .. } = &data.kind else {
            return Ok(());
        };
        let (Some(offset), Some(memory)) = (constant(offset_expr), self.memory) else {
            return Ok(());
        };
        let len = data.data.len() as u64;
        let has = memory.initial.saturating_mul(PAGE_BYTES);
        if offset + len <= has {
            return Ok(());
        }
        Err(LoadError::Segment(format!(
            "data segment {index} of the module ({len} bytes from address {offset} on) does not \
             fit into its memory, which begins with {has} bytes; link it with a larger initial \
             memory, or place its data lower"
        )))
    }

    fn check_element(
        &self,
        index: usize,
        element: &wasmparser::Element<'_>,
    ) -> Result<(), LoadError> {
        let ElementKind::Active {
            table_index,
            offset_expr,
        } = &element.kind
        else {
            return Ok(());
        };
        let table = table_index.unwrap_or(0);
        let found = usize::try_from(table).ok();
        let found = found.and_then(|table| self.tables.get(table));
        let (Some(offset), Some(found)) = (constant(offset_expr), found) else {
            return Ok(());
        };
        let len = match &element.items {
            ElementItems::Functions(functions) => functions.count(),
            ElementItems::Expressions(_, expressions) => expressions.count(),
        };
        if offset + u64::from(len) <= found.initial {
            return Ok(());
        }
        Err(LoadError::Segment(format!(
            "element segment {index} of the module ({len} elements from {offset} on) does not fit \
             into table {table}, which begins with {} elements",
            found.initial
        )))
    }
}

/// The export that makes a program of WASI's older kind.
const COMMAND_EXPORT: &str = "_start";

fn check_memory(memory: &MemoryType, memory_max_bytes: u64) -> Result<(), LoadError> {
    if memory.memory64 {
        return Err(Feature::Memory64.refused());
    }
    if memory.shared {
        return Err(Feature::Threads.refused());
    }
    if memory.page_size_log2.is_some_and(|log2| log2 != 16) {
        return Err(Feature::CustomPages.refused());
    }
    let needed = memory.initial.saturating_mul(PAGE_BYTES);
    if needed <= memory_max_bytes {
        return Ok(());
    }
    Err(LoadError::Exceeds(format!(
        "the module begins with {} of memory, and an instance may have {} here; allow more with -m",
        size(needed),
        size(memory_max_bytes),
    )))
}

/// The value of an offset, if it does not depend on anything.
fn constant(expression: &ConstExpr<'_>) -> Option<u64> {
    let mut stack: Vec<i32> = Vec::new();
    for operator in expression.get_operators_reader() {
        match operator.ok()? {
            Operator::I32Const { value } => stack.push(value),
            Operator::End => break,
            binary => {
                let (right, left) = (stack.pop()?, stack.pop()?);
                stack.push(match binary {
                    Operator::I32Add => left.wrapping_add(right),
                    Operator::I32Sub => left.wrapping_sub(right),
                    Operator::I32Mul => left.wrapping_mul(right),
                    _ => return None,
                });
            }
        }
    }
    match stack.as_slice() {
        [value] => Some(u64::from(value.cast_unsigned())),
        _ => None,
    }
}
