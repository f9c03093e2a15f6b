/* The packed layout of weights, "n32": one layout for every x86 level and for the reference.
 *
 * Channels are cut into panels of 32 (two zmm registers of int32 accumulators). A panel is one linear stream, because
 * one stream per thread is what DRAM serves fastest, and holds its groups one behind the other:
 *
 *   packed      | panel 0 | panel 1 | ... | tables |
 *   panel p     | header | group 0 | group 1 | ... |                            panel_bytes, a multiple of 64
 *   group g     | codes: blocks x 128 B | scales: 32 x f32, f16 or bf16 | zeros: 32 x s16, KRN_TYPE_U4 with zero_type 0 only |
 *   header      | scales: groups x 32 x u8, if double quantized | offsets: groups x 32 x zero_type, if it has one | padding |
 *   tables      | codebook: 16 x f32 | scale_offset, scale_map: 256 x f32, nested_scales | permutation: K x s32 | outliers |   those that it has
 *   outliers    | columns: s32 | places: s32, if ordered | per panel: columns x 32 x outlier_type |
 *
 *   8-bit block = 4 inputs x 32 channels                4-bit block = 8 inputs x 32 channels
 *     byte 4*c + j  code of (channel c, input j)          byte 4*c + j  low nibble:  (channel c, input j)
 *                                                                       high nibble: (channel c, input 4 + j)
 *
 * So a dword holds one channel: four bytes for a dot-product instruction, or eight nibbles that a shift by 4*p brings
 * to the bottom, in the input order 0 4 1 5 2 6 3 7.
 *
 * Codes are stored unsigned: s8 as q + 128, s4 as q + 8, u4 and c4 as they are; `zero` is that offset or the group's
 * zero point. A group is padded to whole blocks, and N to whole panels, with codes equal to the zero point (and scale
 * 0): padding adds nothing to any sum.
 *
 * Scales lie behind their codes, where they are read next. Double-quantized scales, 32 bytes a group, would put every
 * second group between cache lines, so they lie in the header; so do offsets, which are used before the first code
 * (krn_start_job). */
#ifndef KRN_GEMM_LAYOUT_H
#define KRN_GEMM_LAYOUT_H

#include "kernels/weights.h"

#include <stddef.h>

enum {
    KRN_LAYOUT_N32 = 1,
    KRN_PANEL_CHANNELS = 32,
    KRN_BLOCK_BYTES = 128,
    KRN_ZEROS_BYTES = KRN_PANEL_CHANNELS * 2,
    KRN_CODEBOOK_SIZE = 16,
    KRN_SCALE_MAP_SIZE = 256,
    /* Tables begin on cache lines. */
    KRN_TABLE_ALIGNMENT = 64,
    /* Double-quantized scales that share a nested scale. */
    KRN_NESTED_BLOCK = 256,
};

typedef struct krn_layout {
    int32_t format;
    /* Never 0. */
    int32_t scale_type;
    int32_t zero_type;
    int32_t ordered;
    int64_t n, k;
    /* Inputs per group; K for one group per channel. At least 1. */
    int64_t group_size;
    int64_t num_groups;
    /* Elements per scale where flattened groups cross rows: a multiple of group_size. Else 0: one scale per group. */
    int64_t flat_size;
    /* Outlier columns, and the type of their weights; 0 without any. */
    int64_t num_outliers;
    int32_t outlier_type;
    /* Of the unpacked form. */
    int64_t num_scales, num_nested;
    /* Inputs per block: 4 or 8. */
    int64_t block_k;
    /* Blocks of every group but the last, and of the last. */
    int64_t group_blocks, last_group_blocks;
    /* Inputs of a channel, padding included: what packed activations are as wide as. */
    int64_t padded_k;
    /* In a group. */
    int64_t scales_bytes, zeros_bytes;
    /* Where offsets begin in a panel, and groups. */
    int64_t offsets_at, groups_at;
    int64_t num_panels;
    int64_t panel_bytes;
    /* Where tables begin in the packed bytes. A table that the weights do not have takes no bytes. */
    int64_t codebook_at, map_at, nested_at, permutation_at, outliers_at, outlier_weights_at;
    int64_t packed_bytes;
} krn_layout;

struct krn_weights {
    krn_weights_desc desc;
    krn_layout layout;
    uint8_t *packed;
};

/* Checks a description and derives the layout. */
krn_status krn_layout_of(const krn_weights_desc *desc, krn_layout *layout);

/* Bytes of a float of `type`. */
static inline int64_t krn_float_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

/* Groups carry an integer zero point of their own. */
static inline int krn_layout_has_zeros(const krn_layout *layout) { return layout->zeros_bytes > 0; }

static inline int krn_layout_is_nested(const krn_layout *layout) { return layout->scale_type == KRN_TYPE_U8; }

static inline int64_t krn_layout_blocks(const krn_layout *layout, int64_t group) {
    return group + 1 < layout->num_groups ? layout->group_blocks : layout->last_group_blocks;
}

/* Bytes of a group that has `blocks` blocks. */
static inline int64_t krn_layout_group_bytes(const krn_layout *layout, int64_t blocks) {
    return blocks * KRN_BLOCK_BYTES + layout->scales_bytes + layout->zeros_bytes;
}

/* Offset of a group in its panel. */
static inline int64_t krn_layout_group_offset(const krn_layout *layout, int64_t group) {
    return layout->groups_at + group * krn_layout_group_bytes(layout, layout->group_blocks);
}

/* Offset of a group's scales in its panel, wherever they are; and of its zero points. */
static inline int64_t krn_layout_scales_offset(const krn_layout *layout, int64_t group) {
    return krn_layout_is_nested(layout)
               ? group * KRN_PANEL_CHANNELS
               : krn_layout_group_offset(layout, group) + krn_layout_blocks(layout, group) * KRN_BLOCK_BYTES;
}

static inline int64_t krn_layout_zeros_offset(const krn_layout *layout, int64_t group) {
    return krn_layout_group_offset(layout, group) + krn_layout_blocks(layout, group) * KRN_BLOCK_BYTES +
           layout->scales_bytes;
}

/* First input of a group, and the inputs that it really has. */
static inline int64_t krn_layout_group_start(const krn_layout *layout, int64_t group) {
    return group * layout->group_size;
}

static inline int64_t krn_layout_group_length(const krn_layout *layout, int64_t group) {
    const int64_t rest = layout->k - group * layout->group_size;
    return rest < layout->group_size ? rest : layout->group_size;
}

/* Place of a group's scale in the unpacked order. */
static inline int64_t krn_layout_scale_index(const krn_layout *layout, int64_t channel, int64_t group) {
    if (layout->flat_size > 0)
        return (channel * layout->k + group * layout->group_size) / layout->flat_size;
    return channel * layout->num_groups + group;
}

/* Where the code of (channel c of the panel, input k of the group) lies in the group's codes: the byte, and the shift
 * in it. */
static inline int64_t krn_layout_code_byte(const krn_layout *layout, int64_t c, int64_t k) {
    return (layout->block_k == 8 ? k / 8 : k / 4) * KRN_BLOCK_BYTES + 4 * c + k % 4;
}

static inline int krn_layout_code_shift(const krn_layout *layout, int64_t k) {
    return (int)(layout->block_k == 8 ? k % 8 / 4 * 4 : 0);
}

/* The offset of codes without a zero point of their own. */
static inline int32_t krn_layout_fixed_zero(const krn_layout *layout) {
    return layout->format == KRN_TYPE_S8 ? 128 : layout->format == KRN_TYPE_S4 ? 8 : 0;
}

static inline const float *krn_layout_codebook(const krn_layout *layout, const uint8_t *packed) {
    return layout->format == KRN_TYPE_C4 ? (const float *)(packed + layout->codebook_at) : NULL;
}

/* Input i of the packed order is input permutation[i] of the tensor; NULL for the same order. */
static inline const int32_t *krn_layout_permutation(const krn_layout *layout, const uint8_t *packed) {
    return layout->ordered ? (const int32_t *)(packed + layout->permutation_at) : NULL;
}

/* Bytes of a table of outlier columns: whole lines. */
static inline int64_t krn_layout_outliers_bytes(const krn_layout *layout) {
    return (layout->num_outliers * (int64_t)sizeof(int32_t) + KRN_TABLE_ALIGNMENT - 1) / KRN_TABLE_ALIGNMENT *
           KRN_TABLE_ALIGNMENT;
}

/* The outlier columns, ascending; and their places in the packed order, ascending likewise. */
static inline const int32_t *krn_layout_outlier_columns(const krn_layout *layout, const uint8_t *packed) {
    return (const int32_t *)(packed + layout->outliers_at);
}

static inline const int32_t *krn_layout_outlier_places(const krn_layout *layout, const uint8_t *packed) {
    return (const int32_t *)(packed + layout->outliers_at + (layout->ordered ? krn_layout_outliers_bytes(layout) : 0));
}

/* Where a panel's weights [num_outliers][32] of the outlier columns begin. */
static inline int64_t krn_layout_outlier_panel(const krn_layout *layout, int64_t panel) {
    return layout->outlier_weights_at +
           panel * layout->num_outliers * KRN_PANEL_CHANNELS * krn_float_bytes(layout->outlier_type);
}

#endif
