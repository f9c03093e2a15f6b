/* A Hadamard transform as kernels do it: krn_hadamard_plan (hadamard/hadamard_plan.h of kernels_cpu) in passes. */
#ifndef KRN_CUDA_ROTATION_PARAMS_H
#define KRN_CUDA_ROTATION_PARAMS_H

#include <stdint.h>

enum {
    /* What a thread holds in registers during a pass. */
    KRN_CUDA_ROTATION_ELEMS = 32,
    KRN_CUDA_ROTATION_LEVELS = 5,
    /* Shared memory of 32 floats; see transform.cuh. */
    KRN_CUDA_ROTATION_ROW_BYTES = 32 * 4 + 16,
    /* What leaves a thread 80 registers: with 64, as 1024 threads have, 32 elements and their addresses do not fit. */
    KRN_CUDA_ROTATION_MAX_THREADS = 768,
    /* Of four rows of a base, so many does a thread keep. */
    KRN_CUDA_ROTATION_BASE_ITEMS = 10,
    /* Those that matrices and the registers of a thread take of f16 and bf16 (matrix_levels.cuh), and the fewest. */
    KRN_CUDA_ROTATION_MATRIX_LEVELS = 10,
    KRN_CUDA_ROTATION_LEAST_MATRIX_LEVELS = 5,
    /* Two passes of five levels behind the first. */
    KRN_CUDA_ROTATION_MAX_N = 32768,
    KRN_CUDA_ROTATION_MAX_BASES = 3,
    /* Signs of all bases: those of order 172, as many as the parameters of a kernel, 4 KiB, hold. */
    KRN_CUDA_ROTATION_SIGN_WORDS = 1849,
    /* The same up to order 124, for kernels that have other parameters beside a rotation of heads. */
    KRN_CUDA_HEAD_ROTATION_SIGN_WORDS = 961,
};

typedef struct krn_cuda_rotation {
    /* Device memory, n bits each, or NULL. */
    const uint8_t *signs_before, *signs_after;
    float scale;
    int32_t n;
    /* Levels of the first pass, in which a thread has consecutive elements, and of the others, if there are any. */
    int16_t first_levels, pass_levels[2];
    int16_t num_bases;
    /* The order of the only base, when its signs are constants of the kernels (constant_base.cuh); else 0. */
    int16_t constant_order;
    int16_t orders[KRN_CUDA_ROTATION_MAX_BASES];
    /* Of base b, of order m: bit 4 r + e of word first_words[b] + m / 4 * c + q is the sign of (4 c + r, 4 q + e). */
    int16_t first_words[KRN_CUDA_ROTATION_MAX_BASES];
    uint16_t signs[KRN_CUDA_ROTATION_SIGN_WORDS];
} krn_cuda_rotation;

/* The same of heads of attention: fewer bases, without signs before and after. */
typedef struct krn_cuda_head_rotation {
    const uint8_t *signs_before, *signs_after;
    float scale;
    int32_t n;
    int16_t first_levels, pass_levels[2];
    int16_t num_bases;
    int16_t orders[KRN_CUDA_ROTATION_MAX_BASES];
    int16_t first_words[KRN_CUDA_ROTATION_MAX_BASES];
    uint16_t signs[KRN_CUDA_HEAD_ROTATION_SIGN_WORDS];
} krn_cuda_head_rotation;

#endif
