#include "common/thread_pool.h"

#include "common/status.h"
#include "common/threads.h"

#include <stdatomic.h>
#include <stdlib.h>

/* A loop is announced by a new generation. Workers first spin on it, because a model calls one GEMM after another and
 * waking a sleeping thread costs about 50 us, then sleep. Indices are handed out one by one from a shared counter:
 * pieces are coarse (microseconds), so balance matters more than the counter's traffic. */
struct krn_thread_pool {
    krn_mutex mutex;
    krn_condition wake;
    krn_thread *threads;
    int32_t num_workers;
    atomic_uint generation;
    atomic_int stop;
    atomic_int_least64_t next;
    atomic_int_least32_t busy_workers;
    int64_t count;
    krn_task task;
    void *task_context;
};

/* About 20 us of spinning on a 4 GHz core: longer than the gap between two GEMMs, shorter than a scheduler tick. */
enum { SPIN_TURNS = 2000 };

static void work(krn_thread_pool *pool) {
    for (;;) {
        const int64_t index = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (index >= pool->count)
            return;
        pool->task(pool->task_context, index);
    }
}

static unsigned wait_for_generation(krn_thread_pool *pool, unsigned seen) {
    for (int turn = 0; turn < SPIN_TURNS; turn++) {
        const unsigned now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (now != seen)
            return now;
        KRN_SPIN_PAUSE();
    }
    krn_mutex_lock(&pool->mutex);
    unsigned now;
    while ((now = atomic_load_explicit(&pool->generation, memory_order_acquire)) == seen)
        krn_condition_wait(&pool->wake, &pool->mutex);
    krn_mutex_unlock(&pool->mutex);
    return now;
}

KRN_THREAD_MAIN(worker_main) {
    krn_thread_pool *pool = argument;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_generation(pool, seen);
        if (atomic_load_explicit(&pool->stop, memory_order_acquire))
            return 0;
        work(pool);
        atomic_fetch_sub_explicit(&pool->busy_workers, 1, memory_order_release);
    }
}

static void announce(krn_thread_pool *pool) {
    krn_mutex_lock(&pool->mutex);
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
    krn_condition_wake_all(&pool->wake);
    krn_mutex_unlock(&pool->mutex);
}

krn_status krn_thread_pool_create(int32_t num_threads, krn_thread_pool **out) {
    krn_thread_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate a thread pool");
    pool->threads = calloc((size_t)num_threads, sizeof *pool->threads);
    if (pool->threads == NULL) {
        free(pool);
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "could not allocate %d thread handles", num_threads);
    }
    krn_mutex_init(&pool->mutex);
    krn_condition_init(&pool->wake);
    for (int32_t i = 1; i < num_threads; i++) {
        if (!krn_thread_start(&pool->threads[pool->num_workers], worker_main, pool)) {
            krn_thread_pool_destroy(pool);
            return krn_fail(KRN_ERROR_THREAD, "could not start thread %d of %d", i + 1, num_threads);
        }
        pool->num_workers++;
    }
    *out = pool;
    return KRN_OK;
}

void krn_thread_pool_destroy(krn_thread_pool *pool) {
    if (pool == NULL)
        return;
    atomic_store_explicit(&pool->stop, 1, memory_order_release);
    announce(pool);
    for (int32_t i = 0; i < pool->num_workers; i++)
        krn_thread_join(pool->threads[i]);
    krn_condition_destroy(&pool->wake);
    krn_mutex_destroy(&pool->mutex);
    free(pool->threads);
    free(pool);
}

void krn_thread_pool_run(krn_thread_pool *pool, int64_t count, krn_task task, void *task_context) {
    pool->count = count;
    pool->task = task;
    pool->task_context = task_context;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->busy_workers, pool->num_workers, memory_order_relaxed);
    announce(pool);
    work(pool);
    /* Every worker must have left the loop before its fields may change again. After a short spin the wait yields,
     * so that on a machine with fewer free processors than threads the workers get to run. */
    for (int turn = 0; atomic_load_explicit(&pool->busy_workers, memory_order_acquire) != 0; turn++) {
        if (turn < SPIN_TURNS)
            KRN_SPIN_PAUSE();
        else
            krn_thread_yield();
    }
}
