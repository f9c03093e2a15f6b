#include "gemm/pack.h"

#include "common/status.h"
#include "gemm/scales.h"

#include <string.h>

/* What a task needs to do one panel: pack `source` or unpack to `parts`. */
typedef struct {
    const krn_layout *layout;
    const krn_weights_source *source;
    const krn_weights_parts *parts;
    uint8_t *packed;
    const uint8_t *packed_source;
    const int32_t *permutation;
} pack_job;

/* Input of the tensor that is input i of the packed order. */
static int64_t input_of(const pack_job *job, int64_t i) { return job->permutation == NULL ? i : job->permutation[i]; }

/* The shift of element k in its byte of unpacked 4-bit codes. */
static int nibble_shift(int64_t k, int32_t high_nibble_first) { return (int)((k % 2) ^ high_nibble_first) * 4; }

/* The code of input k in a row of unpacked codes, as the layout stores it: unsigned. */
static uint8_t stored_code(const pack_job *job, const uint8_t *row, int64_t k) {
    const int32_t format = job->layout->format;
    if (format == KRN_TYPE_S8)
        return (uint8_t)(row[k] ^ 0x80);
    const int nibble = (row[k / 2] >> nibble_shift(k, job->source->high_nibble_first)) & 15;
    return (uint8_t)(format == KRN_TYPE_S4 ? nibble ^ 8 : nibble);
}

static void pack_channel(const pack_job *job, int64_t group, int64_t channel, int64_t c, uint8_t *codes) {
    const krn_layout *layout = job->layout;
    const uint8_t *row = (const uint8_t *)job->source->codes + channel * job->source->codes_ld_bytes;
    const int64_t start = krn_layout_group_start(layout, group);
    const int64_t length = krn_layout_group_length(layout, group);
    for (int64_t k = 0; k < length; k++) {
        uint8_t *byte = codes + krn_layout_code_byte(layout, c, k);
        const int shift = krn_layout_code_shift(layout, k);
        const uint8_t code = stored_code(job, row, input_of(job, start + k));
        const unsigned mask = layout->block_k == 8 ? 15u << shift : 255u;
        *byte = (uint8_t)((*byte & ~mask) | ((unsigned)code << shift));
    }
}

static int64_t scale_bytes(const krn_layout *layout) {
    return krn_layout_is_nested(layout) ? 1 : krn_float_bytes(layout->scale_type);
}

static void pack_group(const pack_job *job, int64_t panel, int64_t g) {
    const krn_layout *layout = job->layout;
    const krn_weights_source *source = job->source;
    uint8_t *panel_start = job->packed + panel * layout->panel_bytes;
    uint8_t *codes = panel_start + krn_layout_group_offset(layout, g);
    uint8_t *scales = panel_start + krn_layout_scales_offset(layout, g);
    uint8_t *offsets = panel_start + layout->offsets_at;
    const int64_t blocks = krn_layout_blocks(layout, g), bytes = scale_bytes(layout);
    int16_t zeros[KRN_PANEL_CHANNELS] = {0};
    for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++) {
        const int64_t channel = panel * KRN_PANEL_CHANNELS + c;
        const int64_t index = krn_layout_scale_index(layout, channel, g);
        if (channel < layout->n && krn_layout_has_zeros(layout))
            zeros[c] = (int16_t)source->zero_points[index];
        const int32_t zero = krn_layout_has_zeros(layout) ? zeros[c] : krn_layout_fixed_zero(layout);
        /* Padding first, real codes over it. */
        const uint8_t padding = (uint8_t)(layout->block_k == 8 ? zero * 0x11 : zero);
        for (int64_t b = 0; b < blocks; b++)
            memset(codes + b * KRN_BLOCK_BYTES + 4 * c, padding, 4);
        if (channel >= layout->n)
            continue;
        pack_channel(job, g, channel, c, codes);
        memcpy(scales + c * bytes, (const uint8_t *)source->scales + index * bytes, (size_t)bytes);
        if (layout->zero_type != 0) {
            const int64_t size = krn_float_bytes(layout->zero_type);
            memcpy(offsets + (g * KRN_PANEL_CHANNELS + c) * size, (const uint8_t *)source->zero_offsets + index * size,
                   (size_t)size);
        }
    }
    if (krn_layout_has_zeros(layout))
        memcpy(panel_start + krn_layout_zeros_offset(layout, g), zeros, sizeof zeros);
}

static void pack_panel(void *task_context, int64_t panel) {
    const pack_job *job = task_context;
    for (int64_t g = 0; g < job->layout->num_groups; g++)
        pack_group(job, panel, g);
}

static void unpack_channel(const pack_job *job, int64_t group, int64_t channel, int64_t c, const uint8_t *codes) {
    const krn_layout *layout = job->layout;
    uint8_t *row = (uint8_t *)job->parts->codes + channel * job->parts->codes_ld_bytes;
    const int64_t start = krn_layout_group_start(layout, group);
    const int64_t length = krn_layout_group_length(layout, group);
    for (int64_t i = 0; i < length; i++) {
        const int64_t k = input_of(job, start + i);
        const unsigned stored = (unsigned)codes[krn_layout_code_byte(layout, c, i)] >> krn_layout_code_shift(layout, i);
        if (layout->format == KRN_TYPE_S8) {
            row[k] = (uint8_t)(stored ^ 0x80);
            continue;
        }
        const unsigned nibble = (layout->format == KRN_TYPE_S4 ? stored ^ 8 : stored) & 15;
        row[k / 2] = (uint8_t)(row[k / 2] | nibble << nibble_shift(k, job->parts->high_nibble_first));
    }
}

/* The first of the groups that share a scale: the one that gives it back. */
static int owns_scale(const krn_layout *layout, int64_t channel, int64_t group) {
    return layout->flat_size == 0 ||
           (channel * layout->k + krn_layout_group_start(layout, group)) % layout->flat_size == 0;
}

static void unpack_scale(const pack_job *job, int64_t panel, int64_t g, int64_t c) {
    const krn_layout *layout = job->layout;
    const krn_weights_parts *parts = job->parts;
    const uint8_t *panel_start = job->packed_source + panel * layout->panel_bytes;
    const int64_t index = krn_layout_scale_index(layout, panel * KRN_PANEL_CHANNELS + c, g);
    const int64_t bytes = scale_bytes(layout);
    if (parts->scales != NULL)
        memcpy((uint8_t *)parts->scales + index * bytes, panel_start + krn_layout_scales_offset(layout, g) + c * bytes,
               (size_t)bytes);
    if (parts->zero_points != NULL && krn_layout_has_zeros(layout)) {
        int16_t zero;
        memcpy(&zero, panel_start + krn_layout_zeros_offset(layout, g) + 2 * c, sizeof zero);
        parts->zero_points[index] = zero;
    }
    if (parts->zero_offsets != NULL && layout->zero_type != 0) {
        const int64_t size = krn_float_bytes(layout->zero_type);
        memcpy((uint8_t *)parts->zero_offsets + index * size,
               panel_start + layout->offsets_at + (g * KRN_PANEL_CHANNELS + c) * size, (size_t)size);
    }
}

static void unpack_panel(void *task_context, int64_t panel) {
    const pack_job *job = task_context;
    const krn_layout *layout = job->layout;
    const uint8_t *panel_start = job->packed_source + panel * layout->panel_bytes;
    for (int64_t c = 0; c < KRN_PANEL_CHANNELS && panel * KRN_PANEL_CHANNELS + c < layout->n; c++) {
        const int64_t channel = panel * KRN_PANEL_CHANNELS + c;
        /* Nibbles are put in one by one, in any order. */
        if (job->parts->codes != NULL && layout->block_k == 8)
            memset((uint8_t *)job->parts->codes + channel * job->parts->codes_ld_bytes, 0,
                   (size_t)krn_type_row_bytes(layout->format, layout->k));
        for (int64_t g = 0; g < layout->num_groups; g++) {
            if (job->parts->codes != NULL)
                unpack_channel(job, g, channel, c, panel_start + krn_layout_group_offset(layout, g));
            if (owns_scale(layout, channel, g))
                unpack_scale(job, panel, g, c);
        }
    }
}

krn_status krn_order_inputs(const krn_layout *layout, const int32_t *group_index, int32_t *permutation) {
    void *memory = NULL;
    const krn_status status = krn_memory_allocate((layout->num_groups + 1) * (int64_t)sizeof(int64_t), &memory);
    if (status != KRN_OK)
        return status;
    int64_t *taken = memory;
    for (int64_t g = 0; g < layout->num_groups; g++)
        taken[g] = 0;
    krn_status result = KRN_OK;
    for (int64_t k = 0; k < layout->k && result == KRN_OK; k++) {
        const int32_t g = group_index[k];
        if (g < 0 || g >= layout->num_groups)
            result = krn_fail(KRN_ERROR_INVALID_ARGUMENT, "source->group_index[%lld] is %d, not in 0..%lld",
                              (long long)k, g, (long long)(layout->num_groups - 1));
        /* All groups full means that none has fewer, as their lengths add up to K. */
        else if (taken[g] == krn_layout_group_length(layout, g))
            result = krn_fail(KRN_ERROR_SHAPE, "source->group_index gives group %d more than its %lld inputs", g,
                              (long long)taken[g]);
        else
            permutation[krn_layout_group_start(layout, g) + taken[g]++] = (int32_t)k;
    }
    krn_memory_free(memory);
    return result;
}

static void copy_floats(float *to, const float *from, int64_t count) {
    if (to != NULL && count > 0)
        memcpy(to, from, (size_t)count * sizeof(float));
}

static void pack_tables(const krn_layout *layout, const krn_weights_source *source, uint8_t *packed) {
    if (layout->format == KRN_TYPE_C4)
        copy_floats((float *)(packed + layout->codebook_at), source->codebook, KRN_CODEBOOK_SIZE);
    if (!krn_layout_is_nested(layout))
        return;
    copy_floats((float *)(packed + layout->map_at), &source->scale_offset, 1);
    copy_floats((float *)(packed + layout->nested_at) - KRN_SCALE_MAP_SIZE, source->scale_map, KRN_SCALE_MAP_SIZE);
    copy_floats((float *)(packed + layout->nested_at), source->nested_scales, layout->num_nested);
}

static void unpack_tables(const krn_layout *layout, const uint8_t *packed, const krn_weights_parts *parts) {
    if (layout->format == KRN_TYPE_C4)
        copy_floats(parts->codebook, krn_layout_codebook(layout, packed), KRN_CODEBOOK_SIZE);
    if (krn_layout_is_nested(layout)) {
        const float offset = krn_nested_offset(layout, packed);
        copy_floats(parts->scale_offset, &offset, 1);
        copy_floats(parts->scale_map, krn_scale_map(layout, packed), KRN_SCALE_MAP_SIZE);
        copy_floats(parts->nested_scales, krn_nested_scales(layout, packed), layout->num_nested);
    }
    const int32_t *permutation = krn_layout_permutation(layout, packed);
    if (permutation != NULL && parts->group_index != NULL)
        for (int64_t i = 0; i < layout->k; i++)
            parts->group_index[permutation[i]] = (int32_t)(i / layout->group_size);
}

void krn_pack(krn_context *context, const krn_layout *layout, const krn_weights_source *source, uint8_t *packed) {
    pack_job job = {
        .layout = layout, .source = source, .packed = packed, .permutation = krn_layout_permutation(layout, packed)};
    pack_tables(layout, source, packed);
    krn_context_run(context, layout->num_panels, pack_panel, &job);
}

void krn_unpack(krn_context *context, const krn_layout *layout, const uint8_t *packed, const krn_weights_parts *parts) {
    pack_job job = {.layout = layout,
                    .parts = parts,
                    .packed_source = packed,
                    .permutation = krn_layout_permutation(layout, packed)};
    unpack_tables(layout, packed, parts);
    krn_context_run(context, layout->num_panels, unpack_panel, &job);
}
