/* What the door of the GEMM and its kernels agree on: parameters, shapes of tiles and how shared memory is cut. Plain C
 * and C++. Strides count elements. */
#ifndef KRN_CUDA_GEMM_PARAMS_H
#define KRN_CUDA_GEMM_PARAMS_H

#include "cuda/common/tensor_map.h"

#include <stdint.h>

#if defined(__cplusplus)
#define KRN_SHAPE static constexpr inline
#else
#define KRN_SHAPE static inline
#endif

/* Weights as weights_layout.h has them, activations in the packed order of the inputs: s8, or in the float cells
 * elements of 16 bits, for which x_ld counts bytes. */
typedef struct krn_cuda_gemm_params {
    const uint8_t *codes;
    const void *scales;
    const uint8_t *zeros;     /* or NULL */
    const float *offsets;     /* or NULL */
    const int32_t *code_sums; /* with x_zeros */
    const int8_t *x;          /* rows at multiples of 16 bytes */
    const float *x_scales;
    const int32_t *x_zeros; /* what is still to be subtracted from x, or NULL */
    const float *x_sums;    /* with offsets: [groups][m], the sums of x less its zero point, rounded once */
    const float *bias;      /* or NULL */
    const void *residual;   /* or NULL */
    void *y;
    /* The side term of gemm.h: rows [m][side_ld] of the outlier columns of x, then of its projections by an adapter,
     * and weights of both, [num_outliers][padded_n] and [num_ranks][padded_n]. Or, of columns that were searched for,
     * how many there are, which, and the places where they stand (NULL: as they are numbered): their weights are what the
     * codes say. */
    const float *side_x;
    const float *outlier_weights, *adapter;
    const int32_t *outlier_count, *outlier_columns, *places;
    int64_t side_ld;
    const float *codebook; /* of KRN_TYPE_C4 */
    int64_t x_ld, y_ld, residual_ld;
    int32_t m, n;
    int32_t x_bytes;  /* what a row of x has; behind it, zeros count */
    int32_t padded_n; /* a multiple of 64 */
    int32_t tiles_k;  /* tiles of 128 inputs */
    int32_t num_steps, group_steps, num_groups;
    int32_t num_outliers; /* or the most that there can be */
    int32_t num_ranks;
    int32_t code_format, scale_type, y_type;
    int32_t vector_y, vector_residual; /* 1: four channels can be moved at once */
    /* 1: groups are so short that a sum of one, added to the bits of a float, makes a float (promote.h). */
    int32_t short_groups;
    /* Decode: groups are cut into pieces whose sums fit 32 bits, nearly always one. A block sums the pieces of
     * chunk_slices slices of 128 inputs, in a ring of ring_pieces, a power of two, before they enter the result.
     * 1 in pieces_are_whole: no piece crosses a slice. */
    int32_t piece_steps, group_pieces, chunk_slices, ring_pieces, pieces_are_whole;
    /* Whole groups in the steps that the warps take in one turn, and the steps that are left. */
    int32_t turn_groups, turn_steps;
    /* Decode of float cells: a piece is a block of up to 128 inputs that enters the result by one fma (gemm.h). A group
     * has group_pieces of them, all of K num_pieces; a block sums chunk_pieces before they do. */
    int32_t num_pieces, chunk_pieces;
    /* Decode with K split between blocks: how many slices, or pieces of the float cells, a block has, and where it
     * leaves its sums of groups (int32_t) or pieces (float) (decode_split.h). */
    int32_t split_length;
    void *partials;
} krn_cuda_gemm_params;

/* The most steps of 32 inputs whose sum of products of signed bytes stays below 2^31. */
enum { KRN_CUDA_MAX_PIECE_STEPS = 4095 };
/* The most inputs of a group for short_groups: 256 * 128 * 128 = 2^22. */
enum { KRN_CUDA_SHORT_GROUP = 256 };
/* With u8 activations sums are corrected by a zero point of up to 128 in magnitude, so less fits. */
enum { KRN_CUDA_SHORT_GROUP_U8 = 128, KRN_CUDA_MAX_SUMMED_GROUP = 65536 };

/* Decode: a block of 8 warps has 16 or 32 channels and 8 or 16 tokens. The warps take slices of 128 inputs in turn,
 * each through a ring of stages of its own: codes, x, the scales of up to 4 groups that end in the slice, and the zero
 * points of its 4 steps. Behind the rings: the sums of pieces [ring][tokens][channels + 4] and their scales
 * [ring][channels]. */
enum { KRN_CUDA_DECODE_WARPS = 8, KRN_CUDA_SLICE_K = 128, KRN_CUDA_SLICE_STEPS = 4 };

KRN_SHAPE int32_t krn_cuda_decode_stage_bytes(int32_t code_bits, int32_t channels, int32_t tokens) {
    return channels * 16 * code_bits + tokens * 128 + KRN_CUDA_SLICE_STEPS * channels * (code_bits == 8 ? 4 : 5);
}

/* Rings of blocks that have a multiprocessor to themselves are deep: as many stages as fit 156 KiB, at most 6. */
enum { KRN_CUDA_DEEP_RINGS = 156 * 1024, KRN_CUDA_DEEP_STAGES = 6 };

KRN_SHAPE int32_t krn_cuda_deep_stages(int32_t stage_bytes) {
    return KRN_CUDA_DEEP_RINGS / (KRN_CUDA_DECODE_WARPS * stage_bytes) < KRN_CUDA_DEEP_STAGES
               ? KRN_CUDA_DEEP_RINGS / (KRN_CUDA_DECODE_WARPS * stage_bytes)
               : KRN_CUDA_DEEP_STAGES;
}

/* A ring of large stages has two: then there is as much on its way, and it fits the devices with the least memory. */
KRN_SHAPE int32_t krn_cuda_decode_stages(int32_t code_bits, int32_t channels, int32_t tokens, int32_t deep) {
    return deep ? krn_cuda_deep_stages(krn_cuda_decode_stage_bytes(code_bits, channels, tokens))
           : krn_cuda_decode_stage_bytes(code_bits, channels, tokens) > 4000 ? 2
                                                                             : 3;
}

KRN_SHAPE int32_t krn_cuda_decode_piece_bytes(int32_t channels, int32_t tokens) {
    return (tokens * (channels + 4) + channels) * 4;
}

KRN_SHAPE int32_t krn_cuda_decode_shared_bytes(int32_t code_bits, int32_t channels, int32_t tokens, int32_t deep,
                                               int32_t ring_pieces) {
    return KRN_CUDA_DECODE_WARPS * krn_cuda_decode_stages(code_bits, channels, tokens, deep) *
               krn_cuda_decode_stage_bytes(code_bits, channels, tokens) +
           ring_pieces * krn_cuda_decode_piece_bytes(channels, tokens);
}

/* Of blocks that have a part of K, a kernel merges the sums of 16 channels and 8 tokens, so many groups or pieces at
 * once. */
enum { KRN_CUDA_MERGE_CHANNELS = 16, KRN_CUDA_MERGE_TOKENS = 8, KRN_CUDA_MERGE_SUMS = 64 };

KRN_SHAPE int32_t krn_cuda_merge_shared_bytes(void) {
    return KRN_CUDA_MERGE_SUMS * KRN_CUDA_MERGE_CHANNELS * (KRN_CUDA_MERGE_TOKENS + 1) * 4;
}

/* Prefill: stages of 64 inputs of all channels and tokens of a block; with groups, also the scales of up to 2 groups
 * that end in the stage, and with 4 bits the zero points of its 2 steps. The epilogue takes turns of 8 tokens of a
 * warp. */
enum { KRN_CUDA_PREFILL_K = 64, KRN_CUDA_PREFILL_STEPS = 2 };

KRN_SHAPE int32_t krn_cuda_prefill_stages(int32_t grouped) { return grouped ? 4 : 3; }

KRN_SHAPE int32_t krn_cuda_prefill_stage_bytes(int32_t code_bits, int32_t grouped, int32_t channels, int32_t tokens) {
    return channels * 8 * code_bits + tokens * KRN_CUDA_PREFILL_K + (grouped ? channels * 8 : 0) +
           (code_bits == 4 ? channels * 2 : 0);
}

KRN_SHAPE int32_t krn_cuda_prefill_shared_bytes(int32_t code_bits, int32_t grouped, int32_t channels, int32_t tokens) {
    return krn_cuda_prefill_stages(grouped) * krn_cuda_prefill_stage_bytes(code_bits, grouped, channels, tokens);
}

/* Float cells, activations of 16 bits. Decode: as above, but a stage is a piece, and has the scales and zero points of
 * one group; behind the rings, sums and scales of the pieces of a chunk. Prefill: stages of 64 inputs; at its 2 steps
 * the scales of pieces that end there, and the zero points. */
enum { KRN_CUDA_FLOAT_PIECE_STEPS = 4 };

KRN_SHAPE int32_t krn_cuda_float_decode_stage_bytes(int32_t code_bits, int32_t channels, int32_t tokens) {
    return channels * 16 * code_bits + tokens * 256 + channels * (code_bits == 8 ? 4 : 5);
}

KRN_SHAPE int32_t krn_cuda_float_decode_stages(int32_t code_bits, int32_t channels, int32_t tokens, int32_t deep) {
    return deep ? krn_cuda_deep_stages(krn_cuda_float_decode_stage_bytes(code_bits, channels, tokens))
           : krn_cuda_float_decode_stage_bytes(code_bits, channels, tokens) > 4000 ? 2
                                                                                   : 3;
}

KRN_SHAPE int32_t krn_cuda_float_decode_shared_bytes(int32_t code_bits, int32_t channels, int32_t tokens, int32_t deep,
                                                     int32_t chunk_pieces) {
    return KRN_CUDA_DECODE_WARPS * krn_cuda_float_decode_stages(code_bits, channels, tokens, deep) *
               krn_cuda_float_decode_stage_bytes(code_bits, channels, tokens) +
           chunk_pieces * krn_cuda_decode_piece_bytes(channels, tokens);
}

/* Four stages of 8-bit codes would not fit the devices with the least memory. */
KRN_SHAPE int32_t krn_cuda_float_prefill_stages(int32_t code_bits) { return code_bits == 8 ? 3 : 4; }

KRN_SHAPE int32_t krn_cuda_float_prefill_stage_bytes(int32_t code_bits, int32_t channels, int32_t tokens) {
    return channels * 8 * code_bits + tokens * 128 + channels * (code_bits == 8 ? 8 : 10);
}

KRN_SHAPE int32_t krn_cuda_float_prefill_shared_bytes(int32_t code_bits, int32_t channels, int32_t tokens) {
    return krn_cuda_float_prefill_stages(code_bits) * krn_cuda_float_prefill_stage_bytes(code_bits, channels, tokens);
}

/* Prefill of KRN_CUDA_CLASS_SM90A: x comes by a tensor map of bytes, whose box has 128 of each token of a block,
 * swizzled by 128 bytes. */
typedef struct krn_cuda_gemm_tma_params {
    krn_cuda_tensor_map x_map;
    krn_cuda_gemm_params gemm;
} krn_cuda_gemm_tma_params;

/* A ring of stages of 128 inputs, as many as fit 200 KiB, and their mbarriers. `x_bytes` are those of an activation. */
enum {
    KRN_CUDA_TMA_K = 128,
    KRN_CUDA_TMA_BOX_BYTES = 128,
    KRN_CUDA_TMA_CHANNELS = 128,
    KRN_CUDA_TMA_THREADS = 384,
    KRN_CUDA_TMA_RING = 200 * 1024
};

KRN_SHAPE int32_t krn_cuda_tma_stage_bytes(int32_t code_bits, int32_t x_bytes, int32_t tokens) {
    return KRN_CUDA_TMA_CHANNELS * KRN_CUDA_TMA_K * code_bits / 8 + tokens * KRN_CUDA_TMA_K * x_bytes;
}

KRN_SHAPE int32_t krn_cuda_tma_stages(int32_t code_bits, int32_t x_bytes, int32_t tokens) {
    return KRN_CUDA_TMA_RING / krn_cuda_tma_stage_bytes(code_bits, x_bytes, tokens);
}

KRN_SHAPE int32_t krn_cuda_tma_shared_bytes(int32_t code_bits, int32_t x_bytes, int32_t tokens) {
    return krn_cuda_tma_stages(code_bits, x_bytes, tokens) *
           (krn_cuda_tma_stage_bytes(code_bits, x_bytes, tokens) + 16);
}

/* Results are turned in the last stages of a tile: in each, a half for 64 channels, in pieces of 8 tokens and 4 floats
 * more than the channels. */
enum { KRN_CUDA_TMA_TURN_BYTES = 8 * (64 + 4) * 4 };

KRN_SHAPE int32_t krn_cuda_tma_stage_turns(int32_t code_bits, int32_t x_bytes, int32_t tokens) {
    return krn_cuda_tma_stage_bytes(code_bits, x_bytes, tokens) / 2 / KRN_CUDA_TMA_TURN_BYTES;
}

/* How many stages that takes. Fewer than a ring has: the next tile is under way meanwhile. */
KRN_SHAPE int32_t krn_cuda_tma_turn_stages(int32_t code_bits, int32_t x_bytes, int32_t tokens) {
    return (tokens / 8 + krn_cuda_tma_stage_turns(code_bits, x_bytes, tokens) - 1) /
           krn_cuda_tma_stage_turns(code_bits, x_bytes, tokens);
}

/* Activations brought into the packed order as s8, and their sums over groups. One block for a row. */
typedef struct krn_cuda_prepare_params {
    const void *x;
    const int32_t *order; /* the input at each place, or NULL for the tensor's order */
    const int32_t *zeros; /* zero points of u8 [m], or NULL */
    void *to;             /* [m][padded_k], s8 or 16 bits; or NULL when only sums are wanted */
    float *sums;          /* [groups][m], or NULL */
    int32_t *to_zeros;    /* [m], with u8: zero points less 128 */
    int64_t ld_bytes;
    int32_t m, k, padded_k, num_groups, group_steps;
    int32_t type;
} krn_cuda_prepare_params;

enum { KRN_CUDA_PREPARE_THREADS = 256 };

/* Rows of float activations whose outlier columns leave for binary32, before the rest is quantized. One block for a
 * row. */
typedef struct krn_cuda_split_params {
    const void *x;
    void *rest;             /* [m][rest_ld] of the same type, 0 in the outlier columns */
    float *outliers;        /* [m][outliers_ld] */
    const int32_t *columns; /* [num_outliers] */
    const int32_t *count;   /* how many of them there are, or NULL: all */
    int32_t *device_flags;  /* krn_cuda_flag, or NULL */
    int64_t ld, rest_ld, outliers_ld;
    int32_t k, num_outliers;
    int32_t type;
} krn_cuda_split_params;

/* Projections of X by the A of an adapter: krn_gemm_project_row and _rows, a block for a row, or KRN_CUDA_PROJECT_ROWS
 * of them, and KRN_CUDA_PROJECT_RANKS ranks, half a warp each. */
typedef struct krn_cuda_project_params {
    const void *x, *a;
    float *to; /* [m][to_ld] */
    int64_t x_ld, a_ld, to_ld;
    int32_t m, k, rank;
    int32_t x_type, a_type;
    float scale;
} krn_cuda_project_params;

enum {
    KRN_CUDA_PROJECT_LANES = 16, /* of gemm.h */
    KRN_CUDA_PROJECT_RANKS = KRN_CUDA_PREPARE_THREADS / KRN_CUDA_PROJECT_LANES,
    KRN_CUDA_PROJECT_ROWS = 4,
    KRN_CUDA_PROJECT_FEW_ROWS = 64,
};

/* B of an adapter, turned so that lanes read along channels: krn_gemm_turn_adapter, a thread for a channel and
 * KRN_CUDA_PROJECT_RANKS ranks. */
typedef struct krn_cuda_turn_params {
    const void *b;
    float *to; /* [rank][to_ld] */
    int64_t b_ld, to_ld;
    int32_t n, rank;
    int32_t type;
} krn_cuda_turn_params;

/* Columns of X that hold a value above a threshold: krn_gemm_find_outliers_*, one block for a row, marks them in
 * `found`, which was all zeros; krn_gemm_list_outliers, one block, lists them in ascending order. */
typedef struct krn_cuda_find_params {
    const void *x;
    uint8_t *found;   /* [k] */
    int32_t *columns; /* [k] */
    int32_t *count;
    int64_t ld;
    int32_t k;
    int32_t type;
    float threshold;
} krn_cuda_find_params;

#endif
