/* Scales and offsets for any processor. */
#include "gemm/scales_variants.h"
#include "gemm/widen_scales.h"

void krn_scales_ref_widen(const krn_scales_job *job) { krn_widen_scales(job); }

void krn_scales_ref_start(const krn_start_job *job) { krn_start_tile(job); }
