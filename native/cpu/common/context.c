/* sched_getaffinity is a GNU extension of the C library. */
#if defined(__linux__)
#define _GNU_SOURCE
#endif
#include "common/context.h"

#include "common/cpu_features.h"
#include "common/status.h"

#include <stdlib.h>
#if defined(__linux__)
#include <sched.h>
#elif !defined(_WIN32)
#include <unistd.h>
#else
#include <windows.h>
#endif

enum { MAX_THREADS = 1024 };

static int32_t usable_processors(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    return 1;
#elif !defined(_WIN32)
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int32_t)count : 1;
#else
    return (int32_t)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
#endif
}

static krn_status check_options(const krn_context_options *options) {
    if (options->struct_size != sizeof(krn_context_options))
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof(krn_context_options));
    if (krn_isa_name(options->isa) == NULL)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->isa is %d, which is not a krn_isa", options->isa);
    if (options->num_threads < 0 || options->num_threads > MAX_THREADS)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->num_threads is %d, not in 0..%d", options->num_threads,
                        MAX_THREADS);
    if (options->reserved != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->reserved is %d, must be 0", options->reserved);
    if ((krn_isa_features(options->isa) & ~krn_cpu_features()) != 0)
        return krn_fail(KRN_ERROR_ISA_UNAVAILABLE, "options->isa is %s, but the best that this machine supports is %s",
                        krn_isa_name(options->isa), krn_isa_name(krn_isa_best()));
    return KRN_OK;
}

krn_status krn_context_create(const krn_context_options *options, krn_context **out) {
    const krn_context_options defaults = {.struct_size = sizeof defaults, .isa = KRN_ISA_AUTO};
    if (out == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "context is NULL");
    if (options == NULL)
        options = &defaults;
    krn_status status = check_options(options);
    if (status != KRN_OK)
        return status;

    krn_context *context = calloc(1, sizeof *context);
    if (context == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate a context");
    context->isa = options->isa == KRN_ISA_AUTO ? krn_isa_best() : options->isa;
    context->follows_streams = krn_cpu_follows_streams();
    context->has_small_l1 = krn_cpu_has_small_l1();
    context->features = krn_isa_features(context->isa) | (krn_isa_optional_features(context->isa) & krn_cpu_features());
    context->num_threads = options->num_threads;
    if (context->num_threads == 0) {
        const int32_t processors = usable_processors();
        context->num_threads = processors < MAX_THREADS ? processors : MAX_THREADS;
    }
    context->parallel_for = options->parallel_for;
    context->host = options->host;
    if (context->parallel_for == NULL && context->num_threads > 1) {
        status = krn_thread_pool_create(context->num_threads, &context->pool);
        if (status != KRN_OK) {
            free(context);
            return status;
        }
    }
    *out = context;
    return KRN_OK;
}

void krn_context_destroy(krn_context *context) {
    if (context == NULL)
        return;
    krn_thread_pool_destroy(context->pool);
    free(context);
}

int32_t krn_context_isa(const krn_context *context) { return context == NULL ? KRN_ISA_REF : context->isa; }

int32_t krn_context_num_threads(const krn_context *context) { return context == NULL ? 1 : context->num_threads; }

void krn_context_run(krn_context *context, int64_t count, krn_task task, void *task_context) {
    if (count > 1 && context->parallel_for != NULL) {
        context->parallel_for(context->host, count, task, task_context);
    } else if (count > 1 && context->pool != NULL) {
        krn_thread_pool_run(context->pool, count, task, task_context);
    } else {
        for (int64_t i = 0; i < count; i++)
            task(task_context, i);
    }
}
