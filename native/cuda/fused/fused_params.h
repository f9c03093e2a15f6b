/* What the door of fused/ hands to its kernels. */
#ifndef KRN_CUDA_FUSED_PARAMS_H
#define KRN_CUDA_FUSED_PARAMS_H

#include "cuda/hadamard/rotation_params.h"
#include "cuda/quantize/quantize_params.h"

/* A matrix by its first byte and the distance between rows; NULL where there is none. */
typedef struct krn_cuda_matrix {
    void *data;
    int64_t ld_bytes;
} krn_cuda_matrix;

enum krn_cuda_step { KRN_CUDA_STEP_NORM, KRN_CUDA_STEP_MULTIPLY, KRN_CUDA_STEP_GATE };

enum krn_cuda_gate { KRN_CUDA_GATE_SILU, KRN_CUDA_GATE_GELU, KRN_CUDA_GATE_GELU_TANH };

/* krn_cuda_norm_*, krn_cuda_multiply_*, krn_cuda_gate_*: a team for each row. Without codes, to the target. */
typedef struct krn_cuda_fused_params {
    krn_cuda_row_plan plan;
    krn_cuda_matrix source, second, sum, target;
    const void *weight, *bias;
    float eps;
    int32_t op, is_layernorm, gate, is_interleaved;
    int32_t vector_type, target_type;
    /* Whether rows of the input, and those of the target, lie at multiples of 16 bytes. */
    int32_t is_aligned, is_target_aligned;
    /* Whether a row waits in shared memory: the input of a norm, the result of a gate. */
    int32_t is_staged;
    int32_t has_codes;
    krn_cuda_codes codes;
} krn_cuda_fused_params;

/* krn_cuda_rotate_*: a block for each row. */
typedef struct krn_cuda_rotated_params {
    krn_cuda_fused_params step;
    krn_cuda_rotation rotation;
} krn_cuda_rotated_params;

#endif
