/* A fixed set of threads that run one parallel loop at a time. */
#ifndef KRN_THREAD_POOL_H
#define KRN_THREAD_POOL_H

#include "kernels/context.h"

typedef struct krn_thread_pool krn_thread_pool;

/* Starts num_threads - 1 workers; the caller of krn_thread_pool_run is the remaining thread. */
krn_status krn_thread_pool_create(int32_t num_threads, krn_thread_pool **pool);
void krn_thread_pool_destroy(krn_thread_pool *pool);

/* Calls task(task_context, i) once for every i in 0..count-1 and returns when all calls have returned. */
void krn_thread_pool_run(krn_thread_pool *pool, int64_t count, krn_task task, void *task_context);

#endif
