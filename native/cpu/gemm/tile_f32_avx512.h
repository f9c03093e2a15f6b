/* The f32 tile of AVX-512, for both weight widths: codes become floats in registers, once per tile of up to 12 rows.
 *
 *   4-bit   a nibble indexes a table of 16 floats, the codebook or the codes less their offset (one shift, one permute); then
 *           zero points are subtracted
 *   8-bit   a byte under the exponent of 2^23 is the float 2^23 + u (one shift, one ternary), minus 2^23 + 128
 *
 * Both are exact, and so is the difference of a code and its zero point: the only roundings are those of the fma. */
#ifndef KRN_GEMM_TILE_F32_AVX512_H
#define KRN_GEMM_TILE_F32_AVX512_H

#include "gemm/tile_avx512.h"

typedef struct {
    zmm_f table;
    /* Of the 32 channels, if they have any. */
    zmm_f zeros[2];
} f32_codes;

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

KRN_ALWAYS_INLINE zmm_f nibble_to_f32(const f32_codes *codes, zmm_i raw, unsigned nibble, int half, int has_zeros) {
    const zmm_f value = lookup_f32(codes->table, shift_right_i32(raw, 4 * nibble));
    return has_zeros ? sub_f(value, codes->zeros[half]) : value;
}

KRN_ALWAYS_INLINE void fma_block(zmm_f acc[][2], const f32_codes *codes, const uint8_t *w, const float *x, int32_t rows,
                                 int bits, int has_zeros) {
    const zmm_i raw0 = load_i(w), raw1 = load_i(w + 64);
    KRN_UNROLL
    for (int32_t p = 0; p < 32 / bits; p++) {
        const zmm_f w0 =
            bits == 4 ? nibble_to_f32(codes, raw0, (unsigned)p, 0, has_zeros) : byte_to_f32(raw0, (unsigned)p);
        const zmm_f w1 =
            bits == 4 ? nibble_to_f32(codes, raw1, (unsigned)p, 1, has_zeros) : byte_to_f32(raw1, (unsigned)p);
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            const zmm_f xr = broadcast_f32(x[p * rows + r]);
            acc[r][0] = fma_f(w0, xr, acc[r][0]);
            acc[r][1] = fma_f(w1, xr, acc[r][1]);
        }
    }
}

KRN_ALWAYS_INLINE void tile_f32_of_rows(const krn_tile_job *job, int32_t rows, int bits, int has_zeros) {
    const int64_t block_k = 32 / bits;
    const float *x = job->x;
    f32_codes codes = {.table = nibble_table(job)};
    krn_prefetch prefetch = job->prefetch;
    zmm_f t[SMALL_TILE_ROWS][2];
    load_t(t, job, rows);
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *group = krn_tile_group(job, g);
        const uint8_t *w = group + job->first_block * KRN_BLOCK_BYTES;
        const uint8_t *scales = krn_tile_scales(job, g);
        const int64_t blocks = krn_tile_blocks(job, g);
        zmm_f s[2];
        load_scales(s, scales);
        if (has_zeros) {
            const uint8_t *zeros = krn_tile_zeros(job, g);
            codes.zeros[0] = to_f32(widen_s16(zeros));
            codes.zeros[1] = to_f32(widen_s16(zeros + 32));
        }
        for (int64_t b = 0; b < blocks;) {
            const int64_t end = b + KRN_FLOAT_BLOCK_K / block_k < blocks ? b + KRN_FLOAT_BLOCK_K / block_k : blocks;
            zmm_f acc[KRN_MAX_TILE_ROWS][2];
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++)
                acc[r][0] = acc[r][1] = zero_f();
            for (; b < end; b++, w += KRN_BLOCK_BYTES, x += block_k * rows) {
                krn_prefetch_block(&prefetch);
                fma_block(acc, &codes, w, x, rows, bits, has_zeros);
            }
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++)
                fold_row(t, job->t, r, acc[r], s, rows);
        }
        prefetch.next += prefetch.group_stride;
    }
    store_t(job, t, rows);
}

/* One copy of the loop for every height, so that its accumulators are registers. */
KRN_ALWAYS_INLINE void tile_f32(const krn_tile_job *job, int bits, int has_zeros) {
    switch (job->rows) {
    case 1: tile_f32_of_rows(job, 1, bits, has_zeros); break;
    case 2: tile_f32_of_rows(job, 2, bits, has_zeros); break;
    case 3: tile_f32_of_rows(job, 3, bits, has_zeros); break;
    case 4: tile_f32_of_rows(job, 4, bits, has_zeros); break;
    case 5: tile_f32_of_rows(job, 5, bits, has_zeros); break;
    case 6: tile_f32_of_rows(job, 6, bits, has_zeros); break;
    case 7: tile_f32_of_rows(job, 7, bits, has_zeros); break;
    case 8: tile_f32_of_rows(job, 8, bits, has_zeros); break;
    case 9: tile_f32_of_rows(job, 9, bits, has_zeros); break;
    case 10: tile_f32_of_rows(job, 10, bits, has_zeros); break;
    case 11: tile_f32_of_rows(job, 11, bits, has_zeros); break;
    default: tile_f32_of_rows(job, 12, bits, has_zeros); break;
    }
}

#endif
