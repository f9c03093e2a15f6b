/* Scales and offsets for AVX-512. */
#include "gemm/scales_avx512.h"

#include "gemm/scales_variants.h"
#include "gemm/widen_nested.h"

/* Rows that share the loads of the offsets: chains of fma enough to hide its latency. */
enum { START_ROWS = 4 };

/* t of `count` rows, which share the loads of the offsets (krn_start_job). */
KRN_ALWAYS_INLINE void start_rows(const krn_start_job *job, int32_t first, int32_t count) {
    const krn_layout *layout = job->layout;
    const uint8_t *offsets = krn_panel_offsets(layout, job->packed, job->panel);
    const int64_t stride = KRN_PANEL_CHANNELS * krn_float_bytes(layout->zero_type);
    zmm_f t[START_ROWS][2];
    KRN_UNROLL
    for (int32_t r = 0; r < count; r++)
        t[r][0] = t[r][1] = zero_f();
    for (int64_t g = 0; g < layout->num_groups; g++) {
        const float *x_sums = job->x_sums + g * job->rows + first;
        zmm_f o[2];
        load_floats(o, layout->zero_type, offsets + g * stride);
        KRN_UNROLL
        for (int32_t r = 0; r < count; r++) {
            const zmm_f x_sum = broadcast_f32(x_sums[r]);
            t[r][0] = fma_f(x_sum, o[0], t[r][0]);
            t[r][1] = fma_f(x_sum, o[1], t[r][1]);
        }
    }
    KRN_UNROLL
    for (int32_t r = 0; r < count; r++) {
        store_f(job->t + (first + r) * KRN_PANEL_CHANNELS, t[r][0]);
        store_f(job->t + (first + r) * KRN_PANEL_CHANNELS + 16, t[r][1]);
    }
}

/* map[code] for 16 codes: the map is 8 tables of 32 entries in 16 registers, and the upper bits of a code choose
 * among 8 lookups. The plain loop takes 12 ns for the 32 scales of a group, and a GEMV on NF4 notices: +23% against
 * f32 scales; this one +11%. */
KRN_ALWAYS_INLINE zmm_f look_up(const zmm_f map[16], const uint8_t *codes) {
    const zmm_i code = widen_u8(codes);
    zmm_f entry[8];
    KRN_UNROLL
    for (int i = 0; i < 8; i++)
        entry[i] = lookup_f32x2(map[2 * i], map[2 * i + 1], code);
    KRN_UNROLL
    for (int bit = 5, count = 4; bit < 8; bit++, count /= 2) {
        KRN_UNROLL
        for (int i = 0; i < count; i++)
            entry[i] = select_f(entry[2 * i], entry[2 * i + 1], code, bit);
    }
    return entry[0];
}

void krn_scales_avx512_widen(const krn_scales_job *job) {
    const uint8_t *codes = krn_nested_codes(job);
    const float *table = krn_scale_map(job->layout, job->packed);
    zmm_f map[16];
    KRN_UNROLL
    for (int i = 0; i < 16; i++)
        map[i] = load_f(table + 16 * i);
    for (int64_t i = 0; i < job->num_groups * KRN_PANEL_CHANNELS; i += 16) {
        if (job->ahead != NULL)
            KRN_PREFETCH(job->ahead + i / 16 * KRN_LINE_BYTES);
        store_f(job->scales + i, look_up(map, codes + i));
    }
    krn_finish_scales(job);
}

void krn_scales_avx512_start(const krn_start_job *job) {
    int32_t r = 0;
    for (; r + START_ROWS <= job->rows; r += START_ROWS)
        start_rows(job, r, START_ROWS);
    for (; r < job->rows; r++)
        start_rows(job, r, 1);
}
