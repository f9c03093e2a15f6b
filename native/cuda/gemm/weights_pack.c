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
    int8_t *ordered; /* a channel's codes in the packed order [padded_k] */
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
    u->ordered = take(memory, &at, l->padded_k);
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

/* The codes of a channel in the packed order, as signed numbers; of u4 and c4 as they are, of filling 0. */
static void order_codes(const krn_cuda_weights_layout *l, const unpacked *u, int64_t n, int8_t *codes) {
    const uint8_t *row = u->codes + n * u->codes_ld_bytes;
    const int32_t sign = l->desc.format == KRN_TYPE_S4 ? 8 : 0;
    for (int64_t i = 0; i < l->padded_k; i++) {
        const int32_t k = u->places[i];
        if (k < 0)
            codes[i] = 0;
        else if (l->code_bits == 8)
            codes[i] = (int8_t)row[k];
        else
            codes[i] = (int8_t)((((row[k / 2] >> (k % 2 * 4)) & 15) ^ sign) - sign);
    }
}

/* Puts a channel's codes, 128 of them, into a tile: `row` is the channel's place in it. */
static void put_bytes(const int8_t *codes, int64_t row, uint8_t *tile) {
    for (int64_t chunk = 0; chunk < KRN_CUDA_TILE_K / 16; chunk++)
        memcpy(tile + row * KRN_CUDA_TILE_K + (chunk ^ (row % 8)) * 16, codes + chunk * 16, 16);
}

static void put_nibbles(const int8_t *codes, int64_t row, uint8_t *tile) {
    uint8_t *block = tile + row / KRN_CUDA_UNIT_CHANNELS * 1024 + row % 8 * 64 + row % KRN_CUDA_UNIT_CHANNELS / 8 * 4;
    for (int64_t step = 0; step < KRN_CUDA_TILE_K / KRN_CUDA_STEP_K; step++) {
        const int8_t *from = codes + step * KRN_CUDA_STEP_K;
        uint8_t *to = block + step / 2 * 512 + step % 2 * 8;
        for (int64_t i = 0; i < 16; i++)
            to[i / 4 * 16 + i % 4] = (uint8_t)((from[i] & 15) | (from[16 + i] & 15) << 4);
    }
}

static float scale_at(const krn_cuda_weights_layout *l, const unpacked *u, int64_t index) {
    if (l->desc.scale_type != KRN_TYPE_U8)
        return krn_float_at(l->scale_type, u->scales, index);
    const float product = u->scale_map[((const uint8_t *)u->scales)[index]] * u->nested_scales[index / NESTED_BLOCK];
    return product + u->scale_offset;
}

/* Sums of a channel's codes less their zero points. */
static void write_sums(const krn_cuda_weights_layout *l, const unpacked *u, int64_t n, const int8_t *codes,
                       int32_t *sums) {
    for (int64_t g = 0; g < l->num_groups; g++) {
        const int64_t length = krn_cuda_group_length(l, g);
        const int8_t *from = codes + g * l->group_steps * KRN_CUDA_STEP_K;
        int64_t sum = l->zeros_at >= 0 ? -u->zeros[krn_cuda_scale_index(l, n, g)] * length : 0;
        for (int64_t i = 0; i < length; i++)
            sum += from[i];
        /* Cut where it does not fit; the door refuses u8 activations then. */
        sums[g * l->padded_n + n] = (int32_t)sum;
    }
}

static void write_codes(const krn_cuda_weights_layout *l, const unpacked *u, uint8_t *image) {
    const int64_t tiles = l->padded_k / KRN_CUDA_TILE_K;
    const int64_t tile_bytes = (int64_t)KRN_CUDA_TILE_CHANNELS * KRN_CUDA_TILE_K * l->code_bits / 8;
    for (int64_t n = 0; n < l->desc.n; n++) {
        const int64_t row = n % KRN_CUDA_TILE_CHANNELS;
        uint8_t *to = image + l->codes_at + n / KRN_CUDA_TILE_CHANNELS * tiles * tile_bytes;
        order_codes(l, u, n, u->ordered);
        for (int64_t t = 0; t < tiles; t++) {
            if (l->code_bits == 8)
                put_bytes(u->ordered + t * KRN_CUDA_TILE_K, row, to + t * tile_bytes);
            else
                put_nibbles(u->ordered + t * KRN_CUDA_TILE_K, row, to + t * tile_bytes);
        }
        if (l->code_sums_at >= 0)
            write_sums(l, u, n, u->ordered, (int32_t *)(image + l->code_sums_at));
    }
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
        }
    }
}

static void write_order(const krn_cuda_weights_layout *l, const unpacked *u, uint8_t *image) {
    memcpy(image + l->order_at, u->places, (size_t)(l->padded_k * (int64_t)sizeof(int32_t)));
    for (int64_t i = 0; i < l->padded_k; i++)
        if (u->places[i] >= 0)
            ((int32_t *)(image + l->places_at))[u->places[i]] = (int32_t)i;
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
        write_codes(layout, &u, image);
        write_groups(layout, &u, image);
        if (layout->has_order)
            write_order(layout, &u, image);
        if (layout->desc.num_outliers > 0)
            write_outliers(layout, &u, image);
    }
    free(memory);
    return status;
}
