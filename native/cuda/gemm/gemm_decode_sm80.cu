/* Integer cells for few tokens: time goes into streaming the weights, once.
 *
 * A block has 16 or 32 channels, 8 or 16 tokens and all of K. Its 8 warps take slices of 128 inputs in turn, each through
 * a ring of stages of its own that cp.async fills, so that no warp waits for another and all slices but one of each ring
 * are on their way. Weights are the operand a of mma.m16n8k32, so 8 tokens fill the instruction.
 *
 *   slice      0   1   2   3   4   5   6   7 | 8   9 ...           a warp adds up the groups of its slices as integers
 *   warp       0   1   2   3   4   5   6   7 | 0   1 ...           and leaves them in shared memory; when a chunk of K is
 *   group 128  0   1   2   3   4   5   6   7 | 8   9 ...           done, each output's thread runs its chain over the
 *   group 64   0 1 2 3 4 5 ...                                     groups of the chunk, in order, as gemm.h has it
 *
 * A piece is a group, or a part of one so long that its sum does not fit 32 bits. */
#include "cuda/gemm/epilogue.h"
#include "cuda/gemm/operands.h"
#include "cuda/ptx/atomic.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/copy_async.h"
#include "cuda/ptx/matrix.h"
#include "cuda/ptx/mma.h"
#include "cuda/ptx/warp.h"

namespace gemm {

using Params = krn_cuda_gemm_params;
using ptx::SharedAddress;

constexpr int32_t WARPS = KRN_CUDA_DECODE_WARPS, THREADS = 32 * WARPS;
constexpr int32_t SLICE_K = KRN_CUDA_SLICE_K, SLICE_STEPS = KRN_CUDA_SLICE_STEPS;

/* A block of `units` times 16 channels and `tiles` times 8 tokens, and how its shared memory is cut. */
template <int32_t format, int32_t units, int32_t tiles> struct DecodeShape {
    static constexpr int32_t CHANNELS = 16 * units, TOKENS = 8 * tiles;
    static constexpr int32_t BITS = format == KRN_TYPE_S8 ? 8 : 4;
    static constexpr int32_t STAGES = krn_cuda_decode_stages(BITS, CHANNELS, TOKENS);
    static constexpr int32_t CODE_BYTES = CHANNELS * SLICE_K * BITS / 8, X_BYTES = TOKENS * SLICE_K;
    static constexpr int32_t SCALES_AT = CODE_BYTES + X_BYTES, ZEROS_AT = SCALES_AT + SLICE_STEPS * CHANNELS * 4;
    static constexpr int32_t STAGE_BYTES = krn_cuda_decode_stage_bytes(BITS, CHANNELS, TOKENS);
    static constexpr int32_t RINGS_BYTES = WARPS * STAGES * STAGE_BYTES;
    /* Four more than the channels, so that the fragments of a warp's sums lie in different banks. */
    static constexpr int32_t PITCH = CHANNELS + 4, PIECE_BYTES = TOKENS * PITCH * 4;
    static constexpr int32_t OUTPUTS = (CHANNELS * TOKENS + THREADS - 1) / THREADS;
};

/* Where a step stands: its group, its piece, and the steps to the end of both, itself included. */
struct Position {
    int32_t group, piece, steps_of_group, steps_of_piece;
};

KRN_DEVICE Position locate(const Params &p, int32_t step) {
    Position at;
    at.group = step / p.group_steps;
    at.steps_of_group = p.group_steps - (step - at.group * p.group_steps);
    at.piece = at.group;
    at.steps_of_piece = at.steps_of_group;
    if (p.group_pieces > 1) {
        const int32_t in_group = p.group_steps - at.steps_of_group, part = in_group / p.piece_steps;
        at.piece = at.group * p.group_pieces + part;
        const int32_t left = (part + 1) * p.piece_steps - in_group;
        at.steps_of_piece = left < at.steps_of_group ? left : at.steps_of_group;
    }
    return at;
}

/* Whether a group ends with this step. */
KRN_DEVICE bool ends_group(const Params &p, int32_t step, int32_t steps_of_group) {
    return steps_of_group == 1 || step == p.num_steps - 1;
}

template <int32_t format, int32_t units, int32_t tiles> class Decoder {
  public:
    using Shape = DecodeShape<format, units, tiles>;

    KRN_DEVICE_MEMBER explicit Decoder(const Params &params)
        : p(params), ring(ptx::shared_base() + static_cast<uint32_t>(ptx::warp() * Shape::STAGES * Shape::STAGE_BYTES)),
          sums(ptx::shared_base() + Shape::RINGS_BYTES),
          scales(sums + static_cast<uint32_t>(params.ring_pieces * Shape::PIECE_BYTES)),
          first_channel(ptx::block_x() * Shape::CHANNELS), first_token(ptx::block_y() * Shape::TOKENS),
          tokens(params.m - first_token < Shape::TOKENS ? params.m - first_token : Shape::TOKENS),
          policy(ptx::evict_first_policy()) {}

    KRN_DEVICE_MEMBER void run() {
        float t[Shape::OUTPUTS];
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Shape::OUTPUTS; i++)
            t[i] = 0;
        clear_shared();
        clear();
        int32_t slice = ptx::warp();
        KRN_UNROLL_ALL
        for (int32_t stage = 0; stage < Shape::STAGES - 1; stage++)
            load(stage, slice + stage * WARPS);
        if (p.offsets != nullptr)
            add_offsets(t);
        ptx::sync_threads();

        int32_t stage = 0, done = 0;
        for (int32_t chunk = 0; chunk < p.tiles_k; chunk += p.chunk_slices) {
            const int32_t end = chunk + p.chunk_slices < p.tiles_k ? chunk + p.chunk_slices : p.tiles_k;
            for (; slice < end; slice += WARPS) {
                ptx::cp_async_wait<Shape::STAGES - 2>();
                ptx::sync_warp();
                load(stage == 0 ? Shape::STAGES - 1 : stage - 1, slice + (Shape::STAGES - 1) * WARPS);
                multiply(stage, slice, slice + WARPS < end ? slice + WARPS : -1);
                stage = stage + 1 == Shape::STAGES ? 0 : stage + 1;
            }
            ptx::sync_threads();
            const int32_t complete =
                end == p.tiles_k ? p.num_groups * p.group_pieces : locate(p, end * SLICE_STEPS).piece;
            add_pieces(t, done, complete);
            done = complete;
            ptx::sync_threads();
        }
        store(t);
    }

  private:
    const Params &p;
    const SharedAddress ring, sums, scales;
    const int32_t first_channel, first_token, tokens;
    const uint64_t policy;
    int32_t acc[units][tiles][4];

    KRN_DEVICE_MEMBER SharedAddress stage_of(int32_t stage) const {
        return ring + static_cast<uint32_t>(stage * Shape::STAGE_BYTES);
    }

    /* Rows of x that no token has stay zero in every stage, and so do sums that nothing has been added to. */
    KRN_DEVICE_MEMBER void clear_shared() {
        const ptx::U32x4 zero = {0, 0, 0, 0};
        for (int32_t stage = 0; stage < Shape::STAGES; stage++)
            for (int32_t i = tokens * 8 + ptx::lane(); i < Shape::TOKENS * 8; i += 32)
                ptx::store_shared(stage_of(stage) + static_cast<uint32_t>(Shape::CODE_BYTES + i * 16), zero);
        if (p.pieces_are_whole)
            return;
        for (int32_t i = ptx::thread_x(); i < p.ring_pieces * Shape::PIECE_BYTES / 16; i += THREADS)
            ptx::store_shared(sums + static_cast<uint32_t>(i * 16), zero);
    }

    /* Starts the copies of a slice into a stage; past the last slice, of nothing. */
    KRN_DEVICE_MEMBER void load(int32_t stage, int32_t slice) {
        if (slice < p.tiles_k) {
            const SharedAddress to = stage_of(stage);
            load_codes(to, slice);
            load_x(to + Shape::CODE_BYTES, slice);
            load_groups(to, slice);
        }
        ptx::cp_async_commit();
    }

    KRN_DEVICE_MEMBER void load_codes(SharedAddress to, int32_t slice) {
        constexpr int32_t TILE_BYTES = 64 * SLICE_K * Shape::BITS / 8;
        const int64_t tile = static_cast<int64_t>(first_channel / 64) * p.tiles_k + slice;
        const uint8_t *from = p.codes + tile * TILE_BYTES + first_channel % 64 * (SLICE_K * Shape::BITS / 8);
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Shape::CODE_BYTES / 512; i++) {
            const int32_t at = i * 512 + ptx::lane() * 16;
            ptx::cp_async_16_with_policy(to + static_cast<uint32_t>(at), from + at, policy);
        }
    }

    /* Chunk c of token r lies where c ^ (r % 8) would: ldmatrix then meets no bank twice. */
    KRN_DEVICE_MEMBER void load_x(SharedAddress to, int32_t slice) {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Shape::X_BYTES / 512; i++) {
            const int32_t row = i * 4 + ptx::lane() / 8, chunk = ptx::lane() % 8;
            const int32_t first = slice * SLICE_K + chunk * 16;
            if (row < tokens) {
                const int8_t *from = p.x + (first_token + row) * p.x_ld;
                const int32_t valid = clamp(p.x_bytes - first, 0, 16);
                ptx::cp_async_16(to + static_cast<uint32_t>(row * SLICE_K + ((chunk ^ (row % 8)) * 16)),
                                 from + (valid > 0 ? first : 0), valid);
            }
        }
    }

    /* Scales of the groups that end in the slice, and the zero points of every step. */
    KRN_DEVICE_MEMBER void load_groups(SharedAddress to, int32_t slice) {
        const int32_t first = slice * SLICE_STEPS, scale_size = scale_bytes(p.scale_type);
        const int32_t per_group = Shape::CHANNELS * scale_size / 16;
        Position at = locate(p, first);
        KRN_UNROLL_ALL
        for (int32_t q = 0; q < SLICE_STEPS; q++) {
            if (first + q >= p.num_steps)
                break;
            const int64_t channel = static_cast<int64_t>(at.group) * p.padded_n + first_channel;
            if (ends_group(p, first + q, at.steps_of_group) && ptx::lane() < per_group)
                ptx::cp_async_16(
                    to + static_cast<uint32_t>(Shape::SCALES_AT + q * Shape::CHANNELS * 4 + ptx::lane() * 16),
                    static_cast<const uint8_t *>(p.scales) + channel * scale_size + ptx::lane() * 16);
            if (format == KRN_TYPE_U4 && ptx::lane() < units)
                ptx::cp_async_16(to + static_cast<uint32_t>(Shape::ZEROS_AT + q * Shape::CHANNELS + ptx::lane() * 16),
                                 p.zeros == nullptr ? p.codes : p.zeros + channel + ptx::lane() * 16,
                                 p.zeros == nullptr ? 0 : 16);
            if (--at.steps_of_group == 0) {
                at.group++;
                at.steps_of_group = p.group_steps;
            }
        }
    }

    KRN_DEVICE_MEMBER void clear() {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++)
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < tiles; i++)
                KRN_UNROLL_ALL
                for (int32_t j = 0; j < 4; j++)
                    acc[u][i][j] = 0;
    }

    /* Sums a slice. The sums of a piece that does not end in it stay in registers when the warp goes on with the piece in
     * slice `following`, if there is one in the chunk. */
    KRN_DEVICE_MEMBER void multiply(int32_t stage, int32_t slice, int32_t following) {
        const SharedAddress from = stage_of(stage);
        const int32_t first = slice * SLICE_STEPS;
        Position at = locate(p, first);
        bool holds_sums = false;
        KRN_UNROLL_ALL
        for (int32_t half = 0; half < 2; half++) {
            uint32_t b[tiles][4], words[units][4];
            load_b(from + Shape::CODE_BYTES, half, b);
            if constexpr (format != KRN_TYPE_S8)
                load_words(from, half, words);
            KRN_UNROLL_ALL
            for (int32_t s = 0; s < 2; s++) {
                const int32_t step = first + 2 * half + s;
                if (step >= p.num_steps)
                    break;
                KRN_UNROLL_ALL
                for (int32_t u = 0; u < units; u++) {
                    uint32_t a[4];
                    load_a(from, 2 * half + s, u, words[u][2 * s], words[u][2 * s + 1], a);
                    KRN_UNROLL_ALL
                    for (int32_t i = 0; i < tiles; i++)
                        ptx::mma_m16n8k32_s8(acc[u][i], a, {b[i][2 * s], b[i][2 * s + 1]});
                }
                if (ends_group(p, step, at.steps_of_group))
                    keep_scales(from, 2 * half + s, at.group);
                holds_sums = at.steps_of_piece > 1;
                if (!holds_sums)
                    leave(at.piece);
                at.steps_of_group--;
                if (--at.steps_of_piece == 0)
                    at = locate(p, step + 1);
            }
        }
        if (holds_sums && (following < 0 || at.piece != locate(p, following * SLICE_STEPS).piece))
            leave(at.piece);
    }

    KRN_DEVICE_MEMBER void load_b(SharedAddress x, int32_t half, uint32_t (&b)[tiles][4]) const {
        const int32_t row = ptx::lane() % 8, chunk = 4 * half + ptx::lane() / 8;
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i++)
            ptx::ldmatrix_x4(b[i], x + static_cast<uint32_t>((8 * i + row) * SLICE_K + ((chunk ^ row) * 16)));
    }

    KRN_DEVICE_MEMBER void load_words(SharedAddress codes, int32_t half, uint32_t (&words)[units][4]) const {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++) {
            const auto v = ptx::load_shared<ptx::U32x4>(codes + static_cast<uint32_t>(u * 1024 + half * 512 +
                                                                                      ptx::lane() * 16));
            words[u][0] = v.x;
            words[u][1] = v.y;
            words[u][2] = v.z;
            words[u][3] = v.w;
        }
    }

    /* Matrix a of unit u at step q of the slice. */
    KRN_DEVICE_MEMBER void load_a(SharedAddress from, int32_t q, int32_t u, uint32_t low, uint32_t high,
                                  uint32_t (&a)[4]) const {
        if constexpr (format == KRN_TYPE_S8) {
            const int32_t row = 16 * u + ptx::lane() % 16, chunk = 2 * q + ptx::lane() / 16;
            ptx::ldmatrix_x4(a, from + static_cast<uint32_t>(row * SLICE_K + ((chunk ^ (row % 8)) * 16)));
        } else if constexpr (format == KRN_TYPE_S4) {
            unpack_s4(low, high, a);
        } else {
            const SharedAddress zeros =
                from + static_cast<uint32_t>(Shape::ZEROS_AT + q * Shape::CHANNELS + 16 * u + ptx::lane() / 4);
            unpack_u4(low, high, spread_zero(ptx::load_shared<uint8_t>(zeros)),
                      spread_zero(ptx::load_shared<uint8_t>(zeros + 8)), a);
        }
    }

    /* Keeps the scales of the group that ended at step q of the slice, where the chain will look for them. */
    KRN_DEVICE_MEMBER void keep_scales(SharedAddress from, int32_t q, int32_t group) {
        const int32_t at = (group & (p.ring_pieces - 1)) * Shape::CHANNELS + ptx::lane();
        if (ptx::lane() < Shape::CHANNELS)
            ptx::store_shared(
                scales + static_cast<uint32_t>(at * 4),
                load_shared_scale(from + static_cast<uint32_t>(Shape::SCALES_AT + q * Shape::CHANNELS * 4),
                                  p.scale_type, ptx::lane()));
    }

    /* Adds the warp's sums to those of the piece, and clears them. */
    KRN_DEVICE_MEMBER void leave(int32_t piece) {
        const SharedAddress to = sums + static_cast<uint32_t>((piece & (p.ring_pieces - 1)) * Shape::PIECE_BYTES);
        const int32_t row = ptx::lane() / 4, column = ptx::lane() % 4 * 2;
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++)
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < tiles; i++)
                KRN_UNROLL_ALL
                for (int32_t j = 0; j < 4; j++) {
                    const int32_t channel = 16 * u + row + j / 2 * 8, token = 8 * i + column + j % 2;
                    const SharedAddress at = to + static_cast<uint32_t>((token * Shape::PITCH + channel) * 4);
                    const int32_t sum = acc[u][i][j] >> SUM_SHIFT<format>;
                    if (token >= tokens)
                        continue;
                    if (p.pieces_are_whole)
                        ptx::store_shared(at, sum);
                    else
                        ptx::atomic_add_shared(at, sum);
                }
        clear();
    }

    /* The outputs of a thread: channels side by side in a warp. */
    KRN_DEVICE_MEMBER int32_t channel_of(int32_t output) const {
        return (output * THREADS + ptx::thread_x()) % Shape::CHANNELS;
    }
    KRN_DEVICE_MEMBER int32_t token_of(int32_t output) const {
        return (output * THREADS + ptx::thread_x()) / Shape::CHANNELS;
    }

    KRN_DEVICE_MEMBER void add_offsets(float (&t)[Shape::OUTPUTS]) const {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Shape::OUTPUTS; i++) {
            if (token_of(i) >= tokens)
                continue;
            for (int32_t g = 0; g < p.num_groups; g++)
                t[i] = ptx::fma_rn(
                    ptx::load_global_nc(p.x_sums + static_cast<int64_t>(g) * p.m + first_token + token_of(i)),
                    ptx::load_global_nc(p.offsets + static_cast<int64_t>(g) * p.padded_n + first_channel +
                                        channel_of(i)),
                    t[i]);
        }
    }

    /* The sum of a piece for an output, which is cleared for the next piece at its place. */
    KRN_DEVICE_MEMBER int32_t take_sum(int32_t piece, int32_t channel, int32_t token) {
        const SharedAddress at = sums + static_cast<uint32_t>((piece & (p.ring_pieces - 1)) * Shape::PIECE_BYTES +
                                                              (token * Shape::PITCH + channel) * 4);
        const int32_t sum = ptx::load_shared<int32_t>(at);
        if (!p.pieces_are_whole)
            ptx::store_shared(at, 0);
        return sum;
    }

    KRN_DEVICE_MEMBER float scale_of(int32_t group, int32_t channel) const {
        return ptx::load_shared<float>(
            scales + static_cast<uint32_t>(((group & (p.ring_pieces - 1)) * Shape::CHANNELS + channel) * 4));
    }

    /* The chain over the groups of a chunk. */
    KRN_DEVICE_MEMBER void add_pieces(float (&t)[Shape::OUTPUTS], int32_t first, int32_t end) {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Shape::OUTPUTS; i++) {
            const int32_t channel = channel_of(i), token = token_of(i);
            if (token >= tokens)
                continue;
            if (p.group_pieces == 1 && p.x_zeros == nullptr) {
                KRN_UNROLL_8
                for (int32_t piece = first; piece < end; piece++)
                    t[i] = ptx::fma_rn(ptx::f32_from_s32_rn(take_sum(piece, channel, token)), scale_of(piece, channel),
                                       t[i]);
            } else {
                add_long_groups(t[i], long_sums[i], first, end, channel, token);
            }
        }
    }

    /* The same for groups in pieces, and for activations that still lack their zero point. */
    KRN_DEVICE_MEMBER void add_long_groups(float &t, int64_t &sum, int32_t first, int32_t end, int32_t channel,
                                           int32_t token) {
        const int32_t zero = p.x_zeros == nullptr ? 0 : ptx::load_global_nc(p.x_zeros + first_token + token);
        for (int32_t piece = first; piece < end; piece++) {
            const int32_t group = piece / p.group_pieces;
            sum += take_sum(piece, channel, token);
            if ((group + 1) * p.group_pieces != piece + 1)
                continue;
            if (p.x_zeros != nullptr)
                sum -= static_cast<int64_t>(zero) *
                            ptx::load_global_nc(p.code_sums + static_cast<int64_t>(group) * p.padded_n + first_channel +
                                                channel);
            t = ptx::fma_rn(static_cast<float>(sum), scale_of(group, channel), t);
            sum = 0;
        }
    }
    /* Sums of groups whose pieces are not all in yet. */
    int64_t long_sums[Shape::OUTPUTS] = {};

    KRN_DEVICE_MEMBER void store(const float (&t)[Shape::OUTPUTS]) const {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Shape::OUTPUTS; i++) {
            const int32_t channel = first_channel + channel_of(i), token = token_of(i);
            if (token < tokens && channel < p.n)
                store_one(p, first_token + token, channel, t[i]);
        }
    }
};

} // namespace gemm

#define KRN_DECODE(name, format, units, tiles, blocks)                                                                 \
    KRN_KERNEL(name, krn_cuda_gemm_params, 32 * KRN_CUDA_DECODE_WARPS, blocks) {                                       \
        gemm::Decoder<format, units, tiles>(p).run();                                                                  \
    }

KRN_DECODE(krn_gemm_decode_s8_16x8_sm80, KRN_TYPE_S8, 1, 1, 2)
KRN_DECODE(krn_gemm_decode_s8_32x8_sm80, KRN_TYPE_S8, 2, 1, 1)
KRN_DECODE(krn_gemm_decode_s8_16x16_sm80, KRN_TYPE_S8, 1, 2, 2)
KRN_DECODE(krn_gemm_decode_s4_16x8_sm80, KRN_TYPE_S4, 1, 1, 2)
KRN_DECODE(krn_gemm_decode_s4_32x8_sm80, KRN_TYPE_S4, 2, 1, 2)
KRN_DECODE(krn_gemm_decode_s4_32x16_sm80, KRN_TYPE_S4, 2, 2, 1)
KRN_DECODE(krn_gemm_decode_u4_16x8_sm80, KRN_TYPE_U4, 1, 1, 2)
KRN_DECODE(krn_gemm_decode_u4_32x8_sm80, KRN_TYPE_U4, 2, 1, 2)
KRN_DECODE(krn_gemm_decode_u4_32x16_sm80, KRN_TYPE_U4, 2, 2, 1)
