/* How a warp of the decoding kernel (gemm_decode_sm80.cu) gets its slices of 128 inputs into its ring of stages. Device
 * code. What does not change from slice to slice is computed once: at one slice of 1 KiB in some 60 clocks, all that a
 * multiprocessor's share of the memory's bandwidth is, instructions count. */
#ifndef KRN_CUDA_GEMM_DECODE_SLICES_H
#define KRN_CUDA_GEMM_DECODE_SLICES_H

#include "cuda/gemm/decode_split.h"
#include "cuda/gemm/operands.h"
#include "cuda/ptx/copy_async.h"

namespace gemm {

using Params = krn_cuda_gemm_params;
using ptx::SharedAddress;

constexpr int32_t WARPS = KRN_CUDA_DECODE_WARPS, THREADS = 32 * WARPS;
constexpr int32_t SLICE_K = KRN_CUDA_SLICE_K, SLICE_STEPS = KRN_CUDA_SLICE_STEPS;

/* A block of `units` times 16 channels and `tiles` times 8 tokens, and how its shared memory is cut. */
template <int32_t format, int32_t units, int32_t tiles, DecodeKind kind> struct DecodeShape {
    static constexpr int32_t CHANNELS = 16 * units, TOKENS = 8 * tiles;
    static constexpr int32_t BITS = format == KRN_TYPE_S8 ? 8 : 4;
    static constexpr int32_t STAGES = krn_cuda_decode_stages(BITS, CHANNELS, TOKENS, kind == DecodeKind::DEEP);
    static constexpr int32_t CODE_BYTES = CHANNELS * SLICE_K * BITS / 8, X_BYTES = TOKENS * SLICE_K;
    static constexpr int32_t SCALES_AT = CODE_BYTES + X_BYTES, ZEROS_AT = SCALES_AT + SLICE_STEPS * CHANNELS * 4;
    static constexpr int32_t STAGE_BYTES = krn_cuda_decode_stage_bytes(BITS, CHANNELS, TOKENS);
    static constexpr int32_t RING_BYTES = STAGES * STAGE_BYTES;
    /* Four more than the channels, so that the fragments of a warp's sums lie in different banks. */
    static constexpr int32_t PITCH = CHANNELS + 4, PIECE_BYTES = TOKENS * PITCH * 4;
};

/* Where a step stands: its group, the steps to the group's end, itself included, and the same of its piece. */
struct Position {
    int32_t group, group_left, piece, piece_left;
};

/* Groups in one piece each leave `piece` and `piece_left` alone, where they are what `group` and `group_left` are. */
template <bool long_groups> KRN_DEVICE Position locate(const Params &p, int32_t step) {
    Position at = {};
    at.group = step / p.group_steps;
    const int32_t in_group = step - at.group * p.group_steps;
    at.group_left = p.group_steps - in_group;
    if constexpr (long_groups) {
        const int32_t part = in_group / p.piece_steps, left = (part + 1) * p.piece_steps - in_group;
        at.piece = at.group * p.group_pieces + part;
        at.piece_left = left < at.group_left ? left : at.group_left;
    }
    return at;
}

/* The position as many steps on as the warps take together in one turn. */
template <bool long_groups> KRN_DEVICE Position one_turn_on(const Params &p, const Position &at, int32_t step) {
    if constexpr (long_groups) {
        return locate<true>(p, step + WARPS * SLICE_STEPS);
    } else {
        Position next = {at.group + p.turn_groups, at.group_left - p.turn_steps, 0, 0};
        if (next.group_left <= 0) {
            next.group_left += p.group_steps;
            next.group++;
        }
        return next;
    }
}

template <int32_t format, int32_t units, int32_t tiles, DecodeKind kind> class SliceLoader {
  public:
    using Shape = DecodeShape<format, units, tiles, kind>;

    KRN_DEVICE_MEMBER SliceLoader(const Params &params, const DecodePart &part, SharedAddress first_stage,
                                  int32_t channel, int32_t token)
        : p(params), ring(first_stage), to(first_stage), first_channel(channel), slice(part.first + ptx::warp()),
          end(part.end), at(slice < end ? locate<LONG_GROUPS>(params, slice * SLICE_STEPS) : Position{}),
          policy(ptx::evict_first_policy()) {
        const int64_t tile = static_cast<int64_t>(channel / 64) * p.tiles_k + slice;
        codes = p.codes + tile * TILE_BYTES + channel % 64 * (SLICE_K * Shape::BITS / 8) + ptx::lane() * 16;
        /* Chunk c of token r lies where c ^ (r % 8) would: ldmatrix then meets no bank twice. */
        const int32_t row = ptx::lane() / 8, chunk = ptx::lane() % 8;
        x_at = slice * SLICE_K + chunk * 16;
        x = p.x + (token + row) * p.x_ld + x_at;
        rows_left = p.m - token - row;
        x_to[0] = static_cast<uint32_t>(row * SLICE_K + ((chunk ^ row) * 16));
        x_to[1] = static_cast<uint32_t>((row + 4) * SLICE_K + ((chunk ^ (row + 4)) * 16));
    }

    /* Starts the copies of the warp's next slice into the next stage; past the last slice, of nothing. Ends a group of
     * copies. */
    KRN_DEVICE_MEMBER void load() {
        if (slice < end) {
            load_codes();
            load_x();
            load_groups();
            at = one_turn_on<LONG_GROUPS>(p, at, slice * SLICE_STEPS);
        }
        slice += WARPS;
        to = to + Shape::STAGE_BYTES == ring + Shape::RING_BYTES ? ring : to + Shape::STAGE_BYTES;
        ptx::cp_async_commit();
    }

  private:
    static constexpr int32_t TILE_BYTES = 64 * SLICE_K * Shape::BITS / 8;
    static constexpr bool LONG_GROUPS = kind == DecodeKind::LONG_GROUPS;

    const Params &p;
    const SharedAddress ring;
    SharedAddress to; /* the next stage */
    const int32_t first_channel;
    int32_t slice;
    const int32_t end;
    Position at; /* of its first step */
    const uint64_t policy;
    const uint8_t *codes;
    const int8_t *x;
    int32_t x_at, rows_left;
    uint32_t x_to[2];

    KRN_DEVICE_MEMBER void load_codes() {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Shape::CODE_BYTES / 512; i++)
            ptx::cp_async_16_with_policy(to + static_cast<uint32_t>(i * 512 + ptx::lane() * 16), codes + i * 512,
                                         policy);
        codes += WARPS * TILE_BYTES;
    }

    KRN_DEVICE_MEMBER void load_x() {
        const int32_t valid = clamp(p.x_bytes - x_at, 0, 16);
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Shape::X_BYTES / 512; i++)
            if (4 * i < rows_left)
                ptx::cp_async_16(to + Shape::CODE_BYTES + x_to[i % 2] + static_cast<uint32_t>(i / 2 * 1024),
                                 x + 4 * i * p.x_ld, valid);
        x += WARPS * SLICE_K;
        x_at += WARPS * SLICE_K;
    }

    /* Scales of the groups that end in the slice, each at the step that it ends with, and the zero points of the steps:
     * of the first alone where all are of one group. */
    KRN_DEVICE_MEMBER void load_groups() {
        const int32_t steps = p.num_steps - slice * SLICE_STEPS;
        if (at.group_left >= SLICE_STEPS && steps >= SLICE_STEPS) {
            load_zeros(0, at.group);
            if (at.group_left == SLICE_STEPS || steps == SLICE_STEPS)
                load_scales(SLICE_STEPS - 1, at.group);
            return;
        }
        int32_t group = at.group, left = at.group_left;
        KRN_UNROLL_ALL
        for (int32_t q = 0; q < SLICE_STEPS; q++) {
            if (q >= steps)
                break;
            load_zeros(q, group);
            if (left == 1 || q == steps - 1)
                load_scales(q, group);
            if (--left == 0) {
                group++;
                left = p.group_steps;
            }
        }
    }

    KRN_DEVICE_MEMBER void load_scales(int32_t q, int32_t group) const {
        if constexpr (kind == DecodeKind::SPLIT)
            return; /* they are wanted where the sums meet */
        const int32_t size = scale_bytes(p.scale_type);
        const int64_t channel = static_cast<int64_t>(group) * p.padded_n + first_channel;
        if (ptx::lane() < Shape::CHANNELS * size / 16)
            ptx::cp_async_16(to + static_cast<uint32_t>(Shape::SCALES_AT + q * Shape::CHANNELS * 4 + ptx::lane() * 16),
                             static_cast<const uint8_t *>(p.scales) + channel * size + ptx::lane() * 16);
    }

    KRN_DEVICE_MEMBER void load_zeros(int32_t q, int32_t group) const {
        if constexpr (format == KRN_TYPE_U4) {
            const int64_t channel = static_cast<int64_t>(group) * p.padded_n + first_channel;
            if (ptx::lane() < units)
                ptx::cp_async_16(to + static_cast<uint32_t>(Shape::ZEROS_AT + q * Shape::CHANNELS + ptx::lane() * 16),
                                 p.zeros == nullptr ? p.codes : p.zeros + channel + ptx::lane() * 16,
                                 p.zeros == nullptr ? 0 : 16);
        }
    }
};

} // namespace gemm

#endif
