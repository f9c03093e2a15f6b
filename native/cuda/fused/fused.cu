/* The fused steps without a rotation: a row is read once. That of a norm waits in shared memory as it came, and its
 * result is made a second time when the scale is known; that of a gate, which takes longer to make, waits there as
 * f32. */
#include "cuda/fused/steps.cuh"

namespace {

using namespace kernels;

template <int32_t type> KRN_DEVICE void norm(const krn_cuda_fused_params &p) {
    const Team team = team_of(p.plan);
    if (team.row >= p.plan.rows)
        return;
    const InputRow<type> x = normed_input<type>(team, p);
    const Norm norm = norm_of(team, p, x);
    write_result(team, p, norm.is_lost, Normed<type>{p, x, norm.mean, norm.inverse});
}

template <int32_t type> KRN_DEVICE void multiply(const krn_cuda_fused_params &p) {
    const Team team = team_of(p.plan);
    if (team.row >= p.plan.rows)
        return;
    const InputRow<type> x = normed_input<type>(team, p);
    write_result(team, p, false, Normed<type>{p, x, 0.0f, 1.0f});
}

template <int32_t type> KRN_DEVICE void gate(const krn_cuda_fused_params &p) {
    const Team team = team_of(p.plan);
    if (team.row >= p.plan.rows)
        return;
    const Gated<type> gated = gated_of<type>(p, team.row);
    if (!p.is_staged) {
        write_result(team, p, false, gated);
        return;
    }
    const MadeRow made = {team.memory};
    for (int32_t i = QUAD * team.rank; i < p.plan.cols; i += QUAD * team.threads)
        made.put(i, gated.quad(i));
    team.sync();
    write_result(team, p, false, made);
}

} // namespace

KRN_KERNEL(krn_cuda_norm_f32, krn_cuda_fused_params, KRN_CUDA_ROW_MAX_THREADS, 2) { norm<KRN_TYPE_F32>(p); }
KRN_KERNEL(krn_cuda_norm_f16, krn_cuda_fused_params, KRN_CUDA_ROW_MAX_THREADS, 2) { norm<KRN_TYPE_F16>(p); }
KRN_KERNEL(krn_cuda_norm_bf16, krn_cuda_fused_params, KRN_CUDA_ROW_MAX_THREADS, 2) { norm<KRN_TYPE_BF16>(p); }

KRN_KERNEL(krn_cuda_multiply_f32, krn_cuda_fused_params, KRN_CUDA_ROW_MAX_THREADS, 2) { multiply<KRN_TYPE_F32>(p); }
KRN_KERNEL(krn_cuda_multiply_f16, krn_cuda_fused_params, KRN_CUDA_ROW_MAX_THREADS, 2) { multiply<KRN_TYPE_F16>(p); }
KRN_KERNEL(krn_cuda_multiply_bf16, krn_cuda_fused_params, KRN_CUDA_ROW_MAX_THREADS, 2) { multiply<KRN_TYPE_BF16>(p); }

KRN_KERNEL(krn_cuda_gate_f32, krn_cuda_fused_params, KRN_CUDA_ROW_MAX_THREADS, 2) { gate<KRN_TYPE_F32>(p); }
KRN_KERNEL(krn_cuda_gate_f16, krn_cuda_fused_params, KRN_CUDA_ROW_MAX_THREADS, 2) { gate<KRN_TYPE_F16>(p); }
KRN_KERNEL(krn_cuda_gate_bf16, krn_cuda_fused_params, KRN_CUDA_ROW_MAX_THREADS, 2) { gate<KRN_TYPE_BF16>(p); }
