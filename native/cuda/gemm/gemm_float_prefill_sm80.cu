/* Float cells for many tokens: time goes into the matrix instructions.
 *
 * As gemm_prefill_sm80.cu, but on mma.m16n8k16: a block has a tile of channels x tokens and walks along K in stages of
 * 64 inputs, two or three of which are on their way. The sums of a block of 128 inputs of a group leave for the chain
 * t = fma(sum, scale, t) when it ends (gemm.h), 64 results of a warp to 64 others of its registers. Each is summed from
 * +0 and in order, as in gemm_float_decode_sm80.cu, so both give the same bits. */
#include "cuda/gemm/epilogue.h"
#include "cuda/gemm/float_operands.h"
#include "cuda/gemm/float_prefill_stages.h"
#include "cuda/gemm/tile_place.h"
#include "cuda/ptx/barrier.h"

namespace gemm {

template <int32_t format, int32_t type, int32_t units, int32_t tiles, int32_t warps_n, int32_t warps_m>
class FloatPrefill {
  public:
    using Shape = FloatPrefillShape<format, units, tiles, warps_n, warps_m>;
    static_assert(warps_n * warps_m * TURN_BYTES<units> <= Shape::STAGES * Shape::STAGE_BYTES,
                  "the epilogue needs more shared memory");

    KRN_DEVICE_MEMBER explicit FloatPrefill(const krn_cuda_gemm_params &params)
        : p(params), unpacker(params), num_stages((params.num_steps + 1) / 2), warp_n(ptx::warp() % warps_n),
          warp_m(ptx::warp() / warps_n) {
        const TilePlace place = place_tile(params, Shape::CHANNELS, Shape::TOKENS, ptx::block_x());
        first_channel = place.channel;
        first_token = place.token;
    }

    KRN_DEVICE_MEMBER void run() {
        FloatStageLoader<Shape> loader(p, first_channel, first_token);
        KRN_UNROLL_ALL
        for (int32_t stage = 0; stage < Shape::STAGES - 1; stage++)
            loader.load();
        start();
        int32_t slot = 0;
        PieceWalk<> walk(p);
        for (int32_t stage = 0; stage < num_stages; stage++) {
            ptx::cp_async_wait<Shape::STAGES - 2>();
            ptx::sync_threads();
            loader.load();
            multiply(slot, stage, walk);
            slot = slot + 1 == Shape::STAGES ? 0 : slot + 1;
        }
        ptx::cp_async_wait_all();
        ptx::sync_threads();
        store();
    }

  private:
    const krn_cuda_gemm_params &p;
    const Unpacker<format, type> unpacker;
    const int32_t num_stages, warp_n, warp_m;
    int32_t first_channel, first_token;
    float acc[tiles][units][4], t[tiles][units][4];

    KRN_DEVICE_MEMBER int32_t warp_channel() const { return warp_n * 16 * units; }
    KRN_DEVICE_MEMBER int32_t warp_token() const { return warp_m * 8 * tiles; }

    KRN_DEVICE_MEMBER void start() {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i++)
            KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++)
            KRN_UNROLL_ALL
        for (int32_t j = 0; j < 4; j++) {
            acc[i][u][j] = 0;
            t[i][u][j] = 0;
        }
        if (p.offsets != nullptr)
            for (int32_t g = 0; g < p.num_groups; g++)
                add_offsets(g);
    }

    KRN_DEVICE_MEMBER void multiply(int32_t slot, int32_t stage, PieceWalk<> &walk) {
        const ptx::SharedAddress from = ptx::shared_base() + static_cast<uint32_t>(slot * Shape::STAGE_BYTES);
        KRN_UNROLL_ALL
        for (int32_t s = 0; s < Shape::STEPS; s++) {
            if (stage * Shape::STEPS + s >= p.num_steps)
                break;
            multiply_step(from, s);
            if (walk.ends(stage * Shape::STEPS + s))
                end_piece(from + static_cast<uint32_t>(Shape::SCALES_AT + s * Shape::CHANNELS * 4));
            walk.step_on();
        }
    }

    KRN_DEVICE_MEMBER void multiply_step(ptx::SharedAddress from, int32_t s) {
        uint32_t a[units][2][4];
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++) {
            uint32_t words[Unpacker<format, type>::WORDS], bases[2] = {};
            load_step_words<format>(from + static_cast<uint32_t>((warp_n * units + u) * Shape::UNIT_BYTES), s, words);
            if constexpr (format == KRN_TYPE_U4) {
                const int32_t channel = warp_channel() + 16 * u + ptx::lane() / 4;
                const ptx::SharedAddress zeros =
                    from + static_cast<uint32_t>(Shape::ZEROS_AT + s * Shape::CHANNELS + channel);
                bases[0] = unpacker.base_of(ptx::load_shared<uint8_t>(zeros));
                bases[1] = unpacker.base_of(ptx::load_shared<uint8_t>(zeros + 8));
            }
            unpacker.unpack(words, bases, a[u]);
        }
        const int32_t row = warp_token() + ptx::lane() / 4;
        KRN_UNROLL_ALL
        for (int32_t c = 0; c < 2; c++) {
            const ptx::SharedAddress x = from + Shape::X_AT + half_row_at<Shape::ROW_BYTES>(row, 4 * s + 2 * c) +
                                         static_cast<uint32_t>(ptx::lane() % 4 * 8);
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < tiles; i++) {
                const auto b = ptx::load_shared<ptx::U32x2>(x + static_cast<uint32_t>(8 * i * Shape::ROW_BYTES));
                KRN_UNROLL_ALL
                for (int32_t u = 0; u < units; u++)
                    multiply_halves<type>(acc[i][u], a[u][c], {b.x, b.y});
            }
        }
    }

    /* One link of the chain. `scales` are those of the block's channels, in shared memory. */
    KRN_DEVICE_MEMBER void end_piece(ptx::SharedAddress scales) {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++) {
            const int32_t channel = warp_channel() + 16 * u + ptx::lane() / 4;
            const float scale[2] = {load_shared_scale(scales, p.scale_type, channel),
                                    load_shared_scale(scales, p.scale_type, channel + 8)};
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < tiles; i++)
                KRN_UNROLL_ALL
            for (int32_t j = 0; j < 4; j++) {
                t[i][u][j] = ptx::fma_rn(acc[i][u][j], scale[j / 2], t[i][u][j]);
                acc[i][u][j] = 0;
            }
        }
    }

    KRN_DEVICE_MEMBER void add_offsets(int32_t g) {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++)
            KRN_UNROLL_ALL
        for (int32_t j = 0; j < 4; j++) {
            const int32_t channel = first_channel + warp_channel() + 16 * u + ptx::lane() / 4 + j / 2 * 8;
            const float offset =
                channel < p.n ? ptx::load_global_nc(p.offsets + static_cast<int64_t>(g) * p.padded_n + channel) : 0;
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < tiles; i++) {
                const int32_t token = first_token + warp_token() + 8 * i + ptx::lane() % 4 * 2 + j % 2;
                const float sum =
                    token < p.m ? ptx::load_global_nc(p.x_sums + static_cast<int64_t>(g) * p.m + token) : 0;
                t[i][u][j] = ptx::fma_rn(sum, offset, t[i][u][j]);
            }
        }
    }

    KRN_DEVICE_MEMBER void store() {
        const ptx::SharedAddress turn = ptx::shared_base() + static_cast<uint32_t>(ptx::warp() * TURN_BYTES<units>);
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i++)
            store_tile<units>(p, turn, first_token + warp_token() + 8 * i, first_channel + warp_channel(), t[i]);
    }
};

} // namespace gemm

#define KRN_FLOAT_PREFILL(name, format, type)                                                                          \
    KRN_KERNEL(krn_gemm_float_prefill_##name##_128x128_sm80, krn_cuda_gemm_params, 256, 1) {                           \
        gemm::FloatPrefill<format, type, 2, 8, 4, 2>(p).run();                                                         \
    }                                                                                                                  \
    KRN_KERNEL(krn_gemm_float_prefill_##name##_64x64_sm80, krn_cuda_gemm_params, 128, 3) {                             \
        gemm::FloatPrefill<format, type, 2, 4, 2, 2>(p).run();                                                         \
    }

KRN_FLOAT_PREFILL(s4_bf16, KRN_TYPE_S4, KRN_TYPE_BF16)
KRN_FLOAT_PREFILL(u4_bf16, KRN_TYPE_U4, KRN_TYPE_BF16)
KRN_FLOAT_PREFILL(c4_bf16, KRN_TYPE_C4, KRN_TYPE_BF16)
KRN_FLOAT_PREFILL(s8_bf16, KRN_TYPE_S8, KRN_TYPE_BF16)
KRN_FLOAT_PREFILL(s4_f16, KRN_TYPE_S4, KRN_TYPE_F16)
KRN_FLOAT_PREFILL(u4_f16, KRN_TYPE_U4, KRN_TYPE_F16)
KRN_FLOAT_PREFILL(c4_f16, KRN_TYPE_C4, KRN_TYPE_F16)
KRN_FLOAT_PREFILL(s8_f16, KRN_TYPE_S8, KRN_TYPE_F16)
