/* 4-bit weights x bf16 activations, NEON with BF16: fused dequantization to bf16. */
#include "gemm/gemm_variants.h"
#include "gemm/pack_activations.h"
#include "gemm/store_tile.h"
#include "gemm/tile_bf16_neon.h"

void krn_w4a16_neon_bf16_pack_rows(const krn_pack_job *job) { krn_pack_quads_bf16(job); }

void krn_w4a16_neon_bf16_tile(const krn_tile_job *job) {
    if (krn_layout_has_zeros(job->layout))
        tile_bf16(job, 4, 1);
    else
        tile_bf16(job, 4, 0);
}

void krn_w4a16_neon_bf16_store(const krn_store_job *job) { krn_store_tile(job); }
