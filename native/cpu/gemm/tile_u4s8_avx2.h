/* The integer tile of AVX2 for 4-bit weights, on half panels of 16 channels.
 *
 *   x         [k / 4][row] dwords of s8 (pack_activations.h)
 *   weights   bytes of codes 0..15, the unsigned operand of vpmaddubsw
 *   sums      rows x 2 ymm of int16, two to a channel: 6 rows take 12 of 16 registers
 *
 * vpmaddubsw multiplies twice as many inputs as vpmaddwd does. Its pairs of products stay within 2 * 15 * 128 = 3840,
 * and so do sums of 8 of them within 16 bits: every 32 inputs vpmaddwd widens the sums of a chunk to 32 bits, which
 * join those that rest in memory, or t at the end of a group. The offset of the codes is taken out as in
 * tile_s8_avx512vnni.h, and so is that of asymmetric activations, for which the first tile of a row block leaves the
 * sums of the weights to the others. */
#ifndef KRN_GEMM_TILE_U4S8_AVX2_H
#define KRN_GEMM_TILE_U4S8_AVX2_H

#include "common/portability.h"
#include "gemm/scales_avx2.h"

enum {
    HALF_PANEL = KRN_PANEL_CHANNELS / 2,
    TILE_ROWS = 6,
    VEC_BYTES = 32,
    /* Of 8 inputs: 8 sums of pairs to a lane. */
    CHUNK_BLOCKS = 4,
};

/* sums[r] (+)= w . x[r]. */
KRN_ALWAYS_INLINE void madd_rows(ymm_i sums[][2], ymm_i w0, ymm_i w1, const int32_t *x, int32_t rows, int is_first) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        const ymm_i xr = broadcast_i32(x[r]);
        const ymm_i p0 = madd_u8s8(w0, xr), p1 = madd_u8s8(w1, xr);
        sums[r][0] = is_first ? p0 : add_i16(sums[r][0], p0);
        sums[r][1] = is_first ? p1 : add_i16(sums[r][1], p1);
        KRN_IN_ORDER(sums[r][0]);
        KRN_IN_ORDER(sums[r][1]);
    }
}

KRN_ALWAYS_INLINE ymm_i low_nibbles(ymm_i raw) { return and_i(raw, broadcast_i32(0x0F0F0F0F)); }
KRN_ALWAYS_INLINE ymm_i high_nibbles(ymm_i raw) { return low_nibbles(shift_right_i16(raw, 4)); }

/* Codes, where the next of them are read: blocks as they are packed, or what `expand` makes of them. */
KRN_ALWAYS_INLINE void madd_block(ymm_i sums[][2], const uint8_t *w, const int32_t *x, int32_t rows, int is_first,
                                  int is_expanded) {
    if (is_expanded) {
        madd_rows(sums, load_i(w), load_i(w + VEC_BYTES), x, rows, is_first);
        madd_rows(sums, load_i(w + 2 * VEC_BYTES), load_i(w + 3 * VEC_BYTES), x + rows, rows, 0);
        return;
    }
    const ymm_i raw0 = load_i(w), raw1 = load_i(w + VEC_BYTES);
    madd_rows(sums, low_nibbles(raw0), low_nibbles(raw1), x, rows, is_first);
    madd_rows(sums, high_nibbles(raw0), high_nibbles(raw1), x + rows, rows, 0);
}

/* 1 to CHUNK_BLOCKS blocks. */
KRN_ALWAYS_INLINE void madd_chunk(ymm_i sums[][2], const uint8_t *w, const int32_t *x, int64_t blocks, int32_t rows,
                                  int is_expanded, krn_prefetch *prefetch) {
    krn_prefetch_block(prefetch);
    madd_block(sums, w, x, rows, 1, is_expanded);
    for (int64_t b = 1; b < blocks; b++) {
        krn_prefetch_block(prefetch);
        madd_block(sums, w + b * KRN_BLOCK_BYTES, x + 2 * b * rows, rows, 0, is_expanded);
    }
}

/* The codes of a stretch for the tiles behind the first one: [half panel][block][low, high nibbles][channel][4]. */
static void expand(const krn_tile_job *job, int64_t blocks_of_stretch) {
    uint8_t *to = job->expanded;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *w = krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES;
        const int64_t blocks = krn_tile_blocks(job, g);
        for (int64_t b = 0; b < blocks; b++, w += KRN_BLOCK_BYTES, to += KRN_BLOCK_BYTES) {
            KRN_UNROLL
            for (int v = 0; v < 4; v++) {
                const ymm_i raw = load_i(w + v * VEC_BYTES);
                uint8_t *half = to + v / 2 * blocks_of_stretch * KRN_BLOCK_BYTES + v % 2 * VEC_BYTES;
                store_i(half, low_nibbles(raw));
                store_i(half + 2 * VEC_BYTES, high_nibbles(raw));
            }
        }
    }
}

/* Blocks of all groups of a stretch. */
static int64_t blocks_of(const krn_tile_job *job) {
    int64_t blocks = 0;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++)
        blocks += krn_tile_blocks(job, g);
    return blocks;
}

/* What the sums of a chunk join. */
typedef enum { FROM_OFFSETS, FROM_PAIRS, FROM_MEMORY } start_kind;

/* Groups whose sums of x fit 16 bits, with zero points of groups or of activations: what a sum starts from, -z sum x +
 * (128 - x_zero) sum (u - z), is one vpmaddwd of two words of a channel and two of a row. */
KRN_ALWAYS_INLINE int starts_from_pairs(const krn_layout *layout, int has_x_zeros) {
    return (has_x_zeros || krn_layout_has_zeros(layout)) && layout->group_blocks * 8 * 128 <= INT16_MAX;
}

/* Offsets of krn_pack_job, -S or -8 S, as words of rows: -S, 128 - x_zero. */
KRN_ALWAYS_INLINE void pair_offsets(const krn_pack_job *job) {
    const int32_t *zeros = job->activations->type == KRN_TYPE_U8 ? job->activations->zero_points : NULL;
    /* Codes with float offsets have neither, and sums that start from 0. */
    const int32_t fixed_zero = krn_layout_fixed_zero(job->layout), factor = fixed_zero > 0 ? fixed_zero : 1;
    int32_t *offsets = job->x_offsets;
    if (!starts_from_pairs(job->layout, zeros != NULL))
        return;
    for (int64_t g = 0; g < job->layout->num_groups; g++, offsets += job->rows) {
        for (int32_t r = 0; r < job->rows; r++) {
            const int32_t x_zero = zeros == NULL ? 0 : 128 - zeros[job->first_row + r];
            offsets[r] = (int32_t)((uint32_t)(offsets[r] / factor) & 0xFFFF) | (int32_t)((uint32_t)x_zero << 16);
        }
    }
}

/* Where the sums of a group are on their way, from the first channel of the half panel on. */
typedef struct {
    /* [rows], as the group's sums start from them: themselves, or with the words of 16 channels. */
    const int32_t *x_offsets;
    ymm_i words[2];
    /* [rows][32] */
    int32_t *resting;
    float *t;
    /* Of 16 channels, at the end of the group. */
    const uint8_t *scales;
    int32_t scale_type;
} group_sums;

KRN_ALWAYS_INLINE ymm_i start_of(start_kind kind, const group_sums *group, int32_t r, int v) {
    switch (kind) {
    case FROM_OFFSETS: return broadcast_i32(group->x_offsets[r]);
    case FROM_PAIRS: return madd_i16(group->words[v], broadcast_i32(group->x_offsets[r]));
    default: return load_i(group->resting + r * KRN_PANEL_CHANNELS + v * KRN_VEC_LANES);
    }
}

/* The sums of a chunk join what they start from, and come to rest or, at the end of a group, enter t. */
KRN_ALWAYS_INLINE void fold_chunk(ymm_i sums[][2], const group_sums *group, int32_t rows, start_kind kind,
                                  int is_last) {
    const ymm_i ones = broadcast_i32(0x00010001);
    ymm_f scales[2] = {zero_f(), zero_f()};
    if (is_last)
        load_floats(scales, group->scale_type, group->scales, 0);
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int v = 0; v < 2; v++) {
            const int32_t at = r * KRN_PANEL_CHANNELS + v * KRN_VEC_LANES;
            const ymm_i sum = add_i32(madd_i16(sums[r][v], ones), start_of(kind, group, r, v));
            if (is_last)
                store_f(group->t + at, fma_f(to_f32(sum), scales[v], load_f(group->t + at)));
            else
                store_i(group->resting + at, sum);
        }
    }
}

KRN_ALWAYS_INLINE void fold_any_chunk(ymm_i sums[][2], const group_sums *group, int32_t rows, start_kind kind,
                                      int is_last) {
    if (kind == FROM_OFFSETS && is_last)
        fold_chunk(sums, group, rows, FROM_OFFSETS, 1);
    else if (kind == FROM_OFFSETS)
        fold_chunk(sums, group, rows, FROM_OFFSETS, 0);
    else if (kind == FROM_PAIRS && is_last)
        fold_chunk(sums, group, rows, FROM_PAIRS, 1);
    else if (kind == FROM_PAIRS)
        fold_chunk(sums, group, rows, FROM_PAIRS, 0);
    else if (is_last)
        fold_chunk(sums, group, rows, FROM_MEMORY, 1);
    else
        fold_chunk(sums, group, rows, FROM_MEMORY, 0);
}

/* Zero points of 16 channels of a group, as int32. */
KRN_ALWAYS_INLINE void load_zeros(ymm_i zeros[2], const krn_tile_job *job, int64_t group, int32_t first) {
    zeros[0] = zeros[1] = broadcast_i32(krn_layout_fixed_zero(job->layout));
    if (krn_layout_has_zeros(job->layout)) {
        const uint8_t *stored = krn_tile_zeros(job, group) + 2 * first;
        zeros[0] = widen_s16(stored);
        zeros[1] = widen_s16(stored + 2 * KRN_VEC_LANES);
    }
}

/* sum (u - z) of 16 channels over a stretch of `blocks` blocks. */
KRN_ALWAYS_INLINE void weigh(ymm_i sums[2], const ymm_i zeros[2], const uint8_t *w, int64_t blocks) {
    const ymm_i ones = broadcast_i32(0x01010101), inputs = broadcast_i32((int32_t)(-blocks * 8));
    KRN_UNROLL
    for (int v = 0; v < 2; v++)
        sums[v] = mul_i32(zeros[v], inputs);
    for (int64_t b = 0; b < blocks; b++, w += KRN_BLOCK_BYTES) {
        KRN_UNROLL
        for (int v = 0; v < 2; v++) {
            const ymm_i raw = load_i(w + v * VEC_BYTES);
            /* Bytes of up to 30. */
            const ymm_i codes = add_i16(low_nibbles(raw), high_nibbles(raw));
            sums[v] = add_i32(sums[v], madd_i16(madd_u8s8(codes, ones), broadcast_i32(0x00010001)));
        }
    }
}

/* The sums of the weights of a stretch of group `g`: made here, and left to the other tiles, or as a tile before left
 * them. */
KRN_ALWAYS_INLINE void weights_of_group(ymm_i sums[2], const ymm_i zeros[2], const krn_tile_job *job, int64_t g,
                                        int32_t first, const uint8_t *w, int64_t blocks) {
    int32_t *known = job->w_sums == NULL ? NULL : job->w_sums + (g - job->group) * KRN_PANEL_CHANNELS + first;
    if (job->w_sums_known) {
        sums[0] = load_i(known);
        sums[1] = load_i(known + KRN_VEC_LANES);
        return;
    }
    weigh(sums, zeros, w, blocks);
    if (known == NULL)
        return;
    store_i(known, sums[0]);
    store_i(known + KRN_VEC_LANES, sums[1]);
}

/* The words of 16 channels: z, sum (u - z). */
KRN_ALWAYS_INLINE void load_words(ymm_i words[2], const krn_tile_job *job, int64_t g, int32_t first, const uint8_t *w,
                                  int64_t blocks) {
    ymm_i sums[2];
    load_zeros(words, job, g, first);
    if (job->x_zeros == NULL)
        return;
    weights_of_group(sums, words, job, g, first, w, blocks);
    words[0] = or_i(words[0], shift_left_i32(sums[0], 16));
    words[1] = or_i(words[1], shift_left_i32(sums[1], 16));
}

/* What the sums of a longer group start from where that differs from channel to channel: in memory. */
static void open_group(const group_sums *group, const krn_tile_job *job, int64_t g, int32_t first, const uint8_t *w,
                       int64_t blocks) {
    ymm_i zeros[2], sums[2] = {broadcast_i32(0), broadcast_i32(0)};
    load_zeros(zeros, job, g, first);
    if (job->x_zeros != NULL)
        weights_of_group(sums, zeros, job, g, first, w, blocks);
    for (int32_t r = 0; r < job->rows; r++) {
        int32_t *resting = group->resting + r * KRN_PANEL_CHANNELS;
        const ymm_i offset = broadcast_i32(group->x_offsets[r]);
        KRN_UNROLL
        for (int v = 0; v < 2; v++) {
            ymm_i start = offset;
            if (!job->opens)
                start = load_i(resting + v * KRN_VEC_LANES);
            else if (krn_layout_has_zeros(job->layout))
                start = mul_i32(zeros[v], offset);
            if (job->x_zeros != NULL)
                start = add_i32(start, mul_i32(sums[v], broadcast_i32(128 - job->x_zeros[r])));
            store_i(resting + v * KRN_VEC_LANES, start);
        }
    }
}

KRN_ALWAYS_INLINE start_kind start_kind_of(const krn_tile_job *job) {
    if (starts_from_pairs(job->layout, job->x_zeros != NULL))
        return FROM_PAIRS;
    return !job->opens || job->x_zeros != NULL || krn_layout_has_zeros(job->layout) ? FROM_MEMORY : FROM_OFFSETS;
}

/* What lies between two groups is kept short: stores of sums may change anything the compiler knows, so that it would
 * read the layout again and again. */
KRN_ALWAYS_INLINE void half_tile_of_rows(const krn_tile_job *job, int32_t first, int32_t rows, int is_expanded) {
    const krn_layout *layout = job->layout;
    const int64_t last_group = layout->num_groups - 1, end = job->group + job->num_groups;
    const int64_t group_blocks = layout->group_blocks, last_group_blocks = layout->last_group_blocks;
    const int64_t group_bytes = krn_layout_group_bytes(layout, group_blocks), part_blocks = job->part_blocks;
    const int32_t closes = job->closes;
    const start_kind start = start_kind_of(job);
    const float *widened = job->scales == NULL ? NULL : job->scales + first;
    const int64_t scales_at = first * (widened == NULL ? krn_float_bytes(layout->scale_type) : 4);
    const uint8_t *group_start = krn_tile_group(job, job->group), *w = NULL;
    const int32_t *x = job->x;
    krn_prefetch prefetch = job->prefetch;
    group_sums group = {.x_offsets = job->x_offsets,
                        .resting = job->acc + first,
                        .t = job->t + first,
                        .scale_type = widened == NULL ? layout->scale_type : KRN_TYPE_F32};
    if (is_expanded)
        w = (const uint8_t *)job->expanded + first / HALF_PANEL * blocks_of(job) * KRN_BLOCK_BYTES;
    for (int64_t g = job->group; g < end; g++) {
        const int64_t whole_blocks = g < last_group ? group_blocks : last_group_blocks;
        const int64_t blocks = part_blocks > 0 ? part_blocks : whole_blocks;
        group.scales = group_start + whole_blocks * KRN_BLOCK_BYTES + scales_at;
        if (widened != NULL)
            group.scales = (const uint8_t *)(widened + (g - job->group) * KRN_PANEL_CHANNELS);
        const uint8_t *packed = group_start + job->first_block * KRN_BLOCK_BYTES + first * 4;
        if (!is_expanded)
            w = packed;
        if (start == FROM_PAIRS)
            load_words(group.words, job, g, first, packed, blocks);
        else if (start == FROM_MEMORY)
            open_group(&group, job, g, first, packed, blocks);
        for (int64_t left = blocks; left > 0; left -= CHUNK_BLOCKS) {
            const int64_t count = left < CHUNK_BLOCKS ? left : CHUNK_BLOCKS;
            ymm_i sums[TILE_ROWS][2];
            if (count == CHUNK_BLOCKS)
                madd_chunk(sums, w, x, CHUNK_BLOCKS, rows, is_expanded, &prefetch);
            else
                madd_chunk(sums, w, x, count, rows, is_expanded, &prefetch);
            fold_any_chunk(sums, &group, rows, left == blocks ? start : FROM_MEMORY, left <= CHUNK_BLOCKS && closes);
            w += count * KRN_BLOCK_BYTES;
            x += 2 * count * rows;
        }
        group_start += group_bytes;
        group.x_offsets += rows;
        prefetch.next += prefetch.group_stride;
    }
}

/* One copy of the loop for every height, so that its sums are registers. */
KRN_ALWAYS_INLINE void half_tile(const krn_tile_job *job, int32_t first, int is_expanded) {
    switch (job->rows) {
    case 1: half_tile_of_rows(job, first, 1, is_expanded); break;
    case 2: half_tile_of_rows(job, first, 2, is_expanded); break;
    case 3: half_tile_of_rows(job, first, 3, is_expanded); break;
    case 4: half_tile_of_rows(job, first, 4, is_expanded); break;
    case 5: half_tile_of_rows(job, first, 5, is_expanded); break;
    default: half_tile_of_rows(job, first, 6, is_expanded); break;
    }
}

KRN_ALWAYS_INLINE void tile_u4s8(const krn_tile_job *job) {
    if (job->shares_expanded && !job->is_expanded)
        expand(job, blocks_of(job));
    for (int32_t first = 0; first < KRN_PANEL_CHANNELS; first += HALF_PANEL) {
        if (job->shares_expanded)
            half_tile(job, first, 1);
        else
            half_tile(job, first, 0);
    }
}

#endif
