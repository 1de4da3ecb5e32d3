//! Splits `memory.fill` and `memory.copy` of many bytes, so that a guest can be
//! suspended within one.
//!
//! The engine can interrupt a guest between instructions only, and one such
//! instruction may take half a second. Before a module is compiled, each of them
//! whose length is not known to be small becomes: if it is short, the instruction
//! itself; else a call of a function added at the end of the module, which does it in
//! a loop of short ones. What the guest sees is the same, a trap before anything is
//! written included. Called by `compiler`.
//!
//! Not split are `memory.init` (as long as the module's own data at most) and
//! the instructions on tables (whose size is bounded).

use std::ops::Range;

use wasm_encoder::{
    CodeSection, Encode as _, Function, InstructionSink, Module, RawSection, SectionId,
};
use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload, TypeRef};

/// Bytes that one instruction may fill or copy.
///
/// Takes some 5 µs, or 20 where memory is touched for the first time: little
/// beside a slice, and long enough that the loop around it costs nothing.
const CHUNK_BYTES: i32 = 64 * 1024;

/// Type of the added functions: three numbers, no result.
const HELPER_TYPE: &[u8] = &[0x60, 3, 0x7f, 0x7f, 0x7f, 0];
/// Locals of a changed function: three numbers more.
const MORE_LOCALS: &[u8] = &[3, 0x7f];

/// Custom sections that tell of places in the code, which are others now.
const STALE_SECTIONS: &[&str] = &[".debug_", "metadata.code."];

/// Gives the module with split instructions; `None` when there is nothing to
/// split. A module that cannot be read is left to the compiler to refuse.
pub(crate) fn split(wasm: &[u8]) -> Option<Vec<u8>> {
    let outline = Outline::read(wasm).ok()?;
    outline.rewrite(wasm).ok().flatten()
}

/// What must be known about a module before its code can be changed.
#[derive(Default)]
struct Outline<'a> {
    /// Number of parameters of each type; `None` for what is no function.
    params: Vec<Option<u32>>,
    /// Entries of the type section, which are fewer than types in groups.
    type_entries: u32,
    imported_functions: u32,
    /// Type of each function with a body.
    functions: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
    /// Sections in order: id, content, and the name of custom ones.
    sections: Vec<(u8, Range<usize>, &'a str)>,
}

impl<'a> Outline<'a> {
    fn read(wasm: &'a [u8]) -> Result<Self, BinaryReaderError> {
        let mut outline = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            let mut name = "";
            match &payload {
                Payload::TypeSection(types) => {
                    outline.type_entries = types.count();
                    for group in types.clone() {
                        outline.params.extend(group?.types().map(
                            |ty| match &ty.composite_type.inner {
                                wasmparser::CompositeInnerType::Func(ty) => {
                                    u32::try_from(ty.params().len()).ok()
                                }
                                _ => None,
                            },
                        ));
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.clone().into_imports() {
                        let ty = import?.ty;
                        let is_function = matches!(ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
                        outline.imported_functions += u32::from(is_function);
                    }
                }
                Payload::FunctionSection(functions) => {
                    for function in functions.clone() {
                        outline.functions.push(function?);
                    }
                }
                Payload::CodeSectionEntry(body) => outline.bodies.push(body.clone()),
                Payload::CustomSection(custom) => name = custom.name(),
                _ => {}
            }
            if let Some((id, range)) = payload.as_section() {
                outline.sections.push((id, range, name));
            }
        }
        Ok(outline)
    }

    /// Index of the function that fills; the one that copies is next.
    fn helper(&self) -> u32 {
        // Both are counts of things in a module, whose size is bounded.
        let defined = u32::try_from(self.functions.len()).unwrap_or(u32::MAX);
        self.imported_functions.saturating_add(defined)
    }

    fn rewrite(&self, wasm: &[u8]) -> Result<Option<Vec<u8>>, BinaryReaderError> {
        let mut code = CodeSection::new();
        let mut changed = false;
        for (index, body) in self.bodies.iter().enumerate() {
            let params = self.functions.get(index).and_then(|ty| {
                let ty = usize::try_from(*ty).ok()?;
                *self.params.get(ty)?
            });
            let new = match params {
                Some(params) => split_body(wasm, body, params, self.helper())?,
                None => None,
            };
            changed |= new.is_some();
            code.raw(new.as_deref().unwrap_or_else(|| &wasm[body.range()]));
        }
        if !changed {
            return Ok(None);
        }
        code.function(&fill_function());
        code.function(&copy_function());
        Ok(Some(self.assemble(wasm, &code)))
    }

    fn assemble(&self, wasm: &[u8], code: &CodeSection) -> Vec<u8> {
        let helper_type = u32::try_from(self.params.len()).unwrap_or(u32::MAX);
        let mut helper_types = Vec::new();
        helper_type.encode(&mut helper_types);
        helper_type.encode(&mut helper_types);
        let functions = u32::try_from(self.functions.len()).unwrap_or(u32::MAX);

        let mut module = Module::new();
        for (id, range, name) in &self.sections {
            if STALE_SECTIONS.iter().any(|stale| name.starts_with(stale)) {
                continue;
            }
            let content = &wasm[range.clone()];
            let longer;
            let data = if *id == SectionId::Type as u8 {
                longer = lengthened(content, self.type_entries, 1, HELPER_TYPE);
                &longer
            } else if *id == SectionId::Function as u8 {
                longer = lengthened(content, functions, 2, &helper_types);
                &longer
            } else if *id == SectionId::Code as u8 {
                module.section(code);
                continue;
            } else {
                content
            };
            module.section(&RawSection { id: *id, data });
        }
        module.finish()
    }
}

/// A list with a count in front, and more entries at its end.
fn lengthened(list: &[u8], count: u32, more: u32, entries: &[u8]) -> Vec<u8> {
    let mut longer = Vec::with_capacity(list.len() + entries.len() + 1);
    count.saturating_add(more).encode(&mut longer);
    longer.extend_from_slice(&list[leb_len(list)..]);
    longer.extend_from_slice(entries);
    longer
}

/// Bytes of the number at the start, which was read before and is well-formed.
fn leb_len(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .map_or(bytes.len(), |last| last + 1)
}

/// The body with its long instructions split; `None` when it has none.
fn split_body(
    wasm: &[u8],
    body: &FunctionBody<'_>,
    params: u32,
    helper: u32,
) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let mut locals = params;
    let mut groups = 0u32;
    for local in body.get_locals_reader()? {
        locals = locals.saturating_add(local?.0);
        groups += 1;
    }
    let operators = body.get_operators_reader()?;
    let first = operators.original_position();
    let mut new = Vec::new();
    // Everything before this place is in `new`.
    let mut done = first;
    let mut split = None;
    let mut is_short = false;
    for operator in operators.into_iter_with_offsets() {
        let (operator, place) = operator?;
        if let Some(kind) = split.take() {
            // Now the end of the instruction before is known.
            split_one(&mut new, kind, locals, helper);
            done = place;
        }
        split = match operator {
            Operator::MemoryFill { mem: 0 } if !is_short => Some(Kind::Fill),
            Operator::MemoryCopy {
                dst_mem: 0,
                src_mem: 0,
            } if !is_short => Some(Kind::Copy),
            _ => None,
        };
        if split.is_some() {
            if new.is_empty() {
                let list = &wasm[body.range().start..first];
                new = lengthened(list, groups, 1, MORE_LOCALS);
            }
            new.extend_from_slice(&wasm[done..place]);
        }
        is_short =
            matches!(operator, Operator::I32Const { value } if (0..=CHUNK_BYTES).contains(&value));
    }
    if new.is_empty() {
        return Ok(None);
    }
    new.extend_from_slice(&wasm[done..body.range().end]);
    Ok(Some(new))
}

#[derive(Clone, Copy)]
enum Kind {
    Fill,
    Copy,
}

impl Kind {
    fn emit(self, code: &mut InstructionSink<'_>) {
        match self {
            Self::Fill => code.memory_fill(0),
            Self::Copy => code.memory_copy(0, 0),
        };
    }
}

/// Instead of an instruction: itself when it is short, else its function.
/// Operands go to the three locals from `local` on.
fn split_one(code: &mut Vec<u8>, kind: Kind, local: u32, helper: u32) {
    let (first, second, length) = (local, local + 1, local + 2);
    let helper = match kind {
        Kind::Fill => helper,
        Kind::Copy => helper + 1,
    };
    let mut code = InstructionSink::new(code);
    code.local_set(length).local_set(second).local_set(first);
    code.local_get(length).i32_const(CHUNK_BYTES).i32_gt_u();
    code.if_(wasm_encoder::BlockType::Empty);
    code.local_get(first).local_get(second).local_get(length);
    code.call(helper);
    code.else_();
    code.local_get(first).local_get(second).local_get(length);
    kind.emit(&mut code);
    code.end();
}

/// Leaves the block when `start + length` lies outside memory: the instruction
/// behind it then traps as the guest's own would have, with nothing written.
fn leave_if_outside(code: &mut InstructionSink<'_>, start: u32, length: u32) {
    code.local_get(start).i64_extend_i32_u();
    code.local_get(length).i64_extend_i32_u().i64_add();
    code.memory_size(0).i64_extend_i32_u();
    code.i64_const(16).i64_shl().i64_gt_u().br_if(0);
}

/// Adds a chunk to a place.
fn advance(code: &mut InstructionSink<'_>, place: u32) {
    code.local_get(place).i32_const(CHUNK_BYTES).i32_add();
    code.local_set(place);
}

/// Takes a chunk from a length and leaves whether more than one is left.
fn shorten(code: &mut InstructionSink<'_>, length: u32) {
    code.local_get(length).i32_const(CHUNK_BYTES).i32_sub();
    code.local_tee(length).i32_const(CHUNK_BYTES).i32_gt_u();
}

/// `(place, byte, length)`: fills chunk after chunk.
fn fill_function() -> Function {
    const PLACE: u32 = 0;
    const BYTE: u32 = 1;
    const LENGTH: u32 = 2;
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.block(wasm_encoder::BlockType::Empty);
    leave_if_outside(&mut code, PLACE, LENGTH);
    code.loop_(wasm_encoder::BlockType::Empty);
    code.local_get(PLACE).local_get(BYTE).i32_const(CHUNK_BYTES);
    Kind::Fill.emit(&mut code);
    advance(&mut code, PLACE);
    shorten(&mut code, LENGTH);
    code.br_if(0).end().end();
    code.local_get(PLACE).local_get(BYTE).local_get(LENGTH);
    Kind::Fill.emit(&mut code);
    code.end();
    function
}

/// `(to, from, length)`: copies chunk after chunk, from whichever end keeps
/// what overlaps.
fn copy_function() -> Function {
    const TO: u32 = 0;
    const FROM: u32 = 1;
    const LENGTH: u32 = 2;
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.block(wasm_encoder::BlockType::Empty);
    leave_if_outside(&mut code, TO, LENGTH);
    leave_if_outside(&mut code, FROM, LENGTH);
    code.local_get(TO).local_get(FROM).i32_le_u();
    code.if_(wasm_encoder::BlockType::Empty);
    {
        code.loop_(wasm_encoder::BlockType::Empty);
        code.local_get(TO).local_get(FROM).i32_const(CHUNK_BYTES);
        Kind::Copy.emit(&mut code);
        advance(&mut code, TO);
        advance(&mut code, FROM);
        shorten(&mut code, LENGTH);
        code.br_if(0).end();
    }
    code.else_();
    {
        code.loop_(wasm_encoder::BlockType::Empty);
        code.local_get(LENGTH).i32_const(CHUNK_BYTES).i32_sub();
        code.local_set(LENGTH);
        code.local_get(TO).local_get(LENGTH).i32_add();
        code.local_get(FROM).local_get(LENGTH).i32_add();
        code.i32_const(CHUNK_BYTES);
        Kind::Copy.emit(&mut code);
        code.local_get(LENGTH).i32_const(CHUNK_BYTES).i32_gt_u();
        code.br_if(0).end();
    }
    code.end().end();
    code.local_get(TO).local_get(FROM).local_get(LENGTH);
    Kind::Copy.emit(&mut code);
    code.end();
    function
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Instance, Memory, Store};

    use super::*;

    const GUEST: &str = r#"(module
        (type $group (func (param i64 f64) (result i32)))
        (memory (export "memory") 40)
        (func (export "fill") (param i32 i32 i32) (local i64)
            (memory.fill (local.get 0) (local.get 1) (local.get 2)))
        (func (export "copy") (param i32 i32 i32) (local i64 f32 f32)
            (memory.copy (local.get 0) (local.get 1) (local.get 2)))
        (func (export "short")
            (memory.fill (i32.const 5) (i32.const 9) (i32.const 65536))))"#;

    struct Guest {
        store: Store<()>,
        instance: Instance,
        memory: Memory,
    }

    impl Guest {
        fn new(wasm: &[u8]) -> Self {
            let engine = Engine::default();
            let module = wasmtime::Module::new(&engine, wasm).expect("a valid module");
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).expect("instance");
            let memory = instance.get_memory(&mut store, "memory").expect("memory");
            let mut guest = Self {
                store,
                instance,
                memory,
            };
            let numbers = (0..=250u8).cycle();
            let bytes = guest.memory.data_mut(&mut guest.store).iter_mut();
            bytes.zip(numbers).for_each(|(byte, number)| *byte = number);
            guest
        }

        /// Calls an export and tells whether it trapped.
        fn call(&mut self, name: &str, args: (u32, u32, u32)) -> bool {
            self.instance
                .get_typed_func::<(u32, u32, u32), ()>(&mut self.store, name)
                .and_then(|function| function.call(&mut self.store, args))
                .is_err()
        }
    }

    #[test]
    fn long_instructions_do_what_they_did() {
        let wasm = wat::parse_str(GUEST).expect("text");
        let split = split(&wasm).expect("something to split");
        let mut before = Guest::new(&wasm);
        let mut after = Guest::new(&split);
        let size = 40 << 16;
        for (name, args) in [
            ("fill", (3, 7, 0)),
            ("fill", (3, 7, 65_536)),
            ("fill", (3, 7, 65_537)),
            ("fill", (11, 300, 1_000_000)),
            ("fill", (size - 200_000, 1, 200_000)),
            ("fill", (size - 200_000, 2, 200_001)),
            ("fill", (u32::MAX, 2, u32::MAX)),
            ("copy", (1_000_000, 17, 300_000)),
            ("copy", (100, 50_000, 900_000)),
            ("copy", (50_000, 100, 900_000)),
            ("copy", (77, 77, 900_000)),
            ("copy", (0, size - 100_000, 100_000)),
            ("copy", (0, size - 100_000, 100_001)),
            ("copy", (size - 100_000, 0, 100_001)),
        ] {
            let trapped = before.call(name, args);
            assert_eq!(after.call(name, args), trapped, "{name}{args:?}");
            assert!(
                before.memory.data(&before.store) == after.memory.data(&after.store),
                "{name}{args:?} left other bytes"
            );
        }
    }

    #[test]
    fn what_is_short_or_unreadable_is_left_alone() {
        let short = r#"(module (memory 2)
            (func (memory.copy (i32.const 0) (i32.const 9) (i32.const 64))))"#;
        assert!(split(&wat::parse_str(short).expect("text")).is_none());
        assert!(split(b"\0asm\x01\0\0\0\x01\xff").is_none());
        assert!(split(b"nonsense").is_none());
    }

    #[test]
    fn splitting_twice_finds_only_what_the_first_time_made() {
        let wasm = wat::parse_str(GUEST).expect("text");
        let once = split(&wasm).expect("something to split");
        let twice = split(&once).expect("the short ones have no known length");
        Guest::new(&twice);
    }
}
