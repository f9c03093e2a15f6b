/* The bf16 tile of NEON, for both weight widths: matrix products of 2 channels x 4 inputs by 4 inputs x 2 rows, 16
 * products an instruction. Codes and their differences with zero points are integers of at most 8 bits, which bf16
 * holds exactly; scales stay in f32, so dequantization adds no rounding. The entries of a codebook are rounded to bf16,
 * as gemm.h says.
 *
 *   sums      6 pairs of rows x 4 pairs of channels: 24 of 32 registers; taken apart at the end of a partial sum
 *   x         [k / 4][row] quads of bf16 (krn_pack_quads_bf16)
 *   weights   4-bit: the nibble indexes tables of the lower and the upper bytes; with zero points it is code - zero + 15,
 *             in 0..30. 8-bit: the upper halves of exact floats. Of several tiles the first one leaves the quads to the
 *             others
 *
 * bfmmla rounds every sum of two products and every addition of one to odd, with an error of up to a unit in the last
 * place where rounding to nearest has half of one, and takes subnormals for zero. */
#ifndef KRN_GEMM_TILE_BF16_NEON_H
#define KRN_GEMM_TILE_BF16_NEON_H

#include "common/half.h"
#include "gemm/scales_neon.h"

enum {
    MAX_PAIRS = KRN_MAX_TILE_ROWS / 2,
    BLOCK_SLICE_BYTES = KRN_BLOCK_BYTES / PANEL_VECS,
    QUAD = 4,
    /* An expanded vector of 4 channels: 4 inputs each. */
    VEC_QUADS_BYTES = 32,
    QUAD_HALVES = PANEL_VECS * VEC_QUADS_BYTES / 2,
};

KRN_ALWAYS_INLINE int32_t slice_vecs(int32_t rows) { return rows <= 2 ? 8 : rows <= 6 ? 4 : 2; }

/* Quads of channels 0, 1 and of 2, 3 of a vector. */
typedef struct {
    bfloat16x8_t low, high;
} channel_quads;

typedef struct {
    /* 4-bit: the bytes of table[i] = the entry i mod 16, or i mod 16 less the offset of codes, or i - 15. */
    uint8x16x2_t lower, upper;
    /* 15 - zero of every channel, in all 4 bytes of its dword. With zero points. */
    uint8x16_t to_index[PANEL_VECS];
} bf16_codes;

KRN_ALWAYS_INLINE void load_tables(bf16_codes *codes, const krn_tile_job *job, int has_zeros) {
    const float *codebook = krn_layout_codebook(job->layout, job->packed);
    const int32_t zero = krn_layout_fixed_zero(job->layout);
    uint8_t bytes[2][32];
    for (int i = 0; i < 32; i++) {
        const uint16_t entry =
            krn_f32_to_bf16(codebook != NULL ? codebook[i % 16] : (float)(has_zeros ? i - 15 : i % 16 - zero));
        bytes[0][i] = (uint8_t)entry;
        bytes[1][i] = (uint8_t)(entry >> 8);
    }
    codes->lower = (uint8x16x2_t){{vld1q_u8(bytes[0]), vld1q_u8(bytes[0] + 16)}};
    codes->upper = (uint8x16x2_t){{vld1q_u8(bytes[1]), vld1q_u8(bytes[1] + 16)}};
}

KRN_ALWAYS_INLINE void load_zeros(bf16_codes *codes, const krn_tile_job *job, int64_t group, int32_t first,
                                  int32_t vecs) {
    KRN_UNROLL
    for (int32_t v = 0; v < vecs; v++) {
        const neon_i zeros = widen_s16(krn_tile_zeros(job, group) + (first + v * KRN_VEC_LANES) * 2);
        /* Multiplying the lowest byte by 0x01010101 copies it to the others. */
        codes->to_index[v] =
            vreinterpretq_u8_s32(mul_i32(sub_i32(broadcast_i32(15), zeros), broadcast_i32(0x01010101)));
    }
}

KRN_ALWAYS_INLINE channel_quads nibbles_to_bf16(const bf16_codes *codes, uint8x16_t nibbles, int32_t v, int has_zeros) {
    const uint8x16_t index = has_zeros ? vaddq_u8(nibbles, codes->to_index[v]) : nibbles;
    const uint8x16_t lower = has_zeros ? vqtbl2q_u8(codes->lower, index) : vqtbl1q_u8(codes->lower.val[0], index);
    const uint8x16_t upper = has_zeros ? vqtbl2q_u8(codes->upper, index) : vqtbl1q_u8(codes->upper.val[0], index);
    return (channel_quads){vreinterpretq_bf16_u8(vzip1q_u8(lower, upper)),
                           vreinterpretq_bf16_u8(vzip2q_u8(lower, upper))};
}

/* 8 integers of 8 bits to bf16. */
KRN_ALWAYS_INLINE bfloat16x8_t integers_to_bf16(int8x8_t integers) {
    const int16x8_t wide = vmovl_s8(integers);
    const float32x4_t first = vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
    const float32x4_t second = vcvtq_f32_s32(vmovl_s16(vget_high_s16(wide)));
    return vreinterpretq_bf16_u16(vuzp2q_u16(vreinterpretq_u16_f32(first), vreinterpretq_u16_f32(second)));
}

/* Quad `q` of a block for vector v of the slice that `w` points at. */
KRN_ALWAYS_INLINE channel_quads load_channels(const bf16_codes *codes, const uint8_t *w, int q, int32_t v, int bits,
                                              int has_zeros) {
    const uint8x16_t raw = vld1q_u8(w + BLOCK_SLICE_BYTES * v);
    if (bits == 4)
        return nibbles_to_bf16(codes, q == 0 ? vandq_u8(raw, vdupq_n_u8(0x0F)) : vshrq_n_u8(raw, 4), v, has_zeros);
    const int8x16_t integers = vreinterpretq_s8_u8(veorq_u8(raw, vdupq_n_u8(0x80)));
    return (channel_quads){integers_to_bf16(vget_low_s8(integers)), integers_to_bf16(vget_high_s8(integers))};
}

/* All groups of a stretch: [k / 4][vector]{low, high}. */
KRN_ALWAYS_INLINE void expand(const krn_tile_job *job, bf16_codes *codes, int bits, int has_zeros) {
    uint16_t *to = job->expanded;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *w = krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES;
        if (has_zeros)
            load_zeros(codes, job, g, 0, PANEL_VECS);
        for (int64_t b = 0; b < krn_tile_blocks(job, g); b++, w += KRN_BLOCK_BYTES) {
            for (int q = 0; q < 8 / bits; q++) {
                KRN_UNROLL
                for (int32_t v = 0; v < PANEL_VECS; v++, to += VEC_QUADS_BYTES / 2) {
                    const channel_quads quads = load_channels(codes, w, q, v, bits, has_zeros);
                    vst1q_u16(to, vreinterpretq_u16_bf16(quads.low));
                    vst1q_u16(to + 8, vreinterpretq_u16_bf16(quads.high));
                }
            }
        }
    }
}

/* Quads of rows 2p and 2p + 1; without a partner the other half is 0. */
KRN_ALWAYS_INLINE bfloat16x8_t load_rows(const uint16_t *x, int32_t p, int32_t rows) {
    const uint16_t *from = x + 2 * QUAD * p;
    return vreinterpretq_bf16_u16(2 * p + 1 < rows ? vld1q_u16(from) : vcombine_u16(vld1_u16(from), vdup_n_u16(0)));
}

/* Sums [channel 0 row 0, channel 0 row 1, channel 1 row 0, channel 1 row 1]. */
KRN_ALWAYS_INLINE void multiply_quads(neon_f *sums, channel_quads w, bfloat16x8_t rows) {
    sums[0] = vbfmmlaq_f32(sums[0], w.low, rows);
    sums[1] = vbfmmlaq_f32(sums[1], w.high, rows);
}

/* A quad of inputs. With up to 6 rows those stay in registers; with more the 4 of weights do. The empty statement keeps
 * GCC from loading all rows first, which the sums leave no registers for. */
KRN_ALWAYS_INLINE void multiply_step(neon_f sums[][2 * PANEL_VECS], const channel_quads *w, const uint16_t *x,
                                     int32_t rows, int32_t vecs) {
    bfloat16x8_t pairs[MAX_PAIRS];
    if (vecs > 2) {
        KRN_UNROLL
        for (int32_t p = 0; 2 * p < rows; p++)
            pairs[p] = load_rows(x, p, rows);
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            KRN_UNROLL
            for (int32_t p = 0; 2 * p < rows; p++)
                multiply_quads(&sums[p][2 * v], w[v], pairs[p]);
        }
        return;
    }
    KRN_UNROLL
    for (int32_t p = 0; 2 * p < rows; p++) {
        pairs[p] = load_rows(x, p, rows);
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            multiply_quads(&sums[p][2 * v], w[v], pairs[p]);
            KRN_IN_ORDER(sums[p][2 * v]);
        }
    }
}

KRN_ALWAYS_INLINE void multiply_expanded(neon_f sums[][2 * PANEL_VECS], const uint16_t *w, const uint16_t *x,
                                         int64_t inputs, int32_t rows, int32_t vecs) {
    for (int64_t k = 0; k < inputs; k += QUAD, w += QUAD_HALVES, x += QUAD * rows) {
        channel_quads quads[PANEL_VECS];
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            const uint16_t *at = w + v * VEC_QUADS_BYTES / 2;
            quads[v] =
                (channel_quads){vreinterpretq_bf16_u16(vld1q_u16(at)), vreinterpretq_bf16_u16(vld1q_u16(at + 8))};
        }
        multiply_step(sums, quads, x, rows, vecs);
    }
}

KRN_ALWAYS_INLINE void multiply_codes(neon_f sums[][2 * PANEL_VECS], const bf16_codes *codes, const uint8_t *w,
                                      const uint16_t *x, int64_t inputs, int32_t rows, int32_t vecs, int bits,
                                      int has_zeros, krn_prefetch *prefetch) {
    const int64_t block_k = 32 / bits;
    for (int64_t k = 0; k < inputs; k += block_k, w += KRN_BLOCK_BYTES) {
        krn_prefetch_block(prefetch);
        KRN_UNROLL
        for (int q = 0; q < 8 / bits; q++, x += QUAD * rows) {
            channel_quads quads[PANEL_VECS];
            KRN_UNROLL
            for (int32_t v = 0; v < vecs; v++)
                quads[v] = load_channels(codes, w, q, v, bits, has_zeros);
            multiply_step(sums, quads, x, rows, vecs);
        }
    }
}

/* t += the sums of a partial sum times their scales. */
KRN_ALWAYS_INLINE void fold_pairs(neon_f sums[][2 * PANEL_VECS], const neon_f *scales, float *t, int32_t rows,
                                  int32_t vecs) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            const neon_f low = sums[r / 2][2 * v], high = sums[r / 2][2 * v + 1];
            float *to = t + r * KRN_PANEL_CHANNELS + v * KRN_VEC_LANES;
            store_f(to, fma_f(r % 2 == 0 ? vuzp1q_f32(low, high) : vuzp2q_f32(low, high), scales[v], load_f(to)));
        }
    }
}

KRN_ALWAYS_INLINE void slice_of_rows(const krn_tile_job *job, bf16_codes *codes, int32_t first, int32_t rows,
                                     int32_t vecs, int bits, int has_zeros) {
    const uint16_t *x = job->x, *expanded = (const uint16_t *)job->expanded + first * QUAD;
    krn_prefetch prefetch = job->prefetch;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *w =
            krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES + first / KRN_VEC_LANES * BLOCK_SLICE_BYTES;
        const int64_t length = krn_tile_blocks(job, g) * (32 / bits);
        neon_f scales[PANEL_VECS];
        load_scales(scales, job, g, first, vecs);
        if (has_zeros)
            load_zeros(codes, job, g, first, vecs);
        for (int64_t start = 0; start < length; start += KRN_FLOAT_BLOCK_K) {
            const int64_t inputs = length - start < KRN_FLOAT_BLOCK_K ? length - start : KRN_FLOAT_BLOCK_K;
            neon_f sums[MAX_PAIRS][2 * PANEL_VECS];
            KRN_UNROLL
            for (int32_t p = 0; 2 * p < rows; p++) {
                KRN_UNROLL
                for (int32_t i = 0; i < 2 * vecs; i++)
                    sums[p][i] = zero_f();
            }
            if (job->shares_expanded)
                multiply_expanded(sums, expanded, x, inputs, rows, vecs);
            else
                multiply_codes(sums, codes, w, x, inputs, rows, vecs, bits, has_zeros, &prefetch);
            expanded += inputs * KRN_PANEL_CHANNELS;
            w += inputs * bits / 32 * KRN_BLOCK_BYTES;
            x += inputs * rows;
            fold_pairs(sums, scales, job->t + first, rows, vecs);
        }
        prefetch.next += prefetch.group_stride;
    }
}

/* One copy of the loop for every height, so that its sums are registers. */
KRN_ALWAYS_INLINE void tile_bf16(const krn_tile_job *job, int bits, int has_zeros) {
    bf16_codes codes;
    if (bits == 4)
        load_tables(&codes, job, has_zeros);
    if (job->shares_expanded && !job->is_expanded)
        expand(job, &codes, bits, has_zeros);
    for (int32_t first = 0; first < KRN_PANEL_CHANNELS; first += slice_vecs(job->rows) * KRN_VEC_LANES) {
        switch (job->rows) {
        case 1: slice_of_rows(job, &codes, first, 1, slice_vecs(1), bits, has_zeros); break;
        case 2: slice_of_rows(job, &codes, first, 2, slice_vecs(2), bits, has_zeros); break;
        case 3: slice_of_rows(job, &codes, first, 3, slice_vecs(3), bits, has_zeros); break;
        case 4: slice_of_rows(job, &codes, first, 4, slice_vecs(4), bits, has_zeros); break;
        case 5: slice_of_rows(job, &codes, first, 5, slice_vecs(5), bits, has_zeros); break;
        case 6: slice_of_rows(job, &codes, first, 6, slice_vecs(6), bits, has_zeros); break;
        case 7: slice_of_rows(job, &codes, first, 7, slice_vecs(7), bits, has_zeros); break;
        case 8: slice_of_rows(job, &codes, first, 8, slice_vecs(8), bits, has_zeros); break;
        case 9: slice_of_rows(job, &codes, first, 9, slice_vecs(9), bits, has_zeros); break;
        case 10: slice_of_rows(job, &codes, first, 10, slice_vecs(10), bits, has_zeros); break;
        case 11: slice_of_rows(job, &codes, first, 11, slice_vecs(11), bits, has_zeros); break;
        default: slice_of_rows(job, &codes, first, 12, slice_vecs(12), bits, has_zeros); break;
        }
    }
}

#endif
