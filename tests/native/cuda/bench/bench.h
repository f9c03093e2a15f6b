/* The benchmarks of kernels_cuda: a program of C over the driver alone, for machines with a GPU and no .NET. */
#ifndef KRN_CUDA_BENCH_H
#define KRN_CUDA_BENCH_H

#include "kernels/kernels_cuda.h"

#include <stdint.h>

/* --- The device --------------------------------------------------------------------------------------------------- */

typedef struct bench_device {
    krn_cuda_context *context;
    krn_cuda_properties properties;
    void *stream;
    void *flush; /* memory that is written to empty the second-level cache */
    int64_t flush_bytes;
    int32_t *flags; /* device memory: what kernels found in their inputs (krn_cuda_flag), which is to stay 0 */
    int32_t is_emulated;
} bench_device;

/* What NVML tells while work runs; -1 where there is no NVML. */
typedef struct bench_clocks {
    int32_t sm_mhz, memory_mhz, temperature;
    double watts;
} bench_clocks;

/* Ends the process that measures with a message: the case is reported as failed, and another process runs the next. */
void bench_fail(const char *format, ...);
/* The same when a call failed. */
void bench_check(krn_status status, const char *what);

/* `emulator`: path of kernels_cuda_emulator, or NULL for the driver. */
void bench_open_device(bench_device *device, int32_t ordinal, const char *emulator);
void bench_close_device(bench_device *device);
bench_clocks bench_read_clocks(void);
/* Version of the installed driver, such as "550.54.15"; empty without NVML. */
const char *bench_driver_version(void);

/* Device memory with random bits, which are also fair weights and codes. */
void *bench_random_memory(bench_device *device, int64_t bytes, uint64_t seed);
/* Device memory with roughly normal values of KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16. */
void *bench_activations(bench_device *device, int32_t type, int64_t count, uint64_t seed);
/* Device memory with a copy of host memory. */
void *bench_copy(bench_device *device, const void *host, int64_t bytes);
void bench_free(bench_device *device, void *memory);

/* Host memory of zeros; ends the process when there is none. */
void *bench_allocate(int64_t bytes);

/* --- Timing ------------------------------------------------------------------------------------------------------- */

/* One call of what is measured. `rotation` counts up: calls in a row use other inputs, so that none is in a cache. */
typedef krn_status (*bench_call)(void *state, int32_t rotation, void *stream);

typedef struct bench_time {
    double median_us, min_us, p95_us;
    int32_t samples, calls_per_sample;
    bench_clocks clocks;
} bench_time;

/* Records `rotations` calls as a CUDA graph and times launches of it by events, the second-level cache flushed before
 * each; a sample is the time of a launch over its calls. On the emulator calls are executed, and times are 0. */
bench_time bench_measure(bench_device *device, bench_call call, void *state, int32_t rotations);

/* How many copies of operands of `bytes` bytes keep every call from finding its own in the second-level cache. */
int32_t bench_rotations(const bench_device *device, int64_t bytes);

/* --- Peers -------------------------------------------------------------------------------------------------------- */

enum { BENCH_PEER_BF16, BENCH_PEER_F16, BENCH_PEER_INT8, BENCH_PEERS };

/* Time of cuBLASLt's Y[m,n] = X[m,k] . W[n,k]^T by its first heuristic, cold; negative when there is no cuBLASLt, or it
 * has no algorithm. Kept, so that cases of one shape share it. */
double bench_peer_us(bench_device *device, int32_t peer, int64_t m, int64_t n, int64_t k);
/* Version of cuBLASLt; 0 where it is not. */
int64_t bench_cublaslt_version(void);

/* --- Cases -------------------------------------------------------------------------------------------------------- */

/* What a bar holds a case against. */
enum bench_bar_kind {
    BENCH_NO_BAR,
    BENCH_OF_TRIAD,  /* bytes over time over the triad's bandwidth, at least */
    BENCH_OF_READ,   /* the same over the read loop's */
    BENCH_OVER_COPY, /* time over that which the copy loop takes for as many bytes, at most */
    BENCH_TOPS,      /* 10^12 operations a second, at least */
    BENCH_OVER_BF16, /* cuBLASLt's time in bf16 over the case's, at least */
    BENCH_OVER_INT8, /* the same in int8 */
    BENCH_OVER_CASE, /* time of the case `other` over this one's, at least */
};

enum { BENCH_MAX_BARS = 4, BENCH_ID_BYTES = 96 };

typedef struct bench_bar {
    int32_t kind; /* a bench_bar_kind */
    double value;
    char other[BENCH_ID_BYTES]; /* id of a case listed before this one, without device and class */
} bench_bar;

typedef struct bench_case {
    char id[BENCH_ID_BYTES]; /* op/scheme/shape; device and class are appended */
    double operations;       /* of one call; 0 where they are not counted */
    double bytes;            /* that one call must move: operands once, results once */
    int64_t m, n, k;         /* shape; with has_peer also the product that peers compute */
    int64_t heads;           /* of keys and values */
    int32_t scheme;          /* what the op makes of it */
    int32_t has_peer;
    bench_bar bars[BENCH_MAX_BARS];
} bench_case;

/* Adds a bar to a case. */
void bench_add_bar(bench_case *the_case, int32_t kind, double value);
/* Adds BENCH_OVER_CASE: another case, of the given id. */
void bench_add_bar_over(bench_case *the_case, double value, const char *format, ...);

/* Bits of an element of a krn_type. */
int64_t bench_bits(int32_t type);

/* An op: bench_<op>.c defines one, and bench_cuda.c lists it. */
typedef struct bench_op {
    /* Writes the cases, at most `most`, and returns how many there are. */
    int32_t (*cases)(bench_case *cases, int32_t most);
    /* Makes a case as small as it can be while the same kernels run: for the emulator. */
    void (*shrink)(bench_case *the_case);
    /* Makes operands for `rotations` calls in a row; NULL when the context has no kernel for the case. */
    void *(*open)(bench_device *device, const bench_case *the_case, int32_t rotations);
    bench_call call;
    void (*close)(bench_device *device, void *state);
} bench_op;

/* --- Results ------------------------------------------------------------------------------------------------------ */

typedef struct bench_result {
    bench_case the_case;
    bench_time time;
    double peer_us[BENCH_PEERS]; /* negative for none */
    double measured[BENCH_MAX_BARS];
    int32_t met[BENCH_MAX_BARS];
} bench_result;

typedef struct bench_failure {
    char id[BENCH_ID_BYTES];
    char reason[256];
} bench_failure;

/* What a results file says of the device and of what ran on it. */
typedef struct bench_header {
    krn_cuda_properties properties;
    char device[128], driver[96], class_name[16];
    int64_t cublaslt;
} bench_header;

enum { BENCH_MAX_CASES = 512 };

typedef struct bench_report {
    bench_header header;
    bench_result results[BENCH_MAX_CASES];
    bench_failure failures[BENCH_MAX_CASES];
    int32_t result_count, failure_count, not_run;
} bench_report;

/* Adds a result and holds it against its bars. */
void bench_report_add(bench_report *report, const bench_result *result);
void bench_report_print(const bench_result *result);
/* Writes the file anew, whole or not at all. Returns whether it could. */
int bench_report_write(const bench_report *report, const char *path);

#endif
