/* The integer tile of AVX-512 VNNI, for both weight widths.
 *
 *   accumulators   rows x 2 zmm, int32: 12 rows leave 8 registers for weights, masks and broadcasts
 *   x              [k / 4][row] dwords, broadcast from memory (a load port's work, not the multiplier's)
 *   weights        unsigned codes, the first operand of vpdpbusd; activations are the signed second
 *
 * The codes' offset is taken out through the sums of the activations: sum x (u - z) = sum x u - z sum x. With a fixed
 * offset that is the value an accumulator starts from, and costs nothing. */
#ifndef KRN_GEMM_TILE_S8_AVX512VNNI_H
#define KRN_GEMM_TILE_S8_AVX512VNNI_H

#include "gemm/tile_avx512.h"

/* Weights of two registers, activations of one, and the mask of nibbles. */
enum { WORKING_REGISTERS = 4 };

/* Weights and packed activations, where the next block of them is read. */
typedef struct {
    const uint8_t *w;
    const int32_t *x;
} stream;

/* sum += w . ones, where the sums of weights are wanted. */
KRN_ALWAYS_INLINE void weigh(zmm_i sum[2], zmm_i w0, zmm_i w1, int weighs) {
    if (!weighs)
        return;
    const zmm_i ones = broadcast_i32(0x01010101);
    sum[0] = dot_u8s8(sum[0], w0, ones);
    sum[1] = dot_u8s8(sum[1], w1, ones);
}

KRN_ALWAYS_INLINE void w8_dot(zmm_i acc[][2], zmm_i sum[2], stream *s, int64_t blocks, int32_t rows,
                              krn_prefetch *prefetch, int weighs) {
    const uint8_t *w = s->w;
    const int32_t *x = s->x;
    for (int64_t b = 0; b < blocks; b++, w += KRN_BLOCK_BYTES, x += rows) {
        krn_prefetch_block(prefetch);
        const zmm_i w0 = load_i(w), w1 = load_i(w + 64);
        weigh(sum, w0, w1, weighs);
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            const zmm_i xr = broadcast_i32(x[r]);
            acc[r][0] = dot_u8s8(acc[r][0], w0, xr);
            acc[r][1] = dot_u8s8(acc[r][1], w1, xr);
        }
    }
    *s = (stream){w, x};
}

/* One or two rows have accumulators of their own for the high nibbles, which halves their chain of dependent
 * instructions. */
KRN_ALWAYS_INLINE void w4_dot(zmm_i acc[][2], zmm_i sum[2], stream *s, int64_t blocks, int32_t rows,
                              krn_prefetch *prefetch, int weighs) {
    const uint8_t *w = s->w;
    const int32_t *x = s->x;
    const zmm_i nibble = broadcast_i32(0x0F0F0F0F);
    const int split = rows <= 2;
    zmm_i high[2][2];
    KRN_UNROLL
    for (int32_t r = 0; split && r < rows; r++)
        high[r][0] = high[r][1] = broadcast_i32(0);
    for (int64_t b = 0; b < blocks; b++, w += KRN_BLOCK_BYTES, x += 2 * rows) {
        krn_prefetch_block(prefetch);
        const zmm_i raw0 = load_i(w), raw1 = load_i(w + 64);
        const zmm_i low0 = and_i(raw0, nibble), low1 = and_i(raw1, nibble);
        weigh(sum, low0, low1, weighs);
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            const zmm_i xr = broadcast_i32(x[r]);
            acc[r][0] = dot_u8s8(acc[r][0], low0, xr);
            acc[r][1] = dot_u8s8(acc[r][1], low1, xr);
        }
        const zmm_i high0 = and_i(shift_right_i32(raw0, 4), nibble), high1 = and_i(shift_right_i32(raw1, 4), nibble);
        zmm_i(*sums)[2] = split ? high : acc;
        weigh(sum, high0, high1, weighs);
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            const zmm_i xr = broadcast_i32(x[rows + r]);
            sums[r][0] = dot_u8s8(sums[r][0], high0, xr);
            sums[r][1] = dot_u8s8(sums[r][1], high1, xr);
        }
    }
    *s = (stream){w, x};
    KRN_UNROLL
    for (int32_t r = 0; split && r < rows; r++) {
        acc[r][0] = add_i32(acc[r][0], high[r][0]);
        acc[r][1] = add_i32(acc[r][1], high[r][1]);
    }
}

/* The dot products of `blocks` blocks, which the stream moves past. */
KRN_ALWAYS_INLINE void dot(zmm_i acc[][2], zmm_i sum[2], stream *s, int64_t blocks, int32_t rows,
                           krn_prefetch *prefetch, int is_w4, int weighs) {
    if (is_w4)
        w4_dot(acc, sum, s, blocks, rows, prefetch, weighs);
    else
        w8_dot(acc, sum, s, blocks, rows, prefetch, weighs);
}

/* Zero points of the 32 channels of a group, as int32. */
KRN_ALWAYS_INLINE void load_zeros(zmm_i zeros[2], const krn_tile_job *job, int64_t group) {
    if (krn_layout_has_zeros(job->layout)) {
        const uint8_t *stored = krn_tile_zeros(job, group);
        zeros[0] = widen_s16(stored);
        zeros[1] = widen_s16(stored + 32);
    } else {
        zeros[0] = zeros[1] = broadcast_i32(krn_layout_fixed_zero(job->layout));
    }
}

/* Sums start from the offsets of the run, or go on from where the last part of the group left them. */
KRN_ALWAYS_INLINE void open_sums(zmm_i acc[][2], const krn_tile_job *job, const zmm_i zeros[2],
                                 const int32_t *x_offsets, int32_t rows) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        if (!job->opens) {
            acc[r][0] = load_i(job->acc + r * KRN_PANEL_CHANNELS);
            acc[r][1] = load_i(job->acc + r * KRN_PANEL_CHANNELS + 16);
        } else if (krn_layout_has_zeros(job->layout)) {
            const zmm_i offset = broadcast_i32(x_offsets[r]);
            acc[r][0] = mul_i32(zeros[0], offset);
            acc[r][1] = mul_i32(zeros[1], offset);
        } else {
            acc[r][0] = acc[r][1] = broadcast_i32(x_offsets[r]);
        }
    }
}

/* What sum (u - z) of a stretch starts from. */
KRN_ALWAYS_INLINE void open_weights(zmm_i sum[2], const krn_layout *layout, const zmm_i zeros[2], int64_t blocks) {
    const zmm_i inputs = broadcast_i32((int32_t)(-blocks * layout->block_k));
    sum[0] = mul_i32(zeros[0], inputs);
    sum[1] = mul_i32(zeros[1], inputs);
}

/* Asymmetric activations: acc -= x_zero * sum (u - z). Packing moved x by -128, so its zero point moves too. */
KRN_ALWAYS_INLINE void subtract_x_zeros(zmm_i acc[][2], const krn_tile_job *job, const zmm_i sum[2], int32_t rows) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        const zmm_i x_zero = broadcast_i32(128 - job->x_zeros[r]);
        acc[r][0] = add_i32(acc[r][0], mul_i32(sum[0], x_zero));
        acc[r][1] = add_i32(acc[r][1], mul_i32(sum[1], x_zero));
    }
}

KRN_ALWAYS_INLINE void rest_sums(zmm_i acc[][2], const krn_tile_job *job, int32_t rows) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        store_i(job->acc + r * KRN_PANEL_CHANNELS, acc[r][0]);
        store_i(job->acc + r * KRN_PANEL_CHANNELS + 16, acc[r][1]);
    }
}

KRN_ALWAYS_INLINE void fold_sums(zmm_i acc[][2], zmm_f t[][2], const krn_tile_job *job, int64_t g, int32_t rows) {
    zmm_f scales[2];
    float *const t_in_memory = job->t;
    load_scales(scales, job, g);
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        const zmm_f sum[2] = {to_f32(acc[r][0]), to_f32(acc[r][1])};
        fold_row(t, t_in_memory, r, sum, scales, kept_rows(rows, WORKING_REGISTERS));
    }
}

/* `weighs`: with the sums of weights that asymmetric activations need, made on the way. */
KRN_ALWAYS_INLINE void tile_of_rows(const krn_tile_job *job, int32_t rows, int is_w4, int weighs) {
    const krn_layout *layout = job->layout;
    const int32_t *x_offsets = job->x_offsets;
    stream s = {.x = job->x};
    krn_prefetch prefetch = job->prefetch;
    zmm_f t[MAX_KEPT_ROWS][2];
    load_t(t, job, kept_rows(rows, WORKING_REGISTERS));
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        s.w = krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES;
        const int64_t blocks = krn_tile_blocks(job, g);
        int32_t *known = job->w_sums == NULL ? NULL : job->w_sums + (g - job->group) * KRN_PANEL_CHANNELS;
        zmm_i acc[KRN_MAX_TILE_ROWS][2], zeros[2], sum[2];
        load_zeros(zeros, job, g);
        open_sums(acc, job, zeros, x_offsets, rows);
        if (weighs)
            open_weights(sum, layout, zeros, blocks);
        dot(acc, sum, &s, blocks, rows, &prefetch, is_w4, weighs);
        if (weighs && known != NULL) {
            store_i(known, sum[0]);
            store_i(known + 16, sum[1]);
        } else if (!weighs && job->x_zeros != NULL) {
            sum[0] = load_i(known);
            sum[1] = load_i(known + 16);
        }
        if (job->x_zeros != NULL)
            subtract_x_zeros(acc, job, sum, rows);
        if (job->closes)
            fold_sums(acc, t, job, g, rows);
        else
            rest_sums(acc, job, rows);
        x_offsets += rows;
        prefetch.next += prefetch.group_stride;
    }
    store_t(job, t, kept_rows(rows, WORKING_REGISTERS));
}

/* Whole groups of symmetric weights with scales in f32, and symmetric activations: the most common case, where all that
 * lies between the dot products of two groups is what has to. */
KRN_ALWAYS_INLINE void plain_tile_of_rows(const krn_tile_job *job, int32_t rows, int is_w4) {
    const krn_layout *layout = job->layout;
    const int64_t end = job->group + job->num_groups;
    const int32_t *x_offsets = job->x_offsets;
    stream s = {krn_tile_group(job, job->group), job->x};
    krn_prefetch prefetch = job->prefetch;
    zmm_f t[MAX_KEPT_ROWS][2];
    load_t(t, job, kept_rows(rows, WORKING_REGISTERS));
    for (int64_t g = job->group; g < end; g++, x_offsets += rows) {
        zmm_i acc[KRN_MAX_TILE_ROWS][2];
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++)
            acc[r][0] = acc[r][1] = broadcast_i32(x_offsets[r]);
        dot(acc, NULL, &s, krn_layout_blocks(layout, g), rows, &prefetch, is_w4, 0);
        const zmm_f scales[2] = {load_f(s.w), load_f(s.w + 64)};
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            KRN_KEEP(acc[r][0]);
            KRN_KEEP(acc[r][1]);
        }
        KRN_UNROLL
        for (int32_t r = 0; r < rows; r++) {
            const zmm_f sum[2] = {to_f32(acc[r][0]), to_f32(acc[r][1])};
            fold_row(t, job->t, r, sum, scales, kept_rows(rows, WORKING_REGISTERS));
        }
        s.w += KRN_PANEL_CHANNELS * sizeof(float);
        prefetch.next += prefetch.group_stride;
    }
    store_t(job, t, kept_rows(rows, WORKING_REGISTERS));
}

/* What a loop is made for. */
typedef enum { PLAIN, GENERAL, WEIGHING } tile_kind;

KRN_ALWAYS_INLINE void tile_of_kind(const krn_tile_job *job, int32_t rows, int is_w4, tile_kind kind) {
    if (kind == PLAIN)
        plain_tile_of_rows(job, rows, is_w4);
    else
        tile_of_rows(job, rows, is_w4, kind == WEIGHING);
}

/* One copy of the loop for every height, so that its accumulators are registers. */
KRN_ALWAYS_INLINE void tile_of_height(const krn_tile_job *job, int is_w4, tile_kind kind) {
    switch (job->rows) {
    case 1: tile_of_kind(job, 1, is_w4, kind); break;
    case 2: tile_of_kind(job, 2, is_w4, kind); break;
    case 3: tile_of_kind(job, 3, is_w4, kind); break;
    case 4: tile_of_kind(job, 4, is_w4, kind); break;
    case 5: tile_of_kind(job, 5, is_w4, kind); break;
    case 6: tile_of_kind(job, 6, is_w4, kind); break;
    case 7: tile_of_kind(job, 7, is_w4, kind); break;
    case 8: tile_of_kind(job, 8, is_w4, kind); break;
    case 9: tile_of_kind(job, 9, is_w4, kind); break;
    case 10: tile_of_kind(job, 10, is_w4, kind); break;
    case 11: tile_of_kind(job, 11, is_w4, kind); break;
    default: tile_of_kind(job, 12, is_w4, kind); break;
    }
}

KRN_ALWAYS_INLINE int is_plain(const krn_tile_job *job) {
    return job->opens && job->closes && job->part_blocks == 0 && job->x_zeros == NULL && job->scales == NULL &&
           job->layout->scale_type == KRN_TYPE_F32 && !krn_layout_has_zeros(job->layout);
}

KRN_ALWAYS_INLINE void tile_s8(const krn_tile_job *job, int is_w4) {
    if (is_plain(job))
        tile_of_height(job, is_w4, PLAIN);
    else if (job->x_zeros != NULL && !job->w_sums_known)
        tile_of_height(job, is_w4, WEIGHING);
    else
        tile_of_height(job, is_w4, GENERAL);
}

#endif
