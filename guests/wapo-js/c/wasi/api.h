/* QuickJS-NG switches its guard of the stack off where __wasi__ is defined,
 * although the guard works there. So the engine is compiled without the macro
 * (-U__wasi__), and this file, which is found before the C library's of the
 * same name, defines it around the one header that insists on it. */
#ifndef __wasi__
#define __wasi__ 1
#include_next <wasi/api.h>
#undef __wasi__
#else
#include_next <wasi/api.h>
#endif
