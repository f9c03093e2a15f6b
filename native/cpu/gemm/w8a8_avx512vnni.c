/* 8-bit weights x 8-bit activations, AVX-512 VNNI. */
#include "gemm/gemm_variants.h"
#include "gemm/pack_quads_avx512vnni.h"
#include "gemm/store_tile.h"
#include "gemm/tile_s8_avx512vnni.h"

void krn_w8a8_avx512vnni_pack_rows(const krn_pack_job *job) { pack_quads(job); }

void krn_w8a8_avx512vnni_tile(const krn_tile_job *job) { tile_s8(job, 0); }

void krn_w8a8_avx512vnni_store(const krn_store_job *job) { krn_store_tile(job); }
