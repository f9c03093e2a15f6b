/* The outputs of a block of the decoding kernels, and which thread has which of them. Device code. */
#ifndef KRN_CUDA_GEMM_DECODE_OUTPUTS_H
#define KRN_CUDA_GEMM_DECODE_OUTPUTS_H

#include "cuda/gemm/epilogue.h"

namespace gemm {

/* A block has channels x most_tokens outputs, of which the last one of a batch may have fewer. */
template <int32_t channels, int32_t most_tokens> struct DecodeOutputs {
    static constexpr int32_t THREADS = 32 * KRN_CUDA_DECODE_WARPS;
    static constexpr int32_t COUNT = (channels * most_tokens + THREADS - 1) / THREADS; /* of a thread */

    const krn_cuda_gemm_params &p;
    int32_t first_channel, first_token, tokens;

    KRN_DEVICE_MEMBER explicit DecodeOutputs(const krn_cuda_gemm_params &params)
        : p(params), first_channel(ptx::block_x() * channels), first_token(ptx::block_y() * most_tokens),
          tokens(params.m - first_token < most_tokens ? params.m - first_token : most_tokens) {}

    /* Channels lie side by side in a warp. */
    KRN_DEVICE_MEMBER int32_t channel_of(int32_t output) const {
        return (output * THREADS + ptx::thread_x()) % channels;
    }
    KRN_DEVICE_MEMBER int32_t token_of(int32_t output) const { return (output * THREADS + ptx::thread_x()) / channels; }

    KRN_DEVICE_MEMBER void add_offsets(float (&t)[COUNT]) const {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < COUNT; i++) {
            if (token_of(i) >= tokens)
                continue;
            for (int32_t g = 0; g < p.num_groups; g++)
                t[i] = ptx::fma_rn(
                    ptx::load_global_nc(p.x_sums + static_cast<int64_t>(g) * p.m + first_token + token_of(i)),
                    ptx::load_global_nc(p.offsets + static_cast<int64_t>(g) * p.padded_n + first_channel +
                                        channel_of(i)),
                    t[i]);
        }
    }

    KRN_DEVICE_MEMBER void store(const float (&t)[COUNT]) const {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < COUNT; i++) {
            const int32_t channel = first_channel + channel_of(i), token = token_of(i);
            if (token < tokens && channel < p.n)
                store_one(p, first_token + token, channel, t[i]);
        }
    }
};

} // namespace gemm

#endif
