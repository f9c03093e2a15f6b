/* krn_cuda_quantize with one scale for the whole tensor: the first kernel finds the range, the second reads it and the
 * tensor again, of which the second-level cache may still have a part. And the scales of tensors that are empty. */
#include "cuda/quantize/codes.cuh"
#include "cuda/quantize/flat.cuh"

#include "cuda/ptx/barrier.h"
#include "cuda/ptx/warp.h"

namespace {

using namespace kernels;

/* Largest values need no order, so that atomics give the same bits each time. */
KRN_DEVICE void publish(uint32_t *word, ptx::SharedAddress words, uint32_t value) {
    const uint32_t of_warp = ptx::reduce_max(value);
    if (ptx::lane() == 0)
        ptx::store_shared(words + 4 * static_cast<uint32_t>(ptx::warp()), of_warp);
    ptx::sync_threads();
    if (ptx::warp() != 0)
        return;
    const bool is_word = ptx::lane() < KRN_CUDA_FLAT_THREADS / 32;
    const uint32_t other = is_word ? ptx::load_shared<uint32_t>(words + 4 * static_cast<uint32_t>(ptx::lane())) : 0;
    const uint32_t of_block = ptx::reduce_max(other);
    if (ptx::lane() == 0)
        ptx::atomic_max(word, of_block);
}

template <int32_t type> KRN_DEVICE void measure(const krn_cuda_flat_params &p) {
    Range range = {0, 0};
    walk(p.plan, [&](int64_t row, int32_t i) {
        const void *const floats = static_cast<const uint8_t *>(p.floats) + row * p.floats_ld_bytes;
        const int32_t count = p.plan.cols - i;
        Quad low, high;
        load_octet<type>(floats, i, count, p.is_aligned != 0, low, high);
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e++) {
            extend(range, low.at[e]);
            extend(range, high.at[e]);
        }
    });
    publish(p.workspace, ptx::shared_base(), range.above);
    publish(p.workspace + 1, ptx::shared_base() + KRN_CUDA_FLAT_THREADS / 8, range.below);
}

template <int32_t type> KRN_DEVICE void encode_tensor(const krn_cuda_flat_params &p) {
    const Range range = {ptx::load_global(p.workspace), ptx::load_global(p.workspace + 1)};
    const bool is_good = is_finite(range.magnitude());
    const Scale scale = is_good ? derive(p.codes, range) : Scale{ptx::bits_as<float>(0x7FC00000u), p.codes.scheme.zero};
    const Encoder encoder = encoder_of(p.codes.scheme, scale);
    if (ptx::block_x() == 0 && ptx::block_y() == 0 && ptx::thread_x() == 0) {
        store_scale(p.codes, 0, scale);
        if (!is_good)
            flag_non_finite(p.codes);
    }
    walk(p.plan, [&](int64_t row, int32_t i) {
        const void *const floats = static_cast<const uint8_t *>(p.floats) + row * p.floats_ld_bytes;
        uint8_t *const codes = p.codes.codes + row * p.codes.codes_ld_bytes;
        const int32_t count = p.plan.cols - i;
        Quad low, high;
        load_octet<type>(floats, i, count, p.is_aligned != 0, low, high);
        const uint32_t bad = static_cast<uint32_t>(p.codes.scheme.zero & 0xFF) * 0x01010101u;
        store_codes(p.codes, codes, i, count, is_good ? encode_quad(p.codes.scheme, encoder, low) : bad);
        if (count > QUAD)
            store_codes(p.codes, codes, i + QUAD, count - QUAD,
                        is_good ? encode_quad(p.codes.scheme, encoder, high) : bad);
    });
}

} // namespace

KRN_KERNEL(krn_cuda_measure_tensor_f32, krn_cuda_flat_params, KRN_CUDA_FLAT_THREADS, 5) { measure<KRN_TYPE_F32>(p); }
KRN_KERNEL(krn_cuda_measure_tensor_f16, krn_cuda_flat_params, KRN_CUDA_FLAT_THREADS, 5) { measure<KRN_TYPE_F16>(p); }
KRN_KERNEL(krn_cuda_measure_tensor_bf16, krn_cuda_flat_params, KRN_CUDA_FLAT_THREADS, 5) { measure<KRN_TYPE_BF16>(p); }

KRN_KERNEL(krn_cuda_encode_tensor_f32, krn_cuda_flat_params, KRN_CUDA_FLAT_THREADS, 5) {
    encode_tensor<KRN_TYPE_F32>(p);
}
KRN_KERNEL(krn_cuda_encode_tensor_f16, krn_cuda_flat_params, KRN_CUDA_FLAT_THREADS, 5) {
    encode_tensor<KRN_TYPE_F16>(p);
}
KRN_KERNEL(krn_cuda_encode_tensor_bf16, krn_cuda_flat_params, KRN_CUDA_FLAT_THREADS, 5) {
    encode_tensor<KRN_TYPE_BF16>(p);
}

KRN_KERNEL(krn_cuda_fill_scales, krn_cuda_fill_params, KRN_CUDA_FLAT_THREADS, 1) {
    const int64_t threads = static_cast<int64_t>(KRN_CUDA_FLAT_THREADS) * ptx::grid_x();
    for (int64_t i = static_cast<int64_t>(ptx::block_x()) * KRN_CUDA_FLAT_THREADS + ptx::thread_x(); i < p.count;
         i += threads) {
        ptx::store_global(p.scales + i, p.scale);
        if (p.zero_points != nullptr)
            ptx::store_global(p.zero_points + i, p.zero_point);
    }
}
