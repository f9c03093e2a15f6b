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
#include "gemm/sums_u4s8_avx2.h"

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

/* Any stretch. What lies between two groups is kept short: stores of sums may change anything the compiler knows, so that it
 * would read the layout again and again. */
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
            load_words(group.words, job, stored_zeros(job, g, first), g, first, packed, blocks);
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

/* The same for whole groups of whole chunks. Between two of them lies nothing but what moves pointers: in groups of 32 all
 * that is decided above takes a tenth of the time. */
KRN_ALWAYS_INLINE void whole_chunks_of_rows(const krn_tile_job *job, int32_t first, int32_t rows, int is_expanded,
                                            start_kind start, int is_short) {
    const krn_layout *layout = job->layout;
    const int64_t blocks = is_short ? CHUNK_BLOCKS : layout->group_blocks;
    const int64_t group_bytes = krn_layout_group_bytes(layout, blocks), end = job->group + job->num_groups;
    const int has_own_scales = job->scales == NULL;
    const int32_t scale_type = has_own_scales ? layout->scale_type : KRN_TYPE_F32;
    const int64_t scales_stride = has_own_scales ? group_bytes : KRN_PANEL_CHANNELS * 4;
    const uint8_t *packed = krn_tile_group(job, job->group) + first * 4, *w = packed;
    const uint8_t *zeros = stored_zeros(job, job->group, first);
    const int32_t *x = job->x;
    krn_prefetch prefetch = job->prefetch;
    group_sums group = {
        .x_offsets = job->x_offsets, .resting = job->acc + first, .t = job->t + first, .scale_type = scale_type};
    group.scales = has_own_scales ? krn_tile_scales(job, job->group) : (const uint8_t *)job->scales;
    group.scales += first * krn_float_bytes(scale_type);
    if (is_expanded)
        w = (const uint8_t *)job->expanded + first / HALF_PANEL * blocks_of(job) * KRN_BLOCK_BYTES;
    for (int64_t g = job->group; g < end; g++) {
        ymm_i sums[TILE_ROWS][2];
        KRN_OPAQUE(group.t);
        KRN_OPAQUE(group.resting);
        madd_chunk(sums, w, x, CHUNK_BLOCKS, rows, is_expanded, &prefetch);
        w += CHUNK_BLOCKS * KRN_BLOCK_BYTES;
        x += 2 * CHUNK_BLOCKS * rows;
        if (start == FROM_PAIRS) {
            /* Now that there are registers for them. */
            KRN_OPAQUE(zeros);
            load_words(group.words, job, zeros, g, first, packed, blocks);
            zeros += zeros == NULL ? 0 : group_bytes;
        }
        fold_chunk(sums, &group, rows, start, is_short);
        if (!is_short) {
            for (int64_t left = blocks - 2 * CHUNK_BLOCKS; left > 0; left -= CHUNK_BLOCKS) {
                madd_chunk(sums, w, x, CHUNK_BLOCKS, rows, is_expanded, &prefetch);
                fold_chunk(sums, &group, rows, FROM_MEMORY, 0);
                w += CHUNK_BLOCKS * KRN_BLOCK_BYTES;
                x += 2 * CHUNK_BLOCKS * rows;
            }
            madd_chunk(sums, w, x, CHUNK_BLOCKS, rows, is_expanded, &prefetch);
            fold_chunk(sums, &group, rows, FROM_MEMORY, 1);
            w += CHUNK_BLOCKS * KRN_BLOCK_BYTES;
            x += 2 * CHUNK_BLOCKS * rows;
        }
        packed += group_bytes;
        if (!is_expanded)
            w = packed;
        group.x_offsets += rows;
        group.scales += scales_stride;
        prefetch.next += prefetch.group_stride;
    }
}

static int has_whole_chunks(const krn_tile_job *job) {
    const krn_layout *layout = job->layout;
    return layout->group_blocks % CHUNK_BLOCKS == 0 && layout->last_group_blocks == layout->group_blocks &&
           job->part_blocks == 0 && start_kind_of(job) != FROM_MEMORY;
}

/* Longer groups pay for a loop of their own only beside tiles that share the weights. */
KRN_ALWAYS_INLINE void any_half_tile(const krn_tile_job *job, int32_t first, int32_t rows, int is_expanded) {
    const int is_short = job->layout->group_blocks == CHUNK_BLOCKS, has_pairs = start_kind_of(job) == FROM_PAIRS;
    if (!has_whole_chunks(job) || (!is_short && !is_expanded))
        half_tile_of_rows(job, first, rows, is_expanded);
    else if (is_short && has_pairs)
        whole_chunks_of_rows(job, first, rows, is_expanded, FROM_PAIRS, 1);
    else if (is_short)
        whole_chunks_of_rows(job, first, rows, is_expanded, FROM_OFFSETS, 1);
    else if (has_pairs)
        whole_chunks_of_rows(job, first, rows, is_expanded, FROM_PAIRS, 0);
    else
        whole_chunks_of_rows(job, first, rows, is_expanded, FROM_OFFSETS, 0);
}

/* One copy of the loops for every height, so that their sums are registers; each a function, because compilers give up
 * on good registers, and take their time, in one that holds them all. */
#define HALF_TILE(rows)                                                                                                \
    static void packed_half_tile_##rows(const krn_tile_job *job, int32_t first) {                                      \
        any_half_tile(job, first, rows, 0);                                                                            \
    }                                                                                                                  \
    static void expanded_half_tile_##rows(const krn_tile_job *job, int32_t first) {                                    \
        any_half_tile(job, first, rows, 1);                                                                            \
    }

HALF_TILE(1)
HALF_TILE(2)
HALF_TILE(3)
HALF_TILE(4)
HALF_TILE(5)
HALF_TILE(6)

/* [packed, expanded][rows - 1] */
static void (*const half_tiles[2][TILE_ROWS])(const krn_tile_job *job, int32_t first) = {
    {packed_half_tile_1, packed_half_tile_2, packed_half_tile_3, packed_half_tile_4, packed_half_tile_5,
     packed_half_tile_6},
    {expanded_half_tile_1, expanded_half_tile_2, expanded_half_tile_3, expanded_half_tile_4, expanded_half_tile_5,
     expanded_half_tile_6},
};

KRN_ALWAYS_INLINE void tile_u4s8(const krn_tile_job *job) {
    if (job->shares_expanded && !job->is_expanded)
        expand(job, blocks_of(job));
    for (int32_t first = 0; first < KRN_PANEL_CHANNELS; first += HALF_PANEL)
        half_tiles[job->shares_expanded != 0][job->rows - 1](job, first);
}

#endif
