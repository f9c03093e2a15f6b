/* Which kernel runs a product, and how it is cut into blocks. Plain C: tested without a device. */
#ifndef KRN_CUDA_GEMM_HEURISTICS_H
#define KRN_CUDA_GEMM_HEURISTICS_H

#include "cuda/gemm/gemm_params.h"
#include "cuda/gemm/weights_layout.h"
#include "kernels/cuda.h"

typedef struct krn_cuda_gemm_plan {
    char kernel[64];
    uint32_t blocks[3];
    uint32_t threads, shared_bytes;
    int32_t is_decode, channels, tokens; /* of a block */
    int32_t deep;                        /* decode with deep rings */
    int32_t uses_tma;                    /* the kernel takes krn_cuda_gemm_tma_params */
    int64_t tiles;                       /* with TMA, those over which the blocks walk */
    /* As in krn_cuda_gemm_params. */
    int32_t short_groups, piece_steps, group_pieces, chunk_slices, ring_pieces, pieces_are_whole;
    int32_t num_pieces, chunk_pieces, split_length;
    /* Blocks that have a part of K each; then blocks[2] says how many parts there are, and a kernel merges them. */
    int32_t is_split;
} krn_cuda_gemm_plan;

/* Plans m >= 1 rows of activations of a type (KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U8, KRN_TYPE_F16 or KRN_TYPE_BF16) and
 * weights with n >= 1, for a krn_cuda_class. */
void krn_cuda_gemm_make_plan(const krn_cuda_weights_layout *layout, int32_t activation_type, int64_t m,
                             const krn_cuda_properties *device, int32_t architecture, krn_cuda_gemm_plan *plan);

/* What the sums of blocks that have a part of K take in the workspace, for any number of rows up to m. */
int64_t krn_cuda_gemm_partial_bytes(const krn_cuda_weights_layout *layout, int32_t activation_type, int64_t m,
                                    const krn_cuda_properties *device);

#endif
