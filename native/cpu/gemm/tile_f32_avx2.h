/* The f32 tile of AVX2, for both weight widths, on half panels of 16 channels: 6 rows x 2 ymm of accumulators, which
 * leaves too few registers to unpack codes on the way. The first tile of a row block leaves them to the others as
 * floats.
 *
 * A code under the exponent of 2^23 is the float 2^23 + u; minus 2^23 + zero it is the difference of the code and its
 * zero point, exactly. A codebook of 16 floats is two tables of 8, and bit 3 of a code chooses. The only roundings
 * are those of the fma. */
#ifndef KRN_GEMM_TILE_F32_AVX2_H
#define KRN_GEMM_TILE_F32_AVX2_H

#include "common/portability.h"
#include "common/simd_avx2.h"
#include "gemm/scales_avx2.h"

enum { AVX2_TILE_ROWS = 6, HALF_PANEL = KRN_PANEL_CHANNELS / 2, HALF_BLOCK_BYTES = KRN_BLOCK_BYTES / 2 };

/* As far as a lone tile of another variant looks ahead (gemm_run.c). */
enum { EXPAND_PREFETCH_DISTANCE = 4096 };

typedef struct {
    /* Of the 16 channels: 2^23 + zero. Without a codebook. */
    ymm_f offsets[2];
    /* Entries 0..7 and 8..15. */
    ymm_f low, high;
} f32_codes;

/* Code `index` of every dword, less its offset of 2^23 + zero. */
KRN_ALWAYS_INLINE ymm_f code_to_f32(ymm_i raw, int index, int bits, ymm_f offset) {
    const ymm_i exponent = broadcast_i32(0x4B000000);
    const ymm_i mask = broadcast_i32((1 << bits) - 1);
    return sub_f(as_f32(or_i(and_i(shift_right_i32(raw, bits * index), mask), exponent)), offset);
}

/* The codebook's entry for nibble `index` of every dword. */
KRN_ALWAYS_INLINE ymm_f nibble_to_entry(const f32_codes *codes, ymm_i raw, int index) {
    const ymm_i code = shift_right_i32(raw, 4 * index);
    return select_f(lookup_f32(codes->low, code), lookup_f32(codes->high, code), shift_left_i32(code, 28));
}

/* What turns the codes of a group into floats; `half` of the panel. */
KRN_ALWAYS_INLINE f32_codes load_codes(const krn_tile_job *job, int64_t group, int half) {
    f32_codes codes;
    const float *codebook = krn_layout_codebook(job->layout, job->packed);
    codes.low = codebook == NULL ? zero_f() : load_f(codebook);
    codes.high = codebook == NULL ? zero_f() : load_f(codebook + 8);
    codes.offsets[0] = codes.offsets[1] = broadcast_f32(8388608.0f + (float)krn_layout_fixed_zero(job->layout));
    if (krn_layout_has_zeros(job->layout)) {
        const uint8_t *zeros = krn_tile_zeros(job, group) + half * HALF_PANEL * 2;
        codes.offsets[0] = add_f(broadcast_f32(8388608.0f), to_f32(widen_s16(zeros)));
        codes.offsets[1] = add_f(broadcast_f32(8388608.0f), to_f32(widen_s16(zeros + 16)));
    }
    return codes;
}

/* A half panel of a group: [k][16] floats, in the order of the packed activations. */
KRN_ALWAYS_INLINE void expand_group(float *to, const f32_codes *codes, const uint8_t *w, int64_t blocks, int bits,
                                    int has_codebook) {
    for (int64_t b = 0; b < blocks; b++, w += KRN_BLOCK_BYTES) {
        KRN_PREFETCH(w + EXPAND_PREFETCH_DISTANCE);
        const ymm_i raw0 = load_i(w), raw1 = load_i(w + 32);
        KRN_UNROLL
        for (int p = 0; p < 32 / bits; p++, to += HALF_PANEL) {
            store_f(to, has_codebook ? nibble_to_entry(codes, raw0, p) : code_to_f32(raw0, p, bits, codes->offsets[0]));
            store_f(to + 8,
                    has_codebook ? nibble_to_entry(codes, raw1, p) : code_to_f32(raw1, p, bits, codes->offsets[1]));
        }
    }
}

/* Floats of a half panel of a stretch. */
KRN_ALWAYS_INLINE int64_t expanded_half(const krn_tile_job *job, int bits) {
    int64_t blocks = 0;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++)
        blocks += krn_tile_blocks(job, g);
    return blocks * (32 / bits) * HALF_PANEL;
}

/* One half panel behind the other: tiles stream through them one by one. */
KRN_ALWAYS_INLINE void expand(const krn_tile_job *job, int bits, int has_codebook) {
    const int64_t half_elems = expanded_half(job, bits);
    float *to = job->expanded;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *w = krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES;
        const int64_t blocks = krn_tile_blocks(job, g);
        for (int half = 0; half < 2; half++) {
            const f32_codes codes = load_codes(job, g, half);
            expand_group(to + half * half_elems, &codes, w + half * HALF_BLOCK_BYTES, blocks, bits, has_codebook);
        }
        to += blocks * (32 / bits) * HALF_PANEL;
    }
}

KRN_ALWAYS_INLINE void fma_block(ymm_f acc[][2], const f32_codes *codes, const uint8_t *w, const float *x, int32_t rows,
                                 int bits, int has_codebook) {
    const ymm_i raw0 = load_i(w), raw1 = load_i(w + 32);
    KRN_UNROLL
    for (int32_t p = 0; p < 32 / bits; p++) {
        const ymm_f w0 = has_codebook ? nibble_to_entry(codes, raw0, p) : code_to_f32(raw0, p, bits, codes->offsets[0]);
        const ymm_f w1 = has_codebook ? nibble_to_entry(codes, raw1, p) : code_to_f32(raw1, p, bits, codes->offsets[1]);
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            const ymm_f xr = broadcast_f32(x[p * rows + r]);
            acc[r][0] = fma_f(w0, xr, acc[r][0]);
            acc[r][1] = fma_f(w1, xr, acc[r][1]);
        }
    }
}

KRN_ALWAYS_INLINE void fma_expanded(ymm_f acc[][2], const float *w, const float *x, int64_t inputs, int32_t rows) {
    for (int64_t k = 0; k < inputs; k++, w += HALF_PANEL, x += rows) {
        const ymm_f w0 = load_f(w), w1 = load_f(w + 8);
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            const ymm_f xr = broadcast_f32(x[r]);
            acc[r][0] = fma_f(w0, xr, acc[r][0]);
            acc[r][1] = fma_f(w1, xr, acc[r][1]);
        }
    }
}

KRN_ALWAYS_INLINE void fma_codes(ymm_f acc[][2], const f32_codes *codes, const uint8_t *w, const float *x,
                                 int64_t inputs, int32_t rows, int bits, int has_codebook, krn_prefetch *prefetch) {
    const int64_t block_k = 32 / bits;
    for (int64_t k = 0; k < inputs; k += block_k, w += KRN_BLOCK_BYTES, x += block_k * rows) {
        krn_prefetch_block(prefetch);
        fma_block(acc, codes, w, x, rows, bits, has_codebook);
    }
}

KRN_ALWAYS_INLINE void half_tile_f32_of_rows(const krn_tile_job *job, int half, int32_t rows, int bits,
                                             int has_codebook, int is_expanded) {
    const float *x = job->x, *expanded = job->expanded;
    float *tile = job->t + half * HALF_PANEL;
    krn_prefetch prefetch = job->prefetch;
    if (is_expanded)
        expanded += half * expanded_half(job, bits);
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *w = krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES + half * HALF_BLOCK_BYTES;
        const int64_t length = krn_tile_blocks(job, g) * (32 / bits);
        ymm_f s[2];
        load_scales(s, job, g, half * HALF_PANEL);
        const f32_codes codes = load_codes(job, g, half);
        for (int64_t start = 0; start < length; start += KRN_FLOAT_BLOCK_K) {
            const int64_t inputs = length - start < KRN_FLOAT_BLOCK_K ? length - start : KRN_FLOAT_BLOCK_K;
            ymm_f acc[AVX2_TILE_ROWS][2];
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++)
                acc[r][0] = acc[r][1] = zero_f();
            if (is_expanded)
                fma_expanded(acc, expanded, x, inputs, rows);
            else
                fma_codes(acc, &codes, w, x, inputs, rows, bits, has_codebook, &prefetch);
            expanded += inputs * HALF_PANEL;
            w += inputs * bits / 32 * KRN_BLOCK_BYTES;
            x += inputs * rows;
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++) {
                float *t = tile + r * KRN_PANEL_CHANNELS;
                store_f(t, fma_f(acc[r][0], s[0], load_f(t)));
                store_f(t + 8, fma_f(acc[r][1], s[1], load_f(t + 8)));
            }
        }
        prefetch.next += prefetch.group_stride;
    }
}

/* One copy of the loop for every height, so that its accumulators are registers. */
KRN_ALWAYS_INLINE void half_tile_f32(const krn_tile_job *job, int half, int bits, int has_codebook, int is_expanded) {
    switch (job->rows) {
    case 1: half_tile_f32_of_rows(job, half, 1, bits, has_codebook, is_expanded); break;
    case 2: half_tile_f32_of_rows(job, half, 2, bits, has_codebook, is_expanded); break;
    case 3: half_tile_f32_of_rows(job, half, 3, bits, has_codebook, is_expanded); break;
    case 4: half_tile_f32_of_rows(job, half, 4, bits, has_codebook, is_expanded); break;
    case 5: half_tile_f32_of_rows(job, half, 5, bits, has_codebook, is_expanded); break;
    default: half_tile_f32_of_rows(job, half, 6, bits, has_codebook, is_expanded); break;
    }
}

KRN_ALWAYS_INLINE void tile_f32(const krn_tile_job *job, int bits, int has_codebook) {
    if (job->shares_expanded && !job->is_expanded)
        expand(job, bits, has_codebook);
    for (int half = 0; half < 2; half++) {
        if (job->shares_expanded)
            half_tile_f32(job, half, bits, has_codebook, 1);
        else
            half_tile_f32(job, half, bits, has_codebook, 0);
    }
}

#endif
