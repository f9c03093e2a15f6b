/* Operands of the float matrix instructions, mma.m16n8k16 and wgmma.m64nNk16: codes as f16 or bf16. Device code.
 *
 * A sum does not know the order of its terms, so within 16 inputs the k of mma.m16n8k16 is permuted: a lane's four
 * places 2 t, 2 t + 1, 8 + 2 t, 8 + 2 t + 1 (ptx/mma.h) stand for the inputs 4 t .. 4 t + 3. These are four bytes of
 * codes in the layout of weights_layout.h, which is that of the integer instruction, and eight bytes of x.
 *
 * Codes become floats by standing in the last bits of a float whose last bit counts 1: 128 in bf16 and 1024 in f16.
 * That, and the zero point, is subtracted: exact. */
#ifndef KRN_CUDA_GEMM_FLOAT_OPERANDS_H
#define KRN_CUDA_GEMM_FLOAT_OPERANDS_H

#include "cuda/gemm/operands.h"
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/mma.h"

namespace gemm {

template <int32_t type> KRN_DEVICE void multiply_halves(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (type == KRN_TYPE_F16)
        ptx::mma_m16n8k16_f16(d, a, b);
    else
        ptx::mma_m16n8k16_bf16(d, a, b);
}

/* a - b of both halves, where the difference is exact. */
template <int32_t type> KRN_DEVICE uint32_t subtract_halves(uint32_t a, uint32_t b) {
    if constexpr (type == KRN_TYPE_F16)
        return ptx::fma_f16x2(b, 0xBC00BC00u, a);
    else
        return ptx::fma_bf16x2(b, 0xBF80BF80u, a);
}

/* Makes matrices a of a step of 32 inputs and 16 channels, a[0] of its first 16 inputs and a[1] of the others, from the
 * words of a lane: of 4 bits two, for channels g and g + 8, as they lie; of 8 bits four, two for each 16 inputs. */
template <int32_t format, int32_t type> class Unpacker {
  public:
    static constexpr int32_t WORDS = format == KRN_TYPE_S8 ? 4 : 2;

    KRN_DEVICE_MEMBER explicit Unpacker(const krn_cuda_gemm_params &p) {
        if constexpr (format == KRN_TYPE_C4)
            load_entries(p.codebook);
    }

    /* What u4 codes with this zero point are to be less. */
    static KRN_DEVICE_MEMBER uint32_t base_of(uint8_t zero) { return MAGIC | zero * 0x10001u; }

    KRN_DEVICE_MEMBER void unpack(const uint32_t (&words)[WORDS], const uint32_t (&bases)[2],
                                  uint32_t (&a)[2][4]) const {
        KRN_UNROLL_ALL
        for (int32_t h = 0; h < 2; h++) {
            if constexpr (format == KRN_TYPE_C4) {
                look_up(words[h], a[0][h], a[1][h]);
                look_up(words[h] >> 16, a[0][2 + h], a[1][2 + h]);
            } else {
                KRN_UNROLL_ALL
                for (int32_t c = 0; c < 2; c++) {
                    const uint32_t word = format == KRN_TYPE_S8 ? words[(2 * c + h) % WORDS] : words[h] >> (4 * c);
                    a[c][h] = pair_of(ptx::prmt(word, 0, 0x4140), bases[h]);
                    a[c][2 + h] = pair_of(ptx::prmt(word, 0, 0x4342), bases[h]);
                }
            }
        }
    }

  private:
    static constexpr uint32_t MAGIC = type == KRN_TYPE_F16 ? 0x64006400u : 0x43004300u;
    /* Lower and upper bytes of the entries of the codebook. */
    uint32_t lower[4], upper[4];

    /* Two codes that stand in the low bytes of the halves. */
    static KRN_DEVICE_MEMBER uint32_t pair_of(uint32_t codes, uint32_t base) {
        constexpr uint32_t AND_OR = (ptx::LUT_A & ptx::LUT_B) | ptx::LUT_C,
                           AND_XOR = (ptx::LUT_A & ptx::LUT_B) ^ ptx::LUT_C;
        if constexpr (format == KRN_TYPE_U4)
            return subtract_halves<type>(ptx::lop3<AND_OR>(codes, 0x000F000Fu, MAGIC), base);
        /* With the sign's bit inverted a code is raised by 8, or 128. */
        if constexpr (format == KRN_TYPE_S4)
            return subtract_halves<type>(ptx::lop3<AND_XOR>(codes, 0x000F000Fu, MAGIC | 0x00080008u),
                                         MAGIC | 0x00080008u);
        if constexpr (type == KRN_TYPE_F16)
            return subtract_halves<type>(codes ^ (MAGIC | 0x00800080u), MAGIC | 0x00800080u);
        /* bf16 has seven bits behind the first: the sign is subtracted, as 256 instead of 128. */
        return subtract_halves<type>(ptx::lop3<AND_OR>(codes, 0x007F007Fu, MAGIC),
                                     ptx::lop3<AND_OR>(codes, 0x00800080u, MAGIC));
    }

    KRN_DEVICE_MEMBER void load_entries(const float *codebook) {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < 4; i++) {
            uint32_t halves[4];
            KRN_UNROLL_ALL
            for (int32_t j = 0; j < 4; j++) {
                const float entry = ptx::load_global_nc(codebook + 4 * i + j);
                halves[j] = type == KRN_TYPE_F16 ? ptx::f16_from_f32_rn(entry) : ptx::bf16_from_f32_rn(entry);
            }
            const uint32_t low = halves[0] | halves[1] << 16, high = halves[2] | halves[3] << 16;
            lower[i] = ptx::prmt(low, high, 0x6420);
            upper[i] = ptx::prmt(low, high, 0x7531);
        }
    }

    /* Entries of the four codes in the lower half of a word: of the low nibbles, and of the high ones. */
    KRN_DEVICE_MEMBER void look_up(uint32_t codes, uint32_t &low_nibbles, uint32_t &high_nibbles) const {
        const uint32_t within = codes & 0x7777u,
                       which = ptx::lop3<(ptx::LUT_A & ptx::LUT_B) | ptx::LUT_C>(codes >> 1, 0x4444u, 0x3210u);
        const uint32_t low =
            ptx::prmt(ptx::prmt(lower[0], lower[1], within), ptx::prmt(lower[2], lower[3], within), which);
        const uint32_t high =
            ptx::prmt(ptx::prmt(upper[0], upper[1], within), ptx::prmt(upper[2], upper[3], within), which);
        low_nibbles = ptx::prmt(low, high, 0x6240);
        high_nibbles = ptx::prmt(low, high, 0x7351);
    }
};

/* A lane's words of a step, which lies in shared memory as 512 bytes [2 of 16 inputs][16 channels][16] (8 bits), or as
 * half of a unit of 4 bits. */
template <int32_t format>
KRN_DEVICE void load_step_words(ptx::SharedAddress unit, int32_t step,
                                uint32_t (&words)[format == KRN_TYPE_S8 ? 4 : 2]) {
    if constexpr (format == KRN_TYPE_S8) {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < 4; i++)
            words[i] = ptx::load_shared<uint32_t>(unit + static_cast<uint32_t>(step * 512 + i * 128 + ptx::lane() * 4));
    } else {
        const auto v = ptx::load_shared<ptx::U32x2>(
            unit + static_cast<uint32_t>(step / 2 * 512 + step % 2 * 8 + ptx::lane() * 16));
        words[0] = v.x;
        words[1] = v.y;
    }
}

/* A lane's words of one step or of two (the first is even then), of 16 channels of a tile as weights_layout.h has it,
 * for an instruction whose k is not permuted: of each 16 inputs, bytes 0 and 1 are the inputs 2 t and 2 t + 1, bytes 2
 * and 3 the inputs 8 + 2 t and 9 + 2 t. They are halves of what two lanes of the channel have in the layout. */
template <int32_t format, int32_t steps>
KRN_DEVICE void load_ordered_words(ptx::SharedAddress tile, int32_t unit, int32_t first_step,
                                   uint32_t (&words)[steps][format == KRN_TYPE_S8 ? 4 : 2]) {
    static_assert(steps == 1 || steps == 2, "a unit of 4-bit codes has two steps");
    const int32_t row = ptx::lane() / 4, quarter = ptx::lane() % 4;
    const uint32_t halves = quarter % 2 == 0 ? 0x5410u : 0x7632u;
    if constexpr (format == KRN_TYPE_S8) {
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < 4 * steps; i++) {
            const int32_t chunk = 2 * first_step + i / 2;
            const ptx::SharedAddress from = tile + static_cast<uint32_t>((unit * 16 + i % 2 * 8 + row) * 128 +
                                                                         (chunk ^ row) * 16 + quarter / 2 * 4);
            words[i / 4][i % 4] =
                ptx::prmt(ptx::load_shared<uint32_t>(from), ptx::load_shared<uint32_t>(from + 8), halves);
        }
        return;
    }
    const ptx::SharedAddress from =
        tile + static_cast<uint32_t>(unit * 1024 + first_step / 2 * 512 + (row * 4 + quarter / 2) * 16);
    if constexpr (steps == 2) {
        const auto low = ptx::load_shared<ptx::U32x4>(from), high = ptx::load_shared<ptx::U32x4>(from + 32);
        words[0][0] = ptx::prmt(low.x, high.x, halves);
        words[0][1] = ptx::prmt(low.y, high.y, halves);
        words[1][0] = ptx::prmt(low.z, high.z, halves);
        words[1][1] = ptx::prmt(low.w, high.w, halves);
    } else {
        const ptx::SharedAddress step = from + static_cast<uint32_t>(first_step % 2 * 8);
        const auto low = ptx::load_shared<ptx::U32x2>(step), high = ptx::load_shared<ptx::U32x2>(step + 32);
        words[0][0] = ptx::prmt(low.x, high.x, halves);
        words[0][1] = ptx::prmt(low.y, high.y, halves);
    }
}

} // namespace gemm

#endif
