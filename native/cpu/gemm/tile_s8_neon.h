/* Dot products of NEON without DotProd: 8 products of 8 x 8 bits to 16 bits an instruction. A quad of a row meets 2
 * channels at a time; pairs of neighbouring products are added into 32 bits, and pairs of those at the end.
 *
 *   sums      4 rows x 2, 2 x 4 or 1 x 8 vectors of two halves each: 16 of 32 registers
 *   x         [k / 4][row] dwords, broadcast
 *   weights   8 bits: u8 codes made s8 by their top bit; one product fits 16 bits, two may not (2 * 128 * 128)
 *             4 bits: products of at most 15 * 128, of which 16 fit, so that 8 blocks go by without a widening */
#ifndef KRN_GEMM_TILE_S8_NEON_H
#define KRN_GEMM_TILE_S8_NEON_H

#include "gemm/scales_neon.h"

enum { SUBTRACTS_128 = 128, TILE_ROWS = 4, NARROW_BLOCKS = 8, EXPANDED_VEC_BYTES = 0, EXPANDED_INPUTS = 8 };

KRN_ALWAYS_INLINE int32_t slice_vecs(int32_t rows) { return rows <= 1 ? 8 : rows <= 2 ? 4 : 2; }

/* Channels 0, 1 and 2, 3 of each vector. */
typedef int32x4_t wide_sums[2 * PANEL_VECS];
typedef int16x8_t narrow_sums[2 * PANEL_VECS];

KRN_ALWAYS_INLINE int8x8_t broadcast_quad(int32_t quad) { return vreinterpret_s8_s32(vdup_n_s32(quad)); }

KRN_ALWAYS_INLINE void dot_blocks_of_8_bits(wide_sums *sums, const uint8_t *w, const int32_t *x, int64_t blocks,
                                            int32_t rows, int32_t vecs, krn_prefetch *prefetch) {
    for (int64_t b = 0; b < blocks; b++, w += KRN_BLOCK_BYTES, x += rows) {
        krn_prefetch_block(prefetch);
        KRN_UNROLL
        for (int32_t i = 0; i < 2 * vecs; i++) {
            const int8x8_t codes = vreinterpret_s8_u8(veor_u8(vld1_u8(w + 8 * i), vdup_n_u8(0x80)));
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++)
                sums[r][i] = vpadalq_s16(sums[r][i], vmull_s8(codes, broadcast_quad(x[r])));
        }
    }
}

KRN_ALWAYS_INLINE void dot_blocks_of_4_bits(wide_sums *sums, const uint8_t *w, const int32_t *x, int64_t blocks,
                                            int32_t rows, int32_t vecs, krn_prefetch *prefetch) {
    narrow_sums narrow[TILE_ROWS];
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t i = 0; i < 2 * vecs; i++)
            narrow[r][i] = vdupq_n_s16(0);
    }
    for (int64_t b = 0; b < blocks; b++, w += KRN_BLOCK_BYTES, x += 2 * rows) {
        krn_prefetch_block(prefetch);
        KRN_UNROLL
        for (int32_t i = 0; i < 2 * vecs; i++) {
            const uint8x8_t raw = vld1_u8(w + 8 * i);
            const int8x8_t low = vreinterpret_s8_u8(vand_u8(raw, vdup_n_u8(0x0F)));
            const int8x8_t high = vreinterpret_s8_u8(vshr_n_u8(raw, 4));
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++) {
                narrow[r][i] = vmlal_s8(narrow[r][i], low, broadcast_quad(x[r]));
                narrow[r][i] = vmlal_s8(narrow[r][i], high, broadcast_quad(x[rows + r]));
            }
        }
    }
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t i = 0; i < 2 * vecs; i++)
            sums[r][i] = vpadalq_s16(sums[r][i], narrow[r][i]);
    }
}

/* Nothing is left to other tiles: with 4 rows unpacking is 3 operations of 35. */
KRN_ALWAYS_INLINE uint8_t *expand_blocks(uint8_t *to, const uint8_t *w, int64_t blocks, int bits) {
    (void)w, (void)blocks, (void)bits;
    return to;
}

KRN_ALWAYS_INLINE void dot_slice(neon_i sums[][PANEL_VECS], const uint8_t *expanded, const uint8_t *w, const int32_t *x,
                                 int64_t blocks, int32_t rows, int32_t vecs, int bits, krn_prefetch *prefetch) {
    (void)expanded;
    wide_sums wide[TILE_ROWS];
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t i = 0; i < 2 * vecs; i++)
            wide[r][i] = vdupq_n_s32(0);
    }
    if (bits == 8)
        dot_blocks_of_8_bits(wide, w, x, blocks, rows, vecs, prefetch);
    for (int64_t b = 0; bits == 4 && b < blocks; b += NARROW_BLOCKS)
        dot_blocks_of_4_bits(wide, w + b * KRN_BLOCK_BYTES, x + b * 2 * rows,
                             blocks - b < NARROW_BLOCKS ? blocks - b : NARROW_BLOCKS, rows, vecs, prefetch);
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            sums[r][v] = vpaddq_s32(wide[r][2 * v], wide[r][2 * v + 1]);
    }
}

#endif
