/* Included before every source of QuickJS-NG: its guard of the stack asks the
 * program how deep it is (src/engine/stack.rs), because wasm code has two
 * stacks, and the engine sees only the one in linear memory. */
#ifndef WAPO_STACK_H
#define WAPO_STACK_H
#include <stdint.h>
uintptr_t wapo_js_stack_pointer(void *frame);
/* The name inside is the compiler's: a macro does not expand in itself. */
#define __builtin_frame_address(level) wapo_js_stack_pointer(__builtin_frame_address(level))
#endif
