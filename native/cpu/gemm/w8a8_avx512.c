/* 8-bit weights x 8-bit activations, AVX-512 without VNNI. */
#include "gemm/gemm_variants.h"
#include "gemm/pack_activations.h"
#include "gemm/store_tile.h"
#include "gemm/tile_s16_avx512.h"

void krn_w8a8_avx512_pack_rows(const krn_pack_job *job) { krn_pack_pairs_s16(job); }

void krn_w8a8_avx512_tile(const krn_tile_job *job) { tile_s16(job, 8); }

void krn_w8a8_avx512_store(const krn_store_job *job) { krn_store_tile(job); }
