/* Rows of dwords interleaved 16 dwords at a time, four rows by four: 2 shuffles and 4 stores a cache line, where
 * transpose.h takes 8 and 4 for a quarter of it. */
#ifndef KRN_GEMM_INTERLEAVE_AVX512_H
#define KRN_GEMM_INTERLEAVE_AVX512_H

#include "common/simd_avx512.h"

enum { KRN_INTERLEAVED_DWORDS = 16 };

/* to[i * stride + r] = dword i of row r for i < 16 and r < rows, rows in 1..4; rows are `row_bytes` apart. `flips`: the
 * highest bit of every byte, which makes s8 of u8. */
KRN_ALWAYS_INLINE void krn_interleave_four(uint32_t *to, int64_t stride, const uint8_t *from, int64_t row_bytes,
                                           int32_t rows, int flips) {
    zmm_i row[4];
    KRN_UNROLL
    for (int32_t r = 0; r < 4; r++) {
        row[r] = load_i(from + (r < rows ? r : 0) * row_bytes);
        if (flips)
            row[r] = xor_i(row[r], broadcast_i32((int32_t)0x80808080));
    }
    const zmm_i low01 = unpack_low_i32(row[0], row[1]), high01 = unpack_high_i32(row[0], row[1]);
    const zmm_i low23 = unpack_low_i32(row[2], row[3]), high23 = unpack_high_i32(row[2], row[3]);
    /* Lane l of step[j] is dword 4 * l + j of the four rows. */
    const zmm_i step[4] = {unpack_low_i64(low01, low23), unpack_high_i64(low01, low23), unpack_low_i64(high01, high23),
                           unpack_high_i64(high01, high23)};
    KRN_UNROLL
    for (int32_t i = 0; i < KRN_INTERLEAVED_DWORDS; i++)
        store_lane_i32(to + i * stride, step[i % 4], i / 4, rows);
}

/* The same for any number of rows. */
KRN_ALWAYS_INLINE void krn_interleave_16(uint32_t *to, const void *from, int64_t row_bytes, int32_t rows, int flips) {
    const uint8_t *row = from;
    int32_t r = 0;
    for (; r + 4 <= rows; r += 4)
        krn_interleave_four(to + r, rows, row + r * row_bytes, row_bytes, 4, flips);
    if (r < rows)
        krn_interleave_four(to + r, rows, row + r * row_bytes, row_bytes, rows - r, flips);
}

#endif
