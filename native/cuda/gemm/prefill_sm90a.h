/* Integer cells for many tokens with wgmma. Device code.
 *
 * A block takes one tile of 128 channels x `tokens` tokens after the other, and walks along K in stages of 128 inputs,
 * in a ring in shared memory. Three warpgroups: one thread of the first asks for copies, the other two multiply, 64
 * channels each.
 *
 *   producer    waits until a stage is empty, asks for two tiles of weights, which lie as wgmma wants them
 *               (weights_layout.h), and for a box of x, which its tensor map swizzles; zeros where x ends
 *   consumers   wait until the stage is full, multiply, and say that it is empty; the last stages of a tile after its
 *               results, which are turned there (tma_consumer.h)
 *
 * Weights are the operand a: 8 bits from shared memory; 4 bits from registers, where a warp unpacks its 16 channels.
 * Per channel, sums stay in flight until the stage after. With groups, a run of steps within a group is waited for, and
 * at the end of the group its sums enter the chain t = fma(sum, scale, t), while the other consumer multiplies. */
#ifndef KRN_CUDA_GEMM_PREFILL_SM90A_H
#define KRN_CUDA_GEMM_PREFILL_SM90A_H

#include "cuda/gemm/operands.h"
#include "cuda/gemm/tma_consumer.h"

namespace gemm {

template <int32_t format, bool grouped, int32_t tokens> class TmaConsumer {
  public:
    using Shape = TmaShape<format, tokens, 1>;

    KRN_DEVICE_MEMBER TmaConsumer(const krn_cuda_gemm_params &params, int32_t number, const TilePlace &place,
                                  RingPlace<Shape::STAGES> &at)
        : p(params), tile(params, number, place, at) {}

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
    static constexpr int32_t COUNT = ConsumerTile<Shape>::COUNT;
    static constexpr bool has_zeros = format == KRN_TYPE_U4;

    const krn_cuda_gemm_params &p;
    ConsumerTile<Shape> tile;
    /* Sums of the group, and the chain over groups. */
    int32_t acc[COUNT];
    float t[grouped ? COUNT : 1];
    /* Zero points of the group's codes for this thread's two channels, in every byte; those of the next group. */
    uint32_t zeros[2];
    uint8_t next_zeros[2];

    KRN_DEVICE_MEMBER void start() {
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < COUNT; j++)
            acc[j] = 0;
        if constexpr (grouped)
            tile.start_chains(t);
        if constexpr (has_zeros) {
            tile.load_zeros(0, next_zeros);
            begin_group(0);
        }
    }

    KRN_DEVICE_MEMBER void begin_group(int32_t g) {
        for (int32_t upper = 0; upper < 2; upper++)
            zeros[upper] = spread_zero(next_zeros[upper]);
        tile.load_zeros(g + 1, next_zeros);
    }

    /* Matrices a of `steps` steps from 4-bit codes, 8 bytes of a lane for each. */
    template <int32_t steps>
    KRN_DEVICE_MEMBER void unpack(SharedAddress codes, int32_t first_step, uint32_t (&a)[steps][4]) const {
        const SharedAddress unit = codes + static_cast<uint32_t>(tile.warp() * 1024 + ptx::lane() * 16);
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
        const SharedAddress codes = tile.codes_at();
        const SharedAddress x = tile.x_at() + static_cast<uint32_t>(first_step * 32);
        if constexpr (format == KRN_TYPE_S8) {
            const SharedAddress from = codes + static_cast<uint32_t>(first_step * 32);
            ptx::wgmma_fence();
            KRN_UNROLL_ALL
            for (int32_t s = 0; s < steps; s++)
                ptx::wgmma_k32_s8(acc, tile.descriptor(from + static_cast<uint32_t>(32 * s)),
                                  tile.descriptor(x + static_cast<uint32_t>(32 * s)), accumulates || s > 0);
        } else {
            uint32_t a[steps][4];
            unpack<steps>(codes, first_step, a);
            ptx::wgmma_fence();
            KRN_UNROLL_ALL
            for (int32_t s = 0; s < steps; s++)
                ptx::wgmma_k32_s8(acc, a[s], tile.descriptor(x + static_cast<uint32_t>(32 * s)), accumulates || s > 0);
        }
        ptx::wgmma_commit();
    }

    /* One group. What is behind the last step counts 0. 8-bit sums stay in flight until the stage after. */
    KRN_DEVICE_MEMBER void sum_channels() {
        constexpr int32_t IN_FLIGHT = format == KRN_TYPE_S8 ? 1 : 0;
        tile.wait_full();
        multiply<Shape::STEPS>(0, false);
        KRN_UNROLL_NONE
        for (int32_t stage = 1; stage < p.tiles_k; stage++) {
            const int32_t before = tile.at.slot;
            tile.at.advance();
            if constexpr (IN_FLIGHT == 0) {
                ptx::wgmma_wait<0>();
                tile.release(before, stage - 1);
            }
            tile.wait_full();
            multiply<Shape::STEPS>(0, true);
            if constexpr (IN_FLIGHT == 1) {
                ptx::wgmma_wait<1>();
                tile.release(before, stage - 1);
            }
        }
        ptx::wgmma_wait<0>();
    }

    /* Groups of whole runs of `steps` steps. */
    template <int32_t steps> KRN_DEVICE_MEMBER void sum_groups() {
        int32_t left = p.group_steps, group = 0;
        KRN_UNROLL_NONE
        for (int32_t stage = 0; stage < p.tiles_k; stage++) {
            if (stage > 0)
                tile.at.advance();
            tile.wait_full();
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
                    tile.load_scales(group, scale);
                ptx::wgmma_wait<0>();
                if (first + steps == Shape::STEPS)
                    tile.release(tile.at.slot, stage);
                if (ends_group) {
                    end_group(group, scale);
                    left = p.group_steps;
                    group++;
                    if constexpr (has_zeros)
                        begin_group(group);
                }
            }
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
                tile.channel_of(upper) < p.n
                    ? ptx::load_global_nc(p.code_sums + static_cast<int64_t>(g) * p.padded_n + tile.channel_of(upper))
                    : 0;
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < COUNT; j++) {
            const int32_t zero = tile.token_of(j) < p.m ? ptx::load_global_nc(p.x_zeros + tile.token_of(j)) : 0;
            acc[j] -= zero * sums[j / 2 % 2] * (1 << SUM_SHIFT<format>);
        }
    }

    /* The chain's only link, of weights with one group. What is not there counts as 0. */
    KRN_DEVICE_MEMBER void turn_channels() const {
        float scale[2];
        tile.load_scales(0, scale);
        if (p.offsets == nullptr && p.x_zeros == nullptr) {
            KRN_UNROLL_ALL
            for (int32_t j = 0; j < COUNT; j++)
                ptx::store_shared(tile.turned(j), ptx::fma_rn(ptx::f32_from_s32_rn(acc[j] >> SUM_SHIFT<format>),
                                                              scale[j / 2 % 2], 0.0f));
            return;
        }
        /* Sums first: the loop that has all the rest takes no registers of them. */
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < COUNT; j++)
            ptx::store_shared(tile.turned(j), acc[j] >> SUM_SHIFT<format>);
        KRN_UNROLL_NONE
        for (int32_t j = 0; j < COUNT; j++) {
            const int32_t channel = tile.channel_of(j / 2 % 2), token = tile.token_of(j);
            if (channel >= p.n || token >= p.m)
                continue;
            int32_t sum = ptx::load_shared<int32_t>(tile.turned(j));
            float before = 0;
            if (p.x_zeros != nullptr)
                sum -= ptx::load_global_nc(p.x_zeros + token) * ptx::load_global_nc(p.code_sums + channel);
            if (p.offsets != nullptr)
                before =
                    ptx::fma_rn(ptx::load_global_nc(p.x_sums + token), ptx::load_global_nc(p.offsets + channel), 0.0f);
            const float scale_of = j / 2 % 2 == 0 ? scale[0] : scale[1];
            ptx::store_shared(tile.turned(j), ptx::fma_rn(ptx::f32_from_s32_rn(sum), scale_of, before));
        }
    }

    KRN_DEVICE_MEMBER void store() {
        tile.begin_store();
        if constexpr (grouped) {
            KRN_UNROLL_ALL
            for (int32_t j = 0; j < COUNT; j++)
                ptx::store_shared(tile.turned(j), t[j]);
        } else {
            turn_channels();
        }
        tile.end_store();
    }
};

} // namespace gemm

#define KRN_PREFILL_TMA(name, format, grouped, tokens)                                                                 \
    KRN_KERNEL(name, krn_cuda_gemm_tma_params, KRN_CUDA_TMA_THREADS, 1) {                                              \
        gemm::prefill_with_tma<gemm::TmaConsumer<format, grouped, tokens>>(p);                                         \
    }

#endif
