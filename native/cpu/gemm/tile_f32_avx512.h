/* The f32 tile of AVX-512, for both weight widths: codes become floats in registers, once per tile of up to 12 rows.
 *
 *   4-bit   a nibble indexes a table of 16 floats, the codebook or the codes less their offset (one shift, one
 *           permute). Where there are zero points it becomes a float under an exponent, like a byte, and the
 *           subtraction takes zero point and exponent away at once
 *   8-bit   a byte under the exponent of 2^23 is the float 2^23 + u (one shift, one ternary), minus 2^23 + 128
 *
 * Both are exact, and so is the difference of a code and its zero point: the only roundings are those of the fma. One or
 * two rows of codes that stand for integers have a loop of their own (tile_f32_low_avx512.h). */
#ifndef KRN_GEMM_TILE_F32_AVX512_H
#define KRN_GEMM_TILE_F32_AVX512_H

#include "gemm/tile_float_avx512.h"

/* The codebook, or codes 0..15 less their offset; zero points are subtracted later. */
KRN_ALWAYS_INLINE zmm_f nibble_table(const krn_tile_job *job) {
    const float *codebook = krn_layout_codebook(job->layout, job->packed);
    if (codebook != NULL)
        return load_f(codebook);
    return sub_f(_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                 broadcast_f32((float)krn_layout_fixed_zero(job->layout)));
}

KRN_ALWAYS_INLINE zmm_f byte_to_f32(zmm_i raw, unsigned byte) {
    const zmm_i exponent = broadcast_i32(0x4B000000);
    const zmm_i low = broadcast_i32(0xFF);
    return sub_f(as_f32(and_or_i(shift_right_i32(raw, 8 * byte), low, exponent)), broadcast_f32(8388608.0f + 128.0f));
}

/* 2^23 + z of zero points z. */
KRN_ALWAYS_INLINE void f32_zeros(zmm_i zeros[], const uint8_t *stored) {
    KRN_UNROLL
    for (int half = 0; half < 2; half++)
        zeros[half] = as_i(add_f(to_f32(widen_s16(stored + 32 * half)), broadcast_f32(8388608.0f)));
}

KRN_ALWAYS_INLINE zmm_f nibble_to_f32(const float_codes *codes, zmm_i raw, unsigned nibble, int half, int has_zeros) {
    const zmm_i shifted = shift_right_i32(raw, 4 * nibble);
    if (!has_zeros)
        return lookup_f32(as_f32(codes->table), shifted);
    const zmm_i value = and_or_i(shifted, broadcast_i32(0x0F), broadcast_i32(0x4B000000));
    return sub_f(as_f32(value), as_f32(codes->zeros[half]));
}

/* sum += w * *x, for both halves of the channels. */
KRN_ALWAYS_INLINE void add_products(zmm_f sum[2], const zmm_f w[2], const float *x, int each) {
    const zmm_f shared = broadcast_f32(*x);
    KRN_UNROLL
    for (int half = 0; half < 2; half++)
        sum[half] = each ? fma_all_f(w[half], x, sum[half]) : fma_f(w[half], shared, sum[half]);
}

KRN_ALWAYS_INLINE void fma_blocks(zmm_f acc[][2], const float_codes *codes, const block_run *run, int32_t side,
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
    for (int32_t p = 0; p < 32 / bits; p++) {
        KRN_UNROLL
        for (int32_t s = 0; s < side; s++) {
            const float *x = (const float *)(const void *)(run->x + s * run->x_stride);
            zmm_f w[2];
            KRN_UNROLL
            for (int32_t half = 0; half < 2; half++)
                w[half] = bits == 4 ? nibble_to_f32(&codes[s], raw[s][half], (unsigned)p, half, has_zeros)
                                    : byte_to_f32(raw[s][half], (unsigned)p);
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++) {
                add_products(acc[s * rows + r], w, x + p * rows + r, loads_each(r, rows));
            }
        }
    }
}

KRN_ALWAYS_INLINE void tile_f32(const krn_tile_job *job, int32_t bits, int32_t has_zeros) {
    const float_tile tile = {.bits = bits,
                             .has_zeros = has_zeros,
                             .side = {bits == 4 ? 4 : 2, 2},
                             .least_group = 0,
                             .x_block_bytes = 32 / bits * (int64_t)sizeof(float),
                             .load_zeros = f32_zeros,
                             .blocks = fma_blocks};
    const float_codes codes = {.table = as_i(nibble_table(job))};
    run_float_tile(job, &tile, &codes);
}

#endif
