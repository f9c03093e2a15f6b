/* The epilogue, in the order that gemm.h promises. Written in the verbs that all simd_*.h share and
 * compiled once per instruction set by the variant that includes it. A row of a panel stays in registers from t to
 * Y. */
#ifndef KRN_GEMM_STORE_TILE_H
#define KRN_GEMM_STORE_TILE_H

#include "common/convert.h"
#include "gemm/gemm_kernel.h"
#if defined(KRN_ARM64)
#include "common/simd_neon.h"
#elif defined(__AVX512F__)
#include "common/simd_avx512.h"
#include "gemm/seam_avx512.h"
#else
#include "common/simd_avx2.h"
#endif

enum { KRN_PANEL_VECS = KRN_PANEL_CHANNELS / KRN_VEC_LANES };

/* Elements first..first + channels - 1 of `row` of `type`; the lanes behind them are not used. */
KRN_ALWAYS_INLINE void krn_load_channels(vec_f y[KRN_PANEL_VECS], int32_t type, const void *row, int64_t first,
                                         int32_t channels) {
    float values[KRN_PANEL_CHANNELS] = {0};
    const float *from = values;
    if (type == KRN_TYPE_F32 && channels == KRN_PANEL_CHANNELS)
        from = (const float *)row + first;
    else
        krn_widen(values, type, row, first, channels);
    KRN_UNROLL
    for (int32_t v = 0; v < KRN_PANEL_VECS; v++)
        y[v] = load_f(from + v * KRN_VEC_LANES);
}

/* Narrows or copies a row of channels to `to`. */
KRN_ALWAYS_INLINE void krn_convert_channels(void *to, int32_t type, const float *values, int32_t channels) {
    if (type == KRN_TYPE_F32)
        memcpy(to, values, (size_t)channels * sizeof(float));
    else if (type == KRN_TYPE_F16)
        krn_narrow_f16(to, values, channels);
    else
        krn_narrow_bf16(to, values, channels);
}

/* f32 goes from registers to Y; 16-bit types through a line of their own. `streams`: past the caches
 * (gemm_kernel.h). */
KRN_ALWAYS_INLINE void krn_store_channels(const vec_f y[KRN_PANEL_VECS], int32_t type, void *to, int32_t channels,
                                          int streams) {
    float values[KRN_PANEL_CHANNELS];
    if (type == KRN_TYPE_F32 && channels == KRN_PANEL_CHANNELS) {
        KRN_UNROLL
        for (int32_t v = 0; v < KRN_PANEL_VECS; v++) {
            if (streams)
                stream_f((float *)to + v * KRN_VEC_LANES, y[v]);
            else
                store_f((float *)to + v * KRN_VEC_LANES, y[v]);
        }
        return;
    }
    KRN_UNROLL
    for (int32_t v = 0; v < KRN_PANEL_VECS; v++)
        store_f(values + v * KRN_VEC_LANES, y[v]);
    if (!streams || type == KRN_TYPE_F32 || channels < KRN_PANEL_CHANNELS) {
        krn_convert_channels(to, type, values, channels);
        return;
    }
    float line[KRN_PANEL_CHANNELS / 2];
    krn_convert_channels(line, type, values, KRN_PANEL_CHANNELS);
    KRN_UNROLL
    for (int32_t v = 0; v < KRN_PANEL_VECS / 2; v++)
        stream_f((float *)to + v * KRN_VEC_LANES, load_f(line + v * KRN_VEC_LANES));
}

KRN_ALWAYS_INLINE void krn_add_channels(vec_f y[KRN_PANEL_VECS], int32_t type, const void *row, int64_t first,
                                        int32_t channels) {
    vec_f addend[KRN_PANEL_VECS];
    krn_load_channels(addend, type, row, first, channels);
    KRN_UNROLL
    for (int32_t v = 0; v < KRN_PANEL_VECS; v++)
        y[v] = add_f(y[v], addend[v]);
}

KRN_ALWAYS_INLINE void krn_scale_channels(vec_f y[KRN_PANEL_VECS], float scale) {
    KRN_UNROLL
    for (int32_t v = 0; v < KRN_PANEL_VECS; v++)
        y[v] = mul_f(y[v], broadcast_f32(scale));
}

/* 1 if the variant has written row r by its seam. */
KRN_ALWAYS_INLINE int krn_store_seamed(const krn_store_job *job, int32_t r, const vec_f y[KRN_PANEL_VECS], void *to,
                                       int32_t channels) {
#if defined(__AVX512F__)
    if (job->seams == NULL)
        return 0;
    float *const seam = job->seams + r * KRN_SEAM_ELEMS;
    if (channels == KRN_PANEL_CHANNELS) {
        krn_stream_seamed(to, y, seam, job->opens_seams, job->closes_seams);
        return 1;
    }
    if (!job->opens_seams)
        krn_close_seam(to, seam);
#else
    (void)job, (void)r, (void)y, (void)to, (void)channels;
#endif
    return 0;
}

KRN_ALWAYS_INLINE void krn_store_rows(const krn_store_job *job, int32_t channels) {
    const krn_gemm_output *output = job->output;
    const int64_t element_bytes = output->type == KRN_TYPE_F32 ? 4 : 2;
    const float *scales = job->activations->scales;
    for (int32_t r = 0; r < job->rows; r++) {
        const int64_t row = job->first_row + r;
        vec_f y[KRN_PANEL_VECS];
        krn_load_channels(y, KRN_TYPE_F32, job->t, r * KRN_PANEL_CHANNELS, KRN_PANEL_CHANNELS);
        if (scales != NULL)
            krn_scale_channels(y, scales[row]);
        if (job->side != NULL)
            krn_add_channels(y, KRN_TYPE_F32, job->side, r * KRN_PANEL_CHANNELS, KRN_PANEL_CHANNELS);
        if (output->bias != NULL)
            krn_add_channels(y, KRN_TYPE_F32, output->bias, job->first_channel, channels);
        if (output->residual != NULL)
            krn_add_channels(y, output->type, output->residual, row * output->residual_ld + job->first_channel,
                             channels);
        uint8_t *to = (uint8_t *)output->data + (row * output->ld + job->first_channel) * element_bytes;
        if (!krn_store_seamed(job, r, y, to, channels))
            krn_store_channels(y, output->type, to, channels, job->streams);
    }
}

KRN_ALWAYS_INLINE void krn_store_tile(const krn_store_job *job) {
    /* A constant width lets the compiler drop the tails. */
    if (job->channels == KRN_PANEL_CHANNELS)
        krn_store_rows(job, KRN_PANEL_CHANNELS);
    else
        krn_store_rows(job, job->channels);
}

#endif
