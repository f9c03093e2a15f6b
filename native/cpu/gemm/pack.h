/* Moves quantized weights into the packed layout and back. Callers have checked everything. */
#ifndef KRN_GEMM_PACK_H
#define KRN_GEMM_PACK_H

#include "common/context.h"
#include "gemm/layout.h"

/* The permutation of a group index (stable, so that the inputs of a group keep their order). KRN_ERROR_SHAPE when
 * groups have other sizes than the layout's. */
krn_status krn_order_inputs(const krn_layout *layout, const int32_t *group_index, int32_t *permutation);

/* `packed` is zero, but for the permutation of ordered weights, which it holds already. */
void krn_pack(krn_context *context, const krn_layout *layout, const krn_weights_source *source, uint8_t *packed);

void krn_unpack(krn_context *context, const krn_layout *layout, const uint8_t *packed, const krn_weights_parts *parts);

#endif
