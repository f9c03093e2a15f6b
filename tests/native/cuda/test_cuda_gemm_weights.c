/* Weights as they lie on the device, read back as the matrix instructions read them. */
#include "cuda/gemm/weights_layout.h"
#include "gemm_case.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    krn_cuda_weights_layout layout;
    uint8_t *image;
} packed;

static packed pack(krn_context *context, const gemm_case *c) {
    packed p = {0};
    krn_weights *weights = gemm_case_pack(c, context);
    krn_weights_desc desc = {.struct_size = sizeof desc};
    CHECK_OK(krn_weights_describe(weights, &desc));
    int64_t count = 0;
    CHECK_OK(krn_weights_scale_count(&desc, &count));
    krn_cuda_weights_place(&desc, count, &p.layout);
    p.image = guarded_allocate(p.layout.bytes, GUARD_END);
    CHECK_OK(krn_cuda_weights_write(&p.layout, context, weights, p.image));
    krn_weights_destroy(weights);
    return p;
}

/* Byte `byte` of register `reg` of a lane's matrix a of mma.m16n8k32, of the step `step` of 16 channels, as the kernels
 * come by it: by ldmatrix from an 8-bit tile, by masks from a 4-bit unit. Codes of 4 bits come as 16 times their
 * value. */
static int32_t fragment(const packed *p, int64_t block, int64_t step, int lane, int reg, int byte) {
    const int64_t tiles = p->layout.padded_k / 128;
    const uint8_t *codes = p->image + p->layout.codes_at;
    if (p->layout.code_bits == 8) {
        const uint8_t *tile = codes + (block / 4 * tiles + step / 4) * 8192;
        /* ldmatrix: lane 8 i + r gives the address of row r of matrix i, which is register i; a lane gets 4 bytes of
         * row lane / 4. */
        const int row = (int)(block % 4 * 16) + (reg % 2) * 8 + lane / 4;
        const int chunk = (int)(step % 4) * 2 + reg / 2;
        return (int8_t)tile[row * 128 + ((chunk ^ row % 8) * 16) + lane % 4 * 4 + byte];
    }
    const uint8_t *tile = codes + (block / 4 * tiles + step / 4) * 4096;
    uint32_t word;
    memcpy(&word, tile + block % 4 * 1024 + step % 4 / 2 * 512 + lane * 16 + (step % 2 * 2 + reg % 2) * 4, 4);
    word = reg < 2 ? word << 4 & 0xF0F0F0F0u : word & 0xF0F0F0F0u;
    return (int8_t)(word >> 8 * byte);
}

static int32_t expected_code(const gemm_case *c, int64_t n, int64_t k) {
    const uint8_t *row = c->codes + n * c->codes_ld_bytes;
    if (c->shape.format == KRN_TYPE_S8)
        return (int8_t)row[k];
    const int is_high = (k % 2 == 1) != (c->shape.high_nibble_first == 1);
    const int32_t nibble = row[k / 2] >> (is_high ? 4 : 0) & 15;
    return (int8_t)(nibble << 4);
}

/* The input at each place, from the definition: groups in order, each filled up to 32. */
static int64_t *places_of(const gemm_case *c, const krn_cuda_weights_layout *l) {
    int64_t *places = malloc((size_t)(l->padded_k + 1) * 8);
    for (int64_t i = 0; i < l->padded_k; i++)
        places[i] = -1;
    for (int64_t i = 0; i < c->shape.k; i++) {
        const int64_t group = i / l->group_size;
        places[group * l->group_steps * 32 + i % l->group_size] = c->inputs != NULL ? c->inputs[i] : i;
    }
    return places;
}

static void check_codes(const gemm_case *c, const packed *p, const int64_t *places) {
    for (int64_t block = 0; block < p->layout.padded_n / 16; block++) {
        for (int64_t step = 0; step < p->layout.padded_k / 32; step++) {
            for (int i = 0; i < 32 * 4 * 4; i++) {
                const int lane = i / 16, reg = i / 4 % 4, byte = i % 4;
                const int64_t n = block * 16 + lane / 4 + reg % 2 * 8;
                const int64_t place = step * 32 + reg / 2 * 16 + lane % 4 * 4 + byte;
                const int32_t expected = n < c->shape.n && places[place] >= 0 ? expected_code(c, n, places[place]) : 0;
                CHECK(fragment(p, block, step, lane, reg, byte) == expected, "channel %lld, place %lld: %d, not %d",
                      (long long)n, (long long)place, fragment(p, block, step, lane, reg, byte), expected);
            }
        }
    }
}

static void check_groups(const gemm_case *c, const packed *p, const int64_t *places) {
    const krn_cuda_weights_layout *l = &p->layout;
    for (int64_t g = 0; g < l->num_groups; g++) {
        for (int64_t n = 0; n < l->padded_n; n++) {
            const int64_t at = g * l->padded_n + n, k = places[g * l->group_steps * 32];
            const int is_there = n < c->shape.n;
            CHECK((float)float_element(l->scale_type, p->image + l->scales_at, at) ==
                      (is_there ? case_scale(c, n, k) : 0),
                  "scale of channel %lld, group %lld", (long long)n, (long long)g);
            if (l->offsets_at >= 0)
                CHECK(((const float *)(p->image + l->offsets_at))[at] == (is_there ? case_offset(c, n, k) : 0),
                      "offset of channel %lld, group %lld", (long long)n, (long long)g);
            int64_t sum = 0;
            for (int64_t i = 0; i < krn_cuda_group_length(l, g) && is_there && c->codebook == NULL; i++)
                sum += (int64_t)case_weight(c, n, places[g * l->group_steps * 32 + i]);
            if (l->code_sums_at >= 0)
                CHECK(((const int32_t *)(p->image + l->code_sums_at))[at] == sum, "sum of channel %lld, group %lld",
                      (long long)n, (long long)g);
        }
    }
}

static void check_case(krn_context *context, const gemm_shape *shape) {
    const gemm_case c = gemm_case_make(shape);
    const packed p = pack(context, &c);
    const krn_cuda_weights_layout *l = &p.layout;
    CHECK(l->padded_k % 128 == 0 && l->padded_n % 64 == 0 && l->bytes % 256 == 0, "sizes");
    int64_t *places = places_of(&c, l);
    check_codes(&c, &p, places);
    check_groups(&c, &p, places);
    for (int64_t i = 0; i < l->padded_k && l->has_order; i++)
        CHECK(((const int32_t *)(p.image + l->order_at))[i] == places[i], "place %lld", (long long)i);
    for (int64_t i = 0; i < l->padded_k && l->has_order; i++)
        CHECK(places[i] < 0 || ((const int32_t *)(p.image + l->places_at))[places[i]] == i, "input at place %lld",
              (long long)i);
    for (int64_t i = 0; i < l->padded_k && !l->has_order; i++)
        CHECK(places[i] == (i < shape->k ? i : -1), "place %lld stands in the tensor's order", (long long)i);
    if (l->zeros_at >= 0 && l->num_groups > 0)
        for (int64_t n = 0; n < shape->n; n++)
            CHECK(p.image[l->zeros_at + n] == c.zero_points[krn_cuda_scale_index(l, n, 0)], "zero of %lld",
                  (long long)n);
    if (l->codebook_at >= 0)
        CHECK(memcmp(p.image + l->codebook_at, c.codebook, 64) == 0, "codebook");
    free(places);
    guarded_free_all();
}

static void test_outliers(krn_context *context) {
    const gemm_shape shape = {.format = KRN_TYPE_S8,
                              .activation_type = KRN_TYPE_F32,
                              .output_type = KRN_TYPE_F32,
                              .m = 1,
                              .n = 70,
                              .k = 50,
                              .seed = 5};
    gemm_case c = gemm_case_make(&shape);
    const int32_t columns[3] = {0, 17, 49};
    float weights[70 * 3];
    for (int i = 0; i < 70 * 3; i++)
        weights[i] = (float)i * 0.25f;
    c.outlier_columns = columns;
    c.outlier_weights = weights;
    c.num_outliers = 3;
    c.outlier_type = KRN_TYPE_F32;
    const packed p = pack(context, &c);
    CHECK(memcmp(p.image + p.layout.outlier_columns_at, columns, sizeof columns) == 0, "columns");
    for (int n = 0; n < 70; n++)
        for (int i = 0; i < 3; i++)
            CHECK(((const float *)(p.image + p.layout.outlier_weights_at))[i * 128 + n] == weights[n * 3 + i],
                  "weight %d of channel %d", i, n);
    guarded_free_all();
}

int main(void) {
    krn_context *context = context_of(KRN_ISA_AUTO, 1);
    static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
    static const struct {
        int64_t n, k, group_size;
    } shapes[] = {{64, 128, 0},  {1, 1, 0},     {70, 200, 0},  {65, 256, 128}, {33, 300, 32}, {16, 96, 16},
                  {80, 130, 24}, {20, 100, 40}, {5, 257, 100}, {0, 64, 32},    {3, 0, 0}};
    static const int32_t scale_types[] = {0, KRN_TYPE_F16, KRN_TYPE_BF16, KRN_TYPE_U8};
    static const int32_t zero_types[] = {0, KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    for (int i = 0; i < 11 * 4 * 4; i++) {
        const int32_t format = formats[i / 44];
        gemm_shape shape = {.format = format,
                            .activation_type = KRN_TYPE_F32,
                            .output_type = KRN_TYPE_F32,
                            .m = 1,
                            .n = shapes[i % 11].n,
                            .k = shapes[i % 11].k,
                            .group_size = shapes[i % 11].group_size,
                            .slack = i % 3,
                            .seed = (uint64_t)i,
                            .scale_type = scale_types[i % 4],
                            .zero_type = format == KRN_TYPE_C4 ? 0 : zero_types[i / 11 % 4],
                            .high_nibble_first = i % 2};
        check_case(context, &shape);
        shape.ordered = 1;
        if (shape.k > 0)
            check_case(context, &shape);
        shape.ordered = 0;
        shape.flattened = 1;
        if (shape.group_size == 128 || shape.group_size == 32) {
            shape.k = i % 2 == 0 ? 192 : shape.k / 16 * 16;
            check_case(context, &shape);
        }
    }
    test_outliers(context);
    krn_context_destroy(context);
    return 0;
}
