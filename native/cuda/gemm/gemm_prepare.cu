/* Activations as the kernels of the GEMM read them: s8 or 16-bit floats, in the packed order of the inputs
 * (weights_layout.h), and their sums over groups. A block has a row. */
#include "cuda/gemm/gemm_params.h"
#include "cuda/ptx/atomic.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/bits.h"
#include "cuda/ptx/convert.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/warp.h"
#include "kernels/cuda.h"

namespace gemm {

using Prepare = krn_cuda_prepare_params;

/* The input at a place; -1 for filling. */
KRN_DEVICE int32_t input_at(const Prepare &p, int32_t place) {
    if (p.order != nullptr)
        return ptx::load_global_nc(p.order + place);
    return place < p.k ? place : -1;
}

/* The code of an input, of u8 less 128, so that it fits a signed byte. */
KRN_DEVICE int32_t code_of(const Prepare &p, const uint8_t *row, int32_t input) {
    if (p.type == KRN_TYPE_S4) {
        const int32_t byte = ptx::load_global_nc(row + input / 2);
        return ((byte >> (input % 2 * 4) & 15) ^ 8) - 8;
    }
    const int32_t byte = ptx::load_global_nc(row + input);
    return p.type == KRN_TYPE_U8 ? byte - 128 : static_cast<int8_t>(byte);
}

KRN_DEVICE void write_codes(const Prepare &p, const uint8_t *row, int32_t token) {
    for (int32_t place = ptx::thread_x() * 4; place < p.padded_k; place += KRN_CUDA_PREPARE_THREADS * 4) {
        uint32_t four = 0;
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < 4; i++) {
            const int32_t input = input_at(p, place + i);
            const int32_t code = input < 0 ? 0 : code_of(p, row, input);
            four |= (static_cast<uint32_t>(code) & 0xFF) << (8 * i);
        }
        ptx::store_global(reinterpret_cast<uint32_t *>(static_cast<int8_t *>(p.to) +
                                                       static_cast<int64_t>(token) * p.padded_k + place),
                          four);
    }
}

/* Adds up the lanes' sums. */
KRN_DEVICE int64_t reduce(int64_t sum) {
    KRN_UNROLL_ALL
    for (int32_t mask = 16; mask > 0; mask /= 2) {
        const uint32_t low = ptx::shuffle_xor(static_cast<uint32_t>(sum), mask);
        const uint32_t high = ptx::shuffle_xor(static_cast<uint32_t>(static_cast<uint64_t>(sum) >> 32), mask);
        sum += static_cast<int64_t>(static_cast<uint64_t>(high) << 32 | low);
    }
    return sum;
}

/* A warp has a group. */
KRN_DEVICE void write_sums(const Prepare &p, const uint8_t *row, int32_t token) {
    const int32_t correction = p.zeros == nullptr ? 0 : 128 - ptx::load_global_nc(p.zeros + token);
    for (int32_t group = ptx::warp(); group < p.num_groups; group += KRN_CUDA_PREPARE_THREADS / 32) {
        int64_t sum = 0;
        const int32_t first = group * p.group_steps * 32;
        for (int32_t i = ptx::lane(); i < p.group_steps * 32 && first + i < p.padded_k; i += 32) {
            const int32_t input = input_at(p, first + i);
            if (input >= 0)
                sum += code_of(p, row, input) + correction;
        }
        sum = reduce(sum);
        if (ptx::lane() == 0)
            ptx::store_global(p.sums + static_cast<int64_t>(group) * p.m + token, static_cast<float>(sum));
    }
}

/* An element of a float type, from its bits. */
template <class T> KRN_DEVICE float widen(T bits, int32_t type) {
    if constexpr (sizeof(T) == 4)
        return ptx::bits_as<float>(bits);
    else
        return type == KRN_TYPE_F16 ? ptx::f32_from_f16(bits) : ptx::f32_from_bf16(bits);
}

/* 16-bit floats in the packed order. */
KRN_DEVICE void write_halves(const Prepare &p, const uint16_t *row, int32_t token) {
    for (int32_t place = ptx::thread_x() * 2; place < p.padded_k; place += KRN_CUDA_PREPARE_THREADS * 2) {
        uint32_t two = 0;
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < 2; i++) {
            const int32_t input = input_at(p, place + i);
            two |= static_cast<uint32_t>(input < 0 ? 0 : ptx::load_global_nc(row + input)) << (16 * i);
        }
        ptx::store_global(reinterpret_cast<uint32_t *>(static_cast<uint16_t *>(p.to) +
                                                       static_cast<int64_t>(token) * p.padded_k + place),
                          two);
    }
}

/* Sums of 16-bit floats, in binary64 and rounded once: a lane has every 32nd input, then the lanes are added up in
 * pairs. A warp has a group. */
KRN_DEVICE void write_sums_of_halves(const Prepare &p, const uint16_t *row, int32_t token) {
    for (int32_t group = ptx::warp(); group < p.num_groups; group += KRN_CUDA_PREPARE_THREADS / 32) {
        double sum = 0;
        const int32_t first = group * p.group_steps * 32;
        for (int32_t i = ptx::lane(); i < p.group_steps * 32 && first + i < p.padded_k; i += 32) {
            const int32_t input = input_at(p, first + i);
            if (input >= 0)
                sum += static_cast<double>(widen(ptx::load_global_nc(row + input), p.type));
        }
        KRN_UNROLL_ALL
        for (int32_t mask = 16; mask > 0; mask /= 2) {
            const auto bits = ptx::bits_as<uint64_t>(sum);
            const uint64_t low = ptx::shuffle_xor(static_cast<uint32_t>(bits), mask);
            const uint64_t high = ptx::shuffle_xor(static_cast<uint32_t>(bits >> 32), mask);
            sum += ptx::bits_as<double>(high << 32 | low);
        }
        if (ptx::lane() == 0)
            ptx::store_global(p.sums + static_cast<int64_t>(group) * p.m + token, static_cast<float>(sum));
    }
}

template <class T> KRN_DEVICE void split_outliers(const krn_cuda_split_params &p) {
    constexpr uint32_t INFINITE = 0x7F800000u;
    const int64_t row = ptx::block_x();
    const T *const x = static_cast<const T *>(p.x) + row * p.ld;
    T *const rest = static_cast<T *>(p.rest) + row * p.rest_ld;
    for (int32_t k = ptx::thread_x(); k < p.k; k += KRN_CUDA_PREPARE_THREADS)
        ptx::store_global(rest + k, ptx::load_global_nc(x + k));
    ptx::sync_threads();
    const int32_t count = p.count == nullptr ? p.num_outliers : ptx::load_global_nc(p.count);
    for (int32_t i = ptx::thread_x(); i < count; i += KRN_CUDA_PREPARE_THREADS) {
        const int32_t column = ptx::load_global_nc(p.columns + i);
        const float value = widen(ptx::load_global_nc(x + column), p.type);
        if ((ptx::bits_as<uint32_t>(value) & INFINITE) == INFINITE && p.device_flags != nullptr)
            ptx::atomic_or(p.device_flags, KRN_CUDA_FLAG_NON_FINITE);
        ptx::store_global(p.outliers + row * p.outliers_ld + i, value);
        ptx::store_global(rest + column, T(0));
    }
}

template <class T> KRN_DEVICE void find_outliers(const krn_cuda_find_params &p) {
    const T *const x = static_cast<const T *>(p.x) + ptx::block_x() * p.ld;
    for (int32_t k = ptx::thread_x(); k < p.k; k += KRN_CUDA_PREPARE_THREADS) {
        const float value = widen(ptx::load_global_nc(x + k), p.type);
        if (value > p.threshold || value < -p.threshold)
            ptx::store_global(p.found + k, static_cast<uint8_t>(1));
    }
}

/* Warps count what they found, then know how many stand before theirs. */
KRN_DEVICE void list_outliers(const krn_cuda_find_params &p) {
    const ptx::SharedAddress counts = ptx::shared_base();
    int32_t before = 0;
    for (int32_t first = 0; first < p.k; first += KRN_CUDA_PREPARE_THREADS) {
        const int32_t k = first + ptx::thread_x();
        const bool is_one = k < p.k && ptx::load_global_nc(p.found + k) != 0;
        const uint32_t ones = ptx::ballot(is_one);
        if (ptx::lane() == 0)
            ptx::store_shared(counts + 4 * static_cast<uint32_t>(ptx::warp()), ptx::popcount(ones));
        ptx::sync_threads();
        int32_t at = before;
        for (int32_t w = 0; w < KRN_CUDA_PREPARE_THREADS / 32; w++) {
            const int32_t count = ptx::load_shared<int32_t>(counts + 4 * static_cast<uint32_t>(w));
            at += w < ptx::warp() ? count : 0;
            before += count;
        }
        if (is_one)
            ptx::store_global(p.columns + at + ptx::popcount(ones & ((1u << ptx::lane()) - 1)), k);
        ptx::sync_threads();
    }
    if (ptx::thread_x() == 0)
        ptx::store_global(p.count, before);
}

} // namespace gemm

KRN_KERNEL(krn_gemm_list_outliers, krn_cuda_find_params, KRN_CUDA_PREPARE_THREADS, 1) { gemm::list_outliers(p); }

/* Elements of 4 bytes, and of 2. */
KRN_KERNEL(krn_gemm_find_outliers_32, krn_cuda_find_params, KRN_CUDA_PREPARE_THREADS, 4) {
    gemm::find_outliers<uint32_t>(p);
}
KRN_KERNEL(krn_gemm_find_outliers_16, krn_cuda_find_params, KRN_CUDA_PREPARE_THREADS, 4) {
    gemm::find_outliers<uint16_t>(p);
}
KRN_KERNEL(krn_gemm_split_outliers_32, krn_cuda_split_params, KRN_CUDA_PREPARE_THREADS, 4) {
    gemm::split_outliers<uint32_t>(p);
}
KRN_KERNEL(krn_gemm_split_outliers_16, krn_cuda_split_params, KRN_CUDA_PREPARE_THREADS, 4) {
    gemm::split_outliers<uint16_t>(p);
}

KRN_KERNEL(krn_gemm_prepare_16, krn_cuda_prepare_params, KRN_CUDA_PREPARE_THREADS, 4) {
    const int32_t token = ptx::block_x();
    const uint16_t *row = static_cast<const uint16_t *>(p.x) + token * p.ld_bytes / 2;
    if (p.to != nullptr)
        gemm::write_halves(p, row, token);
    if (p.sums != nullptr)
        gemm::write_sums_of_halves(p, row, token);
}

KRN_KERNEL(krn_gemm_prepare, krn_cuda_prepare_params, KRN_CUDA_PREPARE_THREADS, 4) {
    const int32_t token = ptx::block_x();
    const uint8_t *row = static_cast<const uint8_t *>(p.x) + token * p.ld_bytes;
    if (p.to != nullptr)
        gemm::write_codes(p, row, token);
    if (p.to_zeros != nullptr && ptx::thread_x() == 0)
        ptx::store_global(p.to_zeros + token, ptx::load_global_nc(p.zeros + token) - 128);
    if (p.sums != nullptr)
        gemm::write_sums(p, row, token);
}
