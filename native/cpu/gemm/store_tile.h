/* The epilogue, in the order that gemm.h promises. Plain C over rows of 32, which every compiler turns into full vectors;
 * compiled once per instruction set by the variant that includes it. */
#ifndef KRN_GEMM_STORE_TILE_H
#define KRN_GEMM_STORE_TILE_H

#include "common/convert.h"
#include "gemm/gemm_kernel.h"

KRN_ALWAYS_INLINE void krn_store_row(const krn_store_job *job, int32_t r, int32_t channels) {
    const krn_gemm_output *output = job->output;
    const int64_t row = job->first_row + r;
    float y[KRN_PANEL_CHANNELS];
    memcpy(y, job->t + r * KRN_PANEL_CHANNELS, sizeof y);
    if (job->activations->scales != NULL) {
        const float scale = job->activations->scales[row];
        for (int32_t c = 0; c < channels; c++)
            y[c] *= scale;
    }
    if (output->bias != NULL)
        for (int32_t c = 0; c < channels; c++)
            y[c] += output->bias[job->first_channel + c];
    if (output->residual != NULL) {
        float residual[KRN_PANEL_CHANNELS];
        krn_widen(residual, output->type, output->residual, row * output->residual_ld + job->first_channel, channels);
        for (int32_t c = 0; c < channels; c++)
            y[c] += residual[c];
    }
    const int64_t to = row * output->ld + job->first_channel;
    if (output->type == KRN_TYPE_F32)
        memcpy((float *)output->data + to, y, (size_t)channels * sizeof(float));
    else if (output->type == KRN_TYPE_F16)
        krn_narrow_f16((uint16_t *)output->data + to, y, channels);
    else
        krn_narrow_bf16((uint16_t *)output->data + to, y, channels);
}

KRN_ALWAYS_INLINE void krn_store_tile(const krn_store_job *job) {
    for (int32_t r = 0; r < job->rows; r++) {
        /* A constant width lets the compiler drop the tails. */
        if (job->channels == KRN_PANEL_CHANNELS)
            krn_store_row(job, r, KRN_PANEL_CHANNELS);
        else
            krn_store_row(job, r, job->channels);
    }
}

#endif
