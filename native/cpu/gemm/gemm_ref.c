/* The scalar reference of every cell: the contract of gemm.h, written down as plainly as C allows. */
#include "common/convert.h"
#include "common/fma.h"
#include "gemm/gemm_variants.h"

#include <string.h>

/* A channel of a panel at a group, as numbers. */
typedef struct {
    const krn_layout *layout;
    const uint8_t *codes;
    const float *codebook;
    int64_t channel, start, length;
    /* What is subtracted from a code; not with a codebook. */
    int32_t zero;
    float scale;
} group_channel;

static group_channel channel_of(const krn_tile_job *job, int64_t group, int64_t channel) {
    const krn_layout *layout = job->layout;
    group_channel c = {.layout = layout,
                       .codes = job->panel + krn_layout_group_offset(layout, group),
                       .codebook = krn_layout_codebook(layout, job->packed),
                       .channel = channel,
                       .start = krn_layout_group_start(layout, group),
                       .length = krn_layout_group_length(layout, group),
                       .zero = krn_layout_fixed_zero(layout)};
    if (krn_layout_has_zeros(layout)) {
        int16_t zero;
        memcpy(&zero, krn_tile_zeros(job, group) + 2 * channel, sizeof zero);
        c.zero = zero;
    }
    /* Channels of the padding have no scale, and nobody reads their result. */
    if (job->panel_index * KRN_PANEL_CHANNELS + channel < layout->n)
        c.scale = krn_scale_at(layout, job->packed, job->panel_index, group, channel);
    return c;
}

static int32_t code_of(const group_channel *c, int64_t k) {
    const uint8_t byte = c->codes[krn_layout_code_byte(c->layout, c->channel, k)];
    return c->layout->block_k == 8 ? (byte >> krn_layout_code_shift(c->layout, k)) & 15 : byte;
}

/* Input k of the group, before scale and offset. */
static float weight_of(const group_channel *c, int64_t k) {
    const int32_t code = code_of(c, k);
    return c->codebook != NULL ? c->codebook[code] : (float)(code - c->zero);
}

/* Input k of a row in the packed order is this element of it. */
static int64_t input_of(const krn_pack_job *job, int64_t k) {
    return job->permutation == NULL ? k : job->permutation[k];
}

/* Input k of a row of integers in the packed order, less its zero point. */
static int32_t integer_of(const krn_pack_job *job, int64_t row, int64_t k) {
    const krn_activations *a = job->activations;
    const int64_t input = input_of(job, k);
    uint8_t code;
    if (job->dynamic != NULL)
        krn_dynamic_encode(job->dynamic, row, k, 1, &code);
    else if (a->type == KRN_TYPE_S4)
        code = ((const uint8_t *)a->data)[row * krn_type_row_bytes(KRN_TYPE_S4, a->ld) + input / 2];
    else
        code = ((const uint8_t *)a->data)[row * a->ld + input];
    switch (a->type) {
    case KRN_TYPE_S8: return (int8_t)code;
    case KRN_TYPE_U8: return code - a->zero_points[row];
    default: return (((code >> (input % 2 * 4)) & 15) ^ 8) - 8;
    }
}

/* Packed form: x[row][K] as int32 with the zero point subtracted. */
void krn_gemm_ref_pack_rows(const krn_pack_job *job) {
    const int64_t width = job->layout->k;
    int32_t *x = job->x;
    for (int32_t r = 0; r < job->rows; r++)
        for (int64_t k = 0; k < width; k++)
            x[r * width + k] = integer_of(job, job->first_row + r, k);
}

/* The sum of a row's activations over a group, exact and rounded once. */
static float integer_sum(const krn_tile_job *job, int32_t r, int64_t group) {
    const int32_t *x = (const int32_t *)job->x + r * job->layout->k + krn_layout_group_start(job->layout, group);
    int64_t sum = 0;
    for (int64_t k = 0; k < krn_layout_group_length(job->layout, group); k++)
        sum += x[k];
    return (float)sum;
}

void krn_gemm_ref_tile(const krn_tile_job *job) {
    const krn_layout *layout = job->layout;
    const int32_t *x = job->x;
    for (int32_t r = 0; r < job->rows; r++) {
        for (int64_t n = 0; n < KRN_PANEL_CHANNELS; n++) {
            float t = 0;
            for (int64_t g = 0; g < layout->num_groups && layout->zero_type != 0; g++)
                t = krn_fmaf(integer_sum(job, r, g), krn_offset_at(layout, job->packed, job->panel_index, g, n), t);
            for (int64_t g = 0; g < layout->num_groups; g++) {
                const group_channel channel = channel_of(job, g, n);
                const int32_t *x_group = x + r * layout->k + channel.start;
                int64_t acc = 0;
                for (int64_t k = 0; k < channel.length; k++)
                    acc += (int64_t)x_group[k] * (code_of(&channel, k) - channel.zero);
                t = krn_fmaf((float)acc, channel.scale, t);
            }
            job->t[r * KRN_PANEL_CHANNELS + n] = t;
        }
    }
}

/* Packed form: x[row][K] as f32. */
void krn_gemm_float_ref_pack_rows(const krn_pack_job *job) {
    const krn_activations *a = job->activations;
    const int64_t width = job->layout->k;
    float *x = job->x;
    for (int32_t r = 0; r < job->rows; r++)
        for (int64_t k = 0; k < width; k++)
            x[r * width + k] = krn_float_at(a->type, a->data, (job->first_row + r) * a->ld + input_of(job, k));
}

/* The sum of a row's activations over a group, in binary64 and rounded once. */
static float float_sum(const krn_tile_job *job, int32_t r, int64_t group) {
    const float *x = (const float *)job->x + r * job->layout->k + krn_layout_group_start(job->layout, group);
    double sum = 0;
    for (int64_t k = 0; k < krn_layout_group_length(job->layout, group); k++)
        sum += x[k];
    return (float)sum;
}

void krn_gemm_float_ref_tile(const krn_tile_job *job) {
    const krn_layout *layout = job->layout;
    const float *x = job->x;
    for (int32_t r = 0; r < job->rows; r++) {
        for (int64_t n = 0; n < KRN_PANEL_CHANNELS; n++) {
            float t = 0;
            for (int64_t g = 0; g < layout->num_groups && layout->zero_type != 0; g++)
                t = krn_fmaf(float_sum(job, r, g), krn_offset_at(layout, job->packed, job->panel_index, g, n), t);
            for (int64_t g = 0; g < layout->num_groups; g++) {
                const group_channel channel = channel_of(job, g, n);
                const float *x_group = x + r * layout->k + channel.start;
                for (int64_t start = 0; start < channel.length; start += KRN_FLOAT_BLOCK_K) {
                    float acc = 0;
                    for (int64_t k = start; k < channel.length && k < start + KRN_FLOAT_BLOCK_K; k++)
                        acc = krn_fmaf(x_group[k], weight_of(&channel, k), acc);
                    t = krn_fmaf(acc, channel.scale, t);
                }
            }
            job->t[r * KRN_PANEL_CHANNELS + n] = t;
        }
    }
}

static void store(const krn_store_job *job) {
    const krn_gemm_output *output = job->output;
    for (int32_t r = 0; r < job->rows; r++) {
        const int64_t row = job->first_row + r;
        for (int32_t c = 0; c < job->channels; c++) {
            const int64_t n = job->first_channel + c;
            float y = job->t[r * KRN_PANEL_CHANNELS + c];
            if (job->activations->scales != NULL)
                y *= job->activations->scales[row];
            if (job->side != NULL)
                y += job->side[r * KRN_PANEL_CHANNELS + c];
            if (output->bias != NULL)
                y += output->bias[n];
            const int64_t from = row * output->residual_ld + n;
            const int64_t to = row * output->ld + n;
            switch (output->type) {
            case KRN_TYPE_F32:
                if (output->residual != NULL)
                    y += ((const float *)output->residual)[from];
                ((float *)output->data)[to] = y;
                break;
            case KRN_TYPE_F16:
                if (output->residual != NULL)
                    y += krn_f16_to_f32(((const uint16_t *)output->residual)[from]);
                ((uint16_t *)output->data)[to] = krn_f32_to_f16(y);
                break;
            default:
                if (output->residual != NULL)
                    y += krn_bf16_to_f32(((const uint16_t *)output->residual)[from]);
                ((uint16_t *)output->data)[to] = krn_f32_to_bf16(y);
                break;
            }
        }
    }
}

void krn_gemm_ref_store(const krn_store_job *job) { store(job); }

void krn_gemm_float_ref_store(const krn_store_job *job) { store(job); }
