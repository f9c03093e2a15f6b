/* The integer tile of x86 without VNNI, for both weight widths, on slices of two vectors of channels: half a panel in
 * AVX2, a panel in AVX-512. Compiled once per instruction set by the header that includes this one after it has
 * defined
 *
 *   TILE_ROWS       rows of the tallest tile
 *   slice_scales    the scales of a group, of the channels first.. of a slice
 *   nibbles_down    dwords shifted right by a number of nibbles
 *
 *   accumulators   rows x 2 vectors, int32: 6 rows take 12 of 16 ymm, 12 rows 24 of 32 zmm
 *   x              16-bit pairs with the zero point subtracted (pack_activations.h)
 *   weights        codes widened to 16 bits by a mask or a shift
 *
 * vpmaddubsw would multiply twice as many bytes, but it saturates: 2 * 255 * 127 does not fit 16 bits. vpmaddwd is
 * exact. The codes' offset is taken out through the sums of the activations, as in tile_s8_avx512vnni.h. */
#ifndef KRN_GEMM_TILE_S16_H
#define KRN_GEMM_TILE_S16_H

#include "common/portability.h"
#include "gemm/gemm_kernel.h"

enum { SLICE = 2 * KRN_VEC_LANES, VEC_BYTES = 4 * KRN_VEC_LANES };

KRN_ALWAYS_INLINE void madd_rows(vec_i acc[][2], vec_i w0, vec_i w1, const int32_t *x, int32_t rows) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        const vec_i xr = broadcast_i32(x[r]);
        acc[r][0] = add_i32(acc[r][0], madd_i16(w0, xr));
        acc[r][1] = add_i32(acc[r][1], madd_i16(w1, xr));
        KRN_IN_ORDER(acc[r][0]);
        KRN_IN_ORDER(acc[r][1]);
    }
}

KRN_ALWAYS_INLINE void dot(vec_i acc[][2], const uint8_t *w, const int32_t *x, int64_t blocks, int32_t rows,
                           krn_prefetch *prefetch, int bits) {
    for (int64_t b = 0; b < blocks; b++, w += KRN_BLOCK_BYTES, x += 16 / bits * rows) {
        krn_prefetch_block(prefetch);
        const vec_i raw0 = load_i(w), raw1 = load_i(w + VEC_BYTES);
        if (bits == 8) {
            const vec_i byte = broadcast_i32(0x00FF00FF);
            madd_rows(acc, and_i(raw0, byte), and_i(raw1, byte), x, rows);
            madd_rows(acc, shift_right_i16(raw0, 8), shift_right_i16(raw1, 8), x + rows, rows);
        } else {
            const vec_i nibble = broadcast_i32(0x000F000F);
            KRN_UNROLL
            for (int p = 0; p < 4; p++)
                madd_rows(acc, and_i(nibbles_down(raw0, p), nibble), and_i(nibbles_down(raw1, p), nibble), x + p * rows,
                          rows);
        }
    }
}

/* Sums start from the offsets of the run, or go on from where the last part of the group left them. `zeros` points at
 * the slice's zero points; KRN_TYPE_U4 only. */
KRN_ALWAYS_INLINE void open_sums(vec_i acc[][2], const krn_tile_job *job, const int32_t *resting, const uint8_t *zeros,
                                 const int32_t *x_offsets, int32_t rows) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        if (!job->opens) {
            acc[r][0] = load_i(resting + r * KRN_PANEL_CHANNELS);
            acc[r][1] = load_i(resting + r * KRN_PANEL_CHANNELS + KRN_VEC_LANES);
        } else if (krn_layout_has_zeros(job->layout)) {
            const vec_i offset = broadcast_i32(x_offsets[r]);
            acc[r][0] = mul_i32(widen_s16(zeros), offset);
            acc[r][1] = mul_i32(widen_s16(zeros + 2 * KRN_VEC_LANES), offset);
        } else {
            acc[r][0] = acc[r][1] = broadcast_i32(x_offsets[r]);
        }
    }
}

KRN_ALWAYS_INLINE void close_sums(vec_i acc[][2], const krn_tile_job *job, int32_t *resting, float *tile,
                                  const vec_f scales[2], int32_t rows) {
    if (!job->closes) {
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            store_i(resting + r * KRN_PANEL_CHANNELS, acc[r][0]);
            store_i(resting + r * KRN_PANEL_CHANNELS + KRN_VEC_LANES, acc[r][1]);
        }
        return;
    }
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        float *t = tile + r * KRN_PANEL_CHANNELS;
        store_f(t, fma_f(to_f32(acc[r][0]), scales[0], load_f(t)));
        store_f(t + KRN_VEC_LANES, fma_f(to_f32(acc[r][1]), scales[1], load_f(t + KRN_VEC_LANES)));
    }
}

KRN_ALWAYS_INLINE void slice_of_rows(const krn_tile_job *job, int32_t first, int32_t rows, int bits) {
    const krn_layout *layout = job->layout;
    const int32_t *x = job->x, *x_offsets = job->x_offsets;
    krn_prefetch prefetch = job->prefetch;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *group = krn_tile_group(job, g);
        const uint8_t *w = group + job->first_block * KRN_BLOCK_BYTES + first * 4;
        vec_f scales[2];
        slice_scales(scales, job, g, first);
        const uint8_t *zeros = krn_tile_zeros(job, g) + first * 2;
        const int64_t blocks = krn_tile_blocks(job, g);
        vec_i acc[TILE_ROWS][2];
        open_sums(acc, job, job->acc + first, zeros, x_offsets, rows);
        dot(acc, w, x, blocks, rows, &prefetch, bits);
        close_sums(acc, job, job->acc + first, job->t + first, scales, rows);
        x += blocks * (layout->block_k / 2) * rows;
        x_offsets += rows;
        prefetch.next += prefetch.group_stride;
    }
}

/* One copy of the loop for every height, so that its accumulators are registers. */
KRN_ALWAYS_INLINE void tall_slice(const krn_tile_job *job, int32_t first, int bits) {
    switch (job->rows) {
    case 7: slice_of_rows(job, first, 7, bits); break;
    case 8: slice_of_rows(job, first, 8, bits); break;
    case 9: slice_of_rows(job, first, 9, bits); break;
    case 10: slice_of_rows(job, first, 10, bits); break;
    case 11: slice_of_rows(job, first, 11, bits); break;
    default: slice_of_rows(job, first, 12, bits); break;
    }
}

KRN_ALWAYS_INLINE void tile_s16(const krn_tile_job *job, int bits) {
    for (int32_t first = 0; first < KRN_PANEL_CHANNELS; first += SLICE) {
        switch (job->rows) {
        case 1: slice_of_rows(job, first, 1, bits); break;
        case 2: slice_of_rows(job, first, 2, bits); break;
        case 3: slice_of_rows(job, first, 3, bits); break;
        case 4: slice_of_rows(job, first, 4, bits); break;
        case 5: slice_of_rows(job, first, 5, bits); break;
        case 6: slice_of_rows(job, first, 6, bits); break;
        default:
            if (TILE_ROWS > 6)
                tall_slice(job, first, bits);
        }
    }
}

#endif
