/* What the benchmarks use of the driver beside kernels_cuda. */
#ifndef KRN_CUDA_BENCH_DRIVER_H
#define KRN_CUDA_BENCH_DRIVER_H

#include <stdint.h>

typedef struct bench_driver {
    int32_t (*device_get)(int32_t *device, int32_t ordinal);
    int32_t (*context_retain)(void **context, int32_t device);
    int32_t (*context_set)(void *context);
    int32_t (*event_create)(void **event, uint32_t flags);
    int32_t (*event_record)(void *event, void *stream);
    int32_t (*event_synchronize)(void *event);
    int32_t (*event_elapsed)(float *milliseconds, void *start, void *end);
    int32_t (*event_destroy)(void *event);
    int32_t (*capture_begin)(void *stream, int32_t mode);
    int32_t (*capture_end)(void *stream, void **graph);
    int32_t (*graph_instantiate)(void **executable, void *graph, uint64_t flags);
    int32_t (*graph_launch)(void *executable, void *stream);
    int32_t (*graph_exec_destroy)(void *executable);
    int32_t (*graph_destroy)(void *graph);
} bench_driver;

extern bench_driver driver;

/* Ends the program with a message when a call of the driver failed. */
void bench_check_driver(int32_t result, const char *what);

/* Sets a pointer to a function to the symbol of a library; ends the program when it is needed and not there. Returns
 * whether it is. */
int bench_find(void *library, const char *name, int needed, void *function);

#endif
