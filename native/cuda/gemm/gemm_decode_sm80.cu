/* Integer cells for few tokens: time goes into streaming the weights, once.
 *
 * A block has 16 or 32 channels, 8 or 16 tokens and all of K. Its 8 warps take slices of 128 inputs in turn, each
 * through a ring of stages of its own that cp.async fills, so that no warp waits for another and all slices but one of
 * each ring are on their way. Weights are the operand a of mma.m16n8k32, so 8 tokens fill the instruction.
 *
 *   slice      0   1   2   3   4   5   6   7 | 8   9 ...
 *   warp       0   1   2   3   4   5   6   7 | 0   1 ...
 *   group 128  0   1   2   3   4   5   6   7 | 8   9 ...
 *   group 64   0 1 2 3 4 5 ...
 *
 * A warp adds up the groups of its slices as integers and leaves them in shared memory; when a chunk of K is done, each
 * output's thread runs its chain over the groups of the chunk, in order, as gemm.h has it.
 *
 * A piece is a group, or a part of one so long that its sum does not fit 32 bits.
 *
 * Where channels are few and K is long, blocks of the same channels have a part of the slices each (decode_split.h):
 * they leave their sums of groups in the workspace, and krn_gemm_merge_s32 runs the chain. */
#include "cuda/gemm/decode_outputs.h"
#include "cuda/gemm/decode_slices.h"
#include "cuda/ptx/atomic.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/matrix.h"
#include "cuda/ptx/mma.h"
#include "cuda/ptx/warp.h"

namespace gemm {

template <int32_t format, int32_t units, int32_t tiles, DecodeKind kind> class Decoder {
  public:
    using Shape = DecodeShape<format, units, tiles, kind>;
    using Outputs = DecodeOutputs<Shape::CHANNELS, Shape::TOKENS>;

    KRN_DEVICE_MEMBER explicit Decoder(const Params &params)
        : p(params), ring(ptx::shared_base() + static_cast<uint32_t>(ptx::warp() * Shape::RING_BYTES)), from(ring),
          sums(ptx::shared_base() + WARPS * Shape::RING_BYTES),
          scales(sums + static_cast<uint32_t>(params.ring_pieces * Shape::PIECE_BYTES)), outputs(params) {}

    KRN_DEVICE_MEMBER void run() {
        float t[Outputs::COUNT];
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Outputs::COUNT; i++)
            t[i] = 0;
        clear_shared();
        clear();
        const DecodePart part = part_of_block<kind>(p, p.tiles_k);
        SliceLoader<format, units, tiles, kind> loader(p, part, ring, outputs.first_channel, outputs.first_token);
        KRN_UNROLL_ALL
        for (int32_t stage = 0; stage < Shape::STAGES - 1; stage++)
            loader.load();
        if (!IS_SPLIT && p.offsets != nullptr)
            outputs.add_offsets(t);
        ptx::sync_threads();

        int32_t slice = part.first + ptx::warp();
        int32_t done = IS_SPLIT ? locate<false>(p, part.first * SLICE_STEPS).group : 0;
        Position at = slice < part.end ? locate<LONG_GROUPS>(p, slice * SLICE_STEPS) : Position{};
        for (int32_t chunk = part.first; chunk < part.end; chunk += p.chunk_slices) {
            const int32_t end = chunk + p.chunk_slices < part.end ? chunk + p.chunk_slices : part.end;
            for (; slice < end; slice += WARPS) {
                ptx::cp_async_wait<Shape::STAGES - 2>();
                ptx::sync_warp();
                loader.load();
                const Position next = one_turn_on<LONG_GROUPS>(p, at, slice * SLICE_STEPS);
                const int32_t last = multiply(at, p.num_steps - slice * SLICE_STEPS);
                /* Sums of a piece that did not end stay in registers when the next slice goes on with it. */
                if (last >= 0 && (slice + WARPS >= end || last != piece_of(next)))
                    leave(last);
                at = next;
                from = from + Shape::STAGE_BYTES == ring + Shape::RING_BYTES ? ring : from + Shape::STAGE_BYTES;
            }
            ptx::sync_threads();
            const int32_t complete =
                end == part.end ? pieces_before(end) : piece_of(locate<LONG_GROUPS>(p, end * SLICE_STEPS));
            if constexpr (IS_SPLIT)
                leave_pieces(done, complete);
            else
                add_pieces(t, done, complete);
            done = complete;
            ptx::sync_threads();
        }
        if constexpr (!IS_SPLIT)
            outputs.store(t);
    }

  private:
    static constexpr bool LONG_GROUPS = kind == DecodeKind::LONG_GROUPS, IS_SPLIT = kind == DecodeKind::SPLIT;

    const Params &p;
    const SharedAddress ring;
    SharedAddress from; /* the stage of the slice */
    const SharedAddress sums, scales;
    const Outputs outputs;
    int32_t acc[units][tiles][4];

    static KRN_DEVICE_MEMBER int32_t piece_of(const Position &at) { return LONG_GROUPS ? at.piece : at.group; }

    /* Pieces that begin before a slice that ends the block's part of K. */
    KRN_DEVICE_MEMBER int32_t pieces_before(int32_t slice) const {
        if constexpr (!IS_SPLIT) {
            return p.num_groups * p.group_pieces;
        } else {
            const int32_t steps = slice * SLICE_STEPS < p.num_steps ? slice * SLICE_STEPS : p.num_steps;
            return locate<false>(p, steps - 1).group + 1;
        }
    }

    /* Rows of x that no token has stay zero in every stage, and so do sums that nothing has been added to. */
    KRN_DEVICE_MEMBER void clear_shared() {
        const ptx::U32x4 zero = {0, 0, 0, 0};
        for (int32_t stage = 0; stage < Shape::STAGES; stage++)
            for (int32_t i = outputs.tokens * 8 + ptx::lane(); i < Shape::TOKENS * 8; i += 32)
                ptx::store_shared(ring + static_cast<uint32_t>(stage * Shape::STAGE_BYTES + Shape::CODE_BYTES + i * 16),
                                  zero);
        if (p.pieces_are_whole)
            return;
        for (int32_t i = ptx::thread_x(); i < p.ring_pieces * Shape::PIECE_BYTES / 16; i += THREADS)
            ptx::store_shared(sums + static_cast<uint32_t>(i * 16), zero);
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

    /* Sums the slice at `at`, of which `steps` steps are left in K. Gives the piece that the sums in registers belong
     * to; -1 when the last piece ended with the slice. */
    KRN_DEVICE_MEMBER int32_t multiply(Position at, int32_t steps) {
        uint32_t b[tiles][8], words[units][8];
        load_b(b);
        if constexpr (format != KRN_TYPE_S8)
            load_words(words);
        const int32_t left = LONG_GROUPS ? at.piece_left : at.group_left;
        if (left >= SLICE_STEPS && steps >= SLICE_STEPS) {
            KRN_UNROLL_ALL
            for (int32_t q = 0; q < SLICE_STEPS; q++)
                multiply_step(q, 0, b, words);
            if (at.group_left == SLICE_STEPS || steps == SLICE_STEPS)
                keep_scales(SLICE_STEPS - 1, at.group);
            if (left > SLICE_STEPS)
                return piece_of(at);
            leave(piece_of(at));
            return -1;
        }
        return multiply_ends(at, steps, b, words);
    }

    /* The same when groups or pieces end within the slice, or K does. */
    KRN_DEVICE_MEMBER int32_t multiply_ends(Position at, int32_t steps, const uint32_t (&b)[tiles][8],
                                            const uint32_t (&words)[units][8]) {
        /* The loader has the zero points of the first step alone when all are of one group. */
        const bool one_group = at.group_left >= SLICE_STEPS && steps >= SLICE_STEPS;
        int32_t holds = -1;
        KRN_UNROLL_ALL
        for (int32_t q = 0; q < SLICE_STEPS; q++) {
            if (q >= steps)
                break;
            multiply_step(q, one_group ? 0 : q, b, words);
            if (at.group_left == 1 || q == steps - 1)
                keep_scales(q, at.group);
            holds = piece_of(at);
            if ((LONG_GROUPS ? at.piece_left : at.group_left) == 1) {
                leave(holds);
                holds = -1;
            }
            step_on(at);
        }
        return holds;
    }

    KRN_DEVICE_MEMBER void step_on(Position &at) const {
        if (LONG_GROUPS && --at.piece_left == 0) {
            at.piece++;
            const int32_t left = at.group_left - 1;
            at.piece_left = left == 0              ? (p.piece_steps < p.group_steps ? p.piece_steps : p.group_steps)
                            : left < p.piece_steps ? left
                                                   : p.piece_steps;
        }
        if (--at.group_left == 0) {
            at.group++;
            at.group_left = p.group_steps;
        }
    }

    /* One step of 32 inputs; `zeros` is the step whose zero points count. */
    KRN_DEVICE_MEMBER void multiply_step(int32_t q, int32_t zeros, const uint32_t (&b)[tiles][8],
                                         const uint32_t (&words)[units][8]) {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++) {
            uint32_t a[4];
            load_a(q, zeros, u, words[u][2 * q], words[u][2 * q + 1], a);
            KRN_UNROLL_ALL
            for (int32_t i = 0; i < tiles; i++)
                ptx::mma_m16n8k32_s8(acc[u][i], a, {b[i][2 * q], b[i][2 * q + 1]});
        }
    }

    KRN_DEVICE_MEMBER void load_b(uint32_t (&b)[tiles][8]) const {
        const int32_t row = ptx::lane() % 8, chunk = ptx::lane() / 8;
        const SharedAddress x = from + Shape::CODE_BYTES;
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i++)
            KRN_UNROLL_ALL
        for (int32_t half = 0; half < 2; half++) {
            uint32_t four[4];
            ptx::ldmatrix_x4(four,
                             x + static_cast<uint32_t>((8 * i + row) * SLICE_K + (((4 * half + chunk) ^ row) * 16)));
            KRN_UNROLL_ALL
            for (int32_t j = 0; j < 4; j++)
                b[i][4 * half + j] = four[j];
        }
    }

    KRN_DEVICE_MEMBER void load_words(uint32_t (&words)[units][8]) const {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < 2 * units; i++) {
            const auto v = ptx::load_shared<ptx::U32x4>(from + static_cast<uint32_t>(i * 512 + ptx::lane() * 16));
            words[i / 2][i % 2 * 4] = v.x;
            words[i / 2][i % 2 * 4 + 1] = v.y;
            words[i / 2][i % 2 * 4 + 2] = v.z;
            words[i / 2][i % 2 * 4 + 3] = v.w;
        }
    }

    /* Matrix a of unit u at step q of the slice. */
    KRN_DEVICE_MEMBER void load_a(int32_t q, int32_t zeros, int32_t u, uint32_t low, uint32_t high,
                                  uint32_t (&a)[4]) const {
        if constexpr (format == KRN_TYPE_S8) {
            const int32_t row = 16 * u + ptx::lane() % 16, chunk = 2 * q + ptx::lane() / 16;
            ptx::ldmatrix_x4(a, from + static_cast<uint32_t>(row * SLICE_K + ((chunk ^ (row % 8)) * 16)));
        } else if constexpr (format == KRN_TYPE_S4) {
            unpack_s4(low, high, a);
        } else {
            const SharedAddress at =
                from + static_cast<uint32_t>(Shape::ZEROS_AT + zeros * Shape::CHANNELS + 16 * u + ptx::lane() / 4);
            unpack_u4(low, high, spread_zero(ptx::load_shared<uint8_t>(at)),
                      spread_zero(ptx::load_shared<uint8_t>(at + 8)), a);
        }
    }

    /* Keeps the scales of the group that ended at step q of the slice, where the chain will look for them. */
    KRN_DEVICE_MEMBER void keep_scales(int32_t q, int32_t group) {
        if constexpr (IS_SPLIT)
            return;
        const int32_t at = (group & (p.ring_pieces - 1)) * Shape::CHANNELS + ptx::lane();
        if (ptx::lane() < Shape::CHANNELS)
            ptx::store_shared(
                scales + static_cast<uint32_t>(at * 4),
                load_shared_scale(from + static_cast<uint32_t>(Shape::SCALES_AT + q * Shape::CHANNELS * 4),
                                  p.scale_type, ptx::lane()));
    }

    /* Adds the warp's sums to those of the piece, and clears them. */
    KRN_DEVICE_MEMBER void leave(int32_t piece) {
        const int32_t row = ptx::lane() / 4, column = ptx::lane() % 4 * 2;
        const SharedAddress to = sums + static_cast<uint32_t>((piece & (p.ring_pieces - 1)) * Shape::PIECE_BYTES +
                                                              (column * Shape::PITCH + row) * 4);
        const bool whole = p.pieces_are_whole != 0;
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i++)
            KRN_UNROLL_ALL
        for (int32_t j = 0; j < 2; j++) {
            if (8 * i + column + j >= outputs.tokens)
                continue;
            KRN_UNROLL_ALL
            for (int32_t u = 0; u < 2 * units; u++) {
                const SharedAddress at = to + static_cast<uint32_t>(((8 * i + j) * Shape::PITCH + 8 * u) * 4);
                const int32_t sum = acc[u / 2][i][u % 2 * 2 + j] >> SUM_SHIFT<format>;
                if (whole)
                    ptx::store_shared(at, sum);
                else
                    ptx::atomic_add_shared(at, sum);
            }
        }
        clear();
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

    /* Leaves the sums of a chunk to the kernel that merges them. */
    KRN_DEVICE_MEMBER void leave_pieces(int32_t first, int32_t end) {
        int32_t *const to = static_cast<int32_t *>(p.partials);
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Outputs::COUNT; i++) {
            const int32_t channel = outputs.channel_of(i), token = outputs.token_of(i);
            if (token >= outputs.tokens)
                continue;
            for (int32_t group = first; group < end; group++)
                ptx::store_global(to + partial_at(p, group + ptx::block_z(), outputs.first_token + token,
                                                  outputs.first_channel + channel),
                                  take_sum(group, channel, token));
        }
    }

    /* The chain over the groups of a chunk. */
    KRN_DEVICE_MEMBER void add_pieces(float (&t)[Outputs::COUNT], int32_t first, int32_t end) {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Outputs::COUNT; i++) {
            const int32_t channel = outputs.channel_of(i), token = outputs.token_of(i);
            if (token >= outputs.tokens)
                continue;
            if constexpr (LONG_GROUPS) {
                add_long_groups(t[i], long_sums[i], first, end, channel, token);
            } else if (p.x_zeros == nullptr) {
                KRN_UNROLL_8
                for (int32_t group = first; group < end; group++)
                    t[i] = ptx::fma_rn(ptx::f32_from_s32_rn(take_sum(group, channel, token)), scale_of(group, channel),
                                       t[i]);
            } else {
                const int32_t zero = ptx::load_global_nc(p.x_zeros + outputs.first_token + token);
                for (int32_t group = first; group < end; group++)
                    t[i] = ptx::fma_rn(
                        static_cast<float>(take_sum(group, channel, token) - correction(group, channel, zero)),
                        scale_of(group, channel), t[i]);
            }
        }
    }

    /* What activations of a token that still lack their zero point add to the sum of a group. */
    KRN_DEVICE_MEMBER int64_t correction(int32_t group, int32_t channel, int32_t zero) const {
        return static_cast<int64_t>(zero) * ptx::load_global_nc(p.code_sums + static_cast<int64_t>(group) * p.padded_n +
                                                                outputs.first_channel + channel);
    }

    /* Groups in pieces. */
    KRN_DEVICE_MEMBER void add_long_groups(float &t, int64_t &sum, int32_t first, int32_t end, int32_t channel,
                                           int32_t token) {
        for (int32_t piece = first; piece < end; piece++) {
            const int32_t group = piece / p.group_pieces;
            sum += take_sum(piece, channel, token);
            if ((group + 1) * p.group_pieces != piece + 1)
                continue;
            if (p.x_zeros != nullptr)
                sum -= correction(group, channel, ptx::load_global_nc(p.x_zeros + outputs.first_token + token));
            t = ptx::fma_rn(static_cast<float>(sum), scale_of(group, channel), t);
            sum = 0;
        }
    }
    /* Sums of groups whose pieces are not all in yet. */
    int64_t long_sums[Outputs::COUNT] = {};
};

} // namespace gemm

#define KRN_DECODE(name, format, units, tiles, kind, blocks)                                                           \
    KRN_KERNEL(name, krn_cuda_gemm_params, 32 * KRN_CUDA_DECODE_WARPS, blocks) {                                       \
        gemm::Decoder<format, units, tiles, gemm::DecodeKind::kind>(p).run();                                          \
    }

KRN_DECODE(krn_gemm_decode_s8_16x8_sm80, KRN_TYPE_S8, 1, 1, PLAIN, 2)
KRN_DECODE(krn_gemm_decode_s8_32x8_sm80, KRN_TYPE_S8, 2, 1, PLAIN, 2)
KRN_DECODE(krn_gemm_decode_s8_16x16_sm80, KRN_TYPE_S8, 1, 2, PLAIN, 2)
KRN_DECODE(krn_gemm_decode_s4_16x8_sm80, KRN_TYPE_S4, 1, 1, PLAIN, 3)
KRN_DECODE(krn_gemm_decode_s4_32x8_sm80, KRN_TYPE_S4, 2, 1, PLAIN, 2)
KRN_DECODE(krn_gemm_decode_s4_32x16_sm80, KRN_TYPE_S4, 2, 2, PLAIN, 2)
KRN_DECODE(krn_gemm_decode_u4_16x8_sm80, KRN_TYPE_U4, 1, 1, PLAIN, 3)
KRN_DECODE(krn_gemm_decode_u4_32x8_sm80, KRN_TYPE_U4, 2, 1, PLAIN, 2)
KRN_DECODE(krn_gemm_decode_u4_32x16_sm80, KRN_TYPE_U4, 2, 2, PLAIN, 2)
/* Groups whose sums do not fit 32 bits. */
KRN_DECODE(krn_gemm_decode_s8_long_16x8_sm80, KRN_TYPE_S8, 1, 1, LONG_GROUPS, 2)
KRN_DECODE(krn_gemm_decode_s4_long_16x8_sm80, KRN_TYPE_S4, 1, 1, LONG_GROUPS, 2)
KRN_DECODE(krn_gemm_decode_u4_long_16x8_sm80, KRN_TYPE_U4, 1, 1, LONG_GROUPS, 2)
/* Blocks that have a multiprocessor to themselves. */
KRN_DECODE(krn_gemm_decode_s8_deep_16x8_sm80, KRN_TYPE_S8, 1, 1, DEEP, 1)
KRN_DECODE(krn_gemm_decode_s4_deep_16x8_sm80, KRN_TYPE_S4, 1, 1, DEEP, 1)
KRN_DECODE(krn_gemm_decode_u4_deep_16x8_sm80, KRN_TYPE_U4, 1, 1, DEEP, 1)
/* Blocks with a part of K. */
KRN_DECODE(krn_gemm_decode_s8_split_16x8_sm80, KRN_TYPE_S8, 1, 1, SPLIT, 2)
KRN_DECODE(krn_gemm_decode_s4_split_16x8_sm80, KRN_TYPE_S4, 1, 1, SPLIT, 2)
KRN_DECODE(krn_gemm_decode_u4_split_16x8_sm80, KRN_TYPE_U4, 1, 1, SPLIT, 2)
