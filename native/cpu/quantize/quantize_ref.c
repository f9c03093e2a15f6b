/* The scalar reference of native/include/kernels/quantize.h: it defines the bits. */
#include "common/half.h"
#include "quantize/quantize_variants.h"

#include <math.h>

static float load(int32_t type, const void *source, int64_t i) {
    if (type == KRN_TYPE_F16)
        return krn_f16_to_f32(((const uint16_t *)source)[i]);
    if (type == KRN_TYPE_BF16)
        return krn_bf16_to_f32(((const uint16_t *)source)[i]);
    return ((const float *)source)[i];
}

static void store(int32_t type, void *target, int64_t i, float value) {
    if (type == KRN_TYPE_F16)
        ((uint16_t *)target)[i] = krn_f32_to_f16(value);
    else if (type == KRN_TYPE_BF16)
        ((uint16_t *)target)[i] = krn_f32_to_bf16(value);
    else
        ((float *)target)[i] = value;
}

static void magnitudes(int32_t type, const void *source, int64_t count, int64_t block, float *magnitude) {
    /* Compared as integers, magnitudes are in order and infinity and NaN are above all finite numbers. */
    uint32_t largest = 0;
    for (int64_t i = 0; i < count; i++) {
        const uint32_t bits = krn_f32_bits(load(type, source, i)) & UINT32_C(0x7FFFFFFF);
        largest = i % block == 0 || bits > largest ? bits : largest;
        magnitude[i / block] = krn_f32_from_bits(largest);
    }
}

static void extents(int32_t type, const void *source, int64_t count, int64_t block, float *lowest, float *highest) {
    for (int64_t i = 0; i < count; i++) {
        const int64_t b = i / block;
        const float x = load(type, source, i);
        lowest[b] = i % block == 0 || x < lowest[b] ? x : lowest[b];
        highest[b] = i % block == 0 || x > highest[b] ? x : highest[b];
    }
}

static void encode(int32_t type, const void *source, krn_memory_hints hints, int64_t count, int64_t block,
                   const krn_block_encoder *encoders, uint8_t *codes) {
    (void)hints;
    for (int64_t i = 0; i < count; i++) {
        const krn_block_encoder *e = &encoders[i / block];
        float scaled = load(type, source, i) * e->inverse;
        scaled = scaled < e->low ? e->low : scaled;
        scaled = scaled > e->high ? e->high : scaled;
        codes[i] = (uint8_t)(lrintf(scaled) + e->zero);
    }
}

static void decode(const uint8_t *codes, uint8_t flip, int64_t count, int64_t block, const krn_block_decoder *decoders,
                   int32_t type, void *target) {
    for (int64_t i = 0; i < count; i++) {
        const krn_block_decoder *d = &decoders[i / block];
        const int32_t code = codes[i] ^ flip;
        store(type, target, i, (float)(code - d->zero) * d->scale);
    }
}

static void encode_nearest(int32_t type, const void *source, int64_t count, int64_t block,
                           const krn_block_encoder *encoders, const float *midpoints, uint8_t *codes) {
    for (int64_t i = 0; i < count; i++) {
        const float scaled = load(type, source, i) * encoders[i / block].inverse;
        codes[i] = 0;
        while (scaled > midpoints[codes[i]])
            codes[i]++;
    }
}

static void decode_entries(const uint8_t *codes, int64_t count, int64_t block, const krn_block_decoder *decoders,
                           const float *codebook, int32_t type, void *target) {
    for (int64_t i = 0; i < count; i++)
        store(type, target, i, codebook[codes[i]] * decoders[i / block].scale);
}

static void pack_nibbles(const uint8_t *codes, int64_t count, uint8_t *packed) {
    for (int64_t i = 0; i < count; i += 2) {
        const int high = i + 1 < count ? codes[i + 1] & 15 : 0;
        packed[i / 2] = (uint8_t)((codes[i] & 15) | (high << 4));
    }
}

static void unpack_nibbles(const uint8_t *packed, int64_t count, uint8_t *codes) {
    for (int64_t i = 0; i < count; i++)
        codes[i] = i % 2 == 0 ? packed[i / 2] & 15 : packed[i / 2] >> 4;
}

const krn_quantize_kernels krn_quantize_ref = {
    .name = "ref",
    .features = 0,
    .magnitudes = magnitudes,
    .extents = extents,
    .encode = encode,
    .decode = decode,
    .encode_nearest = encode_nearest,
    .decode_entries = decode_entries,
    .pack_nibbles = pack_nibbles,
    .unpack_nibbles = unpack_nibbles,
};
