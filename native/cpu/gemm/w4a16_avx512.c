/* 4-bit weights x float activations, AVX-512: fused dequantization to f32. */
#include "gemm/gemm_variants.h"
#include "gemm/pack_activations.h"
#include "gemm/store_tile.h"
#include "gemm/tile_f32_low_avx512.h"

void krn_w4a16_avx512_pack_rows(const krn_pack_job *job) { krn_pack_singles(job); }

void krn_w4a16_avx512_tile(const krn_tile_job *job) {
    const int is_low = job->rows <= SIDE_ROWS;
    if (krn_layout_has_zeros(job->layout)) {
        if (is_low)
            low_tile_f32(job, 1);
        else
            tile_f32(job, 4, 1);
    } else if (is_low && krn_layout_codebook(job->layout, job->packed) == NULL) {
        low_tile_f32(job, 0);
    } else {
        tile_f32(job, 4, 0);
    }
}

void krn_w4a16_avx512_store(const krn_store_job *job) { krn_store_tile(job); }
