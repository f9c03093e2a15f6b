/* krn_cuda_quantize but for one scale for a whole tensor: a row is read once, into shared memory (row_team.cuh), where
 * it waits until its range is known. */
#include "cuda/quantize/quantize_row.cuh"

namespace {

using namespace kernels;

template <int32_t type> KRN_DEVICE void quantize_rows(const krn_cuda_quantize_params &p) {
    const Team team = team_of(p.plan);
    if (team.row >= p.plan.rows)
        return;
    const InputRow<type> source = {static_cast<const uint8_t *>(p.source) + team.row * p.source_ld_bytes, team.memory,
                                   p.plan.cols, p.is_staged != 0, p.is_aligned != 0};
    source.stage(team);
    quantize_row(team, p.codes, p.plan.cols, false, source);
}

} // namespace

KRN_KERNEL(krn_cuda_quantize_rows_f32, krn_cuda_quantize_params, KRN_CUDA_ROW_MAX_THREADS, 2) {
    quantize_rows<KRN_TYPE_F32>(p);
}
KRN_KERNEL(krn_cuda_quantize_rows_f16, krn_cuda_quantize_params, KRN_CUDA_ROW_MAX_THREADS, 2) {
    quantize_rows<KRN_TYPE_F16>(p);
}
KRN_KERNEL(krn_cuda_quantize_rows_bf16, krn_cuda_quantize_params, KRN_CUDA_ROW_MAX_THREADS, 2) {
    quantize_rows<KRN_TYPE_BF16>(p);
}
