/* Scales and offsets for AVX2. */
#include "gemm/scales_variants.h"
#include "gemm/widen_scales.h"

void krn_scales_avx2_widen(const krn_scales_job *job) { krn_widen_scales(job); }

void krn_scales_avx2_start(const krn_start_job *job) { krn_start_tile(job); }
