#include "gemm/pack.h"

#include <string.h>

/* What a task needs to do one panel. Exactly one of `packed` and `unpacked_codes` is written. */
typedef struct {
    const krn_layout *layout;
    const uint8_t *codes;
    uint8_t *unpacked_codes;
    int64_t codes_ld_bytes;
    const float *scales;
    float *unpacked_scales;
    const int32_t *zero_points;
    int32_t *unpacked_zero_points;
    uint8_t *packed;
    const uint8_t *packed_source;
} pack_job;

/* The code of input k in a row of unpacked codes, as the layout stores it: unsigned. */
static uint8_t stored_code(const krn_layout *layout, const uint8_t *row, int64_t k) {
    switch (layout->format) {
    case KRN_TYPE_S8: return (uint8_t)(row[k] ^ 0x80);
    case KRN_TYPE_S4: return (uint8_t)(((row[k / 2] >> (k % 2 * 4)) & 15) ^ 8);
    default: return (uint8_t)((row[k / 2] >> (k % 2 * 4)) & 15);
    }
}

static void pack_channel(const pack_job *job, int64_t group, int64_t channel, int64_t c, uint8_t *codes) {
    const krn_layout *layout = job->layout;
    const uint8_t *row = job->codes + channel * job->codes_ld_bytes;
    const int64_t start = krn_layout_group_start(layout, group);
    const int64_t length = krn_layout_group_length(layout, group);
    for (int64_t k = 0; k < length; k++) {
        uint8_t *byte = codes + krn_layout_code_byte(layout, c, k);
        const int shift = krn_layout_code_shift(layout, k);
        const uint8_t code = stored_code(layout, row, start + k);
        const unsigned mask = layout->block_k == 8 ? 15u << shift : 255u;
        *byte = (uint8_t)((*byte & ~mask) | ((unsigned)code << shift));
    }
}

static void pack_panel(void *task_context, int64_t panel) {
    const pack_job *job = task_context;
    const krn_layout *layout = job->layout;
    uint8_t *group_start = job->packed + panel * layout->panel_bytes;
    for (int64_t g = 0; g < layout->num_groups; g++) {
        const int64_t blocks = krn_layout_blocks(layout, g);
        float scales[KRN_PANEL_CHANNELS] = {0};
        int16_t zeros[KRN_PANEL_CHANNELS] = {0};
        memset(group_start, 0, (size_t)(blocks * KRN_BLOCK_BYTES));
        for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++) {
            const int64_t channel = panel * KRN_PANEL_CHANNELS + c;
            int32_t zero = layout->format == KRN_TYPE_U4 ? 0 : krn_layout_fixed_zero(layout);
            if (channel < layout->n) {
                scales[c] = job->scales[channel * layout->num_groups + g];
                if (layout->format == KRN_TYPE_U4)
                    zero = job->zero_points[channel * layout->num_groups + g];
            }
            zeros[c] = (int16_t)zero;
            /* Padding first, real codes over it. */
            const uint8_t padding = (uint8_t)(layout->block_k == 8 ? zero * 0x11 : zero);
            for (int64_t b = 0; b < blocks; b++)
                memset(group_start + b * KRN_BLOCK_BYTES + 4 * c, padding, 4);
            if (channel < layout->n)
                pack_channel(job, g, channel, c, group_start);
        }
        memcpy(group_start + blocks * KRN_BLOCK_BYTES, scales, sizeof scales);
        if (layout->format == KRN_TYPE_U4)
            memcpy(group_start + blocks * KRN_BLOCK_BYTES + KRN_SCALES_BYTES, zeros, sizeof zeros);
        group_start += krn_layout_group_bytes(layout, blocks);
    }
}

static void unpack_channel(const pack_job *job, int64_t group, int64_t channel, int64_t c, const uint8_t *codes) {
    const krn_layout *layout = job->layout;
    uint8_t *row = job->unpacked_codes + channel * job->codes_ld_bytes;
    const int64_t start = krn_layout_group_start(layout, group);
    const int64_t length = krn_layout_group_length(layout, group);
    for (int64_t i = 0; i < length; i++) {
        const int64_t k = start + i;
        const unsigned stored = (unsigned)codes[krn_layout_code_byte(layout, c, i)] >> krn_layout_code_shift(layout, i);
        if (layout->format == KRN_TYPE_S8) {
            row[k] = (uint8_t)(stored ^ 0x80);
            continue;
        }
        const unsigned nibble = (layout->format == KRN_TYPE_S4 ? stored ^ 8 : stored) & 15;
        row[k / 2] = k % 2 == 0 ? (uint8_t)nibble : (uint8_t)(row[k / 2] | (nibble << 4));
    }
}

static void unpack_panel(void *task_context, int64_t panel) {
    const pack_job *job = task_context;
    const krn_layout *layout = job->layout;
    const uint8_t *group_start = job->packed_source + panel * layout->panel_bytes;
    for (int64_t g = 0; g < layout->num_groups; g++) {
        const int64_t blocks = krn_layout_blocks(layout, g);
        float scales[KRN_PANEL_CHANNELS];
        int16_t zeros[KRN_PANEL_CHANNELS] = {0};
        memcpy(scales, group_start + blocks * KRN_BLOCK_BYTES, sizeof scales);
        if (layout->format == KRN_TYPE_U4)
            memcpy(zeros, group_start + blocks * KRN_BLOCK_BYTES + KRN_SCALES_BYTES, sizeof zeros);
        for (int64_t c = 0; c < KRN_PANEL_CHANNELS && panel * KRN_PANEL_CHANNELS + c < layout->n; c++) {
            const int64_t channel = panel * KRN_PANEL_CHANNELS + c;
            unpack_channel(job, g, channel, c, group_start);
            job->unpacked_scales[channel * layout->num_groups + g] = scales[c];
            if (job->unpacked_zero_points != NULL)
                job->unpacked_zero_points[channel * layout->num_groups + g] = zeros[c];
        }
        group_start += krn_layout_group_bytes(layout, blocks);
    }
}

void krn_pack(krn_context *context, const krn_layout *layout, const void *codes, int64_t codes_ld_bytes,
              const float *scales, const int32_t *zero_points, uint8_t *packed) {
    pack_job job = {.layout = layout,
                    .codes = codes,
                    .codes_ld_bytes = codes_ld_bytes,
                    .scales = scales,
                    .zero_points = zero_points,
                    .packed = packed};
    krn_context_run(context, layout->num_panels, pack_panel, &job);
}

void krn_unpack(krn_context *context, const krn_layout *layout, const uint8_t *packed, void *codes,
                int64_t codes_ld_bytes, float *scales, int32_t *zero_points) {
    pack_job job = {.layout = layout,
                    .packed_source = packed,
                    .unpacked_codes = codes,
                    .codes_ld_bytes = codes_ld_bytes,
                    .unpacked_scales = scales,
                    .unpacked_zero_points = zero_points};
    krn_context_run(context, layout->num_panels, unpack_panel, &job);
}
