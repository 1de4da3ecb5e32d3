//! Cheap sums over the bodies of functions, for what makes the compiler work out
//! of all proportion to the size of the file.
//!
//! A compiler gives each value that a branch, a block or a call passes a place of
//! its own, and looks at all places together when it deals out registers. A few
//! bytes can pass a thousand values, and a `br_table` of a kilobyte can do so a
//! thousand times; so these values are counted before anything is compiled. The
//! limits are those of `limits`, each many times what large programs have. What
//! stays below them the compiler can do within its own limits, or is ended.

use wasmparser::{BlockType, FunctionBody, Operator, OperatorsReader};

use super::{Outline, features};
use crate::limits::{
    BLOCK_VALUES_FREE, CALL_VALUES_FREE, EXPANDED_BLOCKS, FUNCTION_BLOCKS_MAX,
    FUNCTION_BODY_BYTES_MAX, FUNCTION_LOCALS_IN_LOOPS_MAX, FUNCTION_LOCALS_TIMES_LOOPS_MAX,
    FUNCTION_LOOP_NESTING_MAX, FUNCTION_NESTING_MAX, FUNCTION_PASSED_VALUES_MAX,
    MODULE_PASSED_VALUES_MAX, MODULE_SIGNATURE_VALUES_MAX,
};
use crate::load_error::LoadError;

/// Checks the bodies of all functions.
///
/// # Errors
///
/// The first sum that is beyond its limit, or a part of WebAssembly that is off.
pub(super) fn check(outline: &Outline<'_>) -> Result<(), LoadError> {
    check_signatures(outline)?;
    // The costly ones are among the large ones: they are found first.
    let mut bodies: Vec<usize> = (0..outline.bodies.len()).collect();
    let bytes = |index: usize| outline.bodies.get(index).map_or(0, body_bytes);
    bodies.sort_unstable_by_key(|index| std::cmp::Reverse(bytes(*index)));
    let mut passed_values: u64 = 0;
    for index in bodies {
        let Some(body) = outline.bodies.get(index) else {
            continue;
        };
        let function = index + outline.imports.len();
        let sums = Sums::of(outline, function, body)?;
        passed_values += sums.passed_values;
        if passed_values > MODULE_PASSED_VALUES_MAX {
            return Err(LoadError::TooCostly(format!(
                "its branches, blocks and calls pass more than {MODULE_PASSED_VALUES_MAX} values \
                 in all; build it without multi-value results, or split it"
            )));
        }
    }
    Ok(())
}

fn body_bytes(body: &FunctionBody<'_>) -> usize {
    body.range().len()
}

/// Each function gets code that takes its parameters and gives its results.
fn check_signatures(outline: &Outline<'_>) -> Result<(), LoadError> {
    let mut values: u64 = 0;
    for ty in &outline.functions {
        let (params, results) = outline.shape(*ty).unwrap_or_default();
        values += beyond(params + results, CALL_VALUES_FREE);
        if values > MODULE_SIGNATURE_VALUES_MAX {
            return Err(LoadError::TooCostly(format!(
                "its functions have more than {MODULE_SIGNATURE_VALUES_MAX} parameters and \
                 results in all, {CALL_VALUES_FREE} of each not counted; pass structures through memory"
            )));
        }
    }
    Ok(())
}

/// What is counted of one function.
#[derive(Default)]
struct Sums {
    locals: u64,
    /// Parameters and results of blocks and calls, and values that branches pass
    /// to each of their targets, beyond the free ones.
    passed_values: u64,
    /// Blocks, and targets of branches.
    blocks: u64,
    loops: u64,
    /// Blocks within blocks at most.
    nesting: u64,
    /// Loops within loops at most.
    loop_nesting: u64,
}

/// The blocks that are open.
struct Frames {
    /// Of each, what a branch to it counts; and the loops up to it.
    open: Vec<(u64, u64)>,
}

impl Sums {
    /// # Errors
    ///
    /// A sum is beyond its limit; a part that is off is used.
    fn of(
        outline: &Outline<'_>,
        function: usize,
        body: &FunctionBody<'_>,
    ) -> Result<Self, LoadError> {
        let bytes = body_bytes(body);
        if bytes > FUNCTION_BODY_BYTES_MAX {
            return Err(costly(
                function,
                format!("has {bytes} bytes of code; {FUNCTION_BODY_BYTES_MAX} are allowed"),
            ));
        }
        let ty = outline.functions.get(function).copied().unwrap_or(u32::MAX);
        let (params, results) = outline.shape(ty).unwrap_or_default();
        let mut locals = params as u64;
        let reader = body.get_locals_reader().map_err(super::outline::invalid)?;
        for group in reader {
            locals += u64::from(group.map_err(super::outline::invalid)?.0);
        }
        let mut sums = Self {
            locals,
            ..Self::default()
        };
        let operators = body.get_operators_reader();
        let operators = operators.map_err(super::outline::invalid)?;
        sums.count(outline, operators, results)
            .map_err(|failure| match failure {
                Failure::Costly(what) => costly(function, what),
                Failure::Other(error) => error,
            })?;
        Ok(sums)
    }

    /// Reads the instructions.
    fn count(
        &mut self,
        outline: &Outline<'_>,
        mut operators: OperatorsReader<'_>,
        results: usize,
    ) -> Result<(), Failure> {
        let mut frames = Frames {
            open: vec![(beyond(results, BLOCK_VALUES_FREE), 0)],
        };
        let mut until_check = CHECK_INTERVAL;
        while !operators.eof() {
            let operator = operators.read().map_err(super::outline::invalid)?;
            self.take(outline, &operator, &mut frames)?;
            until_check -= 1;
            if until_check == 0 {
                until_check = CHECK_INTERVAL;
                self.check().map_err(Failure::Costly)?;
            }
        }
        self.check().map_err(Failure::Costly)
    }

    fn take(
        &mut self,
        outline: &Outline<'_>,
        operator: &Operator<'_>,
        frames: &mut Frames,
    ) -> Result<(), LoadError> {
        match operator {
            Operator::Block { blockty } | Operator::If { blockty } => {
                let (params, results) = block_shape(outline, *blockty);
                self.open(frames, params + results, results, 0);
            }
            Operator::Loop { blockty } => {
                let (params, results) = block_shape(outline, *blockty);
                self.loops += 1;
                self.open(frames, params + results, params, 1);
            }
            Operator::Else => self.blocks += 1,
            Operator::End => {
                frames.open.pop();
            }
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                self.branch(frames, *relative_depth);
            }
            Operator::BrTable { targets } => {
                self.branch(frames, targets.default());
                for target in targets.targets() {
                    self.branch(frames, target.map_err(super::outline::invalid)?);
                }
            }
            Operator::Return => self.branch(frames, u32::MAX),
            Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                let index = usize::try_from(*function_index).unwrap_or(usize::MAX);
                self.call(outline, outline.functions.get(index).copied());
            }
            Operator::CallIndirect { type_index, .. }
            | Operator::ReturnCallIndirect { type_index, .. }
            | Operator::CallRef { type_index }
            | Operator::ReturnCallRef { type_index } => {
                self.blocks += EXPANDED_BLOCKS;
                self.call(outline, Some(*type_index));
            }
            Operator::MemoryFill { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. } => self.blocks += EXPANDED_BLOCKS,
            other => {
                if let Some(feature) = features::of(other) {
                    return Err(feature.refused());
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, frames: &mut Frames, values: usize, branch_values: usize, loops: u64) {
        self.blocks += 1;
        self.passed_values += beyond(values, BLOCK_VALUES_FREE);
        let loops = frames.open.last().map_or(0, |(_, loops)| *loops) + loops;
        let frame = (beyond(branch_values, BLOCK_VALUES_FREE), loops);
        frames.open.push(frame);
        self.nesting = self.nesting.max(frames.open.len() as u64);
        self.loop_nesting = self.loop_nesting.max(loops);
    }

    /// A branch to a block; one beyond the outermost leaves the function.
    fn branch(&mut self, frames: &Frames, depth: u32) {
        let depth = usize::try_from(depth).unwrap_or(usize::MAX);
        let target = frames.open.iter().rev().nth(depth);
        let target = target.or_else(|| frames.open.first());
        self.blocks += 1;
        self.passed_values += target.map_or(0, |(values, _)| *values);
    }

    fn call(&mut self, outline: &Outline<'_>, ty: Option<u32>) {
        let (params, results) = ty.and_then(|ty| outline.shape(ty)).unwrap_or_default();
        self.passed_values += beyond(params + results, CALL_VALUES_FREE);
    }

    /// What is beyond its limit, in words.
    fn check(&self) -> Result<(), String> {
        let Self {
            locals,
            passed_values,
            blocks,
            loops,
            nesting,
            loop_nesting,
        } = *self;
        if passed_values > FUNCTION_PASSED_VALUES_MAX {
            return Err(format!(
                "has branches, blocks and calls that pass more than {FUNCTION_PASSED_VALUES_MAX} \
                 values beyond the first ones (a br_table passes those of each target)"
            ));
        }
        if blocks > FUNCTION_BLOCKS_MAX {
            return Err(format!(
                "has more than {FUNCTION_BLOCKS_MAX} blocks and targets of branches (filling, \
                 copying and calls through tables count as {EXPANDED_BLOCKS})"
            ));
        }
        if nesting > FUNCTION_NESTING_MAX {
            return Err(format!(
                "has more than {FUNCTION_NESTING_MAX} blocks one in the other"
            ));
        }
        if loop_nesting > FUNCTION_LOOP_NESTING_MAX {
            return Err(format!(
                "has more than {FUNCTION_LOOP_NESTING_MAX} loops one in the other"
            ));
        }
        if locals.saturating_mul(loop_nesting) > FUNCTION_LOCALS_IN_LOOPS_MAX {
            return Err(format!(
                "has {locals} locals and {loop_nesting} loops one in the other; their product may \
                 be {FUNCTION_LOCALS_IN_LOOPS_MAX}"
            ));
        }
        if locals.saturating_mul(loops) > FUNCTION_LOCALS_TIMES_LOOPS_MAX {
            return Err(format!(
                "has {locals} locals and {loops} loops; their product may be \
                 {FUNCTION_LOCALS_TIMES_LOOPS_MAX}"
            ));
        }
        Ok(())
    }
}

/// Why counting ended early.
enum Failure {
    Costly(String),
    Other(LoadError),
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::Other(error)
    }
}

/// What of a number of values counts.
fn beyond(values: usize, free: usize) -> u64 {
    values.saturating_sub(free) as u64
}

/// Instructions between two looks at the sums.
const CHECK_INTERVAL: u32 = 1_024;

fn block_shape(outline: &Outline<'_>, ty: BlockType) -> (usize, usize) {
    match ty {
        BlockType::Empty => (0, 0),
        BlockType::Type(_) => (0, 1),
        BlockType::FuncType(ty) => outline.shape(ty).unwrap_or_default(),
    }
}

fn costly(function: usize, what: String) -> LoadError {
    LoadError::TooCostly(format!(
        "function {function} {what}; split it, or build it with less inlining"
    ))
}
