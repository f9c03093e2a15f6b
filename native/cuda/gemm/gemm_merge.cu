/* Ends a product whose K is split between blocks (decode_split.h): the sums that they left enter the chain of gemm.h in
 * order, and t goes on its way into Y. A kernel of its own, so that no block has to know which others are done.
 *
 * A block has 16 channels and 8 tokens. All of its threads bring the sums and scales of many groups into shared memory
 * at once: the chain of an output then waits for memory once, not once for every group. */
#include "cuda/gemm/decode_outputs.h"
#include "cuda/gemm/decode_split.h"
#include "cuda/ptx/barrier.h"

namespace gemm {

/* Sums of groups, integers, or of pieces of the float cells. */
template <bool is_float> class Merger {
  public:
    KRN_DEVICE_MEMBER explicit Merger(const krn_cuda_gemm_params &params)
        : p(params), scales(ptx::shared_base() + MOST * OUTPUT_BYTES), outputs(params) {}

    KRN_DEVICE_MEMBER void run() {
        float t[Outputs::COUNT] = {};
        if (p.offsets != nullptr)
            outputs.add_offsets(t);
        const int32_t count = is_float ? p.num_pieces : p.num_groups;
        for (int32_t first = 0; first < count; first += MOST) {
            const int32_t part = count - first < MOST ? count - first : MOST;
            bring_sums(first, part);
            bring_scales(first, part);
            ptx::sync_threads();
            add(t, part);
            ptx::sync_threads();
        }
        outputs.store(t);
    }

  private:
    static constexpr int32_t CHANNELS = KRN_CUDA_MERGE_CHANNELS, TOKENS = KRN_CUDA_MERGE_TOKENS;
    static constexpr int32_t MOST = KRN_CUDA_MERGE_SUMS, OUTPUT_BYTES = CHANNELS * TOKENS * 4;
    using Outputs = DecodeOutputs<CHANNELS, TOKENS>;

    const krn_cuda_gemm_params &p;
    const ptx::SharedAddress scales; /* [MOST][CHANNELS], behind sums [MOST][TOKENS][CHANNELS] as floats */
    const Outputs outputs;

    /* Sums from `first` on, each an output's of a group or a piece. */
    KRN_DEVICE_MEMBER void bring_sums(int32_t first, int32_t count) const {
        for (int32_t i = ptx::thread_x(); i < count * outputs.tokens * CHANNELS; i += Outputs::THREADS) {
            const int32_t channel = i % CHANNELS, row = i / CHANNELS;
            const int32_t place = row / outputs.tokens, token = row - place * outputs.tokens;
            ptx::store_shared(ptx::shared_base() +
                                  static_cast<uint32_t>(place * OUTPUT_BYTES + (token * CHANNELS + channel) * 4),
                              sum_of(first + place, outputs.first_token + token, outputs.first_channel + channel));
        }
    }

    KRN_DEVICE_MEMBER float sum_of(int32_t place, int32_t token, int32_t channel) const {
        if constexpr (is_float) {
            return ptx::load_global_nc(static_cast<const float *>(p.partials) + partial_at(p, place, token, channel));
        } else {
            const int32_t *const partials = static_cast<const int32_t *>(p.partials);
            const int32_t first_step = place * p.group_steps, end = first_step + p.group_steps;
            const int32_t last_step = (end < p.num_steps ? end : p.num_steps) - 1;
            const int32_t block_steps = p.split_length * KRN_CUDA_SLICE_STEPS, last = last_step / block_steps;
            int32_t sum = 0;
            KRN_UNROLL_8
            for (int32_t block = first_step / block_steps; block <= last; block++)
                sum += ptx::load_global_nc(partials + partial_at(p, place + block, token, channel));
            if (p.x_zeros == nullptr)
                return ptx::f32_from_s32_rn(sum);
            /* What activations of a token that still lack their zero point add to the sum. */
            const int64_t zero = ptx::load_global_nc(p.x_zeros + token);
            return static_cast<float>(
                sum - zero * ptx::load_global_nc(p.code_sums + static_cast<int64_t>(place) * p.padded_n + channel));
        }
    }

    KRN_DEVICE_MEMBER void bring_scales(int32_t first, int32_t count) const {
        for (int32_t i = ptx::thread_x(); i < count * CHANNELS; i += Outputs::THREADS) {
            const int32_t place = first + i / CHANNELS, group = is_float ? place / p.group_pieces : place;
            const int64_t at = static_cast<int64_t>(group) * p.padded_n + outputs.first_channel + i % CHANNELS;
            ptx::store_shared(scales + static_cast<uint32_t>(i * 4), load_scale(p.scales, p.scale_type, at));
        }
    }

    KRN_DEVICE_MEMBER void add(float (&t)[Outputs::COUNT], int32_t count) const {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Outputs::COUNT; i++) {
            const int32_t channel = outputs.channel_of(i), token = outputs.token_of(i);
            if (token >= outputs.tokens)
                continue;
            const ptx::SharedAddress sum = ptx::shared_base() + static_cast<uint32_t>((token * CHANNELS + channel) * 4);
            KRN_UNROLL_8
            for (int32_t place = 0; place < count; place++)
                t[i] = ptx::fma_rn(
                    ptx::load_shared<float>(sum + static_cast<uint32_t>(place * OUTPUT_BYTES)),
                    ptx::load_shared<float>(scales + static_cast<uint32_t>((place * CHANNELS + channel) * 4)), t[i]);
        }
    }
};

} // namespace gemm

KRN_KERNEL(krn_gemm_merge_s32, krn_cuda_gemm_params, 32 * KRN_CUDA_DECODE_WARPS, 2) { gemm::Merger<false>(p).run(); }
KRN_KERNEL(krn_gemm_merge_f32, krn_cuda_gemm_params, 32 * KRN_CUDA_DECODE_WARPS, 2) { gemm::Merger<true>(p).run(); }
