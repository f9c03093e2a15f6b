/* Dot products of NEON's DotProd: 16 products an instruction, of 4 channels with a quad of a row, which an instruction
 * picks out of 4 rows.
 *
 *   sums      12 rows x 2, 6 x 4 or 3 x 8 vectors: 24 of 32 registers
 *   x         [k / 4][row] dwords, 4 rows to a register
 *   weights   8 bits: u8 codes made s8 by their top bit, with 12 rows 2 operations for 24 products
 *             4 bits: nibbles; of several tiles the first one leaves them to the others as bytes */
#ifndef KRN_GEMM_TILE_S8_NEON_DOTPROD_H
#define KRN_GEMM_TILE_S8_NEON_DOTPROD_H

#include "gemm/scales_neon.h"

enum { SUBTRACTS_128 = 128, TILE_ROWS = KRN_MAX_TILE_ROWS, EXPANDED_VEC_BYTES = 16, EXPANDED_INPUTS = 4 };

KRN_ALWAYS_INLINE int32_t slice_vecs(int32_t rows) { return rows <= 3 ? 8 : rows <= 6 ? 4 : 2; }

/* Quads of `rows` rows, 1..4; lanes behind them are not used. */
KRN_ALWAYS_INLINE int8x16_t load_quads(const int32_t *x, int32_t rows) {
    int32x4_t quads = vdupq_n_s32(0);
    switch (rows) {
    case 1: quads = vld1q_dup_s32(x); break;
    case 2: quads = vcombine_s32(vld1_s32(x), vdup_n_s32(0)); break;
    case 3: quads = vld1q_lane_s32(x + 2, vcombine_s32(vld1_s32(x), vdup_n_s32(0)), 2); break;
    default: quads = vld1q_s32(x); break;
    }
    return vreinterpretq_s8_s32(quads);
}

/* The instruction names its row in its code. */
KRN_ALWAYS_INLINE neon_i dot_of_row(neon_i sum, int8x16_t w, int8x16_t quads, int32_t row) {
    switch (row) {
    case 0: return vdotq_laneq_s32(sum, w, quads, 0);
    case 1: return vdotq_laneq_s32(sum, w, quads, 1);
    case 2: return vdotq_laneq_s32(sum, w, quads, 2);
    default: return vdotq_laneq_s32(sum, w, quads, 3);
    }
}

/* 4 rows after the other: their quads are one register, not three. */
KRN_ALWAYS_INLINE void dot_rows(neon_i sums[][PANEL_VECS], const int8x16_t *w, const int32_t *x, int32_t rows,
                                int32_t vecs) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r += 4) {
        const int32_t count = rows - r < 4 ? rows - r : 4;
        const int8x16_t quads = load_quads(x + r, count);
        KRN_UNROLL
        for (int32_t i = 0; i < count; i++) {
            KRN_UNROLL
            for (int32_t v = 0; v < vecs; v++)
                sums[r + i][v] = dot_of_row(sums[r + i][v], w[v], quads, i);
        }
    }
}

KRN_ALWAYS_INLINE void dot_blocks(neon_i sums[][PANEL_VECS], const uint8_t *w, const int32_t *x, int64_t blocks,
                                  int32_t rows, int32_t vecs, int bits, krn_prefetch *prefetch) {
    for (int64_t b = 0; b < blocks; b++, w += KRN_BLOCK_BYTES, x += 8 / bits * rows) {
        uint8x16_t raw[PANEL_VECS];
        int8x16_t codes[PANEL_VECS];
        krn_prefetch_block(prefetch);
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            raw[v] = vld1q_u8(w + 16 * v);
            codes[v] = vreinterpretq_s8_u8(bits == 8 ? veorq_u8(raw[v], vdupq_n_u8(0x80))
                                                     : vandq_u8(raw[v], vdupq_n_u8(0x0F)));
        }
        dot_rows(sums, codes, x, rows, vecs);
        if (bits == 8)
            continue;
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            codes[v] = vreinterpretq_s8_u8(vshrq_n_u8(raw[v], 4));
        dot_rows(sums, codes, x + rows, rows, vecs);
    }
}

/* 4-bit codes of a group for all tiles, as bytes: [k / 4][32] quads. 8-bit ones stay where they are. */
KRN_ALWAYS_INLINE uint8_t *expand_blocks(uint8_t *to, const uint8_t *w, int64_t blocks, int bits) {
    for (int64_t b = 0; bits == 4 && b < blocks; b++, to += KRN_BLOCK_BYTES) {
        KRN_UNROLL
        for (int32_t v = 0; v < PANEL_VECS; v++, w += 16, to += 16) {
            const uint8x16_t raw = vld1q_u8(w);
            vst1q_u8(to, vandq_u8(raw, vdupq_n_u8(0x0F)));
            vst1q_u8(to + KRN_BLOCK_BYTES, vshrq_n_u8(raw, 4));
        }
    }
    return to;
}

KRN_ALWAYS_INLINE void dot_expanded(neon_i sums[][PANEL_VECS], const uint8_t *expanded, const int32_t *x, int64_t quads,
                                    int32_t rows, int32_t vecs) {
    for (int64_t q = 0; q < quads; q++, expanded += KRN_BLOCK_BYTES, x += rows) {
        int8x16_t codes[PANEL_VECS];
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            codes[v] = vld1q_s8((const int8_t *)expanded + 16 * v);
        dot_rows(sums, codes, x, rows, vecs);
    }
}

KRN_ALWAYS_INLINE void dot_slice(neon_i sums[][PANEL_VECS], const uint8_t *expanded, const uint8_t *w, const int32_t *x,
                                 int64_t blocks, int32_t rows, int32_t vecs, int bits, krn_prefetch *prefetch) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            sums[r][v] = broadcast_i32(0);
    }
    if (bits == 4 && expanded != NULL)
        dot_expanded(sums, expanded, x, 2 * blocks, rows, vecs);
    else
        dot_blocks(sums, w, x, blocks, rows, vecs, bits, prefetch);
}

#endif
