/* The integer tiles of NEON, for both weight widths. A panel is gone through in slices of channels, the narrower the
 * more rows there are, so that the sums of a slice stay in registers. Written in verbs that the file defines which
 * includes this header:
 *
 *   dot_slice(sums, expanded, w, x, blocks, rows, vecs, bits, prefetch)
 *       sums[r][v] = products of row r with the 4 channels v of a slice, from 0; from `expanded`, if that is not NULL
 *   expand_blocks(to, w, blocks, bits)
 *       the blocks of a group as dot_slice takes them fastest: of EXPANDED_INPUTS inputs at a time EXPANDED_VEC_BYTES
 *       for each vector of channels; returns where that ends
 *
 * and in constants: TILE_ROWS, the tallest tile; SUBTRACTS_128 when dot_slice makes u8 codes signed, else 0, and
 * slice_vecs(rows). The codes' other offsets are taken out through the sums of the activations, as in
 * tile_s8_avx512vnni.h. */
#ifndef KRN_GEMM_TILE_INT_NEON_H
#define KRN_GEMM_TILE_INT_NEON_H

#include "gemm/scales_neon.h"

enum { BLOCK_SLICE_BYTES = KRN_BLOCK_BYTES / PANEL_VECS };

/* What a code is compared with, after dot_slice: of the channels first.. of a group. */
KRN_ALWAYS_INLINE void load_zeros(neon_i *zeros, const krn_tile_job *job, int64_t group, int32_t first, int32_t vecs) {
    const int32_t fixed = krn_layout_fixed_zero(job->layout) - (job->layout->format == KRN_TYPE_S8 ? SUBTRACTS_128 : 0);
    KRN_UNROLL
    for (int32_t v = 0; v < vecs; v++) {
        if (krn_layout_has_zeros(job->layout))
            zeros[v] = widen_s16(krn_tile_zeros(job, group) + (first + v * KRN_VEC_LANES) * 2);
        else
            zeros[v] = broadcast_i32(fixed);
    }
}

/* What a group's sums start from, or where the last part of the group left them. */
KRN_ALWAYS_INLINE neon_i start_of(const krn_tile_job *job, neon_i zeros, const int32_t *resting, int32_t x_offset) {
    if (!job->opens)
        return load_i(resting);
    if (krn_layout_has_zeros(job->layout))
        return mul_i32(zeros, broadcast_i32(x_offset));
    return broadcast_i32(SUBTRACTS_128 != 0 && job->layout->format == KRN_TYPE_S8 ? 0 : x_offset);
}

/* sum (u - z) of a stretch: its product with a row of ones. */
KRN_ALWAYS_INLINE void weigh(neon_i *sum, const krn_layout *layout, const uint8_t *w, const neon_i *zeros,
                             int64_t blocks, int32_t vecs, int bits) {
    const int32_t ones[2] = {0x01010101, 0x01010101};
    const int32_t inputs = (int32_t)layout->block_k;
    krn_prefetch nothing = {w, 0, 0, 0};
    /* 8 inputs are the most that a dot product may want to see at once. */
    const int64_t together = bits == 8 ? 2 : 1;
    KRN_UNROLL
    for (int32_t v = 0; v < vecs; v++)
        sum[v] = mul_i32(zeros[v], broadcast_i32((int32_t)(-blocks * inputs)));
    for (int64_t b = 0; b < blocks; b += together) {
        neon_i part[1][PANEL_VECS];
        dot_slice(part, NULL, w + b * KRN_BLOCK_BYTES, ones, blocks - b < together ? 1 : together, 1, vecs, bits,
                  &nothing);
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            sum[v] = add_i32(sum[v], part[0][v]);
    }
}

/* Asymmetric activations: sums -= x_zero * sum (u - z). Packing moved x by -128, so its zero point moves too. */
KRN_ALWAYS_INLINE void subtract_x_zeros(neon_i sums[][PANEL_VECS], const krn_tile_job *job, int64_t g, int32_t first,
                                        const uint8_t *w, const neon_i *zeros, int64_t blocks, int32_t rows,
                                        int32_t vecs, int bits) {
    int32_t *shared = job->w_sums == NULL ? NULL : job->w_sums + (g - job->group) * KRN_PANEL_CHANNELS + first;
    neon_i sum[PANEL_VECS];
    if (shared == NULL || !job->w_sums_known)
        weigh(sum, job->layout, w, zeros, blocks, vecs, bits);
    for (int32_t v = 0; shared != NULL && v < vecs; v++) {
        if (job->w_sums_known)
            sum[v] = load_i(shared + v * KRN_VEC_LANES);
        else
            store_i(shared + v * KRN_VEC_LANES, sum[v]);
    }
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        const neon_i x_zero = broadcast_i32(128 - job->x_zeros[r]);
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            sums[r][v] = add_i32(sums[r][v], mul_i32(sum[v], x_zero));
    }
}

/* Adds the sums of a stretch to where they belong: behind the other parts of the group, or into t. */
KRN_ALWAYS_INLINE void fold_sums(neon_i sums[][PANEL_VECS], const krn_tile_job *job, int64_t g, int32_t first,
                                 const neon_i *zeros, const int32_t *x_offsets, int32_t rows, int32_t vecs) {
    neon_f scales[PANEL_VECS];
    load_scales(scales, job, g, first, vecs);
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            const int64_t at = r * KRN_PANEL_CHANNELS + first + v * KRN_VEC_LANES;
            const neon_i sum = add_i32(sums[r][v], start_of(job, zeros[v], job->acc + at, x_offsets[r]));
            if (job->closes)
                store_f(job->t + at, fma_f(to_f32(sum), scales[v], load_f(job->t + at)));
            else
                store_i(job->acc + at, sum);
        }
    }
}

/* Bytes that expand_blocks makes of a group. */
KRN_ALWAYS_INLINE int64_t expanded_bytes(int64_t blocks, int bits) {
    return blocks * (32 / bits) / EXPANDED_INPUTS * PANEL_VECS * EXPANDED_VEC_BYTES;
}

/* For all tiles of a step. */
KRN_ALWAYS_INLINE void expand(const krn_tile_job *job, int bits) {
    uint8_t *to = job->expanded;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++)
        to = expand_blocks(to, krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES, krn_tile_blocks(job, g),
                           bits);
}

KRN_ALWAYS_INLINE void slice_of_rows(const krn_tile_job *job, int32_t first, int32_t rows, int32_t vecs, int bits) {
    const krn_layout *layout = job->layout;
    const uint8_t *expanded = (const uint8_t *)job->expanded + first / KRN_VEC_LANES * EXPANDED_VEC_BYTES;
    const int32_t *x = job->x, *x_offsets = job->x_offsets;
    krn_prefetch prefetch = job->prefetch;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *w =
            krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES + first / KRN_VEC_LANES * BLOCK_SLICE_BYTES;
        const int64_t blocks = krn_tile_blocks(job, g);
        neon_i sums[TILE_ROWS][PANEL_VECS], zeros[PANEL_VECS];
        load_zeros(zeros, job, g, first, vecs);
        dot_slice(sums, job->shares_expanded ? expanded : NULL, w, x, blocks, rows, vecs, bits, &prefetch);
        if (job->x_zeros != NULL)
            subtract_x_zeros(sums, job, g, first, w, zeros, blocks, rows, vecs, bits);
        fold_sums(sums, job, g, first, zeros, x_offsets, rows, vecs);
        x += blocks * (layout->block_k / 4) * rows;
        x_offsets += rows;
        expanded += expanded_bytes(blocks, bits);
        prefetch.next += prefetch.group_stride;
    }
}

/* One copy of the loop for every height, so that its sums are registers. */
KRN_ALWAYS_INLINE void slice_of_tall(const krn_tile_job *job, int32_t first, int bits) {
    switch (job->rows) {
    case 5: slice_of_rows(job, first, 5, slice_vecs(5), bits); break;
    case 6: slice_of_rows(job, first, 6, slice_vecs(6), bits); break;
    case 7: slice_of_rows(job, first, 7, slice_vecs(7), bits); break;
    case 8: slice_of_rows(job, first, 8, slice_vecs(8), bits); break;
    case 9: slice_of_rows(job, first, 9, slice_vecs(9), bits); break;
    case 10: slice_of_rows(job, first, 10, slice_vecs(10), bits); break;
    case 11: slice_of_rows(job, first, 11, slice_vecs(11), bits); break;
    default: slice_of_rows(job, first, 12, slice_vecs(12), bits); break;
    }
}

KRN_ALWAYS_INLINE void tile_int(const krn_tile_job *job, int bits) {
    if (job->shares_expanded && !job->is_expanded)
        expand(job, bits);
    for (int32_t first = 0; first < KRN_PANEL_CHANNELS; first += slice_vecs(job->rows) * KRN_VEC_LANES) {
        switch (job->rows) {
        case 1: slice_of_rows(job, first, 1, slice_vecs(1), bits); break;
        case 2: slice_of_rows(job, first, 2, slice_vecs(2), bits); break;
        case 3: slice_of_rows(job, first, 3, slice_vecs(3), bits); break;
        case 4: slice_of_rows(job, first, 4, slice_vecs(4), bits); break;
        default:
            if (TILE_ROWS > 4)
                slice_of_tall(job, first, bits);
        }
    }
}

#endif
