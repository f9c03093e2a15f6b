/* Scales and offsets for AVX2. */
#include "gemm/scales_avx2.h"

#include "gemm/scales_variants.h"
#include "gemm/widen_nested.h"

/* Rows that share the loads of the offsets: chains of fma enough to hide its latency. */
enum { START_ROWS = 4 };

/* t of `count` rows and 16 channels, which share the loads of the offsets (krn_start_job). */
KRN_ALWAYS_INLINE void start_half_rows(const krn_start_job *job, int32_t first, int32_t count, int32_t channel) {
    const krn_layout *layout = job->layout;
    const uint8_t *offsets = krn_panel_offsets(layout, job->packed, job->panel);
    const int64_t stride = KRN_PANEL_CHANNELS * krn_float_bytes(layout->zero_type);
    ymm_f t[START_ROWS][2];
    KRN_UNROLL
    for (int32_t r = 0; r < count; r++)
        t[r][0] = t[r][1] = zero_f();
    for (int64_t g = 0; g < layout->num_groups; g++) {
        const float *x_sums = job->x_sums + g * job->rows + first;
        ymm_f o[2];
        load_floats(o, layout->zero_type, offsets + g * stride, channel);
        KRN_UNROLL
        for (int32_t r = 0; r < count; r++) {
            const ymm_f x_sum = broadcast_f32(x_sums[r]);
            t[r][0] = fma_f(x_sum, o[0], t[r][0]);
            t[r][1] = fma_f(x_sum, o[1], t[r][1]);
        }
    }
    KRN_UNROLL
    for (int32_t r = 0; r < count; r++) {
        store_f(job->t + (first + r) * KRN_PANEL_CHANNELS + channel, t[r][0]);
        store_f(job->t + (first + r) * KRN_PANEL_CHANNELS + channel + 8, t[r][1]);
    }
}

KRN_ALWAYS_INLINE void start_rows(const krn_start_job *job, int32_t first, int32_t count) {
    start_half_rows(job, first, count, 0);
    start_half_rows(job, first, count, 16);
}

void krn_scales_avx2_widen(const krn_scales_job *job) {
    krn_look_up_scales(job);
    krn_finish_scales(job);
}

void krn_scales_avx2_start(const krn_start_job *job) {
    int32_t r = 0;
    for (; r + START_ROWS <= job->rows; r += START_ROWS)
        start_rows(job, r, START_ROWS);
    for (; r < job->rows; r++)
        start_rows(job, r, 1);
}
