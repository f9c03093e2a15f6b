/* Scales and offsets for any processor. */
#include "common/fma.h"
#include "gemm/scales_variants.h"
#include "gemm/widen_nested.h"

void krn_scales_ref_widen(const krn_scales_job *job) {
    krn_look_up_scales(job);
    krn_finish_scales(job);
}

void krn_scales_ref_start(const krn_start_job *job) {
    for (int32_t r = 0; r < job->rows; r++) {
        for (int64_t c = 0; c < KRN_PANEL_CHANNELS; c++) {
            float t = 0;
            for (int64_t g = 0; g < job->layout->num_groups; g++)
                t = krn_fmaf(job->x_sums[g * job->rows + r], krn_offset_at(job->layout, job->packed, job->panel, g, c),
                             t);
            job->t[r * KRN_PANEL_CHANNELS + c] = t;
        }
    }
}
