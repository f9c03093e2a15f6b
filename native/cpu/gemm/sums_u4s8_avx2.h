/* Where the sums of tile_u4s8_avx2.h start and end: offsets of activations and of weights, the sums of a group that rest
 * between its chunks, and t. */
#ifndef KRN_GEMM_SUMS_U4S8_AVX2_H
#define KRN_GEMM_SUMS_U4S8_AVX2_H

#include "common/portability.h"
#include "gemm/scales_avx2.h"

enum {
    HALF_PANEL = KRN_PANEL_CHANNELS / 2,
    TILE_ROWS = 6,
    VEC_BYTES = 32,
    /* Of 8 inputs: 8 sums of pairs to a lane. */
    CHUNK_BLOCKS = 4,
};

KRN_ALWAYS_INLINE ymm_i low_nibbles(ymm_i raw) { return and_i(raw, broadcast_i32(0x0F0F0F0F)); }
KRN_ALWAYS_INLINE ymm_i high_nibbles(ymm_i raw) { return low_nibbles(shift_right_i16(raw, 4)); }

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

/* The sums of a chunk join what they start from, and come to rest or, at the end of a group, enter t. Where the compiler
 * sees the addresses of their registers stay the same it keeps each of them, in memory: the caller hides that. */
KRN_ALWAYS_INLINE void fold_chunk(ymm_i sums[][2], const group_sums *group, int32_t rows, start_kind kind,
                                  int is_last) {
    const ymm_i ones = broadcast_i32(0x00010001);
    ymm_f scales[2] = {zero_f(), zero_f()};
    if (is_last)
        load_floats(scales, group->scale_type, group->scales, 0);
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        const ymm_i offset = kind == FROM_MEMORY ? ones : broadcast_i32(group->x_offsets[r]);
        KRN_UNROLL
        for (int v = 0; v < 2; v++) {
            const int32_t at = r * KRN_PANEL_CHANNELS + v * KRN_VEC_LANES;
            const ymm_i start = kind == FROM_OFFSETS ? offset
                                : kind == FROM_PAIRS ? madd_i16(group->words[v], offset)
                                                     : load_i(group->resting + at);
            const ymm_i sum = add_i32(madd_i16(sums[r][v], ones), start);
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

/* Where a group has the zero points of the channels from `first` on, or NULL. */
KRN_ALWAYS_INLINE const uint8_t *stored_zeros(const krn_tile_job *job, int64_t group, int32_t first) {
    return krn_layout_has_zeros(job->layout) ? krn_tile_zeros(job, group) + 2 * first : NULL;
}

/* Zero points of 16 channels as int32. */
KRN_ALWAYS_INLINE void load_zeros(ymm_i zeros[2], const uint8_t *stored, int32_t fixed) {
    zeros[0] = zeros[1] = broadcast_i32(fixed);
    if (stored != NULL) {
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
KRN_ALWAYS_INLINE void load_words(ymm_i words[2], const krn_tile_job *job, const uint8_t *zeros, int64_t g,
                                  int32_t first, const uint8_t *w, int64_t blocks) {
    ymm_i sums[2];
    load_zeros(words, zeros, krn_layout_fixed_zero(job->layout));
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
    load_zeros(zeros, stored_zeros(job, g, first), krn_layout_fixed_zero(job->layout));
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

#endif
