/* Integer cells for many tokens with wgmma. Device code.
 *
 * A block has a tile of 128 channels x `tokens` tokens and walks along K in stages of 128 inputs, in a ring in shared
 * memory. Three warpgroups: one thread of the first asks for copies, the other two multiply, 64 channels each.
 *
 *   producer    waits until a stage is empty, asks for two tiles of weights, which lie as wgmma wants them
 *               (weights_layout.h), and for a box of x, which its tensor map swizzles; zeros where x ends
 *   consumers   wait until the stage is full, multiply, and say that it is empty
 *
 * Weights are the operand a: 8 bits from shared memory; 4 bits from registers, where a warp unpacks its 16 channels.
 * Per channel, sums stay in flight until the stage after. With groups, a run of steps within a group is waited for, and
 * at the end of the group its sums enter the chain t = fma(sum, scale, t), while the other consumer multiplies. */
#ifndef KRN_CUDA_GEMM_PREFILL_SM90A_H
#define KRN_CUDA_GEMM_PREFILL_SM90A_H

#include "cuda/gemm/epilogue.h"
#include "cuda/gemm/operands.h"
#include "cuda/gemm/tma_stages.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/registers.h"
#include "cuda/ptx/wgmma.h"

namespace gemm {

template <int32_t format, bool grouped, int32_t tokens> class TmaConsumer {
  public:
    using Shape = TmaShape<format, tokens>;

    KRN_DEVICE_MEMBER TmaConsumer(const krn_cuda_gemm_params &params, int32_t consumer_number, int32_t channel,
                                  int32_t token)
        : p(params), consumer(consumer_number), first_channel(channel + consumer_number * Shape::CONSUMER_CHANNELS),
          first_token(token) {}

    KRN_DEVICE_MEMBER void run() {
        start();
        if constexpr (grouped) {
            if (p.group_steps % 4 == 0)
                sum_groups<4>();
            else if (p.group_steps % 2 == 0)
                sum_groups<2>();
            else
                sum_groups<1>();
        } else {
            sum_channels();
        }
        store();
    }

  private:
    static constexpr int32_t COUNT = tokens / 2; /* results of a thread */
    static constexpr bool has_zeros = format == KRN_TYPE_U4;

    const krn_cuda_gemm_params &p;
    const int32_t consumer, first_channel, first_token;
    RingPlace<Shape::STAGES> at;
    /* Sums of the group, and the chain over groups: results j of wgmma.h, j / 4 the 8 tokens, j % 4 as of mma.m16n8. */
    int32_t acc[COUNT];
    float t[grouped ? COUNT : 1];
    /* Zero points of the group's codes for this thread's two channels, in every byte; those of the next group. */
    uint32_t zeros[2], next_zeros[2];

    KRN_DEVICE_MEMBER int32_t warp() const { return ptx::warp() % 4; }
    KRN_DEVICE_MEMBER SharedAddress stage_at() const {
        return ptx::shared_base() + static_cast<uint32_t>(at.slot * Shape::STAGE_BYTES);
    }
    KRN_DEVICE_MEMBER int32_t channel_of(int32_t upper) const {
        return first_channel + 16 * warp() + ptx::lane() / 4 + 8 * upper;
    }
    KRN_DEVICE_MEMBER int32_t token_of(int32_t j) const {
        return first_token + j / 4 * 8 + ptx::lane() % 4 * 2 + j % 2;
    }

    KRN_DEVICE_MEMBER void start() {
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < COUNT; j++)
            acc[j] = 0;
        if constexpr (grouped) {
            KRN_UNROLL_ALL
            for (int32_t j = 0; j < COUNT; j++)
                t[j] = 0;
            if (p.offsets != nullptr)
                for (int32_t g = 0; g < p.num_groups; g++)
                    add_offsets(g);
        }
        if constexpr (has_zeros) {
            load_zeros(0);
            begin_group(0);
        }
    }

    KRN_DEVICE_MEMBER void load_zeros(int32_t g) {
        for (int32_t upper = 0; upper < 2; upper++) {
            const int32_t channel = channel_of(upper);
            const bool is_there = p.zeros != nullptr && channel < p.n && g < p.num_groups;
            next_zeros[upper] =
                is_there ? ptx::load_global_nc(p.zeros + static_cast<int64_t>(g) * p.padded_n + channel) : 0;
        }
    }

    KRN_DEVICE_MEMBER void begin_group(int32_t g) {
        for (int32_t upper = 0; upper < 2; upper++)
            zeros[upper] = ptx::prmt(next_zeros[upper], 0, 0);
        load_zeros(g + 1);
    }

    KRN_DEVICE_MEMBER void wait_full() const { ptx::mbarrier_wait(full_mbarrier<Shape>(at.slot), at.parity); }

    /* Tells the producer that this warp has read the stage. */
    KRN_DEVICE_MEMBER void release(int32_t slot) const {
        ptx::sync_warp();
        if (ptx::lane() == 0)
            ptx::mbarrier_arrive(empty_mbarrier<Shape>(slot));
    }

    /* Matrices a of `steps` steps from 4-bit codes, 8 bytes of a lane for each. */
    template <int32_t steps>
    KRN_DEVICE_MEMBER void unpack(SharedAddress codes, int32_t first_step, uint32_t (&a)[steps][4]) const {
        const SharedAddress unit = codes + static_cast<uint32_t>(warp() * 1024 + ptx::lane() * 16);
        KRN_UNROLL_ALL
        for (int32_t s = 0; s < steps; s++) {
            const int32_t step = first_step + s;
            const auto words =
                ptx::load_shared<ptx::U32x2>(unit + static_cast<uint32_t>(step / 2 * 512 + step % 2 * 8));
            if constexpr (format == KRN_TYPE_S4)
                unpack_s4(words.x, words.y, a[s]);
            else
                unpack_u4(words.x, words.y, zeros[0], zeros[1], a[s]);
        }
    }

    /* Starts the products of `steps` steps of a stage; the first adds to what acc holds, or replaces it. */
    template <int32_t steps> KRN_DEVICE_MEMBER void multiply(int32_t first_step, bool accumulates) {
        const SharedAddress codes = stage_at() + static_cast<uint32_t>(consumer * Shape::TILE_BYTES);
        const SharedAddress x = stage_at() + static_cast<uint32_t>(Shape::X_AT + first_step * 32);
        if constexpr (format == KRN_TYPE_S8) {
            const SharedAddress from = codes + static_cast<uint32_t>(first_step * 32);
            ptx::wgmma_fence();
            KRN_UNROLL_ALL
            for (int32_t s = 0; s < steps; s++)
                ptx::wgmma_k32_s8(acc, descriptor(from + static_cast<uint32_t>(32 * s)),
                                  descriptor(x + static_cast<uint32_t>(32 * s)), accumulates || s > 0);
        } else {
            uint32_t a[steps][4];
            unpack<steps>(codes, first_step, a);
            ptx::wgmma_fence();
            KRN_UNROLL_ALL
            for (int32_t s = 0; s < steps; s++)
                ptx::wgmma_k32_s8(acc, a[s], descriptor(x + static_cast<uint32_t>(32 * s)), accumulates || s > 0);
        }
        ptx::wgmma_commit();
    }

    /* Rows of 128 bytes, swizzled: 8 of them are 1024 bytes. */
    KRN_DEVICE_MEMBER uint64_t descriptor(SharedAddress start) const {
        return ptx::wgmma_descriptor(start, ptx::Swizzle::BYTES_128, 16, 1024);
    }

    /* One group. What is behind the last step counts 0. */
    KRN_DEVICE_MEMBER void sum_channels() {
        wait_full();
        multiply<Shape::STEPS>(0, false);
        if constexpr (format == KRN_TYPE_S8) {
            KRN_UNROLL_NONE
            for (int32_t stage = 1; stage < p.tiles_k; stage++) {
                const int32_t before = at.slot;
                at.advance();
                wait_full();
                multiply<Shape::STEPS>(0, true);
                ptx::wgmma_wait<1>();
                release(before);
            }
            ptx::wgmma_wait<0>();
        } else {
            ptx::wgmma_wait<0>();
            release(at.slot);
            KRN_UNROLL_NONE
            for (int32_t stage = 1; stage < p.tiles_k; stage++) {
                at.advance();
                wait_full();
                multiply<Shape::STEPS>(0, true);
                ptx::wgmma_wait<0>();
                release(at.slot);
            }
        }
    }

    /* Groups of whole runs of `steps` steps. The last stage is not released: nothing follows. */
    template <int32_t steps> KRN_DEVICE_MEMBER void sum_groups() {
        int32_t left = p.group_steps, group = 0;
        KRN_UNROLL_NONE
        for (int32_t stage = 0; stage < p.tiles_k; stage++) {
            wait_full();
            KRN_UNROLL_NONE
            for (int32_t first = 0; first < Shape::STEPS; first += steps) {
                const int32_t behind = stage * Shape::STEPS + first + steps;
                if (behind - steps >= p.num_steps)
                    break;
                multiply<steps>(first, left != p.group_steps);
                left -= steps;
                const bool ends_group = left == 0 || behind >= p.num_steps;
                float scale[2] = {0, 0};
                if (ends_group)
                    load_scales(group, scale);
                ptx::wgmma_wait<0>();
                if (first + steps == Shape::STEPS)
                    release(at.slot);
                if (ends_group) {
                    end_group(group, scale);
                    left = p.group_steps;
                    group++;
                    if constexpr (has_zeros)
                        begin_group(group);
                }
            }
            at.advance();
        }
    }

    KRN_DEVICE_MEMBER void load_scales(int32_t g, float (&scale)[2]) const {
        for (int32_t upper = 0; upper < 2; upper++) {
            const int32_t channel = channel_of(upper);
            if (channel < p.n)
                scale[upper] = load_scale(p.scales, p.scale_type, static_cast<int64_t>(g) * p.padded_n + channel);
        }
    }

    /* One link of the chain. Sums that are 16 times too high are rounded to the same bits, and a sixteenth of a scale
     * makes good for it, unless the scale is so small that its last bits would go. */
    KRN_DEVICE_MEMBER void end_group(int32_t g, const float (&scale)[2]) {
        if (p.x_zeros != nullptr)
            subtract_x_zeros(g);
        constexpr float UNIT = 1.0f / (1 << SUM_SHIFT<format>);
        const float lowered[2] = {ptx::mul_rn(scale[0], UNIT), ptx::mul_rn(scale[1], UNIT)};
        const bool is_exact = format != KRN_TYPE_S4 || (ptx::mul_rn(lowered[0], 1 / UNIT) == scale[0] &&
                                                        ptx::mul_rn(lowered[1], 1 / UNIT) == scale[1]);
        if (format != KRN_TYPE_S4 || ptx::all(is_exact)) {
            KRN_UNROLL_ALL
            for (int32_t j = 0; j < COUNT; j++)
                t[j] = ptx::fma_rn(ptx::f32_from_s32_rn(acc[j]), lowered[j / 2 % 2], t[j]);
        } else {
            KRN_UNROLL_ALL
            for (int32_t j = 0; j < COUNT; j++)
                t[j] = ptx::fma_rn(ptx::f32_from_s32_rn(acc[j] >> SUM_SHIFT<format>), scale[j / 2 % 2], t[j]);
        }
    }

    /* What the sum of a group lacks for the zero points of activations, in the units of the sum. */
    KRN_DEVICE_MEMBER void subtract_x_zeros(int32_t g) {
        int32_t sums[2];
        for (int32_t upper = 0; upper < 2; upper++)
            sums[upper] =
                channel_of(upper) < p.n
                    ? ptx::load_global_nc(p.code_sums + static_cast<int64_t>(g) * p.padded_n + channel_of(upper))
                    : 0;
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < COUNT; j++) {
            const int32_t zero = token_of(j) < p.m ? ptx::load_global_nc(p.x_zeros + token_of(j)) : 0;
            acc[j] -= zero * sums[j / 2 % 2] * (1 << SUM_SHIFT<format>);
        }
    }

    KRN_DEVICE_MEMBER void add_offsets(int32_t g) {
        float offset[2];
        for (int32_t upper = 0; upper < 2; upper++)
            offset[upper] =
                channel_of(upper) < p.n
                    ? ptx::load_global_nc(p.offsets + static_cast<int64_t>(g) * p.padded_n + channel_of(upper))
                    : 0;
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < COUNT; j++) {
            const float sum =
                token_of(j) < p.m ? ptx::load_global_nc(p.x_sums + static_cast<int64_t>(g) * p.m + token_of(j)) : 0;
            t[j] = ptx::fma_rn(sum, offset[j / 2 % 2], t[j]);
        }
    }

    /* Where result j of this thread is turned: consumers have the tokens of the block, tokens their 64 channels. */
    static constexpr int32_t PITCH = Shape::CONSUMER_CHANNELS + 4;
    KRN_DEVICE_MEMBER SharedAddress turn_at() const {
        return ptx::shared_base() + static_cast<uint32_t>(consumer * tokens * PITCH * 4);
    }
    KRN_DEVICE_MEMBER SharedAddress turned(int32_t j) const {
        const int32_t thread = ptx::lane() % 4 * 2 * PITCH + 16 * warp() + ptx::lane() / 4;
        return turn_at() + static_cast<uint32_t>(thread * 4) +
               static_cast<uint32_t>(((j / 4 * 8 + j % 2) * PITCH + j / 2 % 2 * 8) * 4);
    }

    /* The chain's only link, of weights with one group. What is not there counts as 0. */
    KRN_DEVICE_MEMBER void turn_channels() const {
        float scale[2];
        for (int32_t upper = 0; upper < 2; upper++)
            scale[upper] = channel_of(upper) < p.n ? load_scale(p.scales, p.scale_type, channel_of(upper)) : 0;
        if (p.offsets == nullptr && p.x_zeros == nullptr) {
            KRN_UNROLL_ALL
            for (int32_t j = 0; j < COUNT; j++)
                ptx::store_shared(
                    turned(j), ptx::fma_rn(ptx::f32_from_s32_rn(acc[j] >> SUM_SHIFT<format>), scale[j / 2 % 2], 0.0f));
            return;
        }
        /* Sums first: the loop that has all the rest takes no registers of them. */
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < COUNT; j++)
            ptx::store_shared(turned(j), acc[j] >> SUM_SHIFT<format>);
        KRN_UNROLL_NONE
        for (int32_t j = 0; j < COUNT; j++) {
            const int32_t channel = channel_of(j / 2 % 2), token = token_of(j);
            if (channel >= p.n || token >= p.m)
                continue;
            int32_t sum = ptx::load_shared<int32_t>(turned(j));
            float before = 0;
            if (p.x_zeros != nullptr)
                sum -= ptx::load_global_nc(p.x_zeros + token) * ptx::load_global_nc(p.code_sums + channel);
            if (p.offsets != nullptr)
                before =
                    ptx::fma_rn(ptx::load_global_nc(p.x_sums + token), ptx::load_global_nc(p.offsets + channel), 0.0f);
            const float scale_of = j / 2 % 2 == 0 ? scale[0] : scale[1];
            ptx::store_shared(turned(j), ptx::fma_rn(ptx::f32_from_s32_rn(sum), scale_of, before));
        }
    }

    /* The results of a consumer are turned where the ring was, all at once, and leave 8 tokens of a warp at a time. */
    KRN_DEVICE_MEMBER void store() const {
        constexpr int32_t UNITS = Shape::CONSUMER_CHANNELS / 16;
        static_assert(Shape::CONSUMERS * tokens * PITCH * 4 <= Shape::FULL_AT, "the ring is too small to turn results");
        /* The other consumer reads x in the ring. */
        ptx::barrier_sync(1, 128 * Shape::CONSUMERS);
        if constexpr (grouped) {
            KRN_UNROLL_ALL
            for (int32_t j = 0; j < COUNT; j++)
                ptx::store_shared(turned(j), t[j]);
        } else {
            turn_channels();
        }
        ptx::barrier_sync(2 + consumer, 128);
        KRN_UNROLL_NONE
        for (int32_t i = warp(); i < tokens / 8; i += 4)
            store_turned<UNITS>(p, turn_at() + static_cast<uint32_t>(i * TURN_BYTES<UNITS>), first_token + 8 * i,
                                first_channel);
    }
};

template <int32_t format, bool grouped, int32_t tokens>
KRN_DEVICE void prefill_with_tma(const krn_cuda_gemm_tma_params &p) {
    using Shape = TmaShape<format, tokens>;
    const TilePlace tile = place_tile(p.gemm, Shape::CHANNELS, tokens);
    if (ptx::thread_x() == 0) {
        for (int32_t slot = 0; slot < Shape::STAGES; slot++) {
            ptx::mbarrier_init(full_mbarrier<Shape>(slot), 1);
            ptx::mbarrier_init(empty_mbarrier<Shape>(slot), Shape::CONSUMER_WARPS);
        }
        ptx::fence_mbarrier_init();
    }
    ptx::sync_threads();
    if (ptx::warp() < 4) {
        ptx::keep_registers<40>();
        if (ptx::thread_x() == 0)
            produce<Shape>(p, tile.channel, tile.token);
    } else {
        ptx::take_registers<232>();
        TmaConsumer<format, grouped, tokens>(p.gemm, ptx::warp() / 4 - 1, tile.channel, tile.token).run();
    }
}

} // namespace gemm

#define KRN_PREFILL_TMA(name, format, grouped, tokens)                                                                 \
    KRN_KERNEL(name, krn_cuda_gemm_tma_params, KRN_CUDA_TMA_THREADS, 1) {                                              \
        gemm::prefill_with_tma<format, grouped, tokens>(p);                                                            \
    }

#endif
