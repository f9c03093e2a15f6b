/* How rows are given to threads: a team of threads takes one. Plain C, for doors; kernels have row_team.cuh. */
#ifndef KRN_CUDA_ROW_PLAN_H
#define KRN_CUDA_ROW_PLAN_H

#include <stdint.h>

enum {
    KRN_CUDA_ROW_MAX_THREADS = 512,
    /* Teams of one warp, where rows are short, are so many to a block. */
    KRN_CUDA_ROW_WARPS = 4,
    /* What a block has before its rows in shared memory: what warps tell each other. */
    KRN_CUDA_ROW_SCRATCH_BYTES = 1024,
};

typedef struct krn_cuda_row_plan {
    int64_t rows;
    int32_t cols;
    /* 32, or all threads of the block. */
    int32_t team_threads;
    int32_t teams;
    /* Shared memory of one team, a multiple of 16. */
    int32_t team_bytes;
} krn_cuda_row_plan;

/* Up to 1024 elements a warp does alone, with shuffles in place of barriers; beyond, threads have 32 elements each,
 * until there are as many threads as are worth a barrier. */
static inline krn_cuda_row_plan krn_cuda_plan_rows(int64_t rows, int32_t cols, int32_t team_bytes) {
    krn_cuda_row_plan plan = {rows, cols, 32, KRN_CUDA_ROW_WARPS, (team_bytes + 15) / 16 * 16};
    if (cols > 1024) {
        plan.teams = 1;
        plan.team_threads = cols <= 4096 ? 128 : cols <= 8192 ? 256 : KRN_CUDA_ROW_MAX_THREADS;
    }
    return plan;
}

static inline uint32_t krn_cuda_row_blocks(const krn_cuda_row_plan *plan) {
    return (uint32_t)((plan->rows + plan->teams - 1) / plan->teams);
}

static inline uint32_t krn_cuda_row_threads(const krn_cuda_row_plan *plan) {
    return (uint32_t)(plan->team_threads * plan->teams);
}

static inline uint32_t krn_cuda_row_shared_bytes(const krn_cuda_row_plan *plan) {
    return (uint32_t)(KRN_CUDA_ROW_SCRATCH_BYTES + plan->team_bytes * plan->teams);
}

#endif
