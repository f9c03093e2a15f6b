/* The packed layout of weights, "n32": one layout for every x86 level and for the reference.
 *
 * Channels are cut into panels of 32 (two zmm registers of int32 accumulators). A panel is one linear stream, because one
 * stream per thread is what DRAM serves fastest, and holds its groups one behind the other:
 *
 *   panel p     | group 0 | group 1 | ... |            panel_bytes, a multiple of 64
 *   group g     | codes: blocks x 128 B | scales: 32 x f32 | zeros: 32 x s16, KRN_TYPE_U4 only |
 *
 *   8-bit block = 4 inputs x 32 channels                4-bit block = 8 inputs x 32 channels
 *     byte 4*c + j  code of (channel c, input j)          byte 4*c + j  low nibble:  (channel c, input j)
 *                                                                       high nibble: (channel c, input 4 + j)
 *
 * So a dword holds one channel: four bytes for a dot-product instruction, or eight nibbles that a shift by 4*p brings to the
 * bottom, in the input order 0 4 1 5 2 6 3 7.
 *
 * Codes are stored unsigned: s8 as q + 128, s4 as q + 8, u4 as they are; `zero` is that offset or the group's zero point.
 * A group is padded to whole blocks, and N to whole panels, with codes equal to the zero point (and scale 0): padding adds
 * nothing to any sum.
 */
#ifndef KRN_GEMM_LAYOUT_H
#define KRN_GEMM_LAYOUT_H

#include "kernels/weights.h"

enum {
    KRN_LAYOUT_N32 = 1,
    KRN_PANEL_CHANNELS = 32,
    KRN_BLOCK_BYTES = 128,
    KRN_SCALES_BYTES = KRN_PANEL_CHANNELS * 4,
    KRN_ZEROS_BYTES = KRN_PANEL_CHANNELS * 2,
};

typedef struct krn_layout {
    int32_t format;
    int64_t n, k;
    /* Inputs per group; K for one group per channel. At least 1. */
    int64_t group_size;
    int64_t num_groups;
    /* Inputs per block: 4 or 8. */
    int64_t block_k;
    /* Blocks of every group but the last, and of the last. */
    int64_t group_blocks, last_group_blocks;
    /* Inputs of a channel, padding included: what packed activations are as wide as. */
    int64_t padded_k;
    int64_t num_panels;
    int64_t panel_bytes;
    /* num_panels * panel_bytes */
    int64_t packed_bytes;
} krn_layout;

struct krn_weights {
    krn_weights_desc desc;
    krn_layout layout;
    uint8_t *packed;
};

/* Checks a description and derives the layout. */
krn_status krn_layout_of(const krn_weights_desc *desc, krn_layout *layout);

static inline int64_t krn_layout_blocks(const krn_layout *layout, int64_t group) {
    return group + 1 < layout->num_groups ? layout->group_blocks : layout->last_group_blocks;
}

/* Bytes of a group that has `blocks` blocks. */
static inline int64_t krn_layout_group_bytes(const krn_layout *layout, int64_t blocks) {
    return blocks * KRN_BLOCK_BYTES + KRN_SCALES_BYTES + (layout->format == KRN_TYPE_U4 ? KRN_ZEROS_BYTES : 0);
}

/* Offset of a group in its panel. */
static inline int64_t krn_layout_group_offset(const krn_layout *layout, int64_t group) {
    return group * krn_layout_group_bytes(layout, layout->group_blocks);
}

/* First input of a group, and the inputs that it really has. */
static inline int64_t krn_layout_group_start(const krn_layout *layout, int64_t group) {
    return group * layout->group_size;
}

static inline int64_t krn_layout_group_length(const krn_layout *layout, int64_t group) {
    const int64_t rest = layout->k - group * layout->group_size;
    return rest < layout->group_size ? rest : layout->group_size;
}

/* Where the code of (channel c of the panel, input k of the group) lies in the group's codes: the byte, and the shift
 * in it. */
static inline int64_t krn_layout_code_byte(const krn_layout *layout, int64_t c, int64_t k) {
    return (layout->block_k == 8 ? k / 8 : k / 4) * KRN_BLOCK_BYTES + 4 * c + k % 4;
}

static inline int krn_layout_code_shift(const krn_layout *layout, int64_t k) {
    return (int)(layout->block_k == 8 ? k % 8 / 4 * 4 : 0);
}

/* The offset of codes without a zero point of their own: 128 for s8, 8 for s4. */
static inline int32_t krn_layout_fixed_zero(const krn_layout *layout) {
    return layout->format == KRN_TYPE_S8 ? 128 : 8;
}

#endif
