/* Float cells for many tokens with wgmma. Device code.
 *
 * Stages, producer and consumers are those of prefill_sm90a.h; a stage has two boxes of x, of 64 inputs each. Weights
 * are unpacked to the type of x, in the registers from which wgmma.m64nNk16 takes them: the codes of 64 inputs while
 * the products of the 64 before are on their way. wgmma reads x as it lies in memory, so inputs cannot change places within
 * 16 as they do for mma.m16n8k16 (float_operands.h); the lanes of a channel exchange their codes instead, on the way
 * from shared memory.
 *
 * The sums of a block of 128 inputs of a group enter the chain t = fma(sum, scale, t) when it ends (gemm.h), while the
 * other consumer multiplies. Each is summed from +0 and in order. */
#ifndef KRN_CUDA_GEMM_FLOAT_PREFILL_SM90A_H
#define KRN_CUDA_GEMM_FLOAT_PREFILL_SM90A_H

#include "cuda/gemm/float_operands.h"
#include "cuda/gemm/float_pieces.h"
#include "cuda/gemm/tma_consumer.h"

namespace gemm {

template <int32_t format, int32_t type, int32_t tokens> class FloatTmaConsumer {
  public:
    using Shape = TmaShape<format, tokens, 2>;

    KRN_DEVICE_MEMBER FloatTmaConsumer(const krn_cuda_gemm_params &params, int32_t number, const TilePlace &place,
                                       RingPlace<Shape::STAGES> &at)
        : p(params), unpacker(params), tile(params, number, place, at) {}

    KRN_DEVICE_MEMBER void run() {
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < COUNT; j++)
            acc[j] = 0;
        tile.start_chains(t);
        if constexpr (has_zeros) {
            tile.load_zeros(0, next_zeros);
            begin_group(0);
        }
        if (p.group_steps % 4 == 0)
            sum_pieces<4>();
        else if (p.group_steps % 2 == 0)
            sum_pieces<2>();
        else
            sum_pieces<1>();
        tile.begin_store();
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < COUNT; j++)
            ptx::store_shared(tile.turned(j), t[j]);
        tile.end_store();
    }

  private:
    using Codes = Unpacker<format, type>;
    static constexpr int32_t COUNT = ConsumerTile<Shape>::COUNT;
    static constexpr bool has_zeros = format == KRN_TYPE_U4;

    const krn_cuda_gemm_params &p;
    const Codes unpacker;
    ConsumerTile<Shape> tile;
    /* Sums of the block of 128 inputs, and the chain over blocks. */
    float acc[COUNT], t[COUNT];
    /* What the codes of this thread's two channels are to be less in the group; zero points of the next one. */
    uint32_t bases[2] = {};
    uint8_t next_zeros[2];

    KRN_DEVICE_MEMBER void begin_group(int32_t g) {
        for (int32_t upper = 0; upper < 2; upper++)
            bases[upper] = Codes::base_of(next_zeros[upper]);
        tile.load_zeros(g + 1, next_zeros);
    }

    /* Starts the products of `steps` steps of a stage; the first adds to what acc holds, or replaces it. */
    template <int32_t steps> KRN_DEVICE_MEMBER void multiply(int32_t first_step, bool accumulates) {
        constexpr int32_t AT_ONCE = steps < 2 ? steps : 2;
        const SharedAddress x = tile.x_at() + static_cast<uint32_t>(first_step / 2 * Shape::BOX_BYTES) +
                                static_cast<uint32_t>(first_step % 2 * 64);
        uint32_t a[steps][2][4];
        KRN_UNROLL_ALL
        for (int32_t first = 0; first < steps; first += AT_ONCE) {
            uint32_t words[AT_ONCE][Codes::WORDS];
            load_ordered_words<format>(tile.codes_at(), tile.warp(), first_step + first, words);
            KRN_UNROLL_ALL
            for (int32_t s = 0; s < AT_ONCE; s++)
                unpacker.unpack(words[s], bases, a[first + s]);
            ptx::wgmma_fence();
            KRN_UNROLL_ALL
            for (int32_t s = first; s < first + AT_ONCE; s++)
                KRN_UNROLL_ALL
            for (int32_t c = 0; c < 2; c++)
                multiply_inputs(a[s][c], x + static_cast<uint32_t>(s / 2 * Shape::BOX_BYTES + s % 2 * 64 + c * 32),
                                accumulates || s + c > 0);
            ptx::wgmma_commit();
        }
    }

    /* Starts the product of 16 inputs. */
    KRN_DEVICE_MEMBER void multiply_inputs(const uint32_t (&a)[4], SharedAddress x, bool accumulates) {
        if constexpr (type == KRN_TYPE_F16)
            ptx::wgmma_k16_f16(acc, a, tile.descriptor(x), accumulates);
        else
            ptx::wgmma_k16_bf16(acc, a, tile.descriptor(x), accumulates);
    }

    /* Pieces of whole runs of `steps` steps; what is behind the last step counts 0. */
    template <int32_t steps> KRN_DEVICE_MEMBER void sum_pieces() {
        PieceWalk<steps> walk(p);
        bool begins = true;
        KRN_UNROLL_NONE
        for (int32_t stage = 0; stage < p.tiles_k; stage++) {
            if (stage > 0)
                tile.at.advance();
            tile.wait_full();
            KRN_UNROLL_NONE
            for (int32_t first = 0; first < Shape::STEPS; first += steps) {
                const int32_t step = stage * Shape::STEPS + first;
                if (step >= p.num_steps)
                    break;
                multiply<steps>(first, !begins);
                begins = walk.ends(step);
                float scale[2] = {0, 0};
                if (begins)
                    tile.load_scales(walk.group, scale);
                ptx::wgmma_wait<0>();
                if (first + steps == Shape::STEPS)
                    tile.release(tile.at.slot, stage);
                if (begins) {
                    KRN_UNROLL_ALL
                    for (int32_t j = 0; j < COUNT; j++)
                        t[j] = ptx::fma_rn(acc[j], scale[j / 2 % 2], t[j]);
                }
                const bool is_new_group = walk.step_on();
                if constexpr (has_zeros) {
                    if (is_new_group)
                        begin_group(walk.group);
                }
            }
        }
    }
};

} // namespace gemm

#define KRN_FLOAT_PREFILL_TMA(name, format, type)                                                                      \
    KRN_KERNEL(krn_gemm_float_prefill_##name##_128x128_sm90a, krn_cuda_gemm_tma_params, KRN_CUDA_TMA_THREADS, 1) {     \
        gemm::prefill_with_tma<gemm::FloatTmaConsumer<format, type, 128>>(p);                                          \
    }                                                                                                                  \
    KRN_KERNEL(krn_gemm_float_prefill_##name##_128x64_sm90a, krn_cuda_gemm_tma_params, KRN_CUDA_TMA_THREADS, 1) {      \
        gemm::prefill_with_tma<gemm::FloatTmaConsumer<format, type, 64>>(p);                                           \
    }

#endif
