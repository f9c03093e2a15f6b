/* Float cells for few tokens: time goes into streaming the weights, once.
 *
 * As gemm_decode_sm80.cu, but on mma.m16n8k16, and what the 8 warps of a block take in turn are pieces: blocks of up to
 * 128 inputs of a group, whose sums enter the result one after the other (gemm.h). A piece is summed by one warp, in
 * order and from +0, as in gemm_float_prefill_sm80.cu, so both give the same bits. Its warp leaves the sum and the
 * scale of its group in shared memory; when a chunk of pieces is done, each output's thread runs its chain over them.
 *
 * Where channels are few and K is long, blocks of the same channels have a part of the pieces each (decode_split.h):
 * they leave the sums of pieces in the workspace, and krn_gemm_merge_f32 runs the chain. */
#include "cuda/gemm/decode_outputs.h"
#include "cuda/gemm/float_decode_pieces.h"
#include "cuda/gemm/float_operands.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/warp.h"

namespace gemm {

template <int32_t format, int32_t type, int32_t units, int32_t tiles, DecodeKind kind> class FloatDecoder {
  public:
    using Shape = FloatDecodeShape<format, units, tiles, kind>;
    using Outputs = DecodeOutputs<Shape::CHANNELS, Shape::TOKENS>;

    KRN_DEVICE_MEMBER explicit FloatDecoder(const krn_cuda_gemm_params &params)
        : p(params), unpacker(params),
          ring(ptx::shared_base() + static_cast<uint32_t>(ptx::warp() * Shape::RING_BYTES)), from(ring),
          sums(ptx::shared_base() + Shape::WARPS * Shape::RING_BYTES),
          scales(sums + static_cast<uint32_t>(params.chunk_pieces * Shape::PIECE_BYTES)), outputs(params) {}

    KRN_DEVICE_MEMBER void run() {
        float t[Outputs::COUNT];
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Outputs::COUNT; i++)
            t[i] = 0;
        clear_rows();
        const DecodePart part = part_of_block<kind>(p, p.num_pieces);
        PieceLoader<format, units, tiles, kind> loader(p, part, ring, outputs.first_channel, outputs.first_token);
        KRN_UNROLL_ALL
        for (int32_t stage = 0; stage < Shape::STAGES - 1; stage++)
            loader.load();
        if (!IS_SPLIT && p.offsets != nullptr)
            outputs.add_offsets(t);
        int32_t piece = part.first + ptx::warp();
        for (int32_t chunk = part.first; chunk < part.end; chunk += p.chunk_pieces) {
            const int32_t end = chunk + p.chunk_pieces < part.end ? chunk + p.chunk_pieces : part.end;
            for (; piece < end; piece += Shape::WARPS) {
                ptx::cp_async_wait<Shape::STAGES - 2>();
                ptx::sync_warp();
                loader.load();
                multiply(piece_at(p, piece).steps);
                leave(piece - chunk);
                from = from + Shape::STAGE_BYTES == ring + Shape::RING_BYTES ? ring : from + Shape::STAGE_BYTES;
            }
            ptx::sync_threads();
            if constexpr (IS_SPLIT)
                leave_pieces(chunk, end);
            else
                add_pieces(t, end - chunk);
            ptx::sync_threads();
        }
        ptx::cp_async_wait_all();
        if constexpr (!IS_SPLIT)
            outputs.store(t);
    }

  private:
    static constexpr bool IS_SPLIT = kind == DecodeKind::SPLIT;

    const krn_cuda_gemm_params &p;
    const Unpacker<format, type> unpacker;
    const ptx::SharedAddress ring;
    ptx::SharedAddress from; /* the stage of the piece */
    const ptx::SharedAddress sums, scales;
    const Outputs outputs;
    float acc[units][tiles][4];

    /* Rows of x that no token has stay zero in every stage. */
    KRN_DEVICE_MEMBER void clear_rows() const {
        const ptx::U32x4 zero = {0, 0, 0, 0};
        for (int32_t stage = 0; stage < Shape::STAGES; stage++)
            for (int32_t i = outputs.tokens * 16 + ptx::lane(); i < Shape::TOKENS * 16; i += 32)
                ptx::store_shared(ring + static_cast<uint32_t>(stage * Shape::STAGE_BYTES + Shape::X_AT + i * 16),
                                  zero);
        ptx::sync_warp();
    }

    KRN_DEVICE_MEMBER void multiply(int32_t steps) {
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++)
            KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i++)
            KRN_UNROLL_ALL
        for (int32_t j = 0; j < 4; j++)
            acc[u][i][j] = 0;
        uint32_t bases[units][2] = {};
        if constexpr (format == KRN_TYPE_U4) {
            KRN_UNROLL_ALL
            for (int32_t u = 0; u < units; u++)
                KRN_UNROLL_ALL
            for (int32_t h = 0; h < 2; h++)
                bases[u][h] = unpacker.base_of(ptx::load_shared<uint8_t>(
                    from + static_cast<uint32_t>(Shape::ZEROS_AT + 16 * u + 8 * h + ptx::lane() / 4)));
        }
        KRN_UNROLL_ALL
        for (int32_t s = 0; s < KRN_CUDA_FLOAT_PIECE_STEPS; s++) {
            if (s >= steps)
                break;
            multiply_step(s, bases);
        }
    }

    KRN_DEVICE_MEMBER void multiply_step(int32_t s, const uint32_t (&bases)[units][2]) {
        uint32_t a[units][2][4];
        KRN_UNROLL_ALL
        for (int32_t u = 0; u < units; u++) {
            uint32_t words[Unpacker<format, type>::WORDS];
            load_step_words<format>(from + static_cast<uint32_t>(u * Shape::UNIT_BYTES), s, words);
            unpacker.unpack(words, bases[u], a[u]);
        }
        KRN_UNROLL_ALL
        for (int32_t c = 0; c < 2; c++)
            KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i++) {
            const int32_t row = 8 * i + ptx::lane() / 4;
            const auto b =
                ptx::load_shared<ptx::U32x2>(from + Shape::X_AT + half_row_at<Shape::ROW_BYTES>(row, 4 * s + 2 * c) +
                                             static_cast<uint32_t>(ptx::lane() % 4 * 8));
            KRN_UNROLL_ALL
            for (int32_t u = 0; u < units; u++)
                multiply_halves<type>(acc[u][i], a[u][c], {b.x, b.y});
        }
    }

    /* Leaves the sums and the scales of the piece at its place in the chunk. */
    KRN_DEVICE_MEMBER void leave(int32_t place) const {
        const int32_t row = ptx::lane() / 4, column = ptx::lane() % 4 * 2;
        const ptx::SharedAddress to =
            sums + static_cast<uint32_t>(place * Shape::PIECE_BYTES + (column * Shape::PITCH + row) * 4);
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < tiles; i++)
            KRN_UNROLL_ALL
        for (int32_t j = 0; j < 2; j++)
            KRN_UNROLL_ALL
        for (int32_t u = 0; u < 2 * units; u++)
            ptx::store_shared(to + static_cast<uint32_t>(((8 * i + j) * Shape::PITCH + 8 * u) * 4),
                              acc[u / 2][i][u % 2 * 2 + j]);
        if (!IS_SPLIT && ptx::lane() < Shape::CHANNELS)
            ptx::store_shared(scales + static_cast<uint32_t>((place * Shape::CHANNELS + ptx::lane()) * 4),
                              load_shared_scale(from + Shape::SCALES_AT, p.scale_type, ptx::lane()));
    }

    /* Leaves the sums of the pieces of a chunk to the kernel that merges them. */
    KRN_DEVICE_MEMBER void leave_pieces(int32_t chunk, int32_t end) const {
        float *const to = static_cast<float *>(p.partials);
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Outputs::COUNT; i++) {
            const int32_t channel = outputs.channel_of(i), token = outputs.token_of(i);
            if (token >= outputs.tokens)
                continue;
            const ptx::SharedAddress sum = sums + static_cast<uint32_t>((token * Shape::PITCH + channel) * 4);
            for (int32_t piece = chunk; piece < end; piece++)
                ptx::store_global(
                    to + partial_at(p, piece, outputs.first_token + token, outputs.first_channel + channel),
                    ptx::load_shared<float>(sum + static_cast<uint32_t>((piece - chunk) * Shape::PIECE_BYTES)));
        }
    }

    /* The chain over the pieces of a chunk. */
    KRN_DEVICE_MEMBER void add_pieces(float (&t)[Outputs::COUNT], int32_t count) const {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < Outputs::COUNT; i++) {
            const int32_t channel = outputs.channel_of(i), token = outputs.token_of(i);
            if (token >= outputs.tokens)
                continue;
            const ptx::SharedAddress sum = sums + static_cast<uint32_t>((token * Shape::PITCH + channel) * 4);
            KRN_UNROLL_8
            for (int32_t place = 0; place < count; place++)
                t[i] = ptx::fma_rn(
                    ptx::load_shared<float>(sum + static_cast<uint32_t>(place * Shape::PIECE_BYTES)),
                    ptx::load_shared<float>(scales + static_cast<uint32_t>((place * Shape::CHANNELS + channel) * 4)),
                    t[i]);
        }
    }
};

} // namespace gemm

/* Without a multiprocessor to itself, a block leaves room for another. */
#define KRN_FLOAT_DECODE(name, format, type, units, tiles, kind)                                                       \
    KRN_KERNEL(name, krn_cuda_gemm_params, 32 * KRN_CUDA_DECODE_WARPS,                                                 \
               gemm::DecodeKind::kind == gemm::DecodeKind::DEEP ? 1 : 2) {                                             \
        gemm::FloatDecoder<format, type, units, tiles, gemm::DecodeKind::kind>(p).run();                               \
    }
#define KRN_FLOAT_DECODE_8_TOKENS(name, format, type)                                                                  \
    KRN_FLOAT_DECODE(krn_gemm_float_decode_##name##_16x8_sm80, format, type, 1, 1, PLAIN)                              \
    KRN_FLOAT_DECODE(krn_gemm_float_decode_##name##_deep_16x8_sm80, format, type, 1, 1, DEEP)                          \
    KRN_FLOAT_DECODE(krn_gemm_float_decode_##name##_split_16x8_sm80, format, type, 1, 1, SPLIT)
#define KRN_FLOAT_DECODE_4_BITS(name, format, type)                                                                    \
    KRN_FLOAT_DECODE_8_TOKENS(name, format, type)                                                                      \
    KRN_FLOAT_DECODE(krn_gemm_float_decode_##name##_32x8_sm80, format, type, 2, 1, PLAIN)                              \
    KRN_FLOAT_DECODE(krn_gemm_float_decode_##name##_16x16_sm80, format, type, 1, 2, PLAIN)

KRN_FLOAT_DECODE_4_BITS(s4_bf16, KRN_TYPE_S4, KRN_TYPE_BF16)
KRN_FLOAT_DECODE_4_BITS(u4_bf16, KRN_TYPE_U4, KRN_TYPE_BF16)
KRN_FLOAT_DECODE_4_BITS(c4_bf16, KRN_TYPE_C4, KRN_TYPE_BF16)
KRN_FLOAT_DECODE_4_BITS(s4_f16, KRN_TYPE_S4, KRN_TYPE_F16)
KRN_FLOAT_DECODE_4_BITS(u4_f16, KRN_TYPE_U4, KRN_TYPE_F16)
KRN_FLOAT_DECODE_4_BITS(c4_f16, KRN_TYPE_C4, KRN_TYPE_F16)
KRN_FLOAT_DECODE_8_TOKENS(s8_bf16, KRN_TYPE_S8, KRN_TYPE_BF16)
KRN_FLOAT_DECODE_8_TOKENS(s8_f16, KRN_TYPE_S8, KRN_TYPE_F16)
