/* f32 to s8, a scale for each token, symmetric (kernels/quantize.h), bit for bit as on the CPU. A block reads a row twice:
 * once for its largest magnitude, then, from the cache, to round. */
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/atomic.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/convert.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/warp.h"
#include "cuda/quantize/quantize_params.h"
#include "kernels/cuda.h"

namespace {

constexpr int32_t THREADS = KRN_CUDA_QUANTIZE_THREADS;
constexpr uint32_t MAGNITUDE = 0x7FFFFFFFu, INFINITE = 0x7F800000u;
constexpr float SMALLEST_SCALE = 1.17549435e-38f;

/* The largest value of the block, in every thread. As integers, magnitudes are in order, with infinity and NaN on top. */
KRN_DEVICE uint32_t block_max(uint32_t value) {
    const uint32_t of_warp = ptx::reduce_max(value);
    if (ptx::lane() == 0)
        ptx::store_shared(ptx::shared_base() + 4 * static_cast<uint32_t>(ptx::warp()), of_warp);
    ptx::sync_threads();
    uint32_t largest = 0;
    for (uint32_t w = 0; w < THREADS / 32; w++) {
        const uint32_t other = ptx::load_shared<uint32_t>(ptx::shared_base() + 4 * w);
        largest = other > largest ? other : largest;
    }
    return largest;
}

KRN_DEVICE uint32_t magnitude(uint32_t bits, uint32_t largest) {
    return (bits & MAGNITUDE) > largest ? bits & MAGNITUDE : largest;
}

KRN_DEVICE int32_t encode(uint32_t bits, float inverse) {
    const float scaled = ptx::mul_rn(ptx::bits_as<float>(bits), inverse);
    return ptx::s32_from_f32_rn(ptx::min_f32(ptx::max_f32(scaled, -127.0f), 127.0f));
}

/* Rows of `per_load` floats at a time: 4 where all rows are aligned to that, else 1. */
template <int32_t per_load> KRN_DEVICE void quantize_row(const krn_cuda_quantize_params &p) {
    const int64_t row = ptx::block_x();
    const float *const source = p.source + row * p.source_ld;
    int8_t *const codes = p.codes + row * p.codes_ld_bytes;
    const int32_t loads = p.cols / per_load;

    uint32_t largest = 0;
    for (int32_t i = ptx::thread_x(); i < loads; i += THREADS) {
        if constexpr (per_load == 4) {
            const auto x = ptx::load_global_nc(reinterpret_cast<const ptx::U32x4 *>(source) + i);
            largest = magnitude(x.x, magnitude(x.y, magnitude(x.z, magnitude(x.w, largest))));
        } else {
            largest = magnitude(ptx::load_global_nc(reinterpret_cast<const uint32_t *>(source) + i), largest);
        }
    }
    largest = block_max(largest);
    if (largest >= INFINITE && ptx::thread_x() == 0 && p.device_flags != nullptr)
        ptx::atomic_or(p.device_flags, KRN_CUDA_FLAG_NON_FINITE);

    const float ratio = ptx::div_rn(ptx::mul_rn(ptx::bits_as<float>(largest), p.clip_ratio), 127.0f);
    const float scale = ratio < SMALLEST_SCALE ? 0.0f : ratio;
    const float inverse = scale == 0.0f ? 0.0f : ptx::div_rn(1.0f, scale);
    if (ptx::thread_x() == 0)
        ptx::store_global(p.scales + row, scale);

    for (int32_t i = ptx::thread_x(); i < loads; i += THREADS) {
        if constexpr (per_load == 4) {
            const auto x = ptx::load_global_nc(reinterpret_cast<const ptx::U32x4 *>(source) + i);
            const uint32_t high = ptx::pack_s8_saturated(encode(x.z, inverse), encode(x.w, inverse), 0);
            const uint32_t four = ptx::pack_s8_saturated(encode(x.x, inverse), encode(x.y, inverse), high);
            ptx::store_global(reinterpret_cast<uint32_t *>(codes) + i, four);
        } else {
            const uint32_t x = ptx::load_global_nc(reinterpret_cast<const uint32_t *>(source) + i);
            ptx::store_global(codes + i, static_cast<int8_t>(encode(x, inverse)));
        }
    }
}

} // namespace

/* source_ld, codes_ld_bytes and cols are multiples of 4. */
KRN_KERNEL(krn_quantize_per_token_f32_s8, krn_cuda_quantize_params, THREADS, 2) { quantize_row<4>(p); }

KRN_KERNEL(krn_quantize_per_token_f32_s8_any, krn_cuda_quantize_params, THREADS, 2) { quantize_row<1>(p); }
