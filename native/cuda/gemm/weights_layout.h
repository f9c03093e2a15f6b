/* How weights lie in device memory, for all kernels of the GEMM. Sections begin at multiples of 256 bytes.
 *
 * The packed order of the inputs. Groups follow one another, each filled up to whole steps of 32 inputs, the depth of
 * an integer matrix instruction; the whole is filled up to tiles of 128. Inputs that name their group (activation
 * order) stand in the order of their groups. Where this is not the order of the tensor, `order` says which input stands
 * at each place, or -1 for filling, and `places` where each input stands. Codes of filling, and of channels beyond N,
 * are 0.
 *
 * codes: tiles of 64 channels x 128 inputs, [N / 64][K / 128] of them.
 *
 *   8 bits, 8 KiB   64 rows of 128 bytes, the 16-byte chunks of row r exchanged: chunk c lies where c ^ (r % 8) would.
 *                   This is what a bulk tensor copy with a swizzle of 128 bytes leaves in shared memory: one linear
 *                   copy brings a tile, ldmatrix reads it without bank conflicts, and wgmma takes it as it is.
 *   4 bits, 4 KiB   units of 16 channels x 64 inputs, [4 of channels][2 of inputs]; in a unit, 16 bytes for each lane
 *                   of a warp: what it holds of the two 16 x 32 matrices a of mma.m16n8k32 (ptx/mma.h), as nibbles.
 *                   With r = lane / 4 and t = lane % 4, byte i of word 2 s + h has the codes of channel r + 8 h at the
 *                   inputs 32 s + 4 t + i (low nibble) and 32 s + 16 + 4 t + i (high nibble):
 *
 *                     a[h] = (word << 4) & 0xF0F0F0F0     a[2 + h] = word & 0xF0F0F0F0     16 times a code of s4
 *
 *                   A warp of wgmma.m64 holds its 16 rows of A in the same registers.
 *
 * So the slice of 16 channels x 128 inputs that a decoding warp asks for is 1 or 2 KiB in a row.
 *
 * scales, zeros, offsets and code sums: [groups][N up to a multiple of 64]; of the filling they are 0. */
#ifndef KRN_CUDA_WEIGHTS_LAYOUT_H
#define KRN_CUDA_WEIGHTS_LAYOUT_H

#include "kernels/weights.h"

enum {
    KRN_CUDA_STEP_K = 32,
    KRN_CUDA_TILE_CHANNELS = 64,
    KRN_CUDA_TILE_K = 128,
    KRN_CUDA_UNIT_CHANNELS = 16,
    KRN_CUDA_UNIT_K = 64,
    KRN_CUDA_SECTION_ALIGNMENT = 256,
};

typedef struct krn_cuda_weights_layout {
    krn_weights_desc desc;
    int64_t scale_count; /* of the unpacked form */
    /* Inputs of a group, not filled up, steps of a group, groups, and steps of all groups. */
    int64_t group_size, group_steps, num_groups, num_steps;
    /* Inputs in the packed order, a multiple of 128, and channels, a multiple of 64. */
    int64_t padded_k, padded_n;
    int32_t scale_type;  /* as stored here: doubly quantized scales are widened to f32 */
    int32_t has_order;   /* 1 where the packed order is not the tensor's, apart from filling at its end */
    int32_t code_bits;   /* 8 or 4 */
    int32_t scale_bytes; /* of one scale */
    /* Where the sections begin; -1 for those that are not there. */
    int64_t codes_at, scales_at, zeros_at, offsets_at, code_sums_at, order_at, places_at, codebook_at,
        outlier_columns_at, outlier_weights_at, bytes;
} krn_cuda_weights_layout;

/* Lays out weights of a description, which krn_weights_describe gave, with as many scales as krn_weights_scale_count
 * says. */
void krn_cuda_weights_place(const krn_weights_desc *desc, int64_t scale_count, krn_cuda_weights_layout *layout);

/* Place of a group's scale in the unpacked order. */
static inline int64_t krn_cuda_scale_index(const krn_cuda_weights_layout *l, int64_t channel, int64_t group) {
    if (l->desc.flattened != 0)
        return (channel * l->desc.k + group * l->group_size) / l->desc.group_size;
    return channel * l->num_groups + group;
}

/* Inputs of a group, not filled up. */
static inline int64_t krn_cuda_group_length(const krn_cuda_weights_layout *l, int64_t group) {
    const int64_t rest = l->desc.k - group * l->group_size;
    return rest < l->group_size ? rest : l->group_size;
}

/* Writes the weights as they lie on the device to `image`, which has layout->bytes bytes and is aligned to 16.
 * Allocates scratch memory. */
krn_status krn_cuda_weights_write(const krn_cuda_weights_layout *layout, krn_context *host, const krn_weights *weights,
                                  uint8_t *image);

#endif
