//! Modules of some kilobytes that would keep a compiler busy for minutes or fill
//! the machine's memory, each by another means. The sizes are those of the
//! smallest files that do real harm; the means are what must be found.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ElementSection, Elements, ExportKind, ExportSection,
    Function, FunctionSection, Instruction, MemorySection, MemoryType, Module, RefType,
    TableSection, TableType, TypeSection, ValType,
};

/// A module under construction: the contract's exports, then what a bomb adds.
pub(crate) struct Builder {
    types: TypeSection,
    functions: FunctionSection,
    code: CodeSection,
    table: u32,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let mut builder = Self {
            types: TypeSection::new(),
            functions: FunctionSection::new(),
            code: CodeSection::new(),
            table: 0,
        };
        let poll = builder.ty(0, 1);
        let mut body = Function::new([]);
        body.instruction(&Instruction::I32Const(1));
        body.instruction(&Instruction::End);
        builder.function(poll, &body);
        builder
    }

    /// A type of so many numbers each.
    pub(crate) fn ty(&mut self, params: usize, results: usize) -> u32 {
        let numbers = |count| std::iter::repeat_n(ValType::I32, count);
        self.types.ty().function(numbers(params), numbers(results));
        self.types.len() - 1
    }

    pub(crate) fn function(&mut self, ty: u32, body: &Function) -> u32 {
        self.functions.function(ty);
        self.code.function(body);
        self.functions.len() - 1
    }

    /// Puts all functions into a table.
    pub(crate) fn all_in_a_table(&mut self) {
        self.table = self.functions.len();
    }

    /// Ends a last function and, with it, a module that can be polled.
    fn finish_with(mut self, ty: u32, mut body: Function) -> Vec<u8> {
        body.instruction(&Instruction::End);
        self.function(ty, &body);
        self.finish("wapo_poll")
    }

    pub(crate) fn finish(self, poll: &str) -> Vec<u8> {
        let mut module = Module::new();
        module.section(&self.types).section(&self.functions);
        let element_type = RefType::FUNCREF;
        let table = TableType {
            element_type,
            table64: false,
            minimum: u64::from(self.table),
            maximum: None,
            shared: false,
        };
        if self.table > 0 {
            module.section(TableSection::new().table(table));
        }
        let memory = MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        };
        module.section(MemorySection::new().memory(memory));
        module.section(
            ExportSection::new()
                .export("memory", ExportKind::Memory, 0)
                .export(poll, ExportKind::Func, 0),
        );
        if self.table > 0 {
            let all: Vec<u32> = (0..self.table).collect();
            module.section(ElementSection::new().active(
                None,
                &ConstExpr::i32_const(0),
                Elements::Functions(all.into()),
            ));
        }
        module.section(&self.code);
        module.finish()
    }
}

fn times(body: &mut Function, count: usize, instruction: &Instruction<'_>) {
    for _ in 0..count {
        body.instruction(instruction);
    }
}

const NUMBER: Instruction<'static> = Instruction::LocalGet(0);

/// Blocks with many results, and a `br_table` to each of them.
fn targets_times_results() -> Vec<u8> {
    const DEPTH: usize = 500;
    const RESULTS: usize = 500;
    let mut builder = Builder::new();
    let block = BlockType::FunctionType(builder.ty(0, RESULTS));
    let ty = builder.ty(1, 0);
    let mut body = Function::new([]);
    times(&mut body, DEPTH, &Instruction::Block(block));
    for _ in 0..4 {
        body.instruction(&NUMBER);
        body.instruction(&Instruction::If(BlockType::Empty));
        times(&mut body, RESULTS + 1, &NUMBER);
        let targets: Vec<u32> = (1..500).collect();
        body.instruction(&Instruction::BrTable(targets.into(), 500));
        body.instruction(&Instruction::End);
    }
    times(&mut body, RESULTS, &NUMBER);
    times(&mut body, DEPTH, &Instruction::End);
    times(&mut body, RESULTS, &Instruction::Drop);
    builder.finish_with(ty, body)
}

/// Conditions that pass many values on, one after the other.
fn values_through_conditions() -> Vec<u8> {
    const VALUES: usize = 200;
    let mut builder = Builder::new();
    let block = BlockType::FunctionType(builder.ty(VALUES, VALUES));
    let ty = builder.ty(1, 0);
    let mut body = Function::new([]);
    times(&mut body, VALUES, &NUMBER);
    for _ in 0..1_000 {
        body.instruction(&NUMBER);
        body.instruction(&Instruction::If(block));
        body.instruction(&Instruction::Else);
        body.instruction(&Instruction::End);
    }
    times(&mut body, VALUES, &Instruction::Drop);
    builder.finish_with(ty, body)
}

/// Loops one in the other that carry many values.
fn values_through_loops() -> Vec<u8> {
    const VALUES: usize = 400;
    let mut builder = Builder::new();
    let block = BlockType::FunctionType(builder.ty(VALUES, VALUES));
    let ty = builder.ty(1, 0);
    let mut body = Function::new([]);
    times(&mut body, VALUES, &NUMBER);
    times(&mut body, 400, &Instruction::Loop(block));
    body.instruction(&NUMBER);
    body.instruction(&Instruction::BrIf(0));
    times(&mut body, 400, &Instruction::End);
    times(&mut body, VALUES, &Instruction::Drop);
    builder.finish_with(ty, body)
}

/// Branches to the same place with many values each.
fn values_through_branches() -> Vec<u8> {
    const VALUES: usize = 500;
    let mut builder = Builder::new();
    let block = BlockType::FunctionType(builder.ty(0, VALUES));
    let ty = builder.ty(1, 0);
    let mut body = Function::new([]);
    body.instruction(&Instruction::Block(block));
    times(&mut body, VALUES, &NUMBER);
    for _ in 0..20_000 {
        body.instruction(&NUMBER);
        body.instruction(&Instruction::BrIf(0));
    }
    body.instruction(&Instruction::End);
    times(&mut body, VALUES, &Instruction::Drop);
    builder.finish_with(ty, body)
}

/// Calls that take and give many values.
fn values_through_calls() -> Vec<u8> {
    const VALUES: usize = 500;
    let mut builder = Builder::new();
    let through = builder.ty(VALUES, VALUES);
    let ty = builder.ty(1, 0);
    let mut same = Function::new([]);
    for local in 0..500 {
        same.instruction(&Instruction::LocalGet(local));
    }
    same.instruction(&Instruction::End);
    let callee = builder.function(through, &same);
    let mut body = Function::new([]);
    times(&mut body, VALUES, &NUMBER);
    times(&mut body, 2_000, &Instruction::Call(callee));
    times(&mut body, VALUES, &Instruction::Drop);
    builder.finish_with(ty, body)
}

/// Many functions with many parameters and results, all callable from outside.
fn values_of_signatures() -> Vec<u8> {
    let mut builder = Builder::new();
    let ty = builder.ty(500, 500);
    let mut body = Function::new([]);
    body.instruction(&Instruction::Unreachable);
    body.instruction(&Instruction::End);
    for _ in 0..5_000 {
        builder.function(ty, &body);
    }
    builder.all_in_a_table();
    builder.finish("wapo_poll")
}

/// Locals that change within loops one in the other.
fn locals_times_loops() -> Vec<u8> {
    const LOCALS: u32 = 1_000;
    let mut builder = Builder::new();
    let ty = builder.ty(1, 0);
    let mut body = Function::new([(LOCALS, ValType::I32)]);
    times(&mut body, 1_000, &Instruction::Loop(BlockType::Empty));
    for local in 1..=LOCALS {
        body.instruction(&NUMBER);
        body.instruction(&Instruction::LocalSet(local));
    }
    for _ in 0..1_000 {
        body.instruction(&NUMBER);
        body.instruction(&Instruction::BrIf(0));
        body.instruction(&Instruction::End);
    }
    builder.finish_with(ty, body)
}

/// Blocks without end in one function.
fn many_blocks() -> Vec<u8> {
    let mut builder = Builder::new();
    let ty = builder.ty(1, 0);
    let mut body = Function::new([]);
    for number in 0..300_000 {
        body.instruction(&NUMBER);
        body.instruction(&Instruction::If(BlockType::Empty));
        body.instruction(&Instruction::I32Const(number));
        body.instruction(&Instruction::LocalSet(0));
        body.instruction(&Instruction::End);
    }
    builder.finish_with(ty, body)
}

/// Blocks one in the other, far deeper than any program.
fn deep_nesting() -> Vec<u8> {
    const DEPTH: usize = 50_000;
    let mut builder = Builder::new();
    let ty = builder.ty(1, 0);
    let mut body = Function::new([]);
    times(&mut body, DEPTH, &Instruction::Loop(BlockType::Empty));
    for _ in 0..DEPTH {
        body.instruction(&NUMBER);
        body.instruction(&Instruction::BrIf(0));
        body.instruction(&Instruction::End);
    }
    builder.finish_with(ty, body)
}

/// One function of several megabytes.
fn one_large_function() -> Vec<u8> {
    let mut builder = Builder::new();
    let ty = builder.ty(1, 0);
    let mut body = Function::new([]);
    body.instruction(&NUMBER);
    for number in 0..1_200_000 {
        body.instruction(&Instruction::I32Const(number));
        body.instruction(&Instruction::I32Add);
    }
    body.instruction(&Instruction::LocalSet(0));
    builder.finish_with(ty, body)
}

/// Instructions that become many blocks of machine code each.
fn instructions_that_expand() -> Vec<u8> {
    let mut builder = Builder::new();
    let ty = builder.ty(1, 0);
    let mut body = Function::new([]);
    for _ in 0..100_000 {
        times(&mut body, 3, &NUMBER);
        body.instruction(&Instruction::MemoryFill(0));
    }
    builder.finish_with(ty, body)
}

/// All kinds, with the name of what they abuse.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("br_table targets x results", targets_times_results()),
        ("values through conditions", values_through_conditions()),
        ("values through loops", values_through_loops()),
        ("values through branches", values_through_branches()),
        ("values through calls", values_through_calls()),
        ("values of signatures", values_of_signatures()),
        ("locals x loops", locals_times_loops()),
        ("many blocks", many_blocks()),
        ("deep nesting", deep_nesting()),
        ("one large function", one_large_function()),
        ("instructions that expand", instructions_that_expand()),
    ]
}

/// A large program as compilers make them: so many functions of about so many
/// bytes, all of them in a table.
pub(crate) fn large_program(functions: u32, statements: u32, poll: &str) -> Vec<u8> {
    let mut builder = Builder::new();
    let ty = builder.ty(1, 1);
    for index in 1..=functions {
        let mut body = Function::new([(2, ValType::I32)]);
        for step in 0..statements {
            let seed = index
                .wrapping_mul(2_654_435_761)
                .wrapping_add(step * 40_503);
            body.instruction(&NUMBER);
            body.instruction(&Instruction::I32Const((seed & 0xffff).cast_signed()));
            match seed >> 16 & 3 {
                0 => body.instruction(&Instruction::I32Add),
                1 => body.instruction(&Instruction::I32Xor),
                2 => body.instruction(&Instruction::I32And),
                _ => body.instruction(&Instruction::I32Shl),
            };
            body.instruction(&Instruction::LocalSet(seed >> 8 & 1));
        }
        body.instruction(&NUMBER);
        if index > 1 && index % 100 != 0 {
            body.instruction(&Instruction::Call(index - 1));
        }
        body.instruction(&Instruction::End);
        builder.function(ty, &body);
    }
    builder.all_in_a_table();
    builder.finish(poll)
}
