/* Matrix products of NEON's I8MM: 2 channels x 8 inputs by 8 inputs x 2 rows, 32 products an instruction.
 *
 *   sums      6 pairs of rows x 4 pairs of channels: 24 of 32 registers; taken apart at the end of a stretch
 *   x         [k / 8][row] octs (krn_pack_octs)
 *   weights   u8 codes, the unsigned operand; two quads of 4 channels are interleaved to octs of 2 + 2. Of several tiles
 *             the first one leaves the octs to the others: interleaving takes as many operations as 2 rows multiply */
#ifndef KRN_GEMM_TILE_S8_NEON_I8MM_H
#define KRN_GEMM_TILE_S8_NEON_I8MM_H

#include "gemm/scales_neon.h"

enum {
    SUBTRACTS_128 = 0,
    TILE_ROWS = KRN_MAX_TILE_ROWS,
    MAX_PAIRS = TILE_ROWS / 2,
    EXPANDED_VEC_BYTES = 32,
    EXPANDED_INPUTS = 8
};

KRN_ALWAYS_INLINE int32_t slice_vecs(int32_t rows) { return rows <= 2 ? 8 : rows <= 6 ? 4 : 2; }

/* Octs of channels 0, 1 and of 2, 3 of a vector. */
typedef struct {
    uint8x16_t low, high;
} channel_octs;

KRN_ALWAYS_INLINE channel_octs interleave_quads(uint8x16_t first_quad, uint8x16_t second_quad) {
    const uint32x4_t first = vreinterpretq_u32_u8(first_quad), second = vreinterpretq_u32_u8(second_quad);
    return (channel_octs){vreinterpretq_u8_u32(vzip1q_u32(first, second)),
                          vreinterpretq_u8_u32(vzip2q_u32(first, second))};
}

/* Vector v of a step: two blocks of 8-bit codes, one of 4-bit codes. */
KRN_ALWAYS_INLINE channel_octs load_channels(const uint8_t *w, int32_t v, int bits) {
    const uint8x16_t raw = vld1q_u8(w + 16 * v);
    return bits == 8 ? interleave_quads(raw, vld1q_u8(w + KRN_BLOCK_BYTES + 16 * v))
                     : interleave_quads(vandq_u8(raw, vdupq_n_u8(0x0F)), vshrq_n_u8(raw, 4));
}

/* Octs of rows 2p and 2p + 1; without a partner the other half is 0. */
KRN_ALWAYS_INLINE int8x16_t load_octs(const int32_t *x, int32_t p, int32_t rows) {
    const int8_t *from = (const int8_t *)(x + 4 * p);
    return 2 * p + 1 < rows ? vld1q_s8(from) : vcombine_s8(vld1_s8(from), vdup_n_s8(0));
}

/* Lone quads at the end of a group, as octs whose second half is 0. */
KRN_ALWAYS_INLINE int8x16_t load_quads(const int32_t *x, int32_t p, int32_t rows) {
    const int32_t last = 2 * p + 1 < rows ? x[2 * p + 1] : 0;
    return vreinterpretq_s8_s32(vsetq_lane_s32(last, vsetq_lane_s32(x[2 * p], vdupq_n_s32(0), 0), 2));
}

/* Sums [channel 0 row 0, channel 0 row 1, channel 1 row 0, channel 1 row 1]. */
KRN_ALWAYS_INLINE void multiply_octs(neon_i *sums, channel_octs w, int8x16_t octs) {
    sums[0] = vusmmlaq_s32(sums[0], w.low, octs);
    sums[1] = vusmmlaq_s32(sums[1], w.high, octs);
}

KRN_ALWAYS_INLINE int8x16_t load_pair(const int32_t *x, int32_t p, int32_t rows, int is_quad) {
    return is_quad ? load_quads(x, p, rows) : load_octs(x, p, rows);
}

/* A step of the slice. With up to 6 rows those stay in registers; with more the 4 of weights do. The empty statement
 * keeps GCC from loading all octs first, which the sums leave no registers for. */
KRN_ALWAYS_INLINE void multiply_step(neon_i sums[][2 * PANEL_VECS], const channel_octs *w, const int32_t *x,
                                     int32_t rows, int32_t vecs, int is_quad) {
    int8x16_t octs[MAX_PAIRS];
    if (vecs > 2) {
        KRN_UNROLL
        for (int32_t p = 0; 2 * p < rows; p++)
            octs[p] = load_pair(x, p, rows, is_quad);
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            KRN_UNROLL
            for (int32_t p = 0; 2 * p < rows; p++)
                multiply_octs(&sums[p][2 * v], w[v], octs[p]);
        }
        return;
    }
    KRN_UNROLL
    for (int32_t p = 0; 2 * p < rows; p++) {
        octs[p] = load_pair(x, p, rows, is_quad);
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            multiply_octs(&sums[p][2 * v], w[v], octs[p]);
            KRN_IN_ORDER(sums[p][2 * v]);
        }
    }
}

/* The last block of a group with an odd number of them; 8 bits. */
KRN_ALWAYS_INLINE void multiply_last_quad(neon_i sums[][2 * PANEL_VECS], const uint8_t *w, const int32_t *x,
                                          int32_t rows, int32_t vecs) {
    channel_octs channels[PANEL_VECS];
    KRN_UNROLL
    for (int32_t v = 0; v < vecs; v++)
        channels[v] = interleave_quads(vld1q_u8(w + 16 * v), vdupq_n_u8(0));
    multiply_step(sums, channels, x, rows, vecs, 1);
}

KRN_ALWAYS_INLINE void multiply_slice(neon_i sums[][2 * PANEL_VECS], const uint8_t *w, const int32_t *x, int64_t blocks,
                                      int32_t rows, int32_t vecs, int bits, krn_prefetch *prefetch) {
    const int64_t step = bits == 8 ? 2 : 1;
    int64_t b = 0;
    for (; b + step <= blocks; b += step, w += step * KRN_BLOCK_BYTES, x += 2 * rows) {
        channel_octs channels[PANEL_VECS];
        for (int64_t i = 0; i < step; i++)
            krn_prefetch_block(prefetch);
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            channels[v] = load_channels(w, v, bits);
        multiply_step(sums, channels, x, rows, vecs, 0);
    }
    if (b < blocks) {
        krn_prefetch_block(prefetch);
        multiply_last_quad(sums, w, x, rows, vecs);
    }
}

/* Octs of a group's steps for all tiles: [step][vector]{low, high}. */
KRN_ALWAYS_INLINE uint8_t *expand_blocks(uint8_t *to, const uint8_t *w, int64_t blocks, int bits) {
    const int64_t step = bits == 8 ? 2 : 1;
    for (int64_t b = 0; b + step <= blocks; b += step, w += step * KRN_BLOCK_BYTES) {
        KRN_UNROLL
        for (int32_t v = 0; v < PANEL_VECS; v++, to += EXPANDED_VEC_BYTES) {
            const channel_octs octs = load_channels(w, v, bits);
            vst1q_u8(to, octs.low);
            vst1q_u8(to + 16, octs.high);
        }
    }
    return to;
}

/* `expanded` and `w` are at the slice's first vector; an odd last block is in `w` alone. */
KRN_ALWAYS_INLINE void multiply_expanded(neon_i sums[][2 * PANEL_VECS], const uint8_t *expanded, const uint8_t *w,
                                         const int32_t *x, int64_t blocks, int32_t rows, int32_t vecs, int bits) {
    const int64_t step = bits == 8 ? 2 : 1;
    int64_t b = 0;
    for (; b + step <= blocks; b += step, expanded += PANEL_VECS * EXPANDED_VEC_BYTES, x += 2 * rows) {
        channel_octs channels[PANEL_VECS];
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            const uint8_t *at = expanded + v * EXPANDED_VEC_BYTES;
            channels[v] = (channel_octs){vld1q_u8(at), vld1q_u8(at + 16)};
        }
        multiply_step(sums, channels, x, rows, vecs, 0);
    }
    if (b < blocks)
        multiply_last_quad(sums, w + b * KRN_BLOCK_BYTES, x, rows, vecs);
}

KRN_ALWAYS_INLINE void dot_slice(neon_i sums[][PANEL_VECS], const uint8_t *expanded, const uint8_t *w, const int32_t *x,
                                 int64_t blocks, int32_t rows, int32_t vecs, int bits, krn_prefetch *prefetch) {
    neon_i pairs[MAX_PAIRS][2 * PANEL_VECS];
    KRN_UNROLL
    for (int32_t p = 0; 2 * p < rows; p++) {
        KRN_UNROLL
        for (int32_t i = 0; i < 2 * vecs; i++)
            pairs[p][i] = broadcast_i32(0);
    }
    if (expanded != NULL)
        multiply_expanded(pairs, expanded, w, x, blocks, rows, vecs, bits);
    else
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
