/* The fused steps that rotate: a block makes a row of f32 in shared memory, rotates it there, and quantizes it. */
#include "cuda/fused/steps.cuh"
#include "cuda/hadamard/transform.cuh"

namespace {

using namespace kernels;

struct TileRow {
    const Tile &tile;

    KRN_DEVICE_MEMBER Quad quad(int32_t i) const {
        const Values<QUAD> values = tile.load<QUAD>({i, 0, 0});
        return {{values.at[0], values.at[1], values.at[2], values.at[3]}};
    }
    KRN_DEVICE_MEMBER float element(int32_t i) const { return tile.load<1>({i, 0, 0}).at[0]; }
};

/* Up to whole 32 elements: what lies behind the row mixes with nothing. */
template <class Source> KRN_DEVICE void fill(const Team &team, const Tile &tile, const Source &source) {
    for (int32_t i = QUAD * team.rank; i < (tile.elems + 31) / 32 * 32; i += QUAD * team.threads) {
        Quad q = {{0, 0, 0, 0}};
        if (i < tile.elems)
            q = source.quad(i);
        tile.store(Place{i, 0, 0}, Values<QUAD>{{q.at[0], q.at[1], q.at[2], q.at[3]}});
    }
    ptx::sync_threads();
}

template <int32_t type> KRN_DEVICE void rotate(const krn_cuda_rotated_params &p) {
    const krn_cuda_fused_params &step = p.step;
    const Tile tile = {ptx::shared_base() + KRN_CUDA_ROW_SCRATCH_BYTES, step.plan.cols, ptx::thread_x(),
                       ptx::block_threads()};
    Team team = team_of(step.plan);
    /* The input of a norm lies behind the tile. */
    team.memory = tile.memory + static_cast<uint32_t>((tile.elems + 31) / 32 * KRN_CUDA_ROTATION_ROW_BYTES);
    const ptx::SharedAddress is_lost = team.scratch + 5 * 128;
    if (step.op == KRN_CUDA_STEP_GATE) {
        if (team.rank == 0)
            ptx::store_shared(is_lost, 0u);
        fill(team, tile, gated_of<type>(step, team.row));
    } else {
        const InputRow<type> x = normed_input<type>(team, step);
        Norm norm = {0.0f, 1.0f, false};
        if (step.op == KRN_CUDA_STEP_NORM)
            norm = norm_of(team, step, x);
        if (team.rank == 0)
            ptx::store_shared(is_lost, norm.is_lost ? 1u : 0u);
        fill(team, tile, Normed<type>{step, x, norm.mean, norm.inverse});
    }
    transform(
        tile, p.rotation, [](const Tile &t, int32_t i, float(&x)[32]) { load_own_32(t, i, x); },
        [&](const Place &at, auto values) {
            finish_values(p.rotation, at, values);
            tile.store(at, values);
        });
    ptx::sync_threads();
    /* Found again, rather than kept in registers that the transform needs. */
    const Team quantizing = team_of(step.plan);
    quantize_row(quantizing, step.codes, step.plan.cols, ptx::load_shared<uint32_t>(is_lost) != 0, TileRow{tile});
}

} // namespace

KRN_KERNEL(krn_cuda_rotate_f32, krn_cuda_rotated_params, KRN_CUDA_ROTATION_MAX_THREADS, 1) { rotate<KRN_TYPE_F32>(p); }
KRN_KERNEL(krn_cuda_rotate_f16, krn_cuda_rotated_params, KRN_CUDA_ROTATION_MAX_THREADS, 1) { rotate<KRN_TYPE_F16>(p); }
KRN_KERNEL(krn_cuda_rotate_bf16, krn_cuda_rotated_params, KRN_CUDA_ROTATION_MAX_THREADS, 1) {
    rotate<KRN_TYPE_BF16>(p);
}
