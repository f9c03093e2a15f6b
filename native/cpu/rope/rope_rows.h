/* RoPE for the doors of other ops, such as the KV cache, which rotates a key on its way in. */
#ifndef KRN_ROPE_ROWS_H
#define KRN_ROPE_ROWS_H

#include "kernels/rope.h"
#include "rope/rope_variants.h"

/* The checks of options, in the words of kernels/rope.h. */
krn_status krn_rope_check_options(const krn_rope_options *options);

/* Of checked options: how many elements of a head are rotated, which is also the width of a table's row. */
int64_t krn_rope_rotary_dim(const krn_rope_options *options);

/* Whether a table covers positions[0..tokens-1]. */
krn_status krn_rope_check_positions(int64_t tokens, const int32_t *positions, int64_t first_position,
                                    int64_t position_count);

/* The variant that runs in a context. One token's heads, or one head, are rotated by its `rotate`; into a row of f32
 * for example, from where it is quantized. */
const krn_rope_kernels *krn_rope_kernels_of(const krn_context *context);

#endif
