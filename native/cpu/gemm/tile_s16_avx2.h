/* The integer tile of AVX2, for both weight widths, on half panels of 16 channels.
 *
 *   accumulators   6 rows x 2 ymm, int32: 12 of 16 registers
 *   x              16-bit pairs with the zero point subtracted (pack_activations.h)
 *   weights        codes widened to 16 bits by a mask or a shift
 *
 * vpmaddubsw would multiply twice as many bytes, but it saturates: 2 * 255 * 127 does not fit 16 bits. vpmaddwd is
 * exact. The codes' offset is taken out through the sums of the activations, as in tile_s8_avx512vnni.h. */
#ifndef KRN_GEMM_TILE_S16_AVX2_H
#define KRN_GEMM_TILE_S16_AVX2_H

#include "common/portability.h"
#include "common/simd_avx2.h"
#include "gemm/scales_avx2.h"

enum { AVX2_TILE_ROWS = 6, HALF_PANEL = KRN_PANEL_CHANNELS / 2, HALF_BLOCK_BYTES = KRN_BLOCK_BYTES / 2 };

KRN_ALWAYS_INLINE void madd_rows(ymm_i acc[][2], ymm_i w0, ymm_i w1, const int32_t *x, int32_t rows) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        const ymm_i xr = broadcast_i32(x[r]);
        acc[r][0] = add_i32(acc[r][0], madd_i16(w0, xr));
        acc[r][1] = add_i32(acc[r][1], madd_i16(w1, xr));
        KRN_IN_ORDER(acc[r][0]);
        KRN_IN_ORDER(acc[r][1]);
    }
}

KRN_ALWAYS_INLINE void dot(ymm_i acc[][2], const uint8_t *w, const int32_t *x, int64_t blocks, int32_t rows,
                           krn_prefetch *prefetch, int bits) {
    for (int64_t b = 0; b < blocks; b++, w += KRN_BLOCK_BYTES, x += 16 / bits * rows) {
        krn_prefetch_block(prefetch);
        const ymm_i raw0 = load_i(w), raw1 = load_i(w + 32);
        if (bits == 8) {
            const ymm_i byte = broadcast_i32(0x00FF00FF);
            madd_rows(acc, and_i(raw0, byte), and_i(raw1, byte), x, rows);
            madd_rows(acc, shift_right_i16(raw0, 8), shift_right_i16(raw1, 8), x + rows, rows);
        } else {
            const ymm_i nibble = broadcast_i32(0x000F000F);
            KRN_UNROLL
            for (int p = 0; p < 4; p++)
                madd_rows(acc, and_i(shift_right_i32(raw0, 4 * p), nibble), and_i(shift_right_i32(raw1, 4 * p), nibble),
                          x + p * rows, rows);
        }
    }
}

/* Sums start from the offsets of the run, or go on from where the last part of the group left them. `zeros` points at
 * the half panel's zero points; KRN_TYPE_U4 only. */
KRN_ALWAYS_INLINE void open_sums(ymm_i acc[][2], const krn_tile_job *job, const int32_t *resting, const uint8_t *zeros,
                                 const int32_t *x_offsets, int32_t rows) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        if (!job->opens) {
            acc[r][0] = load_i(resting + r * KRN_PANEL_CHANNELS);
            acc[r][1] = load_i(resting + r * KRN_PANEL_CHANNELS + 8);
        } else if (krn_layout_has_zeros(job->layout)) {
            const ymm_i offset = broadcast_i32(x_offsets[r]);
            acc[r][0] = mul_i32(widen_s16(zeros), offset);
            acc[r][1] = mul_i32(widen_s16(zeros + 16), offset);
        } else {
            acc[r][0] = acc[r][1] = broadcast_i32(x_offsets[r]);
        }
    }
}

KRN_ALWAYS_INLINE void close_sums(ymm_i acc[][2], const krn_tile_job *job, int32_t *resting, float *tile,
                                  const ymm_f scales[2], int32_t rows) {
    if (!job->closes) {
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            store_i(resting + r * KRN_PANEL_CHANNELS, acc[r][0]);
            store_i(resting + r * KRN_PANEL_CHANNELS + 8, acc[r][1]);
        }
        return;
    }
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        float *t = tile + r * KRN_PANEL_CHANNELS;
        store_f(t, fma_f(to_f32(acc[r][0]), scales[0], load_f(t)));
        store_f(t + 8, fma_f(to_f32(acc[r][1]), scales[1], load_f(t + 8)));
    }
}

KRN_ALWAYS_INLINE void half_tile_of_rows(const krn_tile_job *job, int half, int32_t rows, int bits) {
    const krn_layout *layout = job->layout;
    const int32_t *x = job->x, *x_offsets = job->x_offsets;
    krn_prefetch prefetch = job->prefetch;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *group = krn_tile_group(job, g);
        const uint8_t *w = group + job->first_block * KRN_BLOCK_BYTES + half * HALF_BLOCK_BYTES;
        ymm_f scales[2];
        load_scales(scales, job, g, half * HALF_PANEL);
        const uint8_t *zeros = krn_tile_zeros(job, g) + half * HALF_PANEL * 2;
        const int64_t blocks = krn_tile_blocks(job, g);
        ymm_i acc[AVX2_TILE_ROWS][2];
        open_sums(acc, job, job->acc + half * HALF_PANEL, zeros, x_offsets, rows);
        dot(acc, w, x, blocks, rows, &prefetch, bits);
        close_sums(acc, job, job->acc + half * HALF_PANEL, job->t + half * HALF_PANEL, scales, rows);
        x += blocks * (layout->block_k / 2) * rows;
        x_offsets += rows;
        prefetch.next += prefetch.group_stride;
    }
}

/* One copy of the loop for every height, so that its accumulators are registers. */
KRN_ALWAYS_INLINE void tile_s16(const krn_tile_job *job, int bits) {
    for (int half = 0; half < 2; half++) {
        switch (job->rows) {
        case 1: half_tile_of_rows(job, half, 1, bits); break;
        case 2: half_tile_of_rows(job, half, 2, bits); break;
        case 3: half_tile_of_rows(job, half, 3, bits); break;
        case 4: half_tile_of_rows(job, half, 4, bits); break;
        case 5: half_tile_of_rows(job, half, 5, bits); break;
        default: half_tile_of_rows(job, half, 6, bits); break;
        }
    }
}

#endif
