//! Writes modules: the one that is run, and the one that begins with the image.
//!
//! Sections that do not change are copied as they are, so that numbers of
//! functions, names and what debuggers know stay true.

use std::ops::Range;

use wasm_encoder::{
    ConstExpr, DataCountSection, DataSection, Encode as _, ExportKind, ExportSection,
    GlobalSection, MemorySection, MemoryType, Module, RawSection, SectionId,
};
use wasmparser::{ExternalKind, Parser, Payload, ValType};

use crate::Error;
use crate::check::Facts;
use crate::execute::{Image, Number};

/// What the module that is run exports its memory as.
pub(crate) const MEMORY: &str = "__wapo_snapshot_memory";
/// A page of memory.
const PAGE_BYTES: usize = 64 * 1024;
/// Zeros between two parts of the image that are one segment all the same: the
/// head of a segment of its own takes about as much.
const GAP_BYTES: usize = 16;
/// Segments of an image. Engines of wasm refuse 100,000.
const SEGMENTS_MAX: usize = 50_000;

/// What the module that is run exports a global as.
pub(crate) fn global_name(index: u32) -> String {
    format!("__wapo_snapshot_global_{index}")
}

/// The module with exports for what the image is made of.
pub(crate) fn with_exports(module: &[u8], facts: &Facts) -> Result<Vec<u8>, Error> {
    rewrite(module, |payload, to| {
        let Payload::ExportSection(section) = payload else {
            return Ok(false);
        };
        let mut exports = ExportSection::new();
        for export in section.clone() {
            let export = export?;
            exports.export(export.name, kind(export.kind)?, export.index);
        }
        exports.export(MEMORY, ExportKind::Memory, 0);
        for (index, _) in &facts.globals {
            exports.export(&global_name(*index), ExportKind::Global, *index);
        }
        to.section(&exports);
        Ok(true)
    })
}

/// The module that begins with an image, without the export that made it.
pub(crate) fn with_image(
    module: &[u8],
    made_by: &str,
    facts: &Facts,
    image: &Image,
) -> Result<Vec<u8>, Error> {
    let segments = segments(&image.memory);
    let count = u32::try_from(segments.len()).unwrap_or(u32::MAX);
    let mut has_data = false;
    let mut result = rewrite(module, |payload, to| {
        match payload {
            Payload::MemorySection(section) => {
                let mut memories = MemorySection::new();
                for memory in section.clone() {
                    memories.memory(MemoryType {
                        minimum: (image.memory.len() / PAGE_BYTES) as u64,
                        maximum: memory?.maximum,
                        memory64: false,
                        shared: false,
                        page_size_log2: None,
                    });
                }
                to.section(&memories);
            }
            Payload::GlobalSection(section) => {
                to.section(&globals(module, section, facts, image)?);
            }
            Payload::ExportSection(section) => {
                let mut exports = ExportSection::new();
                for export in section.clone() {
                    let export = export?;
                    if export.name != made_by {
                        exports.export(export.name, kind(export.kind)?, export.index);
                    }
                }
                to.section(&exports);
            }
            // What it did is in the image.
            Payload::StartSection { .. } => {}
            // Names of functions and the like, a tenth of the file: compilers leave some
            // of them whatever they are told.
            Payload::CustomSection(_) => {}
            Payload::DataCountSection { .. } => {
                to.section(&DataCountSection { count });
            }
            Payload::DataSection(_) => {
                has_data = true;
                to.section(&data(&segments, &image.memory));
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !has_data {
        // The last section but those of names, which may stand anywhere.
        let mut tail = vec![u8::from(SectionId::Data)];
        data(&segments, &image.memory).encode(&mut tail);
        result.extend(tail);
    }
    Ok(result)
}

/// Copies a module section by section; `change` writes those that it changes and
/// says so.
fn rewrite(
    module: &[u8],
    mut change: impl FnMut(&Payload<'_>, &mut Module) -> Result<bool, Error>,
) -> Result<Vec<u8>, Error> {
    let mut result = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if change(&payload, &mut result)? {
            continue;
        }
        if let Some((id, range)) = payload.as_section() {
            result.section(&RawSection {
                id,
                data: &module[range],
            });
        }
    }
    Ok(result.finish())
}

fn kind(kind: ExternalKind) -> Result<ExportKind, Error> {
    Ok(match kind {
        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
        ExternalKind::Table => ExportKind::Table,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Tag => ExportKind::Tag,
    })
}

/// The globals, those that code may change with the values of the image.
fn globals(
    module: &[u8],
    section: &wasmparser::GlobalSectionReader<'_>,
    facts: &Facts,
    image: &Image,
) -> Result<GlobalSection, Error> {
    let values = |index: u32| {
        let mut known = facts.globals.iter().zip(&image.globals);
        known.find(|((known, _), _)| *known == index)
    };
    let entries: Vec<(usize, _)> = section
        .clone()
        .into_iter_with_offsets()
        .collect::<Result<_, _>>()?;
    let mut globals = GlobalSection::new();
    for (index, (start, _)) in (0..).zip(&entries) {
        let next = entries.get(index as usize + 1);
        let end = next.map_or_else(|| section.range().end, |(start, _)| *start);
        let mut bytes = Vec::new();
        match values(index) {
            Some(((_, ty), value)) => mutable(*ty, *value, &mut bytes),
            None => bytes.extend_from_slice(&module[*start..end]),
        }
        globals.raw(&bytes);
    }
    Ok(globals)
}

/// Writes a global that code may change.
fn mutable(ty: ValType, value: Number, into: &mut Vec<u8>) {
    let ty = match ty {
        ValType::I64 => wasm_encoder::ValType::I64,
        ValType::F32 => wasm_encoder::ValType::F32,
        ValType::F64 => wasm_encoder::ValType::F64,
        // `check` lets only numbers pass.
        _ => wasm_encoder::ValType::I32,
    };
    let value = match value {
        Number::I32(value) => ConstExpr::i32_const(value),
        Number::I64(value) => ConstExpr::i64_const(value),
        Number::F32(bits) => ConstExpr::f32_const(f32::from_bits(bits).into()),
        Number::F64(bits) => ConstExpr::f64_const(f64::from_bits(bits).into()),
    };
    wasm_encoder::GlobalType {
        val_type: ty,
        mutable: true,
        shared: false,
    }
    .encode(into);
    value.encode(into);
}

fn data(segments: &[Range<usize>], memory: &[u8]) -> DataSection {
    let mut data = DataSection::new();
    for segment in segments {
        // An address of 32 bits, which the instruction has as a signed number.
        let start = u32::try_from(segment.start).unwrap_or(u32::MAX);
        let offset = ConstExpr::i32_const(start.cast_signed());
        data.active(0, &offset, memory[segment.clone()].iter().copied());
    }
    data
}

/// The parts of memory that are not zero, few enough for every engine.
fn segments(memory: &[u8]) -> Vec<Range<usize>> {
    let mut gap = GAP_BYTES;
    loop {
        let found = segments_with_gap(memory, gap);
        if found.len() <= SEGMENTS_MAX {
            return found;
        }
        gap *= 2;
    }
}

/// The parts of memory between `gap` or more zeros.
fn segments_with_gap(memory: &[u8], gap: usize) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in memory.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        match found.last_mut() {
            Some(last) if at - last.end < gap => last.end = at + 1,
            _ => found.push(at..at + 1),
        }
    }
    found
}
