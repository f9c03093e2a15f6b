/* 4-bit weights x 8-bit activations, AVX2. */
#include "gemm/gemm_variants.h"
#include "gemm/pack_activations.h"
#include "gemm/store_tile.h"
#include "gemm/tile_u4s8_avx2.h"

void krn_w4a8_avx2_pack_rows(const krn_pack_job *job) {
    krn_pack_quads(job);
    pair_offsets(job);
}

void krn_w4a8_avx2_tile(const krn_tile_job *job) { tile_u4s8(job); }

void krn_w4a8_avx2_store(const krn_store_job *job) { krn_store_tile(job); }
