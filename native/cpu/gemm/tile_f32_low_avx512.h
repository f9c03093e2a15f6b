/* One or two rows of f32 activations against 4-bit codes that stand for integers, for AVX-512. There each code is
 * unpacked for a row or two, and pipes for it are short. What saves instructions is that integers of 6 bits with their
 * sign are bf16 too, the upper word of a float: a nibble in the lower word of a dword is looked up among floats, one in
 * the upper word among words, with zeros beside it, so half of the nibbles need no shift of their own.
 *
 * A code less its zero point is an index of 5 bits, modulo 32, made for four codes at a time: the nibbles at even
 * places, then those at odd ones, one a byte. A block of 128 bytes takes 50 instructions with zero points, 38 without;
 * one nibble at a time, it took 54 and 46. */
#ifndef KRN_GEMM_TILE_F32_LOW_AVX512_H
#define KRN_GEMM_TILE_F32_LOW_AVX512_H

#include "common/half.h"
#include "gemm/tile_f32_avx512.h"

/* Partial sums that are made in step: in more of them GCC spills indices, and the multiply-adds of one alone wait for
 * each other until the scheduler is full of them. */
enum { IN_STEP = 2 };

/* What an index of 5 bits stands for: codes 0..15 twice, less their offset; or, with zero points, 0..15 and -16..-1. */
KRN_ALWAYS_INLINE float_codes integer_codes(const krn_tile_job *job, int has_zeros) {
    const int32_t zero = krn_layout_fixed_zero(job->layout);
    float floats[32];
    uint16_t words[32];
    for (int32_t i = 0; i < 32; i++) {
        floats[i] = (float)(has_zeros ? i - i / 16 * 32 : i % 16 - zero);
        words[i] = krn_f32_to_bf16(floats[i]);
    }
    return (float_codes){
        .table = as_i(load_f(floats)), .upper_table = as_i(load_f(floats + 16)), .words = load_i(words)};
}

/* Zero points in all four bytes of each of the 32 channels' dwords. */
KRN_ALWAYS_INLINE void byte_zeros(zmm_i zeros[], const uint8_t *stored) {
    KRN_UNROLL
    for (int half = 0; half < 2; half++)
        zeros[half] = mul_i32(widen_s16(stored + 32 * half), broadcast_i32(0x01010101));
}

/* Indices of nibbles p and p + 4 in the words of index[p], p in 0..3; with zero points in index[p % 2], those of 2 and
 * 3 a byte higher: there all four would not fit the registers. */
KRN_ALWAYS_INLINE void split_nibbles(zmm_i index[4], zmm_i raw, zmm_i zeros, int has_zeros) {
    /* GCC would keep them in memory, where it does not wish to load them twice. */
    KRN_KEEP(raw);
    if (has_zeros) {
        const zmm_i low = broadcast_i32(0x0F0F0F0F);
        index[0] = sub_i8(and_i(raw, low), zeros);
        index[1] = sub_i8(and_i(shift_right_i32(raw, 4), low), zeros);
    } else {
        KRN_UNROLL
        for (unsigned p = 0; p < 4; p++)
            index[p] = shift_right_i32(raw, 4 * p);
    }
}

KRN_ALWAYS_INLINE zmm_f nibble_of(const float_codes *codes, zmm_i index[4], unsigned p, int has_zeros) {
    if (has_zeros && p == 4) {
        /* GCC would keep what it shifted for nibbles 2 and 3. */
        KRN_KEEP(index[0]);
        KRN_KEEP(index[1]);
    }
    const zmm_i at = has_zeros ? shift_right_i32(index[p % 2], p % 4 / 2 * 8) : index[p % 4];
    if (p >= 4)
        return as_f32(lookup_upper_u16(codes->words, at));
    return has_zeros ? lookup_f32x2(as_f32(codes->table), as_f32(codes->upper_table), at)
                     : lookup_f32(as_f32(codes->table), at);
}

/* Sums first..first + count - 1. */
KRN_ALWAYS_INLINE void fma_in_step(zmm_f acc[][2], const float_codes *codes, const block_run *run, int32_t first,
                                   int32_t count, int32_t rows, int32_t has_zeros) {
    zmm_i index[IN_STEP][2][4];
    KRN_UNROLL
    for (int32_t s = 0; s < count; s++) {
        const uint8_t *w = run->w + (first + s) * run->w_stride;
        split_nibbles(index[s][0], load_i(w), codes[first + s].zeros[0], has_zeros);
        split_nibbles(index[s][1], load_i(w + 64), codes[first + s].zeros[1], has_zeros);
    }
    KRN_UNROLL
    for (unsigned p = 0; p < 8; p++) {
        KRN_UNROLL
        for (int32_t s = 0; s < count; s++) {
            const float *x = (const float *)(const void *)(run->x + (first + s) * run->x_stride);
            const zmm_f w[2] = {nibble_of(codes, index[s][0], p, has_zeros),
                                nibble_of(codes, index[s][1], p, has_zeros)};
            zmm_f(*sums)[2] = acc + (first + s) * rows;
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++) {
                add_products(sums[r], w, x + (int32_t)p * rows + r, loads_each(r, rows));
            }
        }
    }
}

KRN_ALWAYS_INLINE void fma_integers(zmm_f acc[][2], const float_codes *codes, const block_run *run, int32_t side,
                                    int32_t rows, int32_t bits, int32_t has_zeros) {
    (void)bits;
    KRN_UNROLL
    for (int32_t s = 0; s < side; s += IN_STEP)
        fma_in_step(acc, codes, run, s, side - s < IN_STEP ? side - s : IN_STEP, rows, has_zeros);
}

/* For one or two rows, and no codebook. */
KRN_ALWAYS_INLINE void low_tile_f32(const krn_tile_job *job, int32_t has_zeros) {
    const float_tile tile = {.bits = 4,
                             .has_zeros = has_zeros,
                             .side = {4, 2},
                             .least_group = 0,
                             .x_block_bytes = 8 * (int64_t)sizeof(float),
                             .load_zeros = byte_zeros,
                             .blocks = fma_integers};
    const float_codes codes = integer_codes(job, has_zeros);
    if (job->rows == 1)
        low_float_tile(job, &tile, &codes, 1);
    else
        low_float_tile(job, &tile, &codes, 2);
}

#endif
