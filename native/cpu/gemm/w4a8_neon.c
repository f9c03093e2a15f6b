/* 4-bit weights x 8-bit activations, NEON. */
#include "gemm/gemm_variants.h"
#include "gemm/pack_activations.h"
#include "gemm/store_tile.h"
#include "gemm/tile_s8_neon.h"

#include "gemm/tile_int_neon.h"

void krn_w4a8_neon_pack_rows(const krn_pack_job *job) { krn_pack_quads(job); }

void krn_w4a8_neon_tile(const krn_tile_job *job) { tile_int(job, 4); }

void krn_w4a8_neon_store(const krn_store_job *job) { krn_store_tile(job); }
