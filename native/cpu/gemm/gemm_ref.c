/* The scalar reference of every cell: the contract of gemm.h, written down as plainly as C allows. */
#include "common/half.h"
#include "gemm/gemm_variants.h"

#include <math.h>
#include <string.h>

/* A channel of a panel, as numbers. */
typedef struct {
    const krn_layout *layout;
    const uint8_t *group;
    int64_t blocks;
    int64_t channel;
} group_channel;

static group_channel channel_of(const krn_tile_job *job, int64_t group, int64_t channel) {
    return (group_channel){.layout = job->layout,
                           .group = job->panel + krn_layout_group_offset(job->layout, group),
                           .blocks = krn_layout_blocks(job->layout, group),
                           .channel = channel};
}

static int32_t zero_of(const group_channel *c) {
    if (c->layout->format != KRN_TYPE_U4)
        return krn_layout_fixed_zero(c->layout);
    int16_t zero;
    memcpy(&zero, c->group + c->blocks * KRN_BLOCK_BYTES + KRN_SCALES_BYTES + 2 * c->channel, sizeof zero);
    return zero;
}

static float scale_of(const group_channel *c) {
    float scale;
    memcpy(&scale, c->group + c->blocks * KRN_BLOCK_BYTES + 4 * c->channel, sizeof scale);
    return scale;
}

/* Code minus zero point of input k of the group. */
static int32_t weight_of(const group_channel *c, int64_t k, int32_t zero) {
    const uint8_t byte = c->group[krn_layout_code_byte(c->layout, c->channel, k)];
    const int32_t code = c->layout->block_k == 8 ? (byte >> krn_layout_code_shift(c->layout, k)) & 15 : byte;
    return code - zero;
}

static float activation_to_f32(const krn_activations *a, int64_t index) {
    switch (a->type) {
    case KRN_TYPE_F32: return ((const float *)a->data)[index];
    case KRN_TYPE_F16: return krn_f16_to_f32(((const uint16_t *)a->data)[index]);
    default: return krn_bf16_to_f32(((const uint16_t *)a->data)[index]);
    }
}

/* Packed form: x[row][K] as int32 with the zero point subtracted. */
void krn_gemm_ref_pack_rows(const krn_pack_job *job) {
    const krn_activations *a = job->activations;
    const int64_t width = job->layout->k;
    int32_t *x = job->x;
    for (int32_t r = 0; r < job->rows; r++) {
        const int64_t row = job->first_row + r;
        for (int64_t k = 0; k < width; k++) {
            const int64_t index = row * a->ld + k;
            x[r * width + k] = a->type == KRN_TYPE_S8 ? ((const int8_t *)a->data)[index]
                                                      : ((const uint8_t *)a->data)[index] - a->zero_points[row];
        }
    }
}

void krn_gemm_ref_tile(const krn_tile_job *job) {
    const krn_layout *layout = job->layout;
    const int32_t *x = job->x;
    for (int32_t r = 0; r < job->rows; r++) {
        for (int64_t n = 0; n < KRN_PANEL_CHANNELS; n++) {
            float t = job->t[r * KRN_PANEL_CHANNELS + n];
            for (int64_t g = 0; g < layout->num_groups; g++) {
                const group_channel channel = channel_of(job, g, n);
                const int32_t zero = zero_of(&channel);
                const int32_t *x_group = x + r * layout->k + krn_layout_group_start(layout, g);
                int64_t acc = 0;
                for (int64_t k = 0; k < krn_layout_group_length(layout, g); k++)
                    acc += (int64_t)x_group[k] * weight_of(&channel, k, zero);
                t = fmaf((float)acc, scale_of(&channel), t);
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
            x[r * width + k] = activation_to_f32(a, (job->first_row + r) * a->ld + k);
}

void krn_gemm_float_ref_tile(const krn_tile_job *job) {
    const krn_layout *layout = job->layout;
    const float *x = job->x;
    for (int32_t r = 0; r < job->rows; r++) {
        for (int64_t n = 0; n < KRN_PANEL_CHANNELS; n++) {
            float t = job->t[r * KRN_PANEL_CHANNELS + n];
            for (int64_t g = 0; g < layout->num_groups; g++) {
                const group_channel channel = channel_of(job, g, n);
                const int32_t zero = zero_of(&channel);
                const float *x_group = x + r * layout->k + krn_layout_group_start(layout, g);
                const int64_t length = krn_layout_group_length(layout, g);
                for (int64_t start = 0; start < length; start += KRN_FLOAT_BLOCK_K) {
                    float acc = 0;
                    for (int64_t k = start; k < length && k < start + KRN_FLOAT_BLOCK_K; k++)
                        acc = fmaf(x_group[k], (float)weight_of(&channel, k, zero), acc);
                    t = fmaf(acc, scale_of(&channel), t);
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
