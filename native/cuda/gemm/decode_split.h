/* A split of K between the blocks of the decoding kernels: which part of K a block has, and where it leaves its sums
 * for krn_gemm_merge_* (gemm_merge.cu). Device code. */
#ifndef KRN_CUDA_GEMM_DECODE_SPLIT_H
#define KRN_CUDA_GEMM_DECODE_SPLIT_H

#include "cuda/gemm/gemm_params.h"
#include "cuda/ptx/kernel.h"

namespace gemm {

/* Blocks with all of K: two to a multiprocessor, the same where groups come in pieces, one with deep rings. And blocks
 * that have the same channels, and a part of K each. */
enum class DecodeKind : int32_t { PLAIN, LONG_GROUPS, DEEP, SPLIT };

/* Slices, or pieces of the float cells, from `first` to before `end`. */
struct DecodePart {
    int32_t first, end;
};

template <DecodeKind kind> KRN_DEVICE DecodePart part_of_block(const krn_cuda_gemm_params &p, int32_t all) {
    if constexpr (kind != DecodeKind::SPLIT) {
        return {0, all};
    } else {
        const int32_t first = ptx::block_z() * p.split_length, end = first + p.split_length;
        return {first, end < all ? end : all};
    }
}

/* Where the sum of an output lies: [places][m][padded_n]. A piece of the float cells is its place. A group has one for
 * every block that adds to it, group + block: with each block at least one more group is begun, or the same goes on. */
KRN_DEVICE int64_t partial_at(const krn_cuda_gemm_params &p, int32_t place, int32_t token, int32_t channel) {
    return (static_cast<int64_t>(place) * p.m + token) * p.padded_n + channel;
}

} // namespace gemm

#endif
