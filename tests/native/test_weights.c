/* Packed weights: what goes in comes out, sizes are as promised, blobs survive a round trip, damage does not. */
#include "gemm_case.h"

#include <stdlib.h>
#include <string.h>

static krn_context *context;

static krn_weights_desc describe(int32_t format, int64_t n, int64_t k, int64_t group_size) {
    return (krn_weights_desc){
        .struct_size = sizeof(krn_weights_desc), .format = format, .n = n, .k = k, .group_size = group_size};
}

static void check_bytes(const char *what, const void *unpacked, const void *packed, int64_t bytes) {
    CHECK(bytes == 0 || memcmp(unpacked, packed, (size_t)bytes) == 0, "%s changed", what);
}

static void check_codes(const gemm_case *c, const uint8_t *codes) {
    const gemm_shape *s = &c->shape;
    const int64_t row_bytes = krn_type_row_bytes(s->format, s->k);
    for (int64_t n = 0; n < s->n; n++) {
        /* The last nibble of a row of odd width carries no element: it comes out as zero. */
        for (int64_t b = 0; b < row_bytes; b++) {
            const int is_half = s->format != KRN_TYPE_S8 && s->k % 2 == 1 && b + 1 == row_bytes;
            const int mask = !is_half ? 255 : s->high_nibble_first ? 0xF0 : 15;
            const uint8_t expected = (uint8_t)(c->codes[n * c->codes_ld_bytes + b] & mask);
            CHECK(codes[n * row_bytes + b] == expected, "row %lld byte %lld is %d, expected %d", (long long)n,
                  (long long)b, codes[n * row_bytes + b], expected);
        }
    }
}

static void check_unpacked(const gemm_case *c, const krn_weights *weights) {
    const gemm_shape *s = &c->shape;
    const int64_t row_bytes = krn_type_row_bytes(s->format, s->k), nested = (c->num_scales + 255) / 256;
    const int64_t scale_bytes = s->scale_type == KRN_TYPE_U8                          ? 1
                                : s->scale_type == 0 || s->scale_type == KRN_TYPE_F32 ? 4
                                                                                      : 2;
    const int64_t offset_bytes = s->zero_type == 0 ? 0 : type_bytes(s->zero_type);
    float offset = 0;
    const krn_weights_parts parts = {
        .struct_size = sizeof parts,
        .high_nibble_first = s->high_nibble_first,
        .codes = guarded_allocate(s->n * row_bytes, GUARD_END),
        .codes_ld_bytes = row_bytes,
        .scales = guarded_allocate(c->num_scales * scale_bytes, GUARD_END),
        .zero_points = guarded_allocate(c->zero_points == NULL ? 0 : c->num_scales * 4, GUARD_END),
        .zero_offsets = guarded_allocate(c->num_scales * offset_bytes, GUARD_END),
        .codebook = guarded_allocate(c->codebook == NULL ? 0 : 64, GUARD_END),
        .group_index = guarded_allocate(c->group_index == NULL ? 0 : s->k * 4, GUARD_END),
        .scale_map = guarded_allocate(c->scale_map == NULL ? 0 : 1024, GUARD_END),
        .nested_scales = guarded_allocate(c->scale_map == NULL ? 0 : nested * 4, GUARD_END),
        .scale_offset = &offset};
    CHECK_OK(krn_weights_unpack(context, weights, &parts));
    check_codes(c, parts.codes);
    check_bytes("scales", parts.scales, c->scales, c->num_scales * scale_bytes);
    check_bytes("zero points", parts.zero_points, c->zero_points, c->zero_points == NULL ? 0 : c->num_scales * 4);
    check_bytes("zero offsets", parts.zero_offsets, c->zero_offsets, c->num_scales * offset_bytes);
    check_bytes("codebook", parts.codebook, c->codebook, c->codebook == NULL ? 0 : 64);
    check_bytes("group index", parts.group_index, c->group_index, c->group_index == NULL ? 0 : s->k * 4);
    check_bytes("scale map", parts.scale_map, c->scale_map, c->scale_map == NULL ? 0 : 1024);
    check_bytes("nested scales", parts.nested_scales, c->nested_scales, c->scale_map == NULL ? 0 : nested * 4);
    check_bytes("scale offset", &offset, &c->scale_offset, 4);
    /* Nothing is wanted, nothing is written. */
    CHECK_OK(krn_weights_unpack(context, weights, &(krn_weights_parts){.struct_size = sizeof parts}));
}

/* What is packed comes out again, of the weights and of their blob; and the sizes are as promised. */
static void round_trip(const gemm_shape *shape) {
    const gemm_case c = gemm_case_make(shape);
    const krn_weights_desc desc = gemm_case_desc(&c);
    krn_weights *weights = gemm_case_pack(&c, context), *loaded = NULL;
    check_unpacked(&c, weights);
    const int64_t bytes = krn_weights_blob_bytes(weights);
    /* At odd addresses, as a file's content may lie. */
    uint8_t *blob = (uint8_t *)guarded_allocate(bytes + 1, GUARD_START) + 1,
            *again = guarded_allocate(bytes, GUARD_END);
    CHECK_OK(krn_weights_save(weights, blob, bytes));
    CHECK_OK(krn_weights_load(context, blob, bytes, &loaded));
    check_unpacked(&c, loaded);
    CHECK_OK(krn_weights_save(loaded, again, bytes));
    CHECK(memcmp(blob, again, (size_t)bytes) == 0, "equal weights gave different blobs");
    krn_weights_desc described = {.struct_size = sizeof described};
    CHECK_OK(krn_weights_describe(loaded, &described));
    CHECK(described.format == desc.format && described.n == desc.n && described.k == desc.k &&
              described.group_size == desc.group_size && described.zero_type == desc.zero_type &&
              described.scale_type == (desc.scale_type == 0 ? KRN_TYPE_F32 : desc.scale_type) &&
              described.flattened == desc.flattened && described.ordered == desc.ordered,
          "the description changed");
    int64_t packed_bytes = -1;
    CHECK_OK(krn_weights_packed_bytes(context, &desc, &packed_bytes));
    CHECK(packed_bytes == krn_weights_bytes(weights), "%lld bytes were promised, %lld are used",
          (long long)packed_bytes, (long long)krn_weights_bytes(weights));
    krn_weights_destroy(weights);
    krn_weights_destroy(loaded);
    guarded_free_all();
}

static void round_trips(void) {
    static const int32_t FORMATS[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
    static const int32_t SCALE_TYPES[] = {0, KRN_TYPE_F16, KRN_TYPE_BF16, KRN_TYPE_U8, KRN_TYPE_F32};
    static const int32_t ZERO_TYPES[] = {0, KRN_TYPE_F32, KRN_TYPE_F16, 0, KRN_TYPE_BF16};
    static const int64_t NS[] = {0, 1, 31, 32, 33, 100}, KS[] = {0, 1, 7, 8, 33, 128, 257, 7392},
                         GROUPS[] = {0, 16, 17, 32, 100};
    for (size_t f = 0; f < 4; f++)
        for (size_t n = 0; n < 6; n++)
            for (size_t k = 0; k < 8; k++)
                for (size_t g = 0; g < 5; g++)
                    round_trip(&(gemm_shape){.format = FORMATS[f],
                                             .activation_type = KRN_TYPE_F32,
                                             .output_type = KRN_TYPE_F32,
                                             .n = NS[n],
                                             .k = KS[k],
                                             .group_size = GROUPS[g],
                                             .slack = (int64_t)(g % 2) * 5,
                                             .side = g % 2 == 0 ? GUARD_END : GUARD_START,
                                             .seed = f + n + k + g,
                                             .scale_type = SCALE_TYPES[(n + k) % 5],
                                             .zero_type = FORMATS[f] == KRN_TYPE_C4 ? 0 : ZERO_TYPES[(n + g) % 5],
                                             .ordered = (n + k + g) % 3 == 0,
                                             .high_nibble_first = k % 2 == 1});
    /* Flattened groups: within rows, across rows, longer than a row, one row. */
    static const int64_t FLAT[][2] = {{4, 128}, {70, 48}, {33, 32}, {1, 100}, {3, 16}, {300, 80}, {0, 64}, {5, 0}};
    for (size_t i = 0; i < sizeof FLAT / sizeof FLAT[0]; i++)
        for (size_t f = 0; f < 4; f++)
            round_trip(&(gemm_shape){.format = FORMATS[f],
                                     .activation_type = KRN_TYPE_F32,
                                     .output_type = KRN_TYPE_F32,
                                     .n = FLAT[i][0],
                                     .k = FLAT[i][1],
                                     .group_size = 64,
                                     .side = GUARD_END,
                                     .seed = i,
                                     .scale_type = SCALE_TYPES[(i + f) % 5],
                                     .flattened = 1});
}

static double bits_per_weight(int32_t format, int64_t group_size, int32_t scale_type, int32_t zero_type) {
    enum { N = 4096, K = 4096 };
    krn_weights_desc desc = describe(format, N, K, group_size);
    desc.scale_type = scale_type;
    desc.zero_type = zero_type;
    int64_t bytes = 0;
    CHECK_OK(krn_weights_packed_bytes(context, &desc, &bytes));
    return 8.0 * (double)bytes / ((double)N * (double)K);
}

/* Codes, scales and zero points take their own bits and nothing else. The tables of double quantization are 4 bytes
 * for 256 scales, and about 1 KiB. */
static void sizes_are_small(void) {
    static const struct {
        int32_t format;
        int64_t group_size;
        int32_t scale_type, zero_type;
        double bits;
    } SIZES[] = {
        {KRN_TYPE_S8, 0, KRN_TYPE_F32, 0, 8 + 32.0 / 4096},
        {KRN_TYPE_S8, 0, KRN_TYPE_BF16, 0, 8 + 16.0 / 4096},
        {KRN_TYPE_S4, 128, KRN_TYPE_F32, 0, 4.25},
        {KRN_TYPE_S4, 128, KRN_TYPE_F16, 0, 4.125},
        {KRN_TYPE_S4, 32, KRN_TYPE_BF16, 0, 4.5},
        {KRN_TYPE_U4, 128, KRN_TYPE_F32, 0, 4.375},
        {KRN_TYPE_U4, 128, KRN_TYPE_F16, 0, 4.25},
        {KRN_TYPE_U4, 128, KRN_TYPE_F16, KRN_TYPE_F16, 4.25},
        {KRN_TYPE_U4, 128, KRN_TYPE_F32, KRN_TYPE_F32, 4.5},
        {KRN_TYPE_C4, 64, KRN_TYPE_F32, 0, 4.5 + 8 * 64.0 / (4096.0 * 4096)},
        {KRN_TYPE_C4, 64, KRN_TYPE_U8, 0, 4.125 + 32.0 / (64 * 256) + 8 * 1152.0 / (4096.0 * 4096)},
    };
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        const double bits =
            bits_per_weight(SIZES[i].format, SIZES[i].group_size, SIZES[i].scale_type, SIZES[i].zero_type);
        CHECK(bits == SIZES[i].bits, "format %d g%lld scales %d takes %.6f bits, expected %.6f", SIZES[i].format,
              (long long)SIZES[i].group_size, SIZES[i].scale_type, bits, SIZES[i].bits);
    }
}

/* Every byte of a blob matters: flip one and it is refused; so are other lengths. */
static void damage_is_refused(void) {
    const gemm_shape shape = {.format = KRN_TYPE_U4,
                              .activation_type = KRN_TYPE_F32,
                              .output_type = KRN_TYPE_F32,
                              .n = 33,
                              .k = 40,
                              .group_size = 16,
                              .side = GUARD_END,
                              .seed = 11,
                              .zero_type = KRN_TYPE_F16,
                              .ordered = 1};
    const gemm_case c = gemm_case_make(&shape);
    krn_weights *weights = gemm_case_pack(&c, context), *loaded = NULL;
    const int64_t bytes = krn_weights_blob_bytes(weights);
    uint8_t *blob = guarded_allocate(bytes, GUARD_END);
    CHECK_OK(krn_weights_save(weights, blob, bytes));
    for (int64_t i = 0; i < bytes; i++) {
        blob[i] ^= 0x10;
        const krn_status status = krn_weights_load(context, blob, bytes, &loaded);
        CHECK(status == KRN_ERROR_BLOB_FORMAT || status == KRN_ERROR_BLOB_CHECKSUM, "byte %lld flipped gave %s",
              (long long)i, krn_status_name(status));
        CHECK(i < 128 || status == KRN_ERROR_BLOB_CHECKSUM, "byte %lld flipped gave %s", (long long)i,
              krn_status_name(status));
        blob[i] ^= 0x10;
    }
    for (int64_t length = 0; length < bytes; length += 13) {
        uint8_t *part = guarded_allocate(length, GUARD_END);
        if (length > 0)
            memcpy(part, blob, (size_t)length);
        CHECK_STATUS(krn_weights_load(context, part, length, &loaded), KRN_ERROR_BLOB_FORMAT);
    }
    CHECK(loaded == NULL, "a refused blob wrote its output");
    CHECK_STATUS(krn_weights_save(weights, blob, bytes - 1), KRN_ERROR_BUFFER_TOO_SMALL);
    krn_weights_destroy(weights);
    guarded_free_all();
}

int main(void) {
    context = context_of(KRN_ISA_AUTO, 2);
    round_trips();
    sizes_are_small();
    damage_is_refused();
    krn_context_destroy(context);
    puts("weights: ok");
    return 0;
}
