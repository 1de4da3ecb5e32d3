//! What a module may be, and what its compilation may take. Re-exported by `limits`;
//! used by the check before a compilation and by the queue of compilations.

use std::time::Duration;

/// Bytes of a module that is accepted for compilation.
pub const MODULE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Types in a module.
///
/// Large programs have a few thousand. Each is registered with the engine, one
/// by one, under a lock of all instances.
pub const MODULE_TYPES_MAX: usize = 20_000;

/// Functions in a module.
///
/// Interpreters with all their libraries have 50,000.
pub const MODULE_FUNCTIONS_MAX: usize = 200_000;

/// Imports of a module; there are about a hundred different ones.
pub const MODULE_IMPORTS_MAX: usize = 1_000;

/// Segments of data, and of elements, in a module.
///
/// The number that other engines have agreed on.
pub const MODULE_SEGMENTS_MAX: usize = 100_000;

/// Bytes of the body of one function.
///
/// A compiler looks at a function as a whole; some of what it does grows faster
/// than the function. One of 6 MB takes 3 GB and more. The largest of Ruby (16 MB
/// in all) has 100 KB, of esbuild (14 MB) 200 KB.
pub const FUNCTION_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Values that a call, or a function's type, has for free before they are
/// counted.
///
/// Each of them takes bytes in the file in ordinary code.
pub const CALL_VALUES_FREE: usize = 8;

/// Values that a branch or a block passes for free before they are counted.
///
/// Compilers of ordinary languages pass one.
pub const BLOCK_VALUES_FREE: usize = 1;

/// Values beyond the free ones that the branches, blocks and calls of a function
/// pass; a `br_table` passes them to each of its targets.
///
/// 250,000 of them in a file of 6 KB have taken 750 MB. Large programs have 60 in
/// a function.
pub const FUNCTION_PASSED_VALUES_MAX: u64 = 50_000;

/// The same for all functions of a module together.
pub const MODULE_PASSED_VALUES_MAX: u64 = 1_000_000;

/// Parameters and results beyond the free ones of all functions of a module.
///
/// Each function whose address is taken gets code that moves them. A million
/// takes ten seconds.
pub const MODULE_SIGNATURE_VALUES_MAX: u64 = 500_000;

/// Blocks and targets of branches in one function.
///
/// 100,000 take ten to twenty seconds. Large programs have 13,000. Instructions that become several blocks
/// of machine code count as [`EXPANDED_BLOCKS`].
pub const FUNCTION_BLOCKS_MAX: u64 = 100_000;

/// Blocks that an instruction counts as if it fills or copies memory or tables,
/// or calls through a table.
pub const EXPANDED_BLOCKS: u64 = 4;

/// Blocks one in the other.
///
/// A `switch` opens one for each of its cases: large programs have 3,300. The time grows with the square of the depth: three seconds for
/// this many.
pub const FUNCTION_NESTING_MAX: u64 = 10_000;

/// Loops one in the other.
///
/// The time grows faster than the square of the depth: 5,000 take more than a
/// minute. Programs have a handful.
pub const FUNCTION_LOOP_NESTING_MAX: u64 = 250;

/// Locals of a function, times the depth of its loops within loops.
///
/// A local that changes in the innermost loop passes through all of them. A
/// million has taken a minute; large programs have 500.
pub const FUNCTION_LOCALS_IN_LOOPS_MAX: u64 = 200_000;

/// Locals of a function, times its loops.
///
/// A local that lives for the whole function passes through all of them. Ten
/// million fill the compiler's memory; large programs have 9,000.
pub const FUNCTION_LOCALS_TIMES_LOOPS_MAX: u64 = 10_000_000;

/// Modules that wait to be compiled; more are refused.
pub const COMPILE_QUEUE_MAX: usize = 64;

/// Modules of one app that wait to be compiled; more are refused.
///
/// An app has one module, and a second one while it is replaced.
pub const COMPILE_QUEUE_OF_APP_MAX: usize = 16;

/// Bytes of all modules that wait to be compiled; one that would wait alone may
/// have more.
pub const COMPILE_QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Time that a module waits for its turn to be compiled.
///
/// Callers are then told to try again later, before their own timeout ends.
pub const COMPILE_WAIT_MAX: Duration = Duration::from_secs(300);

/// Memory that the compilation of one module may take, in bytes.
///
/// Ruby (16 MB) takes half of it, esbuild (14 MB) 40 %.
/// Without a limit a file of some kilobytes takes all memory of the machine.
pub const COMPILE_MEMORY_BYTES_MAX: u64 = 1 << 30;

/// CPU time that the compilation of one module may take.
///
/// Two seconds per megabyte are usual: Ruby takes 28 s, esbuild 17.
pub const COMPILE_TIME_MAX: Duration = Duration::from_secs(180);

/// Time that the compilation of one module may take by the clock.
///
/// Compilers have the lowest priority: beside busy guests they get little.
pub const COMPILE_WALL_TIME_MAX: Duration = Duration::from_secs(900);

/// Niceness of processes that compile: the lowest priority there is.
///
/// Neighbours that answer requests come first, as with the threads for hogs.
pub const COMPILE_NICENESS: i32 = 19;

/// Bytes of native code that are taken from the compiler.
///
/// Three to four times the size of the module is usual; the compiler's memory
/// bounds it, too.
pub const COMPILED_BYTES_MAX: u64 = 1 << 30;

/// Modules that are looked at at a time before they are compiled.
///
/// It takes a thread some milliseconds for each megabyte.
pub const PRECHECKS_MAX: usize = 2;
