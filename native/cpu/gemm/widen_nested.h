/* Double-quantized scales to f32, in plain C over rows of 32 channels, which every compiler turns into full vectors;
 * compiled once per instruction set by the variant that includes it. */
#ifndef KRN_GEMM_WIDEN_NESTED_H
#define KRN_GEMM_WIDEN_NESTED_H

#include "gemm/scales.h"

/* Nested scales of the channels of a panel at a group. Returns for how many groups they stay the same. */
KRN_ALWAYS_INLINE int64_t krn_load_nested(const krn_scales_job *job, int64_t group, float *nested) {
    const krn_layout *layout = job->layout;
    const float *table = krn_nested_scales(layout, job->packed);
    int64_t same = KRN_NESTED_BLOCK;
    for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++) {
        const int64_t channel = job->panel * KRN_PANEL_CHANNELS + c;
        /* Channels of the padding take the last scale there is. */
        const uint64_t index =
            (uint64_t)krn_layout_scale_index(layout, channel < layout->n ? channel : layout->n - 1, group);
        const int64_t left = (int64_t)(KRN_NESTED_BLOCK - index % KRN_NESTED_BLOCK);
        nested[c] = table[index / KRN_NESTED_BLOCK];
        same = left < same ? left : same;
    }
    return same;
}

KRN_ALWAYS_INLINE const uint8_t *krn_nested_codes(const krn_scales_job *job) {
    return job->packed + job->panel * job->layout->panel_bytes + krn_layout_scales_offset(job->layout, job->group);
}

/* scales[i] = map[code[i]] */
KRN_ALWAYS_INLINE void krn_look_up_scales(const krn_scales_job *job) {
    const uint8_t *codes = krn_nested_codes(job);
    const float *map = krn_scale_map(job->layout, job->packed);
    for (int64_t i = 0; i < job->num_groups * KRN_PANEL_CHANNELS; i++)
        job->scales[i] = map[codes[i]];
}

/* Entries of the map to scales. */
KRN_ALWAYS_INLINE void krn_finish_scales(const krn_scales_job *job) {
    const float offset = krn_nested_offset(job->layout, job->packed);
    float nested[KRN_PANEL_CHANNELS];
    int64_t same = 0;
    for (int64_t g = 0; g < job->num_groups; g++, same--) {
        /* Where flattened groups cross rows, several of them share a scale: `same` counts no fewer groups than
         * there are. */
        if (same == 0)
            same = krn_load_nested(job, job->group + g, nested);
        float *scales = job->scales + g * KRN_PANEL_CHANNELS;
        for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++) {
            const float product = scales[c] * nested[c];
            scales[c] = product + offset;
        }
    }
}

#endif
