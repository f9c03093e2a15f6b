/* The table of RoPE. */
#ifndef KRN_ROPE_TABLE_H
#define KRN_ROPE_TABLE_H

#include "kernels/rope.h"

/* Of checked options. */
void krn_rope_fill_table(const krn_rope_options *options, int64_t rotary_dim, int64_t first_position, int64_t count,
                         float *cos_sin);

#endif
