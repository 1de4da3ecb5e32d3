/* Included before every source of QuickJS-NG: a function that waits in a promise
 * or in the queue of jobs is bound to the async context of the caller that left it there
 * (src/engine/context.rs). The engine's own hook of promises does not tell of
 * `await`, so the three places where functions are left are rewritten here. A
 * release of the engine with other places does not compile. */
#ifndef WAPO_CONTEXT_H
#define WAPO_CONTEXT_H

/* Copies `count` values to `bound`, those of the bits of `which` bound to the
 * present context; answers whether the copies have to be given back. */
int wapo_js_bind(void *ctx, const void *values, int count, int which, void *bound);
void wapo_js_unbind(void *ctx, int count, void *bound);

#define WAPO_BOUND(ctx, values, count, which, call) \
    __extension__({ \
        JSValue wapo_bound[3]; \
        int wapo_is_bound = wapo_js_bind(ctx, values, count, which, wapo_bound); \
        int wapo_result = call; \
        if (wapo_is_bound) \
            wapo_js_unbind(ctx, count, wapo_bound); \
        wapo_result; \
    })

/* The first word of the first argument tells a declaration from a call. The name
 * inside is the engine's: a macro does not expand in itself. */
#define perform_promise_then(first, ...) WAPO_THEN_##first, __VA_ARGS__)
#define WAPO_THEN_JSContext perform_promise_then(JSContext
#define WAPO_THEN_ctx WAPO_THEN(ctx
#define WAPO_THEN(ctx, promise, handlers, capability) \
    WAPO_BOUND(ctx, handlers, 2, 3, \
               perform_promise_then(ctx, promise, (JSValueConst *)wapo_bound, capability))

#define JS_EnqueueJob(first, ...) WAPO_JOB_##first, __VA_ARGS__)
#define WAPO_JOB_JSContext JS_EnqueueJob(JSContext
#define WAPO_JOB_fre JS_EnqueueJob(fre
#define WAPO_JOB_ctx WAPO_JOB(ctx
#define WAPO_JOB(ctx, job, count, values) WAPO_JOB_OF_##job(ctx, job, count, values)
/* The function of a reaction was bound when it came to its promise. */
#define WAPO_JOB_OF_promise_reaction_job JS_EnqueueJob
#define WAPO_JOB_OF_js_dynamic_import_job JS_EnqueueJob
/* queueMicrotask: its function. */
#define WAPO_JOB_OF_js_microtask_job(ctx, job, count, values) \
    WAPO_BOUND(ctx, values, count, 1, JS_EnqueueJob(ctx, job, count, (JSValueConst *)wapo_bound))
/* A promise, an object, and the object's `then`. */
#define WAPO_JOB_OF_js_promise_resolve_thenable_job(ctx, job, count, values) \
    WAPO_BOUND(ctx, values, count, 4, JS_EnqueueJob(ctx, job, count, (JSValueConst *)wapo_bound))

#endif
