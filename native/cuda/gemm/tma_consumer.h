/* What the consumers of the prefill kernels of sm_90a have in common, whatever they multiply (prefill_sm90a.h,
 * float_prefill_sm90a.h): their place in the tile of the block and in the ring, what belongs to their channels and
 * tokens, and the way of their results into Y. Device code. */
#ifndef KRN_CUDA_GEMM_TMA_CONSUMER_H
#define KRN_CUDA_GEMM_TMA_CONSUMER_H

#include "cuda/gemm/epilogue.h"
#include "cuda/gemm/tma_stages.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/registers.h"
#include "cuda/ptx/wgmma.h"

namespace gemm {

/* The 64 channels of a consumer and the tokens of the block. A thread has two channels, 8 apart, of which `upper` says
 * which, and COUNT results, as wgmma.h has them: of result j, j / 4 are the 8 tokens, j % 4 as of mma.m16n8. */
template <class Shape> class ConsumerTile {
  public:
    static constexpr int32_t COUNT = Shape::TOKENS / 2;

    const krn_cuda_gemm_params &p;
    const int32_t consumer, first_channel, first_token;
    RingPlace<Shape::STAGES> &at; /* the stage to be read; after the tile's last, that */

    KRN_DEVICE_MEMBER ConsumerTile(const krn_cuda_gemm_params &params, int32_t number, const TilePlace &place,
                                   RingPlace<Shape::STAGES> &ring_place)
        : p(params), consumer(number), first_channel(place.channel + number * Shape::CONSUMER_CHANNELS),
          first_token(place.token), at(ring_place) {}

    KRN_DEVICE_MEMBER int32_t warp() const { return ptx::warp() % 4; }
    KRN_DEVICE_MEMBER int32_t channel_of(int32_t upper) const {
        return first_channel + 16 * warp() + ptx::lane() / 4 + 8 * upper;
    }
    KRN_DEVICE_MEMBER int32_t token_of(int32_t j) const {
        return first_token + j / 4 * 8 + ptx::lane() % 4 * 2 + j % 2;
    }

    /* The stage at which the consumer is: its tile of weights, and x. */
    KRN_DEVICE_MEMBER SharedAddress codes_at() const {
        return stage_at() + static_cast<uint32_t>(consumer * Shape::TILE_BYTES);
    }
    KRN_DEVICE_MEMBER SharedAddress x_at() const { return stage_at() + static_cast<uint32_t>(Shape::X_AT); }

    KRN_DEVICE_MEMBER void wait_full() const { ptx::mbarrier_wait(full_mbarrier<Shape>(at.slot), at.parity); }

    /* Tells the producer that this warp has read a stage of the tile, unless results are to be turned there. */
    KRN_DEVICE_MEMBER void release(int32_t slot, int32_t stage) const {
        if (stage < p.tiles_k - Shape::TURN_STAGES)
            give_back(slot);
    }

    /* An operand of wgmma. Rows of 128 bytes, swizzled: 8 of them are 1024 bytes. */
    KRN_DEVICE_MEMBER uint64_t descriptor(SharedAddress start) const {
        return ptx::wgmma_descriptor(start, ptx::Swizzle::BYTES_128, 16, 1024);
    }

    /* Zero points of a group; 0 where there is none. */
    KRN_DEVICE_MEMBER void load_zeros(int32_t g, uint8_t (&zeros)[2]) const {
        for (int32_t upper = 0; upper < 2; upper++) {
            const int32_t channel = channel_of(upper);
            const bool is_there = p.zeros != nullptr && channel < p.n && g < p.num_groups;
            zeros[upper] =
                is_there ? ptx::load_global_nc(p.zeros + static_cast<int64_t>(g) * p.padded_n + channel) : uint8_t{0};
        }
    }

    /* Scales of a group; 0 where there is no channel. */
    KRN_DEVICE_MEMBER void load_scales(int32_t g, float (&scale)[2]) const {
        for (int32_t upper = 0; upper < 2; upper++) {
            const int32_t channel = channel_of(upper);
            scale[upper] =
                channel < p.n ? load_scale(p.scales, p.scale_type, static_cast<int64_t>(g) * p.padded_n + channel) : 0;
        }
    }

    /* What every chain t begins with. */
    KRN_DEVICE_MEMBER void start_chains(float (&t)[COUNT]) const {
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < COUNT; j++)
            t[j] = 0;
        if (p.offsets != nullptr)
            for (int32_t g = 0; g < p.num_groups; g++)
                add_offsets(g, t);
    }

    /* Where result j of this thread is turned: tokens have the 64 channels of the consumer. */
    KRN_DEVICE_MEMBER SharedAddress turned(int32_t j) const {
        const int32_t thread = ptx::lane() % 4 * 2 * PITCH + 16 * warp() + ptx::lane() / 4;
        return turn_at(j / 4) + static_cast<uint32_t>((thread + j % 2 * PITCH + j / 2 % 2 * 8) * 4);
    }

    /* Before the first result is turned: the other consumer reads x in the same stages. */
    KRN_DEVICE_MEMBER void begin_store() const { ptx::barrier_sync(1, 128 * Shape::CONSUMERS); }

    /* When all results of a consumer have been turned: they leave 8 tokens of a warp at a time, and the stages are
     * given back, in which the copy engine will write next. */
    KRN_DEVICE_MEMBER void end_store() const {
        ptx::barrier_sync(2 + consumer, 128);
        KRN_UNROLL_NONE
        for (int32_t i = warp(); i < Shape::TOKENS / 8; i += 4)
            store_turned<UNITS>(p, turn_at(i), first_token + 8 * i, first_channel);
        ptx::fence_proxy_async();
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Shape::TURN_STAGES; i++)
            give_back(turn_slot(i));
        at.advance();
    }

  private:
    static constexpr int32_t UNITS = Shape::CONSUMER_CHANNELS / 16, PITCH = Shape::CONSUMER_CHANNELS + 4;
    static_assert(TURN_BYTES<UNITS> == KRN_CUDA_TMA_TURN_BYTES, "the door counts with another size");

    KRN_DEVICE_MEMBER SharedAddress stage_at() const {
        return ptx::shared_base() + static_cast<uint32_t>(at.slot * Shape::STAGE_BYTES);
    }

    KRN_DEVICE_MEMBER void give_back(int32_t slot) const {
        ptx::sync_warp();
        if (ptx::lane() == 0)
            ptx::mbarrier_arrive(empty_mbarrier<Shape>(slot));
    }

    /* The stages in which results are turned end with the tile's last. */
    KRN_DEVICE_MEMBER int32_t turn_slot(int32_t i) const {
        const int32_t slot = at.slot - (Shape::TURN_STAGES - 1) + i;
        return slot < 0 ? slot + Shape::STAGES : slot;
    }

    /* Where a consumer's results for 8 tokens, the i-th, are turned. */
    KRN_DEVICE_MEMBER SharedAddress turn_at(int32_t i) const {
        const int32_t in_stage = consumer * Shape::STAGE_TURNS + i % Shape::STAGE_TURNS;
        return ptx::shared_base() + static_cast<uint32_t>(turn_slot(i / Shape::STAGE_TURNS) * Shape::STAGE_BYTES +
                                                          in_stage * KRN_CUDA_TMA_TURN_BYTES);
    }

    KRN_DEVICE_MEMBER void add_offsets(int32_t g, float (&t)[COUNT]) const {
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
};

/* A block, which walks over tiles as far apart as there are blocks: the first warpgroup asks for stages, the others are
 * each a Consumer(params, number, place, ring place) for every tile. The ring goes on from tile to tile, so the
 * producer is ahead while results are stored. */
template <class Consumer> KRN_DEVICE void prefill_with_tma(const krn_cuda_gemm_tma_params &p) {
    using Shape = typename Consumer::Shape;
    if (ptx::thread_x() == 0) {
        ptx::prefetch_tensor_map(&p.x_map);
        for (int32_t slot = 0; slot < Shape::STAGES; slot++) {
            ptx::mbarrier_init(full_mbarrier<Shape>(slot), 1);
            ptx::mbarrier_init(empty_mbarrier<Shape>(slot), Shape::CONSUMER_WARPS);
        }
        ptx::fence_mbarrier_init();
    }
    ptx::sync_threads();
    const int32_t tiles = count_tiles(p.gemm, Shape::CHANNELS, Shape::TOKENS);
    RingPlace<Shape::STAGES> at;
    if (ptx::warp() < 4) {
        ptx::keep_registers<40>();
        if (ptx::thread_x() == 0) {
            KRN_UNROLL_NONE
            for (int32_t tile = ptx::block_x(); tile < tiles; tile += ptx::grid_x())
                produce<Shape>(p, place_tile(p.gemm, Shape::CHANNELS, Shape::TOKENS, tile), at);
        }
    } else {
        ptx::take_registers<232>();
        KRN_UNROLL_NONE
        for (int32_t tile = ptx::block_x(); tile < tiles; tile += ptx::grid_x())
            Consumer(p.gemm, ptx::warp() / 4 - 1, place_tile(p.gemm, Shape::CHANNELS, Shape::TOKENS, tile), at).run();
    }
}

} // namespace gemm

#endif
