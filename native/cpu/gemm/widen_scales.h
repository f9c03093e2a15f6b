/* The bodies of krn_scales_kernel in plain C over rows of 32 channels, which every compiler turns into full vectors; compiled once per
 * instruction set by the variant that includes it. */
#ifndef KRN_GEMM_WIDEN_SCALES_H
#define KRN_GEMM_WIDEN_SCALES_H

#include "gemm/scales.h"

#include <math.h>

/* Nested scales of the channels of a panel at a group. Returns for how many groups they stay the same. */
KRN_ALWAYS_INLINE int64_t krn_load_nested(const krn_scales_job *job, int64_t group, float *nested) {
    const krn_layout *layout = job->layout;
    const float *table = krn_nested_scales(layout, job->packed);
    int64_t same = KRN_NESTED_BLOCK;
    for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++) {
        const int64_t channel = job->panel * KRN_PANEL_CHANNELS + c;
        /* Channels of the padding take the last scale there is. */
        const int64_t index = krn_layout_scale_index(layout, channel < layout->n ? channel : layout->n - 1, group);
        const int64_t left = KRN_NESTED_BLOCK - index % KRN_NESTED_BLOCK;
        nested[c] = table[index / KRN_NESTED_BLOCK];
        same = left < same ? left : same;
    }
    return same;
}

KRN_ALWAYS_INLINE void krn_widen_nested(const krn_scales_job *job) {
    const krn_layout *layout = job->layout;
    const uint8_t *codes =
        job->packed + job->panel * layout->panel_bytes + krn_layout_scales_offset(layout, job->group);
    const float *map = krn_scale_map(layout, job->packed);
    const float offset = krn_nested_offset(layout, job->packed);
    for (int64_t i = 0; i < job->num_groups * KRN_PANEL_CHANNELS; i++)
        job->scales[i] = map[codes[i]];
    float nested[KRN_PANEL_CHANNELS];
    int64_t same = 0;
    for (int64_t g = 0; g < job->num_groups; g++, same--) {
        /* Where flattened groups cross rows, several of them share a scale: `same` counts no fewer groups than there are. */
        if (same == 0)
            same = krn_load_nested(job, job->group + g, nested);
        float *scales = job->scales + g * KRN_PANEL_CHANNELS;
        for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++) {
            const float product = scales[c] * nested[c];
            scales[c] = product + offset;
        }
    }
}

KRN_ALWAYS_INLINE void krn_widen_scales(const krn_scales_job *job) {
    const krn_layout *layout = job->layout;
    if (krn_layout_is_nested(layout)) {
        krn_widen_nested(job);
        return;
    }
    const uint8_t *panel = job->packed + job->panel * layout->panel_bytes;
    for (int64_t g = 0; g < job->num_groups; g++)
        krn_widen(job->scales + g * KRN_PANEL_CHANNELS, layout->scale_type,
                  panel + krn_layout_scales_offset(layout, job->group + g), 0, KRN_PANEL_CHANNELS);
}

/* t[r] = sum over the groups of x_sum * offset, for `count` rows at once, which share the loads of the offsets. */
KRN_ALWAYS_INLINE void krn_start_rows(const krn_start_job *job, int32_t first, int32_t count) {
    const krn_layout *layout = job->layout;
    const uint8_t *offsets = job->packed + job->panel * layout->panel_bytes + layout->offsets_at;
    float t[4][KRN_PANEL_CHANNELS] = {{0}};
    for (int64_t g = 0; g < layout->num_groups; g++) {
        float row[KRN_PANEL_CHANNELS];
        krn_widen(row, layout->zero_type, offsets, g * KRN_PANEL_CHANNELS, KRN_PANEL_CHANNELS);
        for (int32_t r = 0; r < count; r++) {
            const float x_sum = job->x_sums[g * job->rows + first + r];
            for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++)
                t[r][c] = fmaf(x_sum, row[c], t[r][c]);
        }
    }
    memcpy(job->t + first * KRN_PANEL_CHANNELS, t, (size_t)count * sizeof t[0]);
}

KRN_ALWAYS_INLINE void krn_start_tile(const krn_start_job *job) {
    int32_t r = 0;
    for (; r + 4 <= job->rows; r += 4)
        krn_start_rows(job, r, 4);
    for (; r < job->rows; r++)
        krn_start_rows(job, r, 1);
}

#endif
