/* What the kernels of krn_cuda_hadamard have in common: the place of a block's tile in memory, and how results get
 * there. */
#ifndef KRN_CUDA_HADAMARD_TILE_H
#define KRN_CUDA_HADAMARD_TILE_H

#include "cuda/hadamard/hadamard_params.h"
#include "cuda/hadamard/transform.cuh"

namespace kernels {

struct HadamardTile {
    const void *source;
    void *target;
    int32_t elems;
};

template <int32_t type> KRN_DEVICE HadamardTile tile_of(const krn_cuda_hadamard_params &p) {
    const int64_t row = ptx::block_x() / p.tiles_per_row;
    const int64_t from = static_cast<int64_t>(ptx::block_x() % p.tiles_per_row) * p.tile;
    return {static_cast<const uint8_t *>(p.source) + row * p.source_ld_bytes + from * ELEMENT_BYTES<type>,
            static_cast<uint8_t *>(p.target) + row * p.target_ld_bytes + from * ELEMENT_BYTES<type>,
            p.cols - from < p.tile ? static_cast<int32_t>(p.cols - from) : p.tile};
}

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

} // namespace kernels

#endif
