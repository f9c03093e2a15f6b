/* Levels of a Hadamard transform by mma.sync, four to an instruction: 256 elements are a 16 x 16 matrix X, which
 * becomes H16 X, and its rows and columns are what bits of an element's number one likes.
 *
 * A lane loads and stores 16 bytes, elements 0..7 from a multiple of 8 on, and the instruction's layouts (ptx/mma.h)
 * say which bits of k and of the rows and columns are then which bits of the number e of such an element and of the
 * lane:
 *
 *   e bit 0   the two halves of a register      k bit 0
 *   e bit 1   registers b[0], b[1]              k bit 3
 *   lane 0-1  t                                 k bits 1, 2
 *   lane 2-4  g                                 columns, bits 0-2
 *   e bit 2   the two tiles of eight columns    columns, bit 3
 *
 * d has what was k in its rows, the lane's g first, and what were columns in its columns, a pair of them in a thread.
 * So d is the operand b of a second product, with k and columns exchanged, whose d is where the first b was: eight
 * levels with nothing moved between lanes.
 *
 * A product of inputs, which are exact, with +-1 is exact. What a second product multiplies, sums in f32, goes through
 * it in two pieces of bf16, 16 bits of 24; bf16 has the range of f32, so nothing overflows or must be scaled first.
 * That is three instructions an element, where four levels are four additions: matrices take the levels that they have
 * to, and additions those between registers of a thread.
 *
 *   8 to 15 levels   bits 0-7 of a number as above, lanes in order; bits 8, 9 are the tile of 256, of which a thread
 *                    holds four: additions
 *   5 to 7 levels    one product, with X as operand a (e bit 2 is a row), so that its d lies as X did: bits 0, 1, 3, 4.
 *                    Bit 2 and bits 5, 6, which are the tile: additions. No pieces; and no block meets another one's
 *                    numbers, not even times zero: NaN would spread.
 */
#ifndef KRN_CUDA_MATRIX_LEVELS_H
#define KRN_CUDA_MATRIX_LEVELS_H

#include "cuda/hadamard/hadamard_tile.cuh"
#include "cuda/ptx/mma.h"

namespace kernels {

constexpr int32_t OCTET = 8;
/* Of a warp, and of each of its tiles. */
constexpr int32_t MATRIX_TILES = 4, MATRIX_TILE = 256, MATRIX_CHUNK = MATRIX_TILES * MATRIX_TILE;

/* Operands of 16-bit floats. */
template <int32_t type> struct Matrix16 {
    static constexpr uint32_t ONES = type == KRN_TYPE_F16 ? 0x3C003C00u : 0x3F803F80u;

    static KRN_DEVICE_MEMBER void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
        if constexpr (type == KRN_TYPE_F16)
            ptx::mma_m16n8k16_f16(d, a, b);
        else
            ptx::mma_m16n8k16_bf16(d, a, b);
    }
};

using Pieces16 = Matrix16<KRN_TYPE_BF16>;

/* Bits 0 and 1 as the signs of the two halves of a register. */
KRN_DEVICE uint32_t sign_pair(uint32_t bits) { return (bits & 3) * 0x40008000u & 0x80008000u; }

/* The signs of Sylvester's matrix of order 16 as operand a, or, as it is symmetric, registers i and i + 2 as the
 * columns 8 i .. 8 i + 7 of operand b. */
KRN_DEVICE void sylvester_signs(uint32_t (&signs)[4]) {
    const int32_t g = ptx::lane() / 4, t = ptx::lane() % 4;
    KRN_UNROLL_ALL
    for (int32_t i = 0; i < 4; i++) {
        const uint32_t row = static_cast<uint32_t>(g + i % 2 * 8), k = static_cast<uint32_t>(2 * t + i / 2 * 8);
        const uint32_t even = static_cast<uint32_t>(ptx::popcount(row & k)) & 1;
        signs[i] = sign_pair(even | (even ^ (row & 1)) << 1);
    }
}

template <int32_t type> KRN_DEVICE void sylvester(const uint32_t (&signs)[4], uint32_t (&matrix)[4]) {
    KRN_UNROLL_ALL
    for (int32_t i = 0; i < 4; i++)
        matrix[i] = Matrix16<type>::ONES ^ signs[i];
}

/* Two f32 as the sum of two bf16 each, to 2^-17 of them. */
KRN_DEVICE void split(float x, float y, uint32_t &high, uint32_t &low) {
    high = ptx::bf16x2_from_f32_rn(x, y);
    low = ptx::bf16x2_from_f32_rn(ptx::sub_rn(x, ptx::f32_from_bf16_low(high)),
                                  ptx::sub_rn(y, ptx::f32_from_bf16_high(high)));
}

/* d += a b of a b in pieces, the small ones first: their sum costs the large ones nothing. */
KRN_DEVICE void multiply_pieces(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&high)[2],
                                const uint32_t (&low)[2]) {
    Pieces16::multiply(d, a, low);
    Pieces16::multiply(d, a, high);
}

/* Four levels of the tile of which this lane has `words`. */
template <int32_t type>
KRN_DEVICE void four_levels(const uint32_t (&words)[4], const uint32_t (&signs)[4], float *x) {
    uint32_t h[4];
    sylvester<type>(signs, h);
    const uint32_t a[4] = {words[0], words[2], words[1], words[3]};
    float d[2][4] = {};
    KRN_UNROLL_ALL
    for (int32_t i = 0; i < 2; i++) {
        Matrix16<type>::multiply(d[i], a, {h[i], h[i + 2]});
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < 4; e++)
            x[e / 2 * 4 + i * 2 + e % 2] = d[i][e];
    }
}

/* Eight levels. */
template <int32_t type>
KRN_DEVICE void eight_levels(const uint32_t (&words)[4], const uint32_t (&signs)[4], float *x) {
    uint32_t h[4], piece_h[4];
    sylvester<type>(signs, h);
    sylvester<KRN_TYPE_BF16>(signs, piece_h);
    float d[2][4] = {};
    KRN_UNROLL_ALL
    for (int32_t i = 0; i < 2; i++)
        Matrix16<type>::multiply(d[i], h, {words[2 * i], words[2 * i + 1]});
    KRN_UNROLL_ALL
    for (int32_t i = 0; i < 2; i++) {
        uint32_t high[2], low[2];
        KRN_UNROLL_ALL
        for (int32_t b = 0; b < 2; b++)
            split(d[b][2 * i], d[b][2 * i + 1], high[b], low[b]);
        float sums[4] = {};
        multiply_pieces(sums, piece_h, high, low);
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < 4; e++)
            x[e / 2 * 4 + i * 2 + e % 2] = sums[e];
    }
}

/* Elements i..i+7 of a row that has them, two to a word. */
KRN_DEVICE void load_words(const void *row, int32_t i, bool is_aligned, uint32_t (&words)[4]) {
    const uint16_t *const at = static_cast<const uint16_t *>(row) + i;
    if (is_aligned) {
        const auto all = ptx::load_global(reinterpret_cast<const ptx::U32x4 *>(at));
        words[0] = all.x;
        words[1] = all.y;
        words[2] = all.z;
        words[3] = all.w;
        return;
    }
    KRN_UNROLL_ALL
    for (int32_t w = 0; w < 4; w++)
        words[w] = ptx::load_global(at + 2 * w) | static_cast<uint32_t>(ptx::load_global(at + 2 * w + 1)) << 16;
}

/* Up to ten levels of 1024 elements from `chunk` on, of which those from t.elems on are zeros. A lane has those from
 * chunk + octet_of(q) on in x[8 q ..]. */
struct MatrixPass {
    int32_t levels;

    KRN_DEVICE_MEMBER bool is_long() const { return levels >= 8; }

    KRN_DEVICE_MEMBER int32_t octet_of(int32_t q) const {
        const int32_t lane = ptx::lane();
        return is_long() ? q * MATRIX_TILE + lane * OCTET : lane / 4 * 128 + q * 32 + lane % 4 * OCTET;
    }

    template <int32_t type>
    KRN_DEVICE_MEMBER void run(const HadamardTile &t, const krn_cuda_rotation &r, bool is_aligned,
                               const uint32_t (&signs)[4], int32_t chunk, float (&x)[32]) const {
        uint32_t words[MATRIX_TILES][4] = {};
        KRN_UNROLL_ALL
        for (int32_t q = 0; q < MATRIX_TILES; q++) {
            const int32_t i = chunk + octet_of(q);
            if (i >= t.elems)
                continue;
            load_words(t.source, i, is_aligned, words[q]);
            if (r.signs_before != nullptr) {
                const uint32_t negated = ptx::load_global_nc(r.signs_before + i % r.n / 8);
                KRN_UNROLL_ALL
                for (int32_t w = 0; w < 4; w++)
                    words[q][w] ^= sign_pair(negated >> 2 * w);
            }
        }
        if (is_long()) {
            KRN_UNROLL_ALL
            for (int32_t q = 0; q < MATRIX_TILES; q++)
                eight_levels<type>(words[q], signs, x + OCTET * q);
            butterflies<MATRIX_TILES, OCTET>(x, levels - 8);
            return;
        }
        KRN_UNROLL_ALL
        for (int32_t q = 0; q < MATRIX_TILES; q++) {
            float octet[OCTET];
            four_levels<type>(words[q], signs, octet);
            butterflies<2, QUAD>(octet, 1);
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < OCTET; e++)
                x[OCTET * q + e] = octet[e];
        }
        butterflies<MATRIX_TILES, OCTET>(x, levels - 5);
    }
};

} // namespace kernels

#endif
