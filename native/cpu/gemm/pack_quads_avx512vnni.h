/* Packing of 8-bit activations for vpdpbusd: what krn_pack_quads does (pack_activations.h), in vectors.
 *
 * Rows are interleaved without regard to groups, so that small ones do not cut the vectors short. Sums are made
 * afterwards, of the interleaved dwords: a lane is a row, and nothing has to be added across lanes. */
#ifndef KRN_GEMM_PACK_QUADS_AVX512VNNI_H
#define KRN_GEMM_PACK_QUADS_AVX512VNNI_H

#include "gemm/pack_activations.h"

enum {
    QUAD = 4,
    /* Inputs of a row that fill a cache line. */
    LINE_INPUTS = 64,
    /* How far ahead a row is asked for: with 12 rows to go round, the processor's prefetcher does not do it. */
    LINES_AHEAD = 4,
    /* Additions in flight: vpdpbusd takes four cycles. */
    QUAD_SUMS = 4,
};

/* Inputs first..first + real - 1 of all rows, then zeros up to `inputs`. */
KRN_ALWAYS_INLINE void read_quads(const krn_pack_job *job, krn_pack_chunk *chunk, int64_t first, int64_t real,
                                  int64_t inputs) {
    const uint8_t flip = job->activations->type == KRN_TYPE_U8 ? 0x80 : 0;
    for (int32_t r = 0; r < job->rows; r++) {
        uint8_t *codes = (uint8_t *)chunk->rows[r];
        krn_read_codes(job, r, first, real, codes);
        for (int64_t i = 0; flip != 0 && i < real; i++)
            codes[i] ^= flip;
        for (int64_t i = real; i < inputs; i++)
            codes[i] = 0;
    }
}

/* Inputs that lie in X as they are wanted, from `first` on: as many of `count` as make whole vectors. */
KRN_ALWAYS_INLINE int64_t pack_in_place(const krn_pack_job *job, uint32_t *x, int64_t first, int64_t count) {
    const krn_activations *a = job->activations;
    if (job->dynamic != NULL || job->permutation != NULL || a->type == KRN_TYPE_S4)
        return 0;
    int64_t done = 0;
    for (; done + LINE_INPUTS <= count; done += LINE_INPUTS, x += LINE_INPUTS / QUAD * job->rows) {
        const uint8_t *from = krn_source_row(job, 0, 1) + first + done;
        for (int32_t r = 0; r < job->rows; r++)
            KRN_PREFETCH(from + r * a->ld + LINES_AHEAD * LINE_INPUTS);
        if (a->type == KRN_TYPE_U8)
            krn_interleave_16(x, from, a->ld, job->rows, 1);
        else
            krn_interleave_16(x, from, a->ld, job->rows, 0);
    }
    return done;
}

/* `padded` inputs, the first `real` of which exist, from input `first` of the rows on. Gives the end of what it
 * wrote. */
KRN_ALWAYS_INLINE uint32_t *pack_span(const krn_pack_job *job, uint32_t *x, int64_t first, int64_t real,
                                      int64_t padded) {
    krn_pack_chunk chunk;
    int64_t start = pack_in_place(job, x, first, real);
    for (x += start / QUAD * job->rows; start < padded; start += KRN_PACK_CHUNK) {
        const int64_t inputs = krn_min64(padded - start, KRN_PACK_CHUNK);
        read_quads(job, &chunk, first + start, krn_min64(real - start, inputs), inputs);
        krn_interleave(x, &chunk, inputs / QUAD, job->rows);
        x += inputs / QUAD * job->rows;
    }
    return x;
}

/* sums[row] of `dwords` interleaved dwords. */
KRN_ALWAYS_INLINE zmm_i sum_rows(const uint32_t *x, int64_t dwords, int32_t rows) {
    const zmm_i ones = broadcast_i32(0x01010101);
    zmm_i sums[QUAD_SUMS];
    KRN_UNROLL
    for (int s = 0; s < QUAD_SUMS; s++)
        sums[s] = broadcast_i32(0);
    int64_t i = 0;
    for (; i + QUAD_SUMS <= dwords; i += QUAD_SUMS) {
        KRN_UNROLL
        for (int s = 0; s < QUAD_SUMS; s++)
            sums[s] = dot_u8s8(sums[s], ones, load_first_i32(x + (i + s) * rows, rows));
    }
    for (; i < dwords; i++)
        sums[0] = dot_u8s8(sums[0], ones, load_first_i32(x + i * rows, rows));
    return add_i32(add_i32(sums[0], sums[1]), add_i32(sums[2], sums[3]));
}

/* What krn_pack_job wants to know of the packed rows. */
KRN_ALWAYS_INLINE void sum_groups(const krn_pack_job *job) {
    const krn_layout *layout = job->layout;
    const zmm_i factor = broadcast_i32(krn_layout_has_zeros(layout) ? -1 : -krn_layout_fixed_zero(layout));
    const uint32_t *x = job->x;
    int32_t *offsets = job->x_offsets;
    for (int64_t g = 0; g < layout->num_groups; g++) {
        const int64_t length = krn_layout_group_length(layout, g);
        const int64_t dwords = krn_layout_blocks(layout, g) * layout->block_k / QUAD;
        int64_t group_sums[KRN_MAX_TILE_ROWS] = {0};
        for (int64_t start = 0; start < dwords; start += KRN_EXACT_K / QUAD, offsets += job->rows) {
            const int64_t count = krn_min64(dwords - start, KRN_EXACT_K / QUAD);
            const zmm_i sums = sum_rows(x, count, job->rows);
            store_first_i32(offsets, mul_i32(sums, factor), job->rows);
            x += count * job->rows;
            if (job->x_sums == NULL)
                continue;
            int32_t run_sums[KRN_VEC_LANES];
            store_i(run_sums, sums);
            for (int32_t r = 0; r < job->rows; r++)
                group_sums[r] += run_sums[r];
        }
        for (int32_t r = 0; job->x_sums != NULL && r < job->rows; r++) {
            const int is_shifted = job->activations->type == KRN_TYPE_U8;
            const int32_t shift = is_shifted ? 128 - job->activations->zero_points[job->first_row + r] : 0;
            job->x_sums[g * job->rows + r] = (float)(group_sums[r] + length * shift);
        }
    }
}

KRN_ALWAYS_INLINE void pack_quads(const krn_pack_job *job) {
    const krn_layout *layout = job->layout;
    uint32_t *x = job->x;
    if (layout->group_size % layout->block_k == 0 || layout->num_groups <= 1)
        pack_span(job, x, 0, layout->k, layout->padded_k);
    else
        for (int64_t g = 0; g < layout->num_groups; g++)
            x = pack_span(job, x, krn_layout_group_start(layout, g), krn_layout_group_length(layout, g),
                          krn_layout_blocks(layout, g) * layout->block_k);
    sum_groups(job);
}

#endif
