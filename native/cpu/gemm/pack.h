/* Moves codes, scales and zero points into the packed layout and back. Callers have checked everything. */
#ifndef KRN_GEMM_PACK_H
#define KRN_GEMM_PACK_H

#include "common/context.h"
#include "gemm/layout.h"

void krn_pack(krn_context *context, const krn_layout *layout, const void *codes, int64_t codes_ld_bytes,
              const float *scales, const int32_t *zero_points, uint8_t *packed);

void krn_unpack(krn_context *context, const krn_layout *layout, const uint8_t *packed, void *codes,
                int64_t codes_ld_bytes, float *scales, int32_t *zero_points);

#endif
