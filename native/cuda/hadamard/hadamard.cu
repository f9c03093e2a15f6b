/* krn_cuda_hadamard: a tile is read once and written once; between the passes it is in registers and shared memory. */
#include "cuda/hadamard/hadamard_params.h"
#include "cuda/hadamard/transform.cuh"

namespace {

using namespace kernels;

template <int32_t type, int32_t count>
KRN_DEVICE void put(void *row, int32_t i, int32_t left, bool is_aligned, const Values<count> &values) {
    if constexpr (count == QUAD) {
        store_quad<type>(row, i, left, is_aligned, Quad{{values.at[0], values.at[1], values.at[2], values.at[3]}});
    } else if constexpr (count == 2 && type != KRN_TYPE_F32) {
        if (is_aligned) {
            const uint32_t pair = type == KRN_TYPE_F16 ? ptx::f16x2_from_f32_rn(values.at[0], values.at[1])
                                                       : ptx::bf16x2_from_f32_rn(values.at[0], values.at[1]);
            ptx::store_global(reinterpret_cast<uint32_t *>(static_cast<uint16_t *>(row) + i), pair);
            return;
        }
        store_element<type>(row, i, values.at[0]);
        store_element<type>(row, i + 1, values.at[1]);
    } else if constexpr (count == 2) {
        if (is_aligned) {
            ptx::store_global(reinterpret_cast<Values<2> *>(static_cast<float *>(row) + i), values);
            return;
        }
        store_element<type>(row, i, values.at[0]);
        store_element<type>(row, i + 1, values.at[1]);
    } else {
        store_element<type>(row, i, values.at[0]);
    }
}

template <int32_t type> KRN_DEVICE void hadamard(const krn_cuda_hadamard_params &p) {
    const int64_t row = ptx::block_x() / p.tiles_per_row;
    const int64_t from = static_cast<int64_t>(ptx::block_x() % p.tiles_per_row) * p.tile;
    const void *const source =
        static_cast<const uint8_t *>(p.source) + row * p.source_ld_bytes + from * ELEMENT_BYTES<type>;
    void *const target = static_cast<uint8_t *>(p.target) + row * p.target_ld_bytes + from * ELEMENT_BYTES<type>;
    const int32_t elems = p.cols - from < p.tile ? static_cast<int32_t>(p.cols - from) : p.tile;
    const Tile tile = {ptx::shared_base(), elems, ptx::thread_x(), ptx::block_threads()};
    transform(
        tile, p.rotation,
        [&](const Tile &t, int32_t i, float(&x)[32]) { load_32<type>(t, source, i, p.is_aligned != 0, x); },
        [&](const Place &at, auto values) {
            finish_values(p.rotation, at, values);
            put<type>(target, at.index(), elems - at.index(), p.is_aligned != 0, values);
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
