/* The bf16 tile of AVX-512 BF16, for both weight widths. Codes and their differences with zero points are integers of
 * at most 8 bits, which bf16 holds exactly; scales stay in f32, so dequantization adds no rounding. The entries of a
 * codebook are rounded to bf16, as gemm.h says.
 *
 *   4-bit   the nibbles of a pair of inputs index a table of 32 words (one shift, one permute). A word's index has
 *           five bits: without zero points the fifth belongs to the next nibble, so the table holds its 16 values
 *           twice; with them the index is code - zero + 15, in 0..30
 *   8-bit   through f32 as in tile_f32_avx512.h: the upper halves of two exact floats are the pair
 *
 * vdpbf16ps takes subnormal inputs as zero and flushes subnormal results. */
#ifndef KRN_GEMM_TILE_BF16_AVX512BF16_H
#define KRN_GEMM_TILE_BF16_AVX512BF16_H

#include "common/half.h"
#include "gemm/tile_f32_avx512.h"

/* Half as many additions in a row as f32 has; and over the end of a group of 32 the reorder buffer reaches by
 * itself. */
enum { BF16_SIDE_GROUP = 64 };

/* table[i] = codebook[i mod 16], i mod 16 less the offset of codes, or, with zero points, i - 15. */
KRN_ALWAYS_INLINE zmm_i bf16_table(const krn_tile_job *job, int has_zeros) {
    const float *codebook = krn_layout_codebook(job->layout, job->packed);
    const int32_t zero = krn_layout_fixed_zero(job->layout);
    uint16_t words[32];
    for (int i = 0; i < 32; i++)
        words[i] = krn_f32_to_bf16(codebook != NULL ? codebook[i % 16] : (float)(has_zeros ? i - 15 : i % 16 - zero));
    return load_i(words);
}

/* Zero point - 15 in both words of each of the 32 channels' dwords. */
KRN_ALWAYS_INLINE void bf16_zeros(zmm_i zeros[], const uint8_t *stored) {
    KRN_UNROLL
    for (int half = 0; half < 2; half++) {
        const zmm_i wide = add_i32(widen_s16(stored + 32 * half), broadcast_i32(-15));
        /* Multiplying the low word by 0x10001 copies it to the high word. */
        zeros[half] = mul_i32(and_i(wide, broadcast_i32(0xFFFF)), broadcast_i32(0x10001));
    }
}

KRN_ALWAYS_INLINE zmm_i nibbles_to_bf16(const float_codes *codes, zmm_i raw, unsigned pair, int half, int has_zeros) {
    const zmm_i shifted = shift_right_i32(raw, 4 * pair);
    return lookup_u16(codes->table,
                      has_zeros ? sub_i16(and_i(shifted, broadcast_i32(0x000F000F)), codes->zeros[half]) : shifted);
}

/* Inputs `pair` and `pair` + 2 of a block of 4. */
KRN_ALWAYS_INLINE zmm_i bytes_to_bf16(zmm_i raw, unsigned pair) {
    const zmm_i low = as_i(byte_to_f32(raw, pair)), high = as_i(byte_to_f32(raw, pair + 2));
    return and_or_i(high, broadcast_i32((int32_t)0xFFFF0000), shift_right_i32(low, 16));
}

/* sum += w . *x, a pair, for both halves of the channels. */
KRN_ALWAYS_INLINE void add_dots(zmm_f sum[2], const zmm_i w[2], const int32_t *x, int each) {
    const zmm_i shared = broadcast_i32(*x);
    KRN_UNROLL
    for (int half = 0; half < 2; half++)
        sum[half] = each ? dot_bf16_all(sum[half], w[half], x) : dot_bf16(sum[half], w[half], shared);
}

KRN_ALWAYS_INLINE void dot_blocks(zmm_f acc[][2], const float_codes *codes, const block_run *run, int32_t side,
                                  int32_t rows, int32_t bits, int32_t has_zeros) {
    zmm_i raw[MAX_SIDE][2];
    KRN_UNROLL
    for (int32_t s = 0; s < side; s++) {
        raw[s][0] = load_i(run->w + s * run->w_stride);
        raw[s][1] = load_i(run->w + s * run->w_stride + 64);
        /* GCC would load them again for every shift, until loads bind. A taller tile has loads to spare, and no
         * registers. */
        if (rows <= SIDE_ROWS && bits == 4 && !has_zeros) {
            KRN_KEEP(raw[s][0]);
            KRN_KEEP(raw[s][1]);
        }
    }
    KRN_UNROLL
    for (int32_t p = 0; p < 16 / bits; p++) {
        KRN_UNROLL
        for (int32_t s = 0; s < side; s++) {
            const int32_t *x = (const int32_t *)(const void *)(run->x + s * run->x_stride);
            zmm_i w[2];
            KRN_UNROLL
            for (int32_t half = 0; half < 2; half++)
                w[half] = bits == 4 ? nibbles_to_bf16(&codes[s], raw[s][half], (unsigned)p, half, has_zeros)
                                    : bytes_to_bf16(raw[s][half], (unsigned)p);
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++) {
                add_dots(acc[s * rows + r], w, x + p * rows + r, loads_each(r, rows));
            }
        }
    }
}

KRN_ALWAYS_INLINE void tile_bf16(const krn_tile_job *job, int32_t bits, int32_t has_zeros) {
    const float_tile tile = {.bits = bits,
                             .has_zeros = has_zeros,
                             .side = {2, 2},
                             .least_group = BF16_SIDE_GROUP,
                             .x_block_bytes = 32 / bits * (int64_t)sizeof(uint16_t),
                             .load_zeros = bf16_zeros,
                             .blocks = dot_blocks};
    const float_codes codes = {.table = bf16_table(job, has_zeros)};
    run_float_tile(job, &tile, &codes);
}

#endif
