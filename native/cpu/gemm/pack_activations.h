/* Packed activations: the rows of a tile interleaved, so that a tile function reads one forward stream of broadcasts.
 *
 *   quads    s8:   [k / 4][row]     dwords of 4 inputs, in order                  (vpdpbusd, sdot)
 *   octs     s8:   [k / 8][row]     8 inputs in order; of 4 left over, quads      (usmmla)
 *   pairs    16 b: [k / 2][row]     dwords of 2 inputs, (0,2) (1,3) of a block of 4,
 *                                   (0,2) (4,6) (1,3) (5,7) of a block of 8       (vpmaddwd, vdpbf16ps)
 *   quads    bf16: [k / 4][row]     4 inputs in order                             (bfmmla)
 *   singles  f32:  [k][row]         in order in a block of 4, 0 4 1 5 2 6 3 7 in a block of 8
 *
 * The orders are those in which shifts and masks bring a weight dword's codes out (layout.h). Every group is padded
 * with zeros to whole blocks, as the weights are. Each row is first put into order on its own, in pieces that stay in
 * L1, then the rows are interleaved. Compiled once per instruction set. */
#ifndef KRN_GEMM_PACK_ACTIVATIONS_H
#define KRN_GEMM_PACK_ACTIVATIONS_H

#include "common/convert.h"
#include "gemm/gemm_kernel.h"
#include "gemm/transpose.h"
#if defined(__AVX512F__)
#include "gemm/interleave_avx512.h"
#endif

enum {
    /* Inputs put into order at a time: 12 KiB for 12 rows of f32, in L1 with its source. A multiple of every
     * block_k. */
    KRN_PACK_CHUNK = 256,
};

/* Dwords of every row of a chunk, in the order in which they will be streamed. */
typedef struct krn_pack_chunk {
    uint32_t rows[KRN_MAX_TILE_ROWS][KRN_PACK_CHUNK];
} krn_pack_chunk;

KRN_ALWAYS_INLINE int64_t krn_min64(int64_t a, int64_t b) { return a < b ? a : b; }

/* x[i * rows + r] = chunk->rows[r][i] for i < count, which is at most KRN_PACK_CHUNK. */
typedef void krn_interleave_function(uint32_t *x, const krn_pack_chunk *chunk, int64_t count, int32_t rows);

KRN_ALWAYS_INLINE void krn_interleave(uint32_t *x, const krn_pack_chunk *chunk, int64_t count, int32_t rows) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + KRN_INTERLEAVED_DWORDS <= count; i += KRN_INTERLEAVED_DWORDS)
        krn_interleave_16(x + i * rows, &chunk->rows[0][i], (int64_t)sizeof chunk->rows[0], rows, 0);
#endif
    for (; i < count; i += 4) {
        const int64_t left = krn_min64(count - i, 4);
        int32_t r = 0;
        for (; r + 4 <= rows && left == 4; r += 4)
            krn_transpose_4x4(x + i * rows + r, rows, &chunk->rows[r][i], KRN_PACK_CHUNK);
        for (; r < rows; r++)
            for (int64_t j = i; j < i + left; j++)
                x[j * rows + r] = chunk->rows[r][j];
    }
}

/* Pairs of dwords stay together: x[(i / 2 * rows + r) * 2 + i % 2]; a lone last one as above. */
KRN_ALWAYS_INLINE void krn_interleave_pairs(uint32_t *x, const krn_pack_chunk *chunk, int64_t count, int32_t rows) {
    int64_t i = 0;
    for (; i + 2 <= count; i += 2)
        for (int32_t r = 0; r < rows; r++)
            memcpy(x + i * rows + 2 * r, &chunk->rows[r][i], 2 * sizeof *x);
    for (int32_t r = 0; i < count && r < rows; r++)
        x[i * rows + r] = chunk->rows[r][i];
}

KRN_ALWAYS_INLINE const uint8_t *krn_source_row(const krn_pack_job *job, int32_t r, int64_t element_bytes) {
    return (const uint8_t *)job->activations->data + (job->first_row + r) * job->activations->ld * element_bytes;
}

/* Where the elements of some inputs of a row lie: in the row, or, when the weights bring their own order, gathered
 * here. */
typedef union krn_gathered {
    uint8_t bytes[KRN_PACK_CHUNK];
    uint16_t halves[KRN_PACK_CHUNK];
    uint32_t words[KRN_PACK_CHUNK];
} krn_gathered;

/* Inputs first..first+count-1 of row r; at most KRN_PACK_CHUNK when there is a permutation. */
KRN_ALWAYS_INLINE const void *krn_row_inputs(const krn_pack_job *job, int32_t r, int64_t first, int64_t count,
                                             int64_t element_bytes, krn_gathered *gathered) {
    const uint8_t *row = krn_source_row(job, r, element_bytes);
    if (job->permutation == NULL)
        return row + first * element_bytes;
    const int32_t *from = job->permutation + first;
    if (element_bytes == 1)
        for (int64_t i = 0; i < count; i++)
            gathered->bytes[i] = row[from[i]];
    else if (element_bytes == 2)
        for (int64_t i = 0; i < count; i++)
            gathered->halves[i] = ((const uint16_t *)(const void *)row)[from[i]];
    else
        for (int64_t i = 0; i < count; i++)
            gathered->words[i] = ((const uint32_t *)(const void *)row)[from[i]];
    return gathered;
}

/* The sum of a group of float activations, in binary64: eight partial sums, which a compiler keeps in vectors. */
KRN_ALWAYS_INLINE float krn_float_group_sum(const krn_pack_job *job, int32_t r, int64_t first, int64_t length) {
    const int32_t type = job->activations->type;
    double sums[8] = {0};
    for (int64_t start = 0; start < length; start += KRN_PACK_CHUNK) {
        const int64_t count = krn_min64(length - start, KRN_PACK_CHUNK);
        krn_gathered gathered;
        float values[KRN_PACK_CHUNK];
        const void *inputs = krn_row_inputs(job, r, first + start, count, krn_float_bytes(type), &gathered);
        krn_widen(values, type, inputs, 0, count);
        for (int64_t i = count; i % 8 != 0; i++)
            values[i] = 0;
        for (int64_t i = 0; i < count; i += 8)
            for (int64_t j = 0; j < 8; j++)
                sums[j] += values[i + j];
    }
    return (float)(((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7])));
}

KRN_ALWAYS_INLINE void krn_pack_float_sums(const krn_pack_job *job) {
    if (job->x_sums == NULL)
        return;
    for (int32_t r = 0; r < job->rows; r++)
        for (int64_t g = 0; g < job->layout->num_groups; g++)
            job->x_sums[g * job->rows + r] = krn_float_group_sum(job, r, krn_layout_group_start(job->layout, g),
                                                                 krn_layout_group_length(job->layout, g));
}

/* How a variant puts `inputs` inputs of row r (the first `real` of them exist, the rest are zero) into order: to
 * `inputs` divided by the values per dword dwords. `first` is an input of the row. Gives the sum of the packed values
 * where they are integers, else 0. */
typedef int32_t krn_order_function(const krn_pack_job *job, int32_t r, int64_t first, int64_t real, int64_t inputs,
                                   uint32_t *dwords);

KRN_ALWAYS_INLINE void krn_pack_ordered(const krn_pack_job *job, krn_order_function *order, int64_t values_per_dword,
                                        krn_interleave_function *interleave) {
    const krn_layout *layout = job->layout;
    krn_pack_chunk chunk;
    uint32_t *x = job->x;
    for (int64_t g = 0; g < layout->num_groups; g++) {
        const int64_t length = krn_layout_group_length(layout, g);
        const int64_t padded = krn_layout_blocks(layout, g) * layout->block_k;
        for (int64_t start = 0; start < padded; start += KRN_PACK_CHUNK) {
            const int64_t inputs = krn_min64(padded - start, KRN_PACK_CHUNK);
            for (int32_t r = 0; r < job->rows; r++)
                order(job, r, krn_layout_group_start(layout, g) + start, krn_min64(length - start, inputs), inputs,
                      chunk.rows[r]);
            interleave(x, &chunk, inputs / values_per_dword, job->rows);
            x += inputs / values_per_dword * job->rows;
        }
    }
}

/* The same for integers, with the offsets (krn_pack_job) of all runs and, where they are wanted, the sums of groups.
 * `packs_differences`: packing subtracts the zero points of u8; else 128. */
KRN_ALWAYS_INLINE void krn_pack_integers(const krn_pack_job *job, krn_order_function *order, int64_t values_per_dword,
                                         int packs_differences, krn_interleave_function *interleave) {
    const krn_layout *layout = job->layout;
    const int32_t factor = krn_layout_has_zeros(layout) ? -1 : -krn_layout_fixed_zero(layout);
    const int has_shift = !packs_differences && job->activations->type == KRN_TYPE_U8;
    krn_pack_chunk chunk;
    uint32_t *x = job->x;
    int32_t *offsets = job->x_offsets;
    for (int64_t g = 0; g < layout->num_groups; g++) {
        const int64_t length = krn_layout_group_length(layout, g);
        const int64_t padded = krn_layout_blocks(layout, g) * layout->block_k;
        int64_t sums[KRN_MAX_TILE_ROWS] = {0};
        for (int64_t start = 0; start < padded; start += KRN_PACK_CHUNK) {
            const int64_t inputs = krn_min64(padded - start, KRN_PACK_CHUNK);
            /* Chunks divide runs. */
            const int opens_run = start % KRN_EXACT_K == 0;
            if (opens_run && start > 0)
                offsets += job->rows;
            for (int32_t r = 0; r < job->rows; r++) {
                const int32_t sum = order(job, r, krn_layout_group_start(layout, g) + start,
                                          krn_min64(length - start, inputs), inputs, chunk.rows[r]);
                offsets[r] = (opens_run ? 0 : offsets[r]) + sum * factor;
                sums[r] += sum;
            }
            interleave(x, &chunk, inputs / values_per_dword, job->rows);
            x += inputs / values_per_dword * job->rows;
        }
        offsets += job->rows;
        for (int32_t r = 0; job->x_sums != NULL && r < job->rows; r++) {
            const int32_t shift = has_shift ? 128 - job->activations->zero_points[job->first_row + r] : 0;
            job->x_sums[g * job->rows + r] = (float)(sums[r] + length * shift);
        }
    }
}

/* A nibble of the low 4 bits, as s8. */
KRN_ALWAYS_INLINE uint8_t krn_extend_nibble(unsigned nibble) { return (uint8_t)((nibble ^ 8) - 8); }

/* Elements first..first+count-1 of a row of nibbles. */
KRN_ALWAYS_INLINE void krn_widen_s4(const uint8_t *row, int64_t first, int64_t count, uint8_t *codes) {
    const uint8_t *source = row + first / 2;
    /* A group may begin in the middle of a byte. */
    if (first % 2 != 0 && count > 0) {
        *codes++ = krn_extend_nibble(*source++ >> 4);
        count--;
    }
    for (int64_t i = 0; i < count / 2; i++) {
        codes[2 * i] = krn_extend_nibble(source[i] & 15u);
        codes[2 * i + 1] = krn_extend_nibble(source[i] >> 4);
    }
    if (count % 2 != 0)
        codes[count - 1] = krn_extend_nibble(source[count / 2] & 15u);
}

/* Integer activations, one per byte, as they come or made from floats. */
KRN_ALWAYS_INLINE void krn_read_codes(const krn_pack_job *job, int32_t r, int64_t first, int64_t count,
                                      uint8_t *codes) {
    const krn_activations *a = job->activations;
    if (job->dynamic != NULL) {
        krn_dynamic_encode(job->dynamic, job->first_row + r, first, count, codes);
    } else if (a->type == KRN_TYPE_S4) {
        const uint8_t *row = (const uint8_t *)a->data + (job->first_row + r) * krn_type_row_bytes(KRN_TYPE_S4, a->ld);
        if (job->permutation == NULL)
            krn_widen_s4(row, first, count, codes);
        else
            for (int64_t i = 0; i < count; i++)
                krn_widen_s4(row, job->permutation[first + i], 1, codes + i);
    } else {
        krn_gathered gathered;
        memcpy(codes, krn_row_inputs(job, r, first, count, 1, &gathered), (size_t)count);
    }
}

/* u8 is moved to s8 by subtracting 128; the tile function moves its zero point likewise. */
KRN_ALWAYS_INLINE int32_t krn_order_quads(const krn_pack_job *job, int32_t r, int64_t first, int64_t real,
                                          int64_t inputs, uint32_t *dwords) {
    const uint8_t flip = job->activations->type == KRN_TYPE_U8 ? 0x80 : 0;
    uint8_t *bytes = (uint8_t *)dwords;
    krn_read_codes(job, r, first, real, bytes);
    int32_t sum = 0;
    for (int64_t i = 0; i < real; i++) {
        bytes[i] ^= flip;
        sum += (int8_t)bytes[i];
    }
    for (int64_t i = real; i < inputs; i++)
        bytes[i] = 0;
    return sum;
}

KRN_ALWAYS_INLINE void krn_pack_quads(const krn_pack_job *job) {
    krn_pack_integers(job, krn_order_quads, 4, 0, krn_interleave);
}

KRN_ALWAYS_INLINE void krn_pack_octs(const krn_pack_job *job) {
    krn_pack_integers(job, krn_order_quads, 4, 0, krn_interleave_pairs);
}

/* Pairs of a quad: inputs 0 and 2, then 1 and 3. In a block of 8, the two quads' even pairs come first, then their
 * odd ones. */
KRN_ALWAYS_INLINE void krn_order_pairs(const uint16_t *values, int64_t inputs, int64_t block_k, uint32_t *dwords) {
    for (int64_t k = 0; k < inputs; k += block_k, values += block_k, dwords += block_k / 2) {
        const int64_t quads = block_k / 4;
        for (int64_t q = 0; q < quads; q++) {
            dwords[q] = values[4 * q] | (uint32_t)values[4 * q + 2] << 16;
            dwords[quads + q] = values[4 * q + 1] | (uint32_t)values[4 * q + 3] << 16;
        }
    }
}

/* A constant block length lets the compiler make shuffles of the loops. */
KRN_ALWAYS_INLINE void krn_order_pairs_of(const krn_layout *layout, const uint16_t *values, int64_t inputs,
                                          uint32_t *dwords) {
    if (layout->block_k == 8)
        krn_order_pairs(values, inputs, 8, dwords);
    else
        krn_order_pairs(values, inputs, 4, dwords);
}

/* As s16 with the zero point subtracted. */
KRN_ALWAYS_INLINE int32_t krn_order_pairs_s16(const krn_pack_job *job, int32_t r, int64_t first, int64_t real,
                                              int64_t inputs, uint32_t *dwords) {
    uint8_t codes[KRN_PACK_CHUNK];
    int16_t values[KRN_PACK_CHUNK];
    krn_read_codes(job, r, first, real, codes);
    int32_t sum = 0;
    if (job->activations->type == KRN_TYPE_U8) {
        const int32_t zero = job->activations->zero_points[job->first_row + r];
        for (int64_t i = 0; i < real; i++)
            values[i] = (int16_t)(codes[i] - zero);
    } else {
        for (int64_t i = 0; i < real; i++)
            values[i] = (int8_t)codes[i];
    }
    for (int64_t i = 0; i < real; i++)
        sum += values[i];
    for (int64_t i = real; i < inputs; i++)
        values[i] = 0;
    krn_order_pairs_of(job->layout, (const uint16_t *)values, inputs, dwords);
    return sum;
}

KRN_ALWAYS_INLINE void krn_pack_pairs_s16(const krn_pack_job *job) {
    krn_pack_integers(job, krn_order_pairs_s16, 2, 1, krn_interleave);
}

KRN_ALWAYS_INLINE int32_t krn_order_pairs_bf16(const krn_pack_job *job, int32_t r, int64_t first, int64_t real,
                                               int64_t inputs, uint32_t *dwords) {
    uint16_t padded[KRN_PACK_CHUNK];
    krn_gathered gathered;
    const uint16_t *values = krn_row_inputs(job, r, first, real, 2, &gathered);
    if (real < inputs) {
        memcpy(padded, values, (size_t)real * sizeof padded[0]);
        memset(padded + real, 0, (size_t)(inputs - real) * sizeof padded[0]);
        values = padded;
    }
    krn_order_pairs_of(job->layout, values, inputs, dwords);
    return 0;
}

KRN_ALWAYS_INLINE void krn_pack_pairs_bf16(const krn_pack_job *job) {
    krn_pack_float_sums(job);
    krn_pack_ordered(job, krn_order_pairs_bf16, 2, krn_interleave);
}

KRN_ALWAYS_INLINE int32_t krn_order_quads_bf16(const krn_pack_job *job, int32_t r, int64_t first, int64_t real,
                                               int64_t inputs, uint32_t *dwords) {
    uint16_t *values = (uint16_t *)(void *)dwords;
    krn_gathered gathered;
    memcpy(values, krn_row_inputs(job, r, first, real, 2, &gathered), (size_t)real * sizeof values[0]);
    memset(values + real, 0, (size_t)(inputs - real) * sizeof values[0]);
    return 0;
}

KRN_ALWAYS_INLINE void krn_pack_quads_bf16(const krn_pack_job *job) {
    krn_pack_float_sums(job);
    krn_pack_ordered(job, krn_order_quads_bf16, 2, krn_interleave_pairs);
}

KRN_ALWAYS_INLINE int32_t krn_order_singles(const krn_pack_job *job, int32_t r, int64_t first, int64_t real,
                                            int64_t inputs, uint32_t *dwords) {
    float widened[KRN_PACK_CHUNK];
    const int32_t type = job->activations->type;
    krn_gathered gathered;
    const void *source = krn_row_inputs(job, r, first, real, krn_float_bytes(type), &gathered);
    const float *values = source;
    if (type != KRN_TYPE_F32 || real < inputs) {
        krn_widen(widened, type, source, 0, real);
        memset(widened + real, 0, (size_t)(inputs - real) * sizeof widened[0]);
        values = widened;
    }
    if (job->layout->block_k == 4) {
        memcpy(dwords, values, (size_t)inputs * sizeof values[0]);
        return 0;
    }
    for (int64_t k = 0; k < inputs; k += 8) {
        for (int64_t i = 0; i < 4; i++) {
            memcpy(&dwords[k + 2 * i], &values[k + i], 4);
            memcpy(&dwords[k + 2 * i + 1], &values[k + 4 + i], 4);
        }
    }
    return 0;
}

KRN_ALWAYS_INLINE void krn_pack_singles(const krn_pack_job *job) {
    krn_pack_float_sums(job);
    krn_pack_ordered(job, krn_order_singles, 1, krn_interleave);
}

#endif
