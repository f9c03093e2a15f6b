/* The f32 tile of NEON, for both weight widths. A panel is gone through in slices of channels, the narrower the more
 * rows there are:
 *
 *   sums      12 rows x 2, 6 x 4 or 3 x 8 vectors: 24 of 32 registers
 *   x         [k][row] floats, 4 rows to a register, of which an instruction picks one
 *   weights   the bytes of codes under the exponent of 2^23 by a table lookup, less 2^23 + zero; entries of a codebook
 *             by a lookup in its 64 bytes. Among several tiles the first one leaves the floats to the others. */
#ifndef KRN_GEMM_TILE_F32_NEON_H
#define KRN_GEMM_TILE_F32_NEON_H

#include "gemm/scales_neon.h"

enum { BLOCK_SLICE_BYTES = KRN_BLOCK_BYTES / PANEL_VECS };

KRN_ALWAYS_INLINE int32_t slice_vecs(int32_t rows) { return rows <= 3 ? 8 : rows <= 6 ? 4 : 2; }

typedef struct {
    /* Of every channel: 2^23 + zero. Without a codebook. */
    neon_f offsets[PANEL_VECS];
    uint8x16x4_t codebook;
} f32_codes;

/* What turns the codes of a group into floats, for the channels first.. of the panel. */
KRN_ALWAYS_INLINE f32_codes load_codes(const krn_tile_job *job, int64_t group, int32_t first, int32_t vecs,
                                       int has_codebook) {
    f32_codes codes;
    if (has_codebook)
        codes.codebook = vld1q_u8_x4((const uint8_t *)krn_layout_codebook(job->layout, job->packed));
    KRN_UNROLL
    for (int32_t v = 0; !has_codebook && v < vecs; v++) {
        if (krn_layout_has_zeros(job->layout))
            codes.offsets[v] = add_f(broadcast_f32(8388608.0f),
                                     to_f32(widen_s16(krn_tile_zeros(job, group) + (first + v * KRN_VEC_LANES) * 2)));
        else
            codes.offsets[v] = broadcast_f32(8388608.0f + (float)krn_layout_fixed_zero(job->layout));
    }
    return codes;
}

/* Byte `k` of every dword as a float: bytes k, 0, 0, 0x4B, of which a lookup keeps what its index does not reach. */
KRN_ALWAYS_INLINE neon_f byte_to_f32(uint8x16_t bytes, int k, neon_f offset) {
    const uint8x16_t exponent = vreinterpretq_u8_u32(vdupq_n_u32(0x4B000000u));
    const uint32x4_t lanes = vcombine_u32(vcreate_u32(0xFFFFFF04FFFFFF00u), vcreate_u32(0xFFFFFF0CFFFFFF08u));
    const uint8x16_t index = vreinterpretq_u8_u32(vaddq_u32(lanes, vdupq_n_u32((uint32_t)k)));
    return sub_f(vreinterpretq_f32_u8(vqtbx1q_u8(exponent, bytes, index)), offset);
}

/* The codebook's entry for byte `k` of every dword: bytes 4 * code, + 1, + 2 and + 3 of it. */
KRN_ALWAYS_INLINE neon_f byte_to_entry(uint8x16x4_t codebook, uint8x16_t bytes, int k) {
    const uint32x4_t lanes = vcombine_u32(vcreate_u32(0x0404040400000000u), vcreate_u32(0x0C0C0C0C08080808u));
    const uint8x16_t spread = vreinterpretq_u8_u32(vaddq_u32(lanes, vdupq_n_u32((uint32_t)k * 0x01010101u)));
    const uint8x16_t code = vqtbl1q_u8(bytes, spread);
    const uint8x16_t index = vaddq_u8(vshlq_n_u8(code, 2), vreinterpretq_u8_u32(vdupq_n_u32(0x03020100u)));
    return vreinterpretq_f32_u8(vqtbl4q_u8(codebook, index));
}

/* Input p of a block, in the order of the packed activations, for vector v of the slice. `w` is the slice's. */
KRN_ALWAYS_INLINE neon_f weight_of(const f32_codes *codes, const uint8_t *w, int p, int32_t v, int bits,
                                   int has_codebook) {
    const uint8x16_t raw = vld1q_u8(w + BLOCK_SLICE_BYTES * v);
    if (bits == 8)
        return byte_to_f32(raw, p, codes->offsets[v]);
    /* Even inputs are low nibbles, odd ones high nibbles (pack_activations.h). */
    const uint8x16_t nibbles = p % 2 == 0 ? vandq_u8(raw, vdupq_n_u8(0x0F)) : vshrq_n_u8(raw, 4);
    return has_codebook ? byte_to_entry(codes->codebook, nibbles, p / 2)
                        : byte_to_f32(nibbles, p / 2, codes->offsets[v]);
}

/* All groups of a stretch: [k][32] floats, in the order of the packed activations. */
KRN_ALWAYS_INLINE void expand(const krn_tile_job *job, int bits, int has_codebook) {
    float *to = job->expanded;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *w = krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES;
        const f32_codes codes = load_codes(job, g, 0, PANEL_VECS, has_codebook);
        for (int64_t b = 0; b < krn_tile_blocks(job, g); b++, w += KRN_BLOCK_BYTES) {
            KRN_UNROLL
            for (int p = 0; p < 32 / bits; p++, to += KRN_PANEL_CHANNELS) {
                KRN_UNROLL
                for (int32_t v = 0; v < PANEL_VECS; v++)
                    store_f(to + v * KRN_VEC_LANES, weight_of(&codes, w, p, v, bits, has_codebook));
            }
        }
    }
}

/* Floats of up to 4 rows; lanes behind them are not used. */
KRN_ALWAYS_INLINE neon_f load_rows(const float *x, int32_t rows) {
    switch (rows) {
    case 1: return vld1q_dup_f32(x);
    case 2: return vcombine_f32(vld1_f32(x), vdup_n_f32(0));
    case 3: return vld1q_lane_f32(x + 2, vcombine_f32(vld1_f32(x), vdup_n_f32(0)), 2);
    default: return load_f(x);
    }
}

/* The instruction names its row in its code. */
KRN_ALWAYS_INLINE neon_f fma_of_row(neon_f sum, neon_f w, neon_f x, int32_t row) {
    switch (row) {
    case 0: return vfmaq_laneq_f32(sum, w, x, 0);
    case 1: return vfmaq_laneq_f32(sum, w, x, 1);
    case 2: return vfmaq_laneq_f32(sum, w, x, 2);
    default: return vfmaq_laneq_f32(sum, w, x, 3);
    }
}

KRN_ALWAYS_INLINE void fma_rows(neon_f sums[][PANEL_VECS], const neon_f *w, const float *x, int32_t rows,
                                int32_t vecs) {
    neon_f quads[KRN_MAX_TILE_ROWS / 4];
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r += 4)
        quads[r / 4] = load_rows(x + r, rows - r < 4 ? rows - r : 4);
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            sums[r][v] = fma_of_row(sums[r][v], w[v], quads[r / 4], r % 4);
    }
}

KRN_ALWAYS_INLINE void fma_expanded(neon_f sums[][PANEL_VECS], const float *w, const float *x, int64_t inputs,
                                    int32_t rows, int32_t vecs) {
    for (int64_t k = 0; k < inputs; k++, w += KRN_PANEL_CHANNELS, x += rows) {
        neon_f weights[PANEL_VECS];
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++)
            weights[v] = load_f(w + v * KRN_VEC_LANES);
        fma_rows(sums, weights, x, rows, vecs);
    }
}

KRN_ALWAYS_INLINE void fma_codes(neon_f sums[][PANEL_VECS], const f32_codes *codes, const uint8_t *w, const float *x,
                                 int64_t inputs, int32_t rows, int32_t vecs, int bits, int has_codebook,
                                 krn_prefetch *prefetch) {
    const int64_t block_k = 32 / bits;
    for (int64_t k = 0; k < inputs; k += block_k, w += KRN_BLOCK_BYTES) {
        krn_prefetch_block(prefetch);
        KRN_UNROLL
        for (int p = 0; p < 32 / bits; p++, x += rows) {
            neon_f weights[PANEL_VECS];
            KRN_UNROLL
            for (int32_t v = 0; v < vecs; v++)
                weights[v] = weight_of(codes, w, p, v, bits, has_codebook);
            fma_rows(sums, weights, x, rows, vecs);
        }
    }
}

KRN_ALWAYS_INLINE void fold_rows(neon_f sums[][PANEL_VECS], const neon_f *scales, float *t, int32_t rows,
                                 int32_t vecs) {
    KRN_UNROLL
    for (int32_t r = 0; r < rows; r++) {
        KRN_UNROLL
        for (int32_t v = 0; v < vecs; v++) {
            float *to = t + r * KRN_PANEL_CHANNELS + v * KRN_VEC_LANES;
            store_f(to, fma_f(sums[r][v], scales[v], load_f(to)));
        }
    }
}

KRN_ALWAYS_INLINE void slice_of_rows(const krn_tile_job *job, int32_t first, int32_t rows, int32_t vecs, int bits,
                                     int has_codebook) {
    const float *x = job->x, *expanded = (const float *)job->expanded + first;
    krn_prefetch prefetch = job->prefetch;
    for (int64_t g = job->group; g < job->group + job->num_groups; g++) {
        const uint8_t *w =
            krn_tile_group(job, g) + job->first_block * KRN_BLOCK_BYTES + first / KRN_VEC_LANES * BLOCK_SLICE_BYTES;
        const int64_t length = krn_tile_blocks(job, g) * (32 / bits);
        neon_f scales[PANEL_VECS];
        load_scales(scales, job, g, first, vecs);
        const f32_codes codes = load_codes(job, g, first, vecs, has_codebook);
        for (int64_t start = 0; start < length; start += KRN_FLOAT_BLOCK_K) {
            const int64_t inputs = length - start < KRN_FLOAT_BLOCK_K ? length - start : KRN_FLOAT_BLOCK_K;
            neon_f sums[KRN_MAX_TILE_ROWS][PANEL_VECS];
            KRN_UNROLL
            for (int32_t r = 0; r < rows; r++) {
                KRN_UNROLL
                for (int32_t v = 0; v < vecs; v++)
                    sums[r][v] = zero_f();
            }
            if (job->shares_expanded)
                fma_expanded(sums, expanded, x, inputs, rows, vecs);
            else
                fma_codes(sums, &codes, w, x, inputs, rows, vecs, bits, has_codebook, &prefetch);
            expanded += inputs * KRN_PANEL_CHANNELS;
            w += inputs * bits / 32 * KRN_BLOCK_BYTES;
            x += inputs * rows;
            fold_rows(sums, scales, job->t + first, rows, vecs);
        }
        prefetch.next += prefetch.group_stride;
    }
}

/* One copy of the loop for every height, so that its sums are registers. */
KRN_ALWAYS_INLINE void tile_f32(const krn_tile_job *job, int bits, int has_codebook) {
    if (job->shares_expanded && !job->is_expanded)
        expand(job, bits, has_codebook);
    for (int32_t first = 0; first < KRN_PANEL_CHANNELS; first += slice_vecs(job->rows) * KRN_VEC_LANES) {
        switch (job->rows) {
        case 1: slice_of_rows(job, first, 1, slice_vecs(1), bits, has_codebook); break;
        case 2: slice_of_rows(job, first, 2, slice_vecs(2), bits, has_codebook); break;
        case 3: slice_of_rows(job, first, 3, slice_vecs(3), bits, has_codebook); break;
        case 4: slice_of_rows(job, first, 4, slice_vecs(4), bits, has_codebook); break;
        case 5: slice_of_rows(job, first, 5, slice_vecs(5), bits, has_codebook); break;
        case 6: slice_of_rows(job, first, 6, slice_vecs(6), bits, has_codebook); break;
        case 7: slice_of_rows(job, first, 7, slice_vecs(7), bits, has_codebook); break;
        case 8: slice_of_rows(job, first, 8, slice_vecs(8), bits, has_codebook); break;
        case 9: slice_of_rows(job, first, 9, slice_vecs(9), bits, has_codebook); break;
        case 10: slice_of_rows(job, first, 10, slice_vecs(10), bits, has_codebook); break;
        case 11: slice_of_rows(job, first, 11, slice_vecs(11), bits, has_codebook); break;
        default: slice_of_rows(job, first, 12, slice_vecs(12), bits, has_codebook); break;
        }
    }
}

#endif
