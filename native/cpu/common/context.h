/* The inside of a context, for the doors of the ops. */
#ifndef KRN_CONTEXT_INTERNAL_H
#define KRN_CONTEXT_INTERNAL_H

#include "common/thread_pool.h"
#include "kernels/context.h"

struct krn_context {
    int32_t isa;
    int32_t num_threads;
    /* What code of `isa` may use: the key by which variant tables are searched. */
    uint64_t features;
    /* krn_cpu_follows_streams() and krn_cpu_has_small_l1(), which take long to ask. */
    int32_t follows_streams, has_small_l1;
    krn_parallel_for parallel_for;
    void *host;
    krn_thread_pool *pool;
};

/* Calls task(task_context, i) for every i in 0..count-1 on the context's threads. */
void krn_context_run(krn_context *context, int64_t count, krn_task task, void *task_context);

#endif
