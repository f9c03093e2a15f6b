/* Scales and offsets for NEON. */
#include "gemm/scales_neon.h"

#include "gemm/scales_variants.h"
#include "gemm/widen_nested.h"

/* t of a row (krn_start_job): 8 chains of fma. */
KRN_ALWAYS_INLINE void start_row(const krn_start_job *job, int32_t row) {
    const krn_layout *layout = job->layout;
    const uint8_t *offsets = krn_panel_offsets(layout, job->packed, job->panel);
    const int64_t stride = KRN_PANEL_CHANNELS * krn_float_bytes(layout->zero_type);
    neon_f t[PANEL_VECS];
    KRN_UNROLL
    for (int32_t v = 0; v < PANEL_VECS; v++)
        t[v] = zero_f();
    for (int64_t g = 0; g < layout->num_groups; g++) {
        const neon_f x_sum = broadcast_f32(job->x_sums[g * job->rows + row]);
        neon_f o[PANEL_VECS];
        load_floats(o, layout->zero_type, offsets + g * stride, 0, PANEL_VECS);
        KRN_UNROLL
        for (int32_t v = 0; v < PANEL_VECS; v++)
            t[v] = fma_f(x_sum, o[v], t[v]);
    }
    KRN_UNROLL
    for (int32_t v = 0; v < PANEL_VECS; v++)
        store_f(job->t + row * KRN_PANEL_CHANNELS + v * KRN_VEC_LANES, t[v]);
}

void krn_scales_neon_widen(const krn_scales_job *job) {
    krn_look_up_scales(job);
    krn_finish_scales(job);
}

void krn_scales_neon_start(const krn_start_job *job) {
    for (int32_t r = 0; r < job->rows; r++)
        start_row(job, r);
}
