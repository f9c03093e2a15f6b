/* What packing relies on. */
#ifndef KRN_GEMM_WEIGHTS_SOURCE_H
#define KRN_GEMM_WEIGHTS_SOURCE_H

#include "gemm/layout.h"

/* Checks everything in a source but the sizes of the groups of a group index (krn_order_inputs). */
krn_status krn_weights_check_source(const krn_layout *layout, const krn_weights_source *source);

#endif
