/* Matrix products of NEON's I8MM: 2 channels x 8 inputs by 8 inputs x 2 rows, 32 products an instruction.
 *
 *   sums      6 pairs of rows x 4 pairs of channels: 24 of 32 registers; taken apart at the end of a stretch
 *   x         [k / 8][row] octs (krn_pack_octs)
 *   weights   u8 codes, the unsigned operand; two quads of 4 channels are interleaved to octs of 2 + 2 */
#ifndef KRN_GEMM_TILE_S8_NEON_I8MM_H
#define KRN_GEMM_TILE_S8_NEON_I8MM_H

#include "gemm/scales_neon.h"

enum { SUBTRACTS_128 = 0, TILE_ROWS = KRN_MAX_TILE_ROWS, MAX_PAIRS = TILE_ROWS / 2 };

KRN_ALWAYS_INLINE int32_t slice_vecs(int32_t rows) { return rows <= 2 ? 8 : rows <= 6 ? 4 : 2; }

/* Octs of channels 0, 1 and of 2, 3 of a vector, against octs of two rows:
 * sums [channel 0 row 0, channel 0 row 1, channel 1 row 0, channel 1 row 1]. */
KRN_ALWAYS_INLINE void multiply_pairs(neon_i sums[][2 * PANEL_VECS], uint8x16_t first_quad, uint8x16_t second_quad,
                                      const int8x16_t *octs, int32_t pairs, int32_t v) {
    const uint32x4_t first = vreinterpretq_u32_u8(first_quad), second = vreinterpretq_u32_u8(second_quad);
    const uint8x16_t low = vreinterpretq_u8_u32(vzip1q_u32(first, second));
    const uint8x16_t high = vreinterpretq_u8_u32(vzip2q_u32(first, second));
    KRN_UNROLL
    for (int32_t p = 0; p < pairs; p++) {
        sums[p][2 * v] = vusmmlaq_s32(sums[p][2 * v], low, octs[p]);
        sums[p][2 * v + 1] = vusmmlaq_s32(sums[p][2 * v + 1], high, octs[p]);
    }
}

/* Octs of all rows, two to a register; of a last one without a partner the other half is 0. */
KRN_ALWAYS_INLINE void load_octs(int8x16_t *octs, const int32_t *x, int32_t rows) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r += 2) {
        const int8_t *from = (const int8_t *)(x + 2 * r);
        octs[r / 2] = r + 1 < rows ? vld1q_s8(from) : vcombine_s8(vld1_s8(from), vdup_n_s8(0));
    }
}

/* Lone quads at the end of a group, as octs whose second half is 0. */
KRN_ALWAYS_INLINE void load_quads(int8x16_t *octs, const int32_t *x, int32_t rows) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r += 2) {
        const int32_t last = r + 1 < rows ? x[r + 1] : 0;
        octs[r / 2] = vreinterpretq_s8_s32(vsetq_lane_s32(last, vsetq_lane_s32(x[r], vdupq_n_s32(0), 0), 2));
    }
}

KRN_ALWAYS_INLINE void multiply_slice(neon_i sums[][2 * PANEL_VECS], const uint8_t *w, const int32_t *x, int64_t blocks,
                                      int32_t rows, int32_t vecs, int bits, krn_prefetch *prefetch) {
    const int32_t pairs = (rows + 1) / 2;
    const int64_t step = bits == 8 ? 2 : 1;
    int8x16_t octs[MAX_PAIRS];
    int64_t b = 0;
    for (; b + step <= blocks; b += step, w += step * KRN_BLOCK_BYTES, x += 2 * rows) {
        for (int64_t i = 0; i < step; i++)
            krn_prefetch_block(prefetch);
        load_octs(octs, x, rows);
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            const uint8x16_t raw = vld1q_u8(w + 16 * v);
            if (bits == 8)
                multiply_pairs(sums, raw, vld1q_u8(w + KRN_BLOCK_BYTES + 16 * v), octs, pairs, v);
            else
                multiply_pairs(sums, vandq_u8(raw, vdupq_n_u8(0x0F)), vshrq_n_u8(raw, 4), octs, pairs, v);
        }
    }
    if (b < blocks) {
        krn_prefetch_block(prefetch);
        load_quads(octs, x, rows);
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            multiply_pairs(sums, vld1q_u8(w + 16 * v), vdupq_n_u8(0), octs, pairs, v);
    }
}

KRN_ALWAYS_INLINE void dot_slice(neon_i sums[][PANEL_VECS], const uint8_t *w, const int32_t *x, int64_t blocks,
                                 int32_t rows, int32_t vecs, int bits, krn_prefetch *prefetch) {
    neon_i pairs[MAX_PAIRS][2 * PANEL_VECS];
    KRN_UNROLL
    for (int32_t p = 0; 2 * p < rows; p++) {
        KRN_UNROLL
        for (int32_t i = 0; i < 2 * vecs; i++)
            pairs[p][i] = broadcast_i32(0);
    }
    multiply_slice(pairs, w, x, blocks, rows, vecs, bits, prefetch);
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            sums[r][v] = r % 2 == 0 ? vuzp1q_s32(pairs[r / 2][2 * v], pairs[r / 2][2 * v + 1])
                                    : vuzp2q_s32(pairs[r / 2][2 * v], pairs[r / 2][2 * v + 1]);
    }
}

#endif
