/* Scales and float offsets of packed weights. Tile functions widen f16 and bf16 scales as they load them
 * (scales_avx512.h); double-quantized ones are brought to f32 before the tiles of a step need them, once for all of
 * them. */
#ifndef KRN_GEMM_SCALES_H
#define KRN_GEMM_SCALES_H

#include "common/convert.h"
#include "gemm/layout.h"

enum {
    /* Groups whose double-quantized scales are widened at a time: 16 KiB, and all of a step of 512 blocks of 4-bit
     * codes down to groups of 32. */
    KRN_MAX_SCALE_GROUPS = 128,
};

/* Double-quantized scales of groups group..group + num_groups - 1 of a panel, as scales[num_groups][32]; at most
 * KRN_MAX_SCALE_GROUPS. */
typedef struct krn_scales_job {
    const krn_layout *layout;
    const uint8_t *packed;
    int64_t panel, group, num_groups;
    float *scales;
    /* Weights to fetch meanwhile, a line for 16 scales, or NULL. */
    const uint8_t *ahead;
} krn_scales_job;

/* What the sums of a tile start from: t[row][32] = the offsets' part of the result. */
typedef struct krn_start_job {
    const krn_layout *layout;
    const uint8_t *packed;
    int64_t panel;
    /* [num_groups][rows]: the sum of a row's activations over a group. */
    const float *x_sums;
    int32_t rows;
    float *t;
} krn_start_job;

/* Both functions give the same bits in every variant. */
typedef struct krn_scales_kernel {
    uint64_t features;
    void (*widen)(const krn_scales_job *job);
    void (*start)(const krn_start_job *job);
} krn_scales_kernel;

/* The best variant for these krn_cpu_feature bits. */
const krn_scales_kernel *krn_scales_kernel_for(uint64_t features);

/* Tables of double-quantized scales. */
static inline float krn_nested_offset(const krn_layout *layout, const uint8_t *packed) {
    return *(const float *)(packed + layout->map_at);
}

static inline const float *krn_scale_map(const krn_layout *layout, const uint8_t *packed) {
    return (const float *)(packed + layout->nested_at) - KRN_SCALE_MAP_SIZE;
}

static inline const float *krn_nested_scales(const krn_layout *layout, const uint8_t *packed) {
    return (const float *)(packed + layout->nested_at);
}

/* The double-quantized scale `code` at `index` of the unpacked order; one rounding per operation. */
static inline float krn_nested_scale(const krn_layout *layout, const uint8_t *packed, uint8_t code, int64_t index) {
    const float product =
        krn_scale_map(layout, packed)[code] * krn_nested_scales(layout, packed)[index / KRN_NESTED_BLOCK];
    return product + krn_nested_offset(layout, packed);
}

/* The scale of channel c of a panel, one that exists. */
static inline float krn_scale_at(const krn_layout *layout, const uint8_t *packed, int64_t panel, int64_t group,
                                 int64_t c) {
    const uint8_t *scales = packed + panel * layout->panel_bytes + krn_layout_scales_offset(layout, group);
    if (!krn_layout_is_nested(layout))
        return krn_float_at(layout->scale_type, scales, c);
    const int64_t index = krn_layout_scale_index(layout, panel * KRN_PANEL_CHANNELS + c, group);
    return krn_nested_scale(layout, packed, scales[c], index);
}

/* The float offsets [num_groups][32] of a panel; with a zero_type. */
static inline const uint8_t *krn_panel_offsets(const krn_layout *layout, const uint8_t *packed, int64_t panel) {
    return packed + panel * layout->panel_bytes + layout->offsets_at;
}

static inline float krn_offset_at(const krn_layout *layout, const uint8_t *packed, int64_t panel, int64_t group,
                                  int64_t c) {
    return krn_float_at(layout->zero_type, krn_panel_offsets(layout, packed, panel), group * KRN_PANEL_CHANNELS + c);
}

#endif
