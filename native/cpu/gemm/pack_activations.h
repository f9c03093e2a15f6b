/* Packed activations: the rows of a tile interleaved, so that a tile function reads one forward stream of broadcasts.
 *
 *   quads    s8:   [k / 4][row]     dwords of 4 inputs, in order                  (vpdpbusd)
 *   pairs    16 b: [k / 2][row]     dwords of 2 inputs, (0,2) (1,3) of a block of 4,
 *                                   (0,2) (4,6) (1,3) (5,7) of a block of 8       (vpmaddwd, vdpbf16ps)
 *   singles  f32:  [k][row]         in order in a block of 4, 0 4 1 5 2 6 3 7 in a block of 8
 *
 * The orders are those in which shifts and masks bring a weight dword's codes out (layout.h). Every group is padded with
 * zeros to whole blocks, as the weights are. Plain C, compiled once per instruction set. */
#ifndef KRN_GEMM_PACK_ACTIVATIONS_H
#define KRN_GEMM_PACK_ACTIVATIONS_H

#include "common/convert.h"
#include "gemm/gemm_kernel.h"

enum {
    /* Inputs converted at a time: 1 KiB of f32, in L1 with everything else. A multiple of every block_k. */
    KRN_PACK_CHUNK = 256,
};

KRN_ALWAYS_INLINE int64_t krn_min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* The offsets (gemm_kernel.h) of x[0..count), one per run, `rows` apart. `zero` is subtracted from every value. Returns the number
 * of runs. */
KRN_ALWAYS_INLINE int64_t krn_run_offsets(const krn_layout *layout, const uint8_t *x, int64_t count, int32_t zero, int is_signed,
                                          int32_t rows, int32_t *offsets) {
    const int32_t factor = layout->format == KRN_TYPE_U4 ? -1 : -krn_layout_fixed_zero(layout);
    int64_t run = 0;
    for (int64_t start = 0; start < count; start += KRN_EXACT_K, run++) {
        const int64_t length = krn_min64(count - start, KRN_EXACT_K);
        int32_t sum = 0;
        if (is_signed)
            for (int64_t i = 0; i < length; i++)
                sum += ((const int8_t *)x)[start + i];
        else
            for (int64_t i = 0; i < length; i++)
                sum += x[start + i];
        offsets[run * rows] = (sum - (int32_t)length * zero) * factor;
    }
    return run;
}

/* u8 is moved to s8 by subtracting 128; the tile function moves its zero point likewise. */
KRN_ALWAYS_INLINE void krn_pack_quads(const krn_pack_job *job) {
    const krn_layout *layout = job->layout;
    const int is_signed = job->activations->type == KRN_TYPE_S8;
    const uint32_t flip = is_signed ? 0 : 0x80808080u;
    const int32_t rows = job->rows;
    for (int32_t r = 0; r < rows; r++) {
        const uint8_t *source = (const uint8_t *)job->activations->data + (job->first_row + r) * job->activations->ld;
        uint32_t *x = (uint32_t *)job->x + r;
        int32_t *offsets = job->x_offsets + r;
        for (int64_t g = 0; g < layout->num_groups; g++) {
            const int64_t length = krn_layout_group_length(layout, g);
            const int64_t quads = krn_layout_blocks(layout, g) * (layout->block_k / 4);
            offsets += krn_run_offsets(layout, source, length, is_signed ? 0 : 128, is_signed, rows, offsets) * rows;
            for (int64_t q = 0; q < length / 4; q++) {
                uint32_t word;
                memcpy(&word, source + 4 * q, sizeof word);
                x[q * rows] = word ^ flip;
            }
            for (int64_t q = length / 4; q < quads; q++) {
                uint8_t bytes[4] = {0};
                for (int64_t i = 4 * q; i < length; i++)
                    bytes[i - 4 * q] = (uint8_t)(source[i] ^ (flip & 255));
                memcpy(&x[q * rows], bytes, sizeof bytes);
            }
            source += length;
            x += quads * rows;
        }
    }
}

/* `inputs` values, a multiple of block_k, to dwords `rows` apart. */
KRN_ALWAYS_INLINE void krn_interleave_pairs(const uint16_t *values, int64_t inputs, int64_t block_k, int32_t rows, uint32_t *x) {
    for (int64_t k = 0; k < inputs; k += 4, values += 4) {
        const uint32_t even = values[0] | (uint32_t)values[2] << 16;
        const uint32_t odd = values[1] | (uint32_t)values[3] << 16;
        /* In a block of 8, the two quads' even pairs come first, then the odd ones. */
        const int64_t dword = block_k == 4 ? k / 2 : k / 8 * 4 + k % 8 / 4;
        x[dword * rows] = even;
        x[(dword + (block_k == 4 ? 1 : 2)) * rows] = odd;
    }
}

KRN_ALWAYS_INLINE void krn_interleave_singles(const float *values, int64_t inputs, int64_t block_k, int32_t rows, float *x) {
    if (block_k == 4) {
        for (int64_t k = 0; k < inputs; k++)
            x[k * rows] = values[k];
        return;
    }
    for (int64_t k = 0; k < inputs; k += 8, values += 8, x += 8 * rows) {
        for (int64_t i = 0; i < 4; i++) {
            x[2 * i * rows] = values[i];
            x[(2 * i + 1) * rows] = values[4 + i];
        }
    }
}

/* s8 and u8 as s16 with the zero point subtracted. */
KRN_ALWAYS_INLINE void krn_pack_pairs_s16(const krn_pack_job *job) {
    const krn_layout *layout = job->layout;
    const int is_signed = job->activations->type == KRN_TYPE_S8;
    const int32_t rows = job->rows;
    for (int32_t r = 0; r < rows; r++) {
        const int64_t row = job->first_row + r;
        const uint8_t *source = (const uint8_t *)job->activations->data + row * job->activations->ld;
        const int32_t zero = is_signed ? 0 : job->activations->zero_points[row];
        uint32_t *x = (uint32_t *)job->x + r;
        int32_t *offsets = job->x_offsets + r;
        for (int64_t g = 0; g < layout->num_groups; g++) {
            const int64_t length = krn_layout_group_length(layout, g);
            const int64_t padded = krn_layout_blocks(layout, g) * layout->block_k;
            offsets += krn_run_offsets(layout, source, length, zero, is_signed, rows, offsets) * rows;
            for (int64_t start = 0; start < padded; start += KRN_PACK_CHUNK) {
                const int64_t inputs = krn_min64(padded - start, KRN_PACK_CHUNK);
                const int64_t real = krn_min64(length - start, inputs);
                uint16_t values[KRN_PACK_CHUNK] = {0};
                if (is_signed)
                    for (int64_t i = 0; i < real; i++)
                        values[i] = (uint16_t)((const int8_t *)source)[start + i];
                else
                    for (int64_t i = 0; i < real; i++)
                        values[i] = (uint16_t)(source[start + i] - zero);
                krn_interleave_pairs(values, inputs, layout->block_k, rows, x);
                x += inputs / 2 * rows;
            }
            source += length;
        }
    }
}

KRN_ALWAYS_INLINE void krn_pack_pairs_bf16(const krn_pack_job *job) {
    const krn_layout *layout = job->layout;
    const int32_t rows = job->rows;
    for (int32_t r = 0; r < rows; r++) {
        const uint16_t *source = (const uint16_t *)job->activations->data + (job->first_row + r) * job->activations->ld;
        uint32_t *x = (uint32_t *)job->x + r;
        for (int64_t g = 0; g < layout->num_groups; g++) {
            const int64_t length = krn_layout_group_length(layout, g);
            const int64_t padded = krn_layout_blocks(layout, g) * layout->block_k;
            for (int64_t start = 0; start < padded; start += KRN_PACK_CHUNK) {
                const int64_t inputs = krn_min64(padded - start, KRN_PACK_CHUNK);
                const int64_t real = krn_min64(length - start, inputs);
                uint16_t values[KRN_PACK_CHUNK] = {0};
                memcpy(values, source + start, (size_t)real * sizeof values[0]);
                krn_interleave_pairs(values, inputs, layout->block_k, rows, x);
                x += inputs / 2 * rows;
            }
            source += length;
        }
    }
}

KRN_ALWAYS_INLINE void krn_pack_singles(const krn_pack_job *job) {
    const krn_layout *layout = job->layout;
    const krn_activations *a = job->activations;
    const int32_t rows = job->rows;
    for (int32_t r = 0; r < rows; r++) {
        const int64_t row_start = (job->first_row + r) * a->ld;
        float *x = (float *)job->x + r;
        for (int64_t g = 0; g < layout->num_groups; g++) {
            const int64_t first = row_start + krn_layout_group_start(layout, g);
            const int64_t length = krn_layout_group_length(layout, g);
            const int64_t padded = krn_layout_blocks(layout, g) * layout->block_k;
            for (int64_t start = 0; start < padded; start += KRN_PACK_CHUNK) {
                const int64_t inputs = krn_min64(padded - start, KRN_PACK_CHUNK);
                const int64_t real = krn_min64(length - start, inputs);
                float values[KRN_PACK_CHUNK];
                krn_widen(values, a->type, a->data, first + start, real);
                for (int64_t i = real; i < inputs; i++)
                    values[i] = 0;
                krn_interleave_singles(values, inputs, layout->block_k, rows, x);
                x += inputs * rows;
            }
        }
    }
}

#endif
