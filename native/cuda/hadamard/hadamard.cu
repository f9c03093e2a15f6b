/* krn_cuda_hadamard: a tile is read once and written once; between the passes it is in registers and shared memory. */
#include "cuda/hadamard/hadamard_tile.cuh"

namespace {

using namespace kernels;

template <int32_t type> KRN_DEVICE void hadamard(const krn_cuda_hadamard_params &p) {
    const HadamardTile place = tile_of<type>(p);
    const Tile tile = {ptx::shared_base(), place.elems, ptx::thread_x(), ptx::block_threads()};
    transform(
        tile, p.rotation,
        [&](const Tile &t, int32_t i, float(&x)[32]) { load_32<type>(t, place.source, i, p.is_aligned != 0, x); },
        [&](const Place &at, auto values) {
            finish_values(p.rotation, at, values);
            put<type>(place.target, at.index(), place.elems - at.index(), p.is_aligned != 0, values);
        });
}

} // namespace

KRN_KERNEL(krn_cuda_hadamard_f32, krn_cuda_hadamard_params, KRN_CUDA_ROTATION_MAX_THREADS, 1) {
    hadamard<KRN_TYPE_F32>(p);
}
KRN_KERNEL(krn_cuda_hadamard_f16, krn_cuda_hadamard_params, KRN_CUDA_ROTATION_MAX_THREADS, 1) {
    hadamard<KRN_TYPE_F16>(p);
}
KRN_KERNEL(krn_cuda_hadamard_bf16, krn_cuda_hadamard_params, KRN_CUDA_ROTATION_MAX_THREADS, 1) {
    hadamard<KRN_TYPE_BF16>(p);
}
