/* Integer cells for many tokens: time goes into the matrix instructions.
 *
 * A block has a tile of channels x tokens and walks along K in stages of 64 inputs, which cp.async brings while the
 * matrix instructions work on the stage before. Weights are the operand a of mma.m16n8k32, tokens the operand b, so
 * that a warp unpacks a code once for all its tokens.
 *
 *   stage s + 2, s + 3    on their way from memory
 *   stage s + 1           has arrived, or is about to
 *   stage s               registers <- shared memory, multiplied
 *
 * With groups, the sums of a group leave for the chain t = fma(sum, scale, t) when it ends, 64 results of a warp to 64
 * others of its registers; per channel there is one group, and a warp has twice the channels.
 *
 * In shared memory a row of 8-bit codes or of x has 64 bytes, of which chunk c of 16 lies where c ^ (row / 2 % 4)
 * would: ldmatrix meets no bank twice. Units of 4-bit codes are read as they lie. */
#include "cuda/gemm/epilogue.h"
#include "cuda/gemm/prefill_stages.h"
#include "cuda/gemm/tile_place.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/matrix.h"
#include "cuda/ptx/mma.h"

namespace gemm {

template <int32_t format, bool grouped, int32_t units, int32_t tiles, int32_t warps_n, int32_t warps_m> class Prefill {
  public:
    using Shape = PrefillShape<format, grouped, units, tiles, warps_n, warps_m>;
    static_assert(warps_n * warps_m * TURN_BYTES<units> <= Shape::STAGES * Shape::STAGE_BYTES,
                  "the epilogue needs more shared memory");

    KRN_DEVICE_MEMBER explicit Prefill(const Params &params)
        : p(params), num_stages((params.num_steps + STEPS - 1) / STEPS), warp_n(ptx::warp() % warps_n),
          warp_m(ptx::warp() / warps_n) {
        const TilePlace place = place_tile(params, Shape::CHANNELS, Shape::TOKENS, ptx::block_x());
        first_channel = place.channel;
        first_token = place.token;
    }

    KRN_DEVICE_MEMBER void run() {
        StageLoader<Shape, grouped> loader(p, first_channel, first_token);
        KRN_UNROLL_ALL
        for (int32_t stage = 0; stage < Shape::STAGES - 1; stage++)
            loader.load();
        start();
        int32_t slot = 0, left = p.group_steps, group = 0;
        for (int32_t stage = 0; stage < num_stages; stage++) {
            ptx::cp_async_wait<Shape::STAGES - 2>();
            ptx::sync_threads();
            loader.load();
            multiply(slot, stage, left, group);
            slot = slot + 1 == Shape::STAGES ? 0 : slot + 1;
        }
        if constexpr (!grouped)
            scale_channels();
        ptx::cp_async_wait_all();
        ptx::sync_threads();
        store();
    }

  private:
    const Params &p;
    const int32_t num_stages, warp_n, warp_m;
    int32_t first_channel, first_token;
    /* Sums of the group, and the chain over groups; without groups only one of them lives at a time. */
    int32_t acc[tiles][units][4];
    float t[tiles][units][4];

    KRN_DEVICE_MEMBER int32_t warp_channel() const { return warp_n * 16 * units; }
    KRN_DEVICE_MEMBER int32_t warp_token() const { return warp_m * 8 * tiles; }
    KRN_DEVICE_MEMBER int32_t sum_start() const { return grouped && p.short_groups ? FLOAT_START<format> : 0; }

    KRN_DEVICE_MEMBER void start() {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i++)
            KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++)
            KRN_UNROLL_ALL
        for (int32_t j = 0; j < 4; j++) {
            acc[i][u][j] = sum_start();
            t[i][u][j] = 0;
        }
        if (grouped && p.offsets != nullptr)
            for (int32_t g = 0; g < p.num_groups; g++)
                add_offsets(g);
    }

    KRN_DEVICE_MEMBER void multiply(int32_t slot, int32_t stage, int32_t &left, int32_t &group) {
        const SharedAddress from = ptx::shared_base() + static_cast<uint32_t>(slot * Shape::STAGE_BYTES);
        uint32_t words[units][4];
        if constexpr (format != KRN_TYPE_S8)
            load_words(from, words);
        KRN_UNROLL_ALL
        for (int32_t s = 0; s < STEPS; s++) {
            const int32_t step = stage * STEPS + s;
            if (step >= p.num_steps)
                break;
            uint32_t a[units][4], b[tiles][2];
            load_b(from + Shape::X_AT, s, b);
            KRN_UNROLL_ALL
            for (int32_t u = 0; u < units; u++)
                load_a(from, s, u, words[u][2 * s], words[u][2 * s + 1], a[u]);
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < tiles; i++)
                KRN_UNROLL_ALL
            for (int32_t u = 0; u < units; u++)
                ptx::mma_m16n8k32_s8(acc[i][u], a[u], b[i]);
            if (grouped && (--left == 0 || step == p.num_steps - 1)) {
                end_group(from + static_cast<uint32_t>(Shape::SCALES_AT + s * Shape::CHANNELS * 4), group);
                left = p.group_steps;
                group++;
            }
        }
    }

    KRN_DEVICE_MEMBER void load_words(SharedAddress codes, uint32_t (&words)[units][4]) const {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++) {
            const int32_t at = (warp_n * units + u) * 512 + ptx::lane() * 16;
            const auto v = ptx::load_shared<ptx::U32x4>(codes + static_cast<uint32_t>(at));
            words[u][0] = v.x;
            words[u][1] = v.y;
            words[u][2] = v.z;
            words[u][3] = v.w;
        }
    }

    /* Matrices b of a step for all tokens of the warp, two at a time. */
    KRN_DEVICE_MEMBER void load_b(SharedAddress x, int32_t s, uint32_t (&b)[tiles][2]) const {
        const int32_t row = warp_token() + ptx::lane() / 16 * 8 + ptx::lane() % 8, chunk = 2 * s + ptx::lane() / 8 % 2;
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i += 2) {
            uint32_t two[4];
            ptx::ldmatrix_x4(two, x + chunk_at(row, chunk) + static_cast<uint32_t>(8 * i * STAGE_K));
            b[i][0] = two[0];
            b[i][1] = two[1];
            b[i + 1][0] = two[2];
            b[i + 1][1] = two[3];
        }
    }

    KRN_DEVICE_MEMBER void load_a(SharedAddress from, int32_t s, int32_t u, uint32_t low, uint32_t high,
                                  uint32_t (&a)[4]) const {
        if constexpr (format == KRN_TYPE_S8) {
            const int32_t row = warp_channel() + ptx::lane() % 16, chunk = 2 * s + ptx::lane() / 16;
            ptx::ldmatrix_x4(a, from + chunk_at(row, chunk) + static_cast<uint32_t>(16 * u * STAGE_K));
        } else if constexpr (format == KRN_TYPE_S4) {
            unpack_s4(low, high, a);
        } else {
            const int32_t channel = warp_channel() + 16 * u + ptx::lane() / 4;
            const SharedAddress zeros = from + static_cast<uint32_t>(Shape::ZEROS_AT + s * Shape::CHANNELS + channel);
            unpack_u4(low, high, spread_zero(ptx::load_shared<uint8_t>(zeros)),
                      spread_zero(ptx::load_shared<uint8_t>(zeros + 8)), a);
        }
    }

    /* The channel and the token of result j of unit u and tile i, within the tensors. */
    KRN_DEVICE_MEMBER int32_t channel_of(int32_t u, int32_t j) const {
        return first_channel + warp_channel() + 16 * u + ptx::lane() / 4 + j / 2 * 8;
    }
    KRN_DEVICE_MEMBER int32_t token_of(int32_t i, int32_t j) const {
        return first_token + warp_token() + 8 * i + ptx::lane() % 4 * 2 + j % 2;
    }

    KRN_DEVICE_MEMBER void add_offsets(int32_t g) {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++)
            KRN_UNROLL_ALL
        for (int32_t j = 0; j < 4; j++) {
            const int32_t channel = channel_of(u, j);
            const float offset =
                channel < p.n ? ptx::load_global_nc(p.offsets + static_cast<int64_t>(g) * p.padded_n + channel) : 0;
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < tiles; i++) {
                const int32_t token = token_of(i, j);
                const float sum =
                    token < p.m ? ptx::load_global_nc(p.x_sums + static_cast<int64_t>(g) * p.m + token) : 0;
                t[i][u][j] = ptx::fma_rn(sum, offset, t[i][u][j]);
            }
        }
    }

    /* What the sum of a group lacks for the zero points of activations, in the units of the sum. */
    KRN_DEVICE_MEMBER void subtract_x_zeros(int32_t g) {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++)
            KRN_UNROLL_ALL
        for (int32_t j = 0; j < 4; j++) {
            const int32_t channel = channel_of(u, j);
            const int32_t sum =
                channel < p.n ? ptx::load_global_nc(p.code_sums + static_cast<int64_t>(g) * p.padded_n + channel) : 0;
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < tiles; i++) {
                const int32_t token = token_of(i, j);
                const int32_t zero = token < p.m ? ptx::load_global_nc(p.x_zeros + token) : 0;
                acc[i][u][j] -= zero * sum * (1 << SUM_SHIFT<format>);
            }
        }
    }

    /* One link of the chain. `scales` are those of the block's channels, in shared memory. */
    KRN_DEVICE_MEMBER void end_group(SharedAddress scales, int32_t g) {
        if (p.x_zeros != nullptr)
            subtract_x_zeros(g);
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++) {
            const int32_t channel = warp_channel() + 16 * u + ptx::lane() / 4;
            const float scale[2] = {load_shared_scale(scales, p.scale_type, channel),
                                    load_shared_scale(scales, p.scale_type, channel + 8)};
            if (p.short_groups) {
                KRN_UNROLL_ALL
                for (int32_t i = 0; i < tiles; i++)
                    KRN_UNROLL_ALL
                for (int32_t j = 0; j < 4; j++) {
                    const float sum = ptx::bits_as<float>(acc[i][u][j]) - FLOAT_START_VALUE<format>;
                    t[i][u][j] = ptx::fma_rn(sum, scale[j / 2], t[i][u][j]);
                    acc[i][u][j] = FLOAT_START<format>;
                }
            } else {
                KRN_UNROLL_ALL
                for (int32_t i = 0; i < tiles; i++)
                    KRN_UNROLL_ALL
                for (int32_t j = 0; j < 4; j++) {
                    const float sum = ptx::f32_from_s32_rn(acc[i][u][j] >> SUM_SHIFT<format>);
                    t[i][u][j] = ptx::fma_rn(sum, scale[j / 2], t[i][u][j]);
                    acc[i][u][j] = 0;
                }
            }
        }
    }

    /* The only link, of weights with one group, result by result: both sums and chain would be too many registers. What
     * is not there counts as 0, which changes nothing. */
    KRN_DEVICE_MEMBER void scale_channels() {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++)
            KRN_UNROLL_ALL
        for (int32_t j = 0; j < 4; j++) {
            const int32_t channel = channel_of(u, j);
            const bool is_there = channel < p.n && p.num_groups > 0;
            const float scale = is_there ? load_scale(p.scales, p.scale_type, channel) : 0;
            const float offset = is_there && p.offsets != nullptr ? ptx::load_global_nc(p.offsets + channel) : 0;
            const int32_t code_sum = is_there && p.x_zeros != nullptr ? ptx::load_global_nc(p.code_sums + channel) : 0;
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < tiles; i++) {
                const int32_t token = token_of(i, j);
                const float x_sum = token < p.m && p.offsets != nullptr ? ptx::load_global(p.x_sums + token) : 0;
                const int32_t zero = token < p.m && p.x_zeros != nullptr ? ptx::load_global(p.x_zeros + token) : 0;
                const int32_t sum = (acc[i][u][j] >> SUM_SHIFT<format>)-zero * code_sum;
                t[i][u][j] = ptx::fma_rn(ptx::f32_from_s32_rn(sum), scale, ptx::fma_rn(x_sum, offset, 0.0f));
            }
        }
    }

    KRN_DEVICE_MEMBER void store() {
        const SharedAddress turn = ptx::shared_base() + static_cast<uint32_t>(ptx::warp() * TURN_BYTES<units>);
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i++)
            store_tile<units>(p, turn, first_token + warp_token() + 8 * i, first_channel + warp_channel(), t[i]);
    }
};

} // namespace gemm

#define KRN_PREFILL(name, format, grouped, units, tiles, warps_n, warps_m, blocks)                                     \
    KRN_KERNEL(name, krn_cuda_gemm_params, 32 * (warps_n) * (warps_m), blocks) {                                       \
        gemm::Prefill<format, grouped, units, tiles, warps_n, warps_m>(p).run();                                       \
    }

/* 128 x 128: one group, warps of 64 x 64, two blocks on a multiprocessor; groups, warps of 32 x 64. */
KRN_PREFILL(krn_gemm_prefill_s8_channel_128x128_sm80, KRN_TYPE_S8, false, 4, 8, 2, 2, 2)
KRN_PREFILL(krn_gemm_prefill_s4_channel_128x128_sm80, KRN_TYPE_S4, false, 4, 8, 2, 2, 2)
KRN_PREFILL(krn_gemm_prefill_u4_channel_128x128_sm80, KRN_TYPE_U4, false, 4, 8, 2, 2, 2)
KRN_PREFILL(krn_gemm_prefill_s8_group_128x128_sm80, KRN_TYPE_S8, true, 2, 8, 4, 2, 1)
KRN_PREFILL(krn_gemm_prefill_s4_group_128x128_sm80, KRN_TYPE_S4, true, 2, 8, 4, 2, 1)
KRN_PREFILL(krn_gemm_prefill_u4_group_128x128_sm80, KRN_TYPE_U4, true, 2, 8, 4, 2, 1)
/* 64 x 64: few tokens, or too few large tiles for the multiprocessors. */
KRN_PREFILL(krn_gemm_prefill_s8_channel_64x64_sm80, KRN_TYPE_S8, false, 2, 4, 2, 2, 3)
KRN_PREFILL(krn_gemm_prefill_s4_channel_64x64_sm80, KRN_TYPE_S4, false, 2, 4, 2, 2, 3)
KRN_PREFILL(krn_gemm_prefill_u4_channel_64x64_sm80, KRN_TYPE_U4, false, 2, 4, 2, 2, 3)
KRN_PREFILL(krn_gemm_prefill_s8_group_64x64_sm80, KRN_TYPE_S8, true, 2, 4, 2, 2, 3)
KRN_PREFILL(krn_gemm_prefill_s4_group_64x64_sm80, KRN_TYPE_S4, true, 2, 4, 2, 2, 3)
KRN_PREFILL(krn_gemm_prefill_u4_group_64x64_sm80, KRN_TYPE_U4, true, 2, 4, 2, 2, 3)
