/* krn_cuda_hadamard with KRN_CUDA_HADAMARD_TENSOR_CORES: up to ten levels straight from memory (matrix_levels.cuh), and
 * back to it where there is nothing else. Else the tile is exchanged through shared memory, for up to five levels of
 * additions (transform.cuh) and for a base (matrix_base.cuh). */
#include "cuda/hadamard/matrix_base.cuh"

namespace {

using namespace kernels;

template <int32_t type> KRN_DEVICE void hadamard_by_matrices(const krn_cuda_hadamard_params &p) {
    const krn_cuda_rotation &r = p.rotation;
    const HadamardTile place = tile_of<type>(p);
    const Tile tile = {ptx::shared_base(), place.elems, ptx::thread_x(), ptx::block_threads()};
    const bool is_aligned = p.is_aligned != 0, is_last = r.pass_levels[0] == 0 && r.num_bases == 0;
    const auto finish = [&](const Place &at, auto values) {
        finish_values(r, at, values);
        put<type>(place.target, at.index(), place.elems - at.index(), is_aligned, values);
    };

    const MatrixPass pass = {r.first_levels};
    uint32_t signs[4];
    sylvester_signs(signs);
    KRN_UNROLL_NONE
    for (int32_t chunk = ptx::warp() * MATRIX_CHUNK; chunk < place.elems; chunk += tile.threads / 32 * MATRIX_CHUNK) {
        float x[32];
        pass.run<type>(place, r, is_aligned, signs, chunk, x);
        KRN_UNROLL_ALL
        for (int32_t q = 0; q < MATRIX_TILES; q++) {
            const int32_t i = chunk + pass.octet_of(q);
            if (i >= place.elems)
                continue;
            float *const octet = x + OCTET * q;
            Values<QUAD> low = {{octet[0], octet[1], octet[2], octet[3]}};
            Values<QUAD> high = {{octet[4], octet[5], octet[6], octet[7]}};
            if (!is_last) {
                const int32_t at = shuffled(r, i);
                tile.store(Place{at, 0, 0}, low);
                tile.store(Place{at, QUAD, 0}, high);
                continue;
            }
            finish_values(r, Place{i, 0, 0}, low);
            finish_values(r, Place{i, QUAD, 0}, high);
            store_octet<type>(place.target, i, place.elems - i, is_aligned,
                              Quad{{low.at[0], low.at[1], low.at[2], low.at[3]}},
                              Quad{{high.at[0], high.at[1], high.at[2], high.at[3]}});
        }
    }
    if (is_last)
        return;

    ptx::sync_threads();
    if (r.num_bases == 0) {
        strided_pass_of(tile, r.pass_levels[0], r.first_levels, finish);
        return;
    }
    if (r.pass_levels[0] > 0) {
        strided_pass_of(tile, r.pass_levels[0], r.first_levels,
                        [&](const Place &at, const auto &values) { tile.store(at, values); });
        ptx::sync_threads();
    }
    matrix_base_pass(tile, r, r.first_levels + r.pass_levels[0], finish);
}

} // namespace

KRN_KERNEL(krn_cuda_hadamard_mma_f16, krn_cuda_hadamard_params, KRN_CUDA_ROTATION_MAX_THREADS, 1) {
    hadamard_by_matrices<KRN_TYPE_F16>(p);
}
KRN_KERNEL(krn_cuda_hadamard_mma_bf16, krn_cuda_hadamard_params, KRN_CUDA_ROTATION_MAX_THREADS, 1) {
    hadamard_by_matrices<KRN_TYPE_BF16>(p);
}
