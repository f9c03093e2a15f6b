/* How the stages of 128 inputs of the prefill kernels of sm_90a (tma_consumer.h) get into shared memory: bulk copies of
 * tiles of weights, and boxes of x by a tensor map. Device code. */
#ifndef KRN_CUDA_GEMM_TMA_STAGES_H
#define KRN_CUDA_GEMM_TMA_STAGES_H

#include "cuda/gemm/gemm_params.h"
#include "cuda/gemm/tile_place.h"
#include "cuda/ptx/mbarrier.h"
#include "cuda/ptx/tma.h"
#include "kernels/common.h"

namespace gemm {

using ptx::SharedAddress;

/* `x_bytes` are those of an activation. */
template <int32_t format, int32_t tokens, int32_t x_bytes> struct TmaShape {
    static constexpr int32_t CHANNELS = KRN_CUDA_TMA_CHANNELS, CONSUMERS = 2, CONSUMER_CHANNELS = 64;
    static constexpr int32_t TOKENS = tokens, X_BYTES = x_bytes;
    static constexpr int32_t BITS = format == KRN_TYPE_S8 ? 8 : 4;
    static constexpr int32_t STAGES = krn_cuda_tma_stages(BITS, x_bytes, tokens);
    static constexpr int32_t STEPS = KRN_CUDA_TMA_K / 32;
    static constexpr int32_t TILE_BYTES = CONSUMER_CHANNELS * KRN_CUDA_TMA_K * BITS / 8;
    /* Boxes of x, each with 128 bytes of a token: one of 128 inputs, or two of 64. */
    static constexpr int32_t X_AT = CONSUMERS * TILE_BYTES, BOX_BYTES = tokens * KRN_CUDA_TMA_BOX_BYTES;
    static constexpr int32_t STAGE_BYTES = krn_cuda_tma_stage_bytes(BITS, x_bytes, tokens);
    /* The stages in which results are turned, and how many pieces of 8 tokens of a consumer each has. */
    static constexpr int32_t TURN_STAGES = krn_cuda_tma_turn_stages(BITS, x_bytes, tokens);
    static constexpr int32_t STAGE_TURNS = krn_cuda_tma_stage_turns(BITS, x_bytes, tokens);
    static_assert(TURN_STAGES < STAGES, "the ring is too small to turn results");
    /* Behind the ring, two mbarriers for each stage: all have arrived; all have been read. */
    static constexpr int32_t FULL_AT = STAGES * STAGE_BYTES, EMPTY_AT = FULL_AT + 8 * STAGES;
    static constexpr int32_t CONSUMER_WARPS = 4 * CONSUMERS;
};

/* A place in the ring, and how often the ring has been walked, modulo 2. */
template <int32_t stages> struct RingPlace {
    int32_t slot = 0, parity = 0;

    KRN_DEVICE_MEMBER void advance() {
        slot++;
        if (slot == stages) {
            slot = 0;
            parity ^= 1;
        }
    }
};

template <class Shape> KRN_DEVICE SharedAddress full_mbarrier(int32_t slot) {
    return ptx::shared_base() + static_cast<uint32_t>(Shape::FULL_AT + 8 * slot);
}

template <class Shape> KRN_DEVICE SharedAddress empty_mbarrier(int32_t slot) {
    return ptx::shared_base() + static_cast<uint32_t>(Shape::EMPTY_AT + 8 * slot);
}

/* Asks for all stages of a tile. Channels behind the last tile of weights are replaced by those of the first: no one
 * reads the results. */
template <class Shape>
KRN_DEVICE void produce(const krn_cuda_gemm_tma_params &p, const TilePlace &tile, RingPlace<Shape::STAGES> &at) {
    const int64_t column_bytes = static_cast<int64_t>(p.gemm.tiles_k) * Shape::TILE_BYTES;
    const uint8_t *const first = p.gemm.codes + tile.channel / Shape::CONSUMER_CHANNELS * column_bytes;
    const uint8_t *const second =
        tile.channel + Shape::CONSUMER_CHANNELS < p.gemm.padded_n ? first + column_bytes : first;
    KRN_UNROLL_NONE
    for (int32_t stage = 0; stage < p.gemm.tiles_k; stage++) {
        const SharedAddress to = ptx::shared_base() + static_cast<uint32_t>(at.slot * Shape::STAGE_BYTES);
        const SharedAddress full = full_mbarrier<Shape>(at.slot);
        const int64_t from = static_cast<int64_t>(stage) * Shape::TILE_BYTES;
        ptx::mbarrier_wait(empty_mbarrier<Shape>(at.slot), at.parity ^ 1);
        ptx::mbarrier_arrive_expect(full, Shape::STAGE_BYTES);
        ptx::bulk_load(to, first + from, Shape::TILE_BYTES, full);
        ptx::bulk_load(to + Shape::TILE_BYTES, second + from, Shape::TILE_BYTES, full);
        KRN_UNROLL_ALL
        for (int32_t box = 0; box < Shape::X_BYTES; box++)
            ptx::tma_load_2d(to + static_cast<uint32_t>(Shape::X_AT + box * Shape::BOX_BYTES), &p.x_map, full,
                             (stage * Shape::X_BYTES + box) * KRN_CUDA_TMA_BOX_BYTES, tile.token);
        at.advance();
    }
}

} // namespace gemm

#endif
