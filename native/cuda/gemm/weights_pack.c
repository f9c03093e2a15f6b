/* Brings packed weights of the CPU into the layout of weights_layout.h: they are unpacked first, so that what one packs
 * the other reads, and every value keeps its bits. */
#include "cuda/gemm/weights_layout.h"

#include "common/convert.h"
#include "common/status.h"

#include <stdlib.h>
#include <string.h>

enum { NESTED_BLOCK = 256, MAP_SIZE = 256 };

/* What krn_weights_unpack gives, and the order of the inputs. One allocation. */
typedef struct {
    void *memory;
    uint8_t *codes;
    int64_t codes_ld_bytes;
    void *scales, *offsets, *outlier_weights;
    int32_t *zeros, *group_index;
    float *scale_map, *nested_scales;
    float scale_offset;
    int32_t *places; /* the input at each place of the packed order [padded_k], or -1 */
    int64_t *next;   /* for counting [num_groups] */
} unpacked;

/* The next `bytes` bytes of one allocation, or of a measurement when `memory` is NULL. */
static void *take(uint8_t *memory, int64_t *at, int64_t bytes) {
    void *part = memory == NULL ? NULL : memory + *at;
    *at += (bytes + 63) / 64 * 64;
    return part;
}

static int64_t cut(const krn_cuda_weights_layout *l, uint8_t *memory, unpacked *u) {
    const krn_weights_desc *d = &l->desc;
    const int32_t source_bytes = d->scale_type == KRN_TYPE_U8 ? 1 : l->scale_bytes;
    int64_t at = 0;
    u->memory = memory;
    u->codes_ld_bytes = krn_type_row_bytes(d->format, d->k);
    u->codes = take(memory, &at, d->n * u->codes_ld_bytes);
    u->scales = take(memory, &at, l->scale_count * source_bytes);
    u->zeros = take(memory, &at, l->scale_count * 4);
    u->offsets = take(memory, &at, l->scale_count * 4);
    u->outlier_weights = take(memory, &at, d->n * d->num_outliers * 4);
    u->group_index = take(memory, &at, d->k * 4);
    u->scale_map = take(memory, &at, MAP_SIZE * 4);
    u->nested_scales = take(memory, &at, (l->scale_count + NESTED_BLOCK - 1) / NESTED_BLOCK * 4);
    u->places = take(memory, &at, l->padded_k * 4);
    u->next = take(memory, &at, l->num_groups * 8);
    return at;
}

static krn_status unpack(const krn_cuda_weights_layout *l, krn_context *host, const krn_weights *weights,
                         uint8_t *image, const unpacked *u, float *scale_offset) {
    const krn_weights_desc *d = &l->desc;
    const krn_weights_parts parts = {
        .struct_size = sizeof parts,
        .codes = u->codes,
        .codes_ld_bytes = u->codes_ld_bytes,
        .scales = u->scales,
        .zero_points = l->zeros_at < 0 ? NULL : u->zeros,
        .zero_offsets = l->offsets_at < 0 ? NULL : u->offsets,
        .codebook = l->codebook_at < 0 ? NULL : (float *)(image + l->codebook_at),
        .group_index = d->ordered == 0 ? NULL : u->group_index,
        .scale_map = d->scale_type == KRN_TYPE_U8 ? u->scale_map : NULL,
        .nested_scales = d->scale_type == KRN_TYPE_U8 ? u->nested_scales : NULL,
        .scale_offset = d->scale_type == KRN_TYPE_U8 ? scale_offset : NULL,
        .outlier_columns = d->num_outliers > 0 ? (int32_t *)(image + l->outlier_columns_at) : NULL,
        .outlier_weights = d->num_outliers > 0 ? u->outlier_weights : NULL,
    };
    return krn_weights_unpack(host, weights, &parts);
}

static void order_inputs(const krn_cuda_weights_layout *l, const unpacked *u) {
    for (int64_t i = 0; i < l->padded_k; i++)
        u->places[i] = -1;
    for (int64_t g = 0; g < l->num_groups; g++)
        u->next[g] = g * l->group_steps * KRN_CUDA_STEP_K;
    for (int64_t k = 0; k < l->desc.k; k++) {
        const int64_t group = l->desc.ordered != 0 ? u->group_index[k] : k / l->group_size;
        u->places[u->next[group]++] = (int32_t)k;
    }
}

/* A code as a signed number; of u4 and c4 as it is. */
static int32_t code_at(const krn_cuda_weights_layout *l, const unpacked *u, int64_t n, int64_t k) {
    const uint8_t *row = u->codes + n * u->codes_ld_bytes;
    if (l->code_bits == 8)
        return (int8_t)row[k];
    const int32_t nibble = (row[k / 2] >> (k % 2 * 4)) & 15;
    return l->desc.format == KRN_TYPE_S4 ? (nibble ^ 8) - 8 : nibble;
}

/* Puts the code of a channel at a place of the packed order. */
static void put_code(const krn_cuda_weights_layout *l, uint8_t *codes, int64_t n, int64_t place, int32_t code) {
    const int64_t tile_bytes = (int64_t)KRN_CUDA_TILE_CHANNELS * KRN_CUDA_TILE_K * l->code_bits / 8;
    const int64_t tile = n / KRN_CUDA_TILE_CHANNELS * (l->padded_k / KRN_CUDA_TILE_K) + place / KRN_CUDA_TILE_K;
    uint8_t *to = codes + tile * tile_bytes;
    const int64_t row = n % KRN_CUDA_TILE_CHANNELS, k = place % KRN_CUDA_TILE_K;
    if (l->code_bits == 8) {
        to[row * KRN_CUDA_TILE_K + ((k / 16) ^ (row % 8)) * 16 + k % 16] = (uint8_t)code;
        return;
    }
    const int64_t unit = row / KRN_CUDA_UNIT_CHANNELS * 2 + k / KRN_CUDA_UNIT_K;
    const int64_t lane = row % 8 * 4 + k % 16 / 4;
    const int64_t word = k % KRN_CUDA_UNIT_K / KRN_CUDA_STEP_K * 2 + row % KRN_CUDA_UNIT_CHANNELS / 8;
    const int shift = k % KRN_CUDA_STEP_K < 16 ? 0 : 4;
    uint8_t *byte = to + unit * 512 + lane * 16 + word * 4 + k % 4;
    *byte = (uint8_t)(*byte | (code & 15) << shift);
}

static float scale_at(const krn_cuda_weights_layout *l, const unpacked *u, int64_t index) {
    if (l->desc.scale_type != KRN_TYPE_U8)
        return krn_float_at(l->scale_type, u->scales, index);
    const float product = u->scale_map[((const uint8_t *)u->scales)[index]] * u->nested_scales[index / NESTED_BLOCK];
    return product + u->scale_offset;
}

static void write_codes(const krn_cuda_weights_layout *l, const unpacked *u, uint8_t *codes) {
    for (int64_t n = 0; n < l->desc.n; n++)
        for (int64_t i = 0; i < l->padded_k; i++)
            if (u->places[i] >= 0)
                put_code(l, codes, n, i, code_at(l, u, n, u->places[i]));
}

static void write_groups(const krn_cuda_weights_layout *l, const unpacked *u, uint8_t *image) {
    for (int64_t g = 0; g < l->num_groups; g++) {
        for (int64_t n = 0; n < l->desc.n; n++) {
            const int64_t from = krn_cuda_scale_index(l, n, g), to = g * l->padded_n + n;
            krn_put_float(l->scale_type, image + l->scales_at, to, scale_at(l, u, from));
            if (l->zeros_at >= 0)
                image[l->zeros_at + to] = (uint8_t)u->zeros[from];
            if (l->offsets_at >= 0)
                ((float *)(image + l->offsets_at))[to] = krn_float_at(l->desc.zero_type, u->offsets, from);
            if (l->code_sums_at < 0)
                continue;
            const int64_t length = krn_cuda_group_length(l, g);
            int64_t sum = l->zeros_at >= 0 ? -u->zeros[from] * length : 0;
            const int32_t *places = u->places + g * l->group_steps * KRN_CUDA_STEP_K;
            for (int64_t i = 0; i < length; i++)
                sum += code_at(l, u, n, places[i]);
            /* Cut where it does not fit; the door refuses u8 activations then (KRN_CUDA_MAX_SUMMED_GROUP). */
            ((int32_t *)(image + l->code_sums_at))[to] = (int32_t)sum;
        }
    }
}

static void write_outliers(const krn_cuda_weights_layout *l, const unpacked *u, uint8_t *image) {
    const int32_t type = l->desc.outlier_type == 0 ? KRN_TYPE_F32 : l->desc.outlier_type;
    float *to = (float *)(image + l->outlier_weights_at);
    for (int64_t n = 0; n < l->desc.n; n++)
        for (int64_t i = 0; i < l->desc.num_outliers; i++)
            to[i * l->padded_n + n] = krn_float_at(type, u->outlier_weights, n * l->desc.num_outliers + i);
}

krn_status krn_cuda_weights_write(const krn_cuda_weights_layout *layout, krn_context *host, const krn_weights *weights,
                                  uint8_t *image) {
    unpacked u = {0};
    const int64_t bytes = cut(layout, NULL, &u);
    uint8_t *memory = malloc((size_t)bytes + 1);
    if (memory == NULL)
        return krn_fail(KRN_ERROR_OUT_OF_MEMORY, "no memory for %lld bytes of unpacked weights", (long long)bytes);
    cut(layout, memory, &u);
    memset(image, 0, (size_t)layout->bytes);
    const krn_status status = unpack(layout, host, weights, image, &u, &u.scale_offset);
    if (status == KRN_OK) {
        order_inputs(layout, &u);
        write_codes(layout, &u, image + layout->codes_at);
        write_groups(layout, &u, image);
        if (layout->has_order)
            memcpy(image + layout->order_at, u.places, (size_t)(layout->padded_k * (int64_t)sizeof(int32_t)));
        if (layout->desc.num_outliers > 0)
            write_outliers(layout, &u, image);
    }
    free(memory);
    return status;
}
