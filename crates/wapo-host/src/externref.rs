//! Lets modules use `externref` without a garbage collector.
//!
//! An `externref` is a reference to something of the host. Wapo's host calls
//! take numbers, so no guest ever gets one: every `externref` is null. The
//! engine knows the type only together with its garbage collector, which is not
//! compiled in: code that could be attacked, and a heap for each instance, to
//! carry nulls. So the type is replaced by the other kind of reference before a
//! module is compiled: a null of `funcref` can be tested, stored, passed and
//! selected in the same way, and nothing else can be done with an `externref`.
//! Only `call_indirect` could tell: two types of functions that differ in this
//! alone become one. Both types are one byte, so places in the code stay.
//!
//! Called by `compiler`. What cannot be read is left to the engine to refuse.

use std::ops::Range;

use wasmparser::{
    BinaryReader, BinaryReaderError, BlockType, ConstExpr, ElementItems, FunctionBody, HeapType,
    Operator, Parser, Payload, RefType, ValType,
};

/// The type `externref`, and the heap type `extern`, in the binary format.
const EXTERN: u8 = 0x6f;
/// The type `funcref`, and the heap type `func`.
const FUNC: u8 = 0x70;
/// A type of functions in the type section.
const FUNCTION_TYPE: u8 = 0x60;
/// `select` with a type.
const SELECT_TYPED: u8 = 0x1c;

/// Gives the module with `funcref` in place of `externref`; `None` when it has
/// none.
pub(crate) fn replace(wasm: &[u8]) -> Option<Vec<u8>> {
    let mut places = Vec::new();
    find(wasm, &mut places).ok()?;
    if places.is_empty() {
        return None;
    }
    let mut replaced = wasm.to_vec();
    for place in places {
        match replaced.get_mut(place) {
            Some(byte) if *byte == EXTERN => *byte = FUNC,
            // Written in a longer form, which no compiler emits.
            _ => return None,
        }
    }
    Some(replaced)
}

/// Collects where in a module the type is.
fn find(wasm: &[u8], places: &mut Vec<usize>) -> Result<(), BinaryReaderError> {
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::TypeSection(types) => in_types(wasm, types.range(), places)?,
            Payload::TableSection(tables) => {
                for table in tables.into_iter_with_offsets() {
                    let (offset, table) = table?;
                    if is_extern(table.ty.element_type) {
                        places.extend(first(wasm, offset, EXTERN));
                    }
                    if let wasmparser::TableInit::Expr(expression) = table.init {
                        in_expression(wasm, &expression, places)?;
                    }
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals.into_iter_with_offsets() {
                    let (offset, global) = global?;
                    if matches!(global.ty.content_type, ValType::Ref(ty) if is_extern(ty)) {
                        places.extend(first(wasm, offset, EXTERN));
                    }
                    in_expression(wasm, &global.init_expr, places)?;
                }
            }
            Payload::ElementSection(elements) => {
                for element in elements {
                    in_element(wasm, element?, places)?;
                }
            }
            Payload::CodeSectionEntry(body) => in_body(wasm, &body, places)?,
            _ => {}
        }
    }
    Ok(())
}

fn is_extern(ty: RefType) -> bool {
    ty == RefType::EXTERNREF
}

/// The first place of a byte from `start` on: types are short, and what comes
/// before this byte in them (flags, counts) has other values.
fn first(wasm: &[u8], start: usize, byte: u8) -> Option<usize> {
    const TYPE_BYTES_MAX: usize = 8;
    let bytes = wasm.get(start..)?.iter().take(TYPE_BYTES_MAX);
    bytes
        .enumerate()
        .find(|(_, found)| **found == byte)
        .map(|(index, _)| start + index)
}

/// Types of functions: reads the section by itself, since the reader gives no
/// places of single types.
fn in_types(
    wasm: &[u8],
    range: Range<usize>,
    places: &mut Vec<usize>,
) -> Result<(), BinaryReaderError> {
    let mut reader = BinaryReader::new(wasm.get(range.clone()).unwrap_or_default(), range.start);
    for _ in 0..reader.read_var_u32()? {
        if reader.read_u8()? != FUNCTION_TYPE {
            // No module of this host: types of the garbage collector.
            return Ok(());
        }
        for _ in 0..2 {
            for _ in 0..reader.read_var_u32()? {
                let place = reader.original_position();
                if matches!(reader.read::<ValType>()?, ValType::Ref(ty) if is_extern(ty)) {
                    places.push(place);
                }
            }
        }
    }
    Ok(())
}

fn in_element(
    wasm: &[u8],
    element: wasmparser::Element<'_>,
    places: &mut Vec<usize>,
) -> Result<(), BinaryReaderError> {
    if let ElementItems::Expressions(ty, expressions) = element.items {
        if is_extern(ty) {
            // After the flags, and for active segments after table and offset:
            // the last byte before the number of expressions.
            let count_at = expressions.range().start;
            places.extend(count_at.checked_sub(1).filter(|place| {
                // Without a type in it, the kind is that of functions.
                wasm.get(*place) == Some(&EXTERN)
            }));
        }
        for expression in expressions {
            in_expression(wasm, &expression?, places)?;
        }
    }
    Ok(())
}

fn in_expression(
    wasm: &[u8],
    expression: &ConstExpr<'_>,
    places: &mut Vec<usize>,
) -> Result<(), BinaryReaderError> {
    let mut operators = expression.get_operators_reader();
    while !operators.eof() {
        let place = operators.original_position();
        in_operator(wasm, place, &operators.read()?, places);
    }
    Ok(())
}

fn in_body(
    wasm: &[u8],
    body: &FunctionBody<'_>,
    places: &mut Vec<usize>,
) -> Result<(), BinaryReaderError> {
    let mut locals = body.get_locals_reader()?;
    for _ in 0..locals.get_count() {
        let (_, ty) = locals.read()?;
        if matches!(ty, ValType::Ref(ty) if is_extern(ty)) {
            // The type is the last byte of what was read.
            places.extend(locals.original_position().checked_sub(1));
        }
    }
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let place = operators.original_position();
        in_operator(wasm, place, &operators.read()?, places);
    }
    Ok(())
}

fn in_operator(wasm: &[u8], place: usize, operator: &Operator<'_>, places: &mut Vec<usize>) {
    let is_value = |ty: ValType| matches!(ty, ValType::Ref(ty) if is_extern(ty));
    match operator {
        Operator::RefNull { hty } if *hty == HeapType::EXTERN => places.push(place + 1),
        Operator::Block {
            blockty: BlockType::Type(ty),
        }
        | Operator::Loop {
            blockty: BlockType::Type(ty),
        }
        | Operator::If {
            blockty: BlockType::Type(ty),
        } if is_value(*ty) => places.push(place + 1),
        Operator::TypedSelect { ty } if is_value(*ty) => {
            debug_assert_eq!(wasm.get(place), Some(&SELECT_TYPED));
            // The instruction, the number of types (one), the type.
            places.push(place + 2);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place where the type can be.
    const EVERYWHERE: &str = r#"(module
        (type $through (func (param externref i32 externref) (result externref)))
        (import "wapo" "f" (func (param externref)))
        (memory (export "memory") 1)
        (table $t 10 20 externref)
        (table $f 4 funcref)
        (global $g (mut externref) (ref.null extern))
        (elem (table $t) (i32.const 2) externref (ref.null extern) (ref.null extern))
        (elem $passive externref (ref.null extern))
        (elem declare externref (ref.null extern))
        (elem (table $f) (i32.const 0) func $through)
        (func $through (type $through) (local i64 externref f32 externref)
            (local.set 4 (local.get 0))
            (global.set $g (local.get 4))
            (table.set $t (i32.const 3) (global.get $g))
            (table.init $t $passive (i32.const 0) (i32.const 0) (i32.const 1))
            (drop (table.grow $t (ref.null extern) (i32.const 3)))
            (table.fill $t (i32.const 0) (local.get 2) (i32.const 5))
            (select (result externref)
                (block (result externref) (table.get $t (i32.const 3)))
                (if (result externref) (local.get 1)
                    (then (ref.null extern))
                    (else (loop (result externref) (local.get 0))))
                (i32.const 0x6f6f6f)))
        (func (export "wapo_poll") (result i32)
            (ref.is_null (call_indirect $f (type $through)
                (ref.null extern) (i32.const 111) (ref.null extern) (i32.const 0)))))"#;

    #[test]
    fn a_module_that_uses_the_type_everywhere_runs_without_it() {
        let wasm = wat::parse_str(EVERYWHERE).expect("text");
        let engine = wasmtime::Engine::default();
        assert!(
            wasmtime::Module::new(&engine, &wasm).is_err(),
            "no collector"
        );
        let replaced = replace(&wasm).expect("something to replace");
        let module = wasmtime::Module::new(&engine, &replaced).expect("a valid module");
        let mut store = wasmtime::Store::new(&engine, ());
        let import = wasmtime::Func::wrap(&mut store, |_: Option<wasmtime::Func>| {});
        let instance =
            wasmtime::Instance::new(&mut store, &module, &[import.into()]).expect("instance");
        let poll = instance.get_typed_func::<(), i32>(&mut store, "wapo_poll");
        let poll = poll.expect("export");
        assert_eq!(poll.call(&mut store, ()).expect("no trap"), 1);
        assert!(replace(&replaced).is_none(), "nothing is left");
        let differing = wasm.iter().zip(&replaced).filter(|(a, b)| a != b);
        assert!(differing.clone().all(|bytes| bytes == (&EXTERN, &FUNC)));
    }

    #[test]
    fn numbers_and_data_that_look_like_the_type_are_left_alone() {
        let text = r#"(module (memory 1) (data (i32.const 111) "oooo") (table 111 funcref)
            (global i32 (i32.const 111))
            (func (param i32) (result i32) (local i64)
                (i32.load offset=111 (i32.add (local.get 0) (i32.const 111)))))"#;
        assert!(replace(&wat::parse_str(text).expect("text")).is_none());
        assert!(replace(b"nonsense").is_none());
        assert!(replace(b"\0asm\x01\0\0\0\x01\xff").is_none());
    }
}
