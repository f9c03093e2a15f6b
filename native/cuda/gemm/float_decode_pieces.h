/* How a warp of the decoding kernel for float activations (gemm_float_decode_sm80.cu) gets its pieces into its ring of
 * stages. Device code. */
#ifndef KRN_CUDA_GEMM_FLOAT_DECODE_PIECES_H
#define KRN_CUDA_GEMM_FLOAT_DECODE_PIECES_H

#include "cuda/gemm/decode_split.h"
#include "cuda/gemm/float_pieces.h"
#include "cuda/ptx/copy_async.h"

namespace gemm {

template <int32_t format, int32_t units, int32_t tiles, DecodeKind kind> struct FloatDecodeShape {
    static constexpr int32_t WARPS = KRN_CUDA_DECODE_WARPS, THREADS = 32 * WARPS;
    static constexpr int32_t CHANNELS = 16 * units, TOKENS = 8 * tiles;
    static constexpr int32_t BITS = format == KRN_TYPE_S8 ? 8 : 4;
    static constexpr int32_t STAGES = krn_cuda_float_decode_stages(BITS, CHANNELS, TOKENS, kind == DecodeKind::DEEP);
    static constexpr int32_t UNIT_BYTES = 16 * 128 * BITS / 8, ROW_BYTES = 256;
    static constexpr int32_t X_AT = units * UNIT_BYTES, SCALES_AT = X_AT + TOKENS * ROW_BYTES;
    static constexpr int32_t ZEROS_AT = SCALES_AT + CHANNELS * 4;
    static constexpr int32_t STAGE_BYTES = krn_cuda_float_decode_stage_bytes(BITS, CHANNELS, TOKENS);
    static constexpr int32_t RING_BYTES = STAGES * STAGE_BYTES;
    /* Four more than the channels, so that the fragments of a warp's sums lie in different banks. */
    static constexpr int32_t PITCH = CHANNELS + 4, PIECE_BYTES = TOKENS * PITCH * 4;
};

template <int32_t format, int32_t units, int32_t tiles, DecodeKind kind> class PieceLoader {
  public:
    using Shape = FloatDecodeShape<format, units, tiles, kind>;

    KRN_DEVICE_MEMBER PieceLoader(const krn_cuda_gemm_params &params, const DecodePart &part,
                                  ptx::SharedAddress first_stage, int32_t channel, int32_t token)
        : p(params), ring(first_stage), to(first_stage), first_channel(channel), first_token(token),
          piece(part.first + ptx::warp()), end(part.end), policy(ptx::evict_first_policy()) {}

    /* Starts the copies of the warp's next piece into the next stage; past the last piece, of nothing. Ends a group of
     * copies. */
    KRN_DEVICE_MEMBER void load() {
        if (piece < end) {
            const FloatPiece at = piece_at(p, piece);
            load_codes(at);
            load_x(at);
            load_group(at.group);
        }
        piece += Shape::WARPS;
        to = to + Shape::STAGE_BYTES == ring + Shape::RING_BYTES ? ring : to + Shape::STAGE_BYTES;
        ptx::cp_async_commit();
    }

  private:
    static constexpr int32_t TILE_BYTES = 64 * 128 * Shape::BITS / 8;

    const krn_cuda_gemm_params &p;
    const ptx::SharedAddress ring;
    ptx::SharedAddress to; /* the next stage */
    const int32_t first_channel, first_token;
    int32_t piece;
    const int32_t end;
    const uint64_t policy;

    KRN_DEVICE_MEMBER const uint8_t *tile_of(int32_t step) const {
        return p.codes + (static_cast<int64_t>(first_channel / 64) * p.tiles_k + step / 4) * TILE_BYTES;
    }

    KRN_DEVICE_MEMBER void load_codes(const FloatPiece &at) const {
        if constexpr (Shape::BITS == 8)
            load_bytes(at);
        else if (at.first_step % 2 == 0)
            load_units(at);
        else
            load_half_units(at);
    }

    /* 8 bits: a step of 16 channels is 32 times 16 bytes. */
    KRN_DEVICE_MEMBER void load_bytes(const FloatPiece &at) const {
        KRN_UNROLL_ALL
        for (int32_t s = 0; s < KRN_CUDA_FLOAT_PIECE_STEPS; s++) {
            if (s >= at.steps)
                break;
            const int32_t step = at.first_step + s, chunk = step % 4 * 2 + ptx::lane() / 16;
            KRN_UNROLL_ALL
            for (int32_t u = 0; u < units; u++) {
                const int32_t row = first_channel % 64 + 16 * u + ptx::lane() % 16;
                ptx::cp_async_16_with_policy(
                    to + static_cast<uint32_t>(u * Shape::UNIT_BYTES + s * 512 + ptx::lane() * 16),
                    tile_of(step) + row * 128 + ((chunk ^ (row % 8)) * 16), policy);
            }
        }
    }

    /* 4 bits, two steps at once. */
    KRN_DEVICE_MEMBER void load_units(const FloatPiece &at) const {
        KRN_UNROLL_ALL
        for (int32_t s = 0; s < KRN_CUDA_FLOAT_PIECE_STEPS; s += 2) {
            if (s >= at.steps)
                break;
            const int32_t step = at.first_step + s;
            const uint8_t *const from =
                tile_of(step) + first_channel % 64 / 16 * 1024 + step % 4 / 2 * 512 + ptx::lane() * 16;
            KRN_UNROLL_ALL
            for (int32_t u = 0; u < units; u++)
                ptx::cp_async_16_with_policy(
                    to + static_cast<uint32_t>(u * Shape::UNIT_BYTES + s * 256 + ptx::lane() * 16), from + u * 1024,
                    policy);
        }
    }

    /* 4 bits, where a piece begins in the middle of a unit. */
    KRN_DEVICE_MEMBER void load_half_units(const FloatPiece &at) const {
        for (int32_t s = 0; s < at.steps; s++) {
            const int32_t step = at.first_step + s;
            const uint8_t *const from =
                tile_of(step) + first_channel % 64 / 16 * 1024 + step % 4 / 2 * 512 + step % 2 * 8 + ptx::lane() * 16;
            KRN_UNROLL_ALL
            for (int32_t u = 0; u < units; u++)
                ptx::cp_async_8(
                    to + static_cast<uint32_t>(u * Shape::UNIT_BYTES + s / 2 * 512 + s % 2 * 8 + ptx::lane() * 16),
                    from + u * 1024, 8);
        }
    }

    KRN_DEVICE_MEMBER void load_x(const FloatPiece &at) const {
        const int32_t i = ptx::lane() % 16, x_at = at.first_step * 64 + i * 16;
        const int32_t valid = clamp(p.x_bytes - x_at, 0, 16);
        KRN_UNROLL_ALL
        for (int32_t r = 0; r < Shape::TOKENS; r += 2) {
            const int32_t row = r + ptx::lane() / 16;
            if (i < at.steps * 4 && first_token + row < p.m)
                ptx::cp_async_16(to + Shape::X_AT + half_row_at<Shape::ROW_BYTES>(row, i),
                                 p.x + (first_token + row) * p.x_ld + x_at, valid);
        }
    }

    KRN_DEVICE_MEMBER void load_group(int32_t group) const {
        const int32_t size = scale_bytes(p.scale_type);
        const int64_t channel = static_cast<int64_t>(group) * p.padded_n + first_channel;
        /* Of a part of K they are wanted where the sums meet. */
        if (kind != DecodeKind::SPLIT && ptx::lane() < Shape::CHANNELS * size / 16)
            ptx::cp_async_16(to + static_cast<uint32_t>(Shape::SCALES_AT + ptx::lane() * 16),
                             static_cast<const uint8_t *>(p.scales) + channel * size + ptx::lane() * 16);
        if (format == KRN_TYPE_U4 && ptx::lane() < units)
            ptx::cp_async_16(to + static_cast<uint32_t>(Shape::ZEROS_AT + ptx::lane() * 16),
                             p.zeros == nullptr ? p.codes : p.zeros + channel + ptx::lane() * 16,
                             p.zeros == nullptr ? 0 : 16);
    }
};

} // namespace gemm

#endif
