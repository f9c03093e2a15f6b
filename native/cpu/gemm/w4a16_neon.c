/* 4-bit weights x float activations, NEON: fused dequantization to f32. */
#include "gemm/gemm_variants.h"
#include "gemm/pack_activations.h"
#include "gemm/store_tile.h"
#include "gemm/tile_f32_neon.h"

void krn_w4a16_neon_pack_rows(const krn_pack_job *job) { krn_pack_singles(job); }

void krn_w4a16_neon_tile(const krn_tile_job *job) {
    if (job->layout->format == KRN_TYPE_C4)
        tile_f32(job, 4, 1);
    else
        tile_f32(job, 4, 0);
}

void krn_w4a16_neon_store(const krn_store_job *job) { krn_store_tile(job); }
