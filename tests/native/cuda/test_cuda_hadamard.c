/* krn_cuda_hadamard against the CPU's reference, bit for bit. */
#include "cuda_device.h"

#include <string.h>

static int64_t element_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

typedef struct {
    int64_t n, blocks, rows, padding;
} shape;

/* Everything that a call has beside its shape. */
typedef struct {
    int32_t type;
    int32_t normalized, inverse, has_before, has_after, in_place;
} choice;

static void put(int32_t type, void *data, int64_t i, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (type == KRN_TYPE_F32)
        memcpy((float *)data + i, &bits, 4);
    else
        /* Any finite bits will do; the upper half of an f32, taken as f16, is finite for values below 4. */
        ((uint16_t *)data)[i] = (uint16_t)(bits >> 16);
}

static void check(krn_context *host, krn_cuda_context *device, shape s, choice c, test_random *random) {
    const int64_t cols = s.n * s.blocks, ld = cols + s.padding, bytes = element_bytes(c.type);
    const int64_t size = ((s.rows - 1) * ld + cols) * bytes, sign_bytes = (s.n + 7) / 8 + 3;
    unsigned char *source = guarded_allocate(size, GUARD_END), *expected = guarded_allocate(size, GUARD_END);
    unsigned char *actual = guarded_allocate(size, GUARD_END);
    uint8_t *signs = guarded_allocate(2 * sign_bytes, GUARD_START);
    for (int64_t i = 0; i < 2 * sign_bytes; i++)
        signs[i] = (uint8_t)random_next(random);
    for (int64_t r = 0; r < s.rows; r++)
        for (int64_t i = 0; i < cols; i++)
            put(c.type, source, r * ld + i, (float)random_between(random, -3000, 3000) / 1024);
    if (c.in_place)
        memcpy(expected, source, (size_t)size);

    krn_hadamard_options options = {
        .struct_size = sizeof options, .n = s.n, .normalized = c.normalized, .inverse = c.inverse};
    options.signs_before = c.has_before ? signs : NULL;
    options.signs_after = c.has_after ? signs + sign_bytes : NULL;
    int64_t workspace_bytes = 0;
    CHECK_OK(krn_hadamard_workspace_size(host, &options, &workspace_bytes));
    void *workspace = guarded_allocate((workspace_bytes + 63) / 64 * 64, GUARD_END);
    CHECK_OK(krn_hadamard(host, &options, s.rows, cols, c.type, source, ld, expected, ld, workspace, workspace_bytes));

    void *device_source = cuda_copy_of(device, source, size);
    void *device_target = c.in_place ? device_source : cuda_allocate(device, size);
    options.signs_before = c.has_before ? cuda_copy_of(device, signs, sign_bytes) : NULL;
    options.signs_after = c.has_after ? cuda_copy_of(device, signs + sign_bytes, sign_bytes) : NULL;
    CHECK_OK(krn_cuda_hadamard(device, &options, s.rows, cols, c.type, device_source, ld, device_target, ld, NULL));
    cuda_read(device, actual, device_target, size);
    for (int64_t i = 0; i < size; i++)
        CHECK(actual[i] == expected[i], "n %lld, %lld blocks, %lld rows, type %d: byte %lld of %lld is %d, not %d",
              (long long)s.n, (long long)s.blocks, (long long)s.rows, c.type, (long long)i, (long long)size, actual[i],
              expected[i]);
    cuda_free_all(device);
    guarded_free_all();
}

/* Every number of levels, every kind of base, and widths of models. */
static void lengths(krn_context *host, krn_cuda_context *device) {
    static const shape shapes[] = {
        {1, 5, 3, 0},     {1, 33, 2, 3},    {2, 7, 3, 1},    {4, 9, 2, 0},    {8, 5, 3, 4},     {16, 3, 5, 0},
        {32, 1, 3, 0},    {32, 130, 1, 0},  {64, 2, 3, 8},   {128, 3, 2, 5},  {256, 2, 2, 0},   {512, 1, 3, 0},
        {1024, 5, 1, 0},  {2048, 1, 2, 16}, {4096, 1, 2, 0}, {8192, 1, 1, 0}, {16384, 1, 1, 0}, {32768, 1, 1, 0},
        {12, 1, 1, 0},    {12, 347, 1, 0},  {20, 3, 2, 2},   {24, 1, 3, 0},   {28, 5, 1, 0},    {40, 2, 2, 0},
        {92, 1, 2, 0},    {116, 1, 2, 4},   {172, 2, 1, 0},  {144, 1, 2, 0},  {528, 3, 2, 0},   {1376, 1, 1, 0},
        {384, 3, 2, 1},   {640, 2, 2, 0},   {896, 2, 1, 8},  {768, 2, 1, 0},  {5120, 1, 1, 0},  {11008, 1, 1, 0},
        {14336, 1, 1, 0}, {29568, 1, 1, 0},
    };
    static const int32_t types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    test_random random = {3};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        for (int t = 0; t < 3; t++) {
            const uint64_t bits = random_next(&random);
            const choice c = {types[t], bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1, bits >> 4 & 1};
            check(host, device, shapes[s], c, &random);
        }
    }
}

/* All that options can say, in place and not. */
static void choices(krn_context *host, krn_cuda_context *device) {
    static const shape shapes[] = {{16, 3, 2, 1}, {64, 2, 2, 0}, {24, 4, 1, 0}, {384, 2, 1, 0}, {2048, 1, 1, 0}};
    test_random random = {4};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int bits = 0; bits < 32; bits++) {
            const choice c = {KRN_TYPE_F32, bits & 1, bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1, bits >> 4 & 1};
            check(host, device, shapes[s], c, &random);
        }
}

/* Every level rounds to f32: 2^15 + 2^-9 is 2^15, twice, and then nothing is left; summed exactly, or rounded once, it
 * would be 2^-8. So no matrix instruction can take the place of the levels. */
static void rounds_at_every_level(krn_context *host, krn_cuda_context *device) {
    static const uint16_t source[8] = {0x7800, 0x1800, 0x1800, 0, 0xF800, 0, 0, 0};
    const krn_hadamard_options options = {.struct_size = sizeof options, .n = 8};
    _Alignas(64) unsigned char workspace[4096];
    uint16_t expected[8], actual[8];
    CHECK_OK(krn_hadamard(host, &options, 1, 8, KRN_TYPE_F16, source, 8, expected, 8, workspace, sizeof workspace));
    void *device_source = cuda_copy_of(device, source, sizeof source), *target = cuda_allocate(device, sizeof actual);
    CHECK_OK(krn_cuda_hadamard(device, &options, 1, 8, KRN_TYPE_F16, device_source, 8, target, 8, NULL));
    cuda_read(device, actual, target, sizeof actual);
    CHECK(expected[0] == 0 && memcmp(actual, expected, sizeof actual) == 0, "%d, not %d", actual[0], expected[0]);
    cuda_free_all(device);
}

/* Nothing is launched: the addresses are none of the device's. */
static void arguments(krn_cuda_context *device) {
    krn_hadamard_options options = {.struct_size = sizeof options, .n = 16};
    _Alignas(16) float data[64] = {0};
#define HADAMARD(rows, cols, type, source, source_ld, target, target_ld)                                               \
    krn_cuda_hadamard(device, &options, rows, cols, type, source, source_ld, target, target_ld, NULL)
    CHECK_STATUS(krn_cuda_hadamard(NULL, &options, 2, 16, KRN_TYPE_F32, data, 16, data, 16, NULL),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_hadamard(device, NULL, 2, 16, KRN_TYPE_F32, data, 16, data, 16, NULL),
                 KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(HADAMARD(-1, 16, KRN_TYPE_F32, data, 16, data, 16), KRN_ERROR_SHAPE);
    CHECK_STATUS(HADAMARD(2, 24, KRN_TYPE_F32, data, 24, data, 24), KRN_ERROR_SHAPE);
    CHECK_STATUS(HADAMARD(2, 16, KRN_TYPE_S8, data, 16, data, 16), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(HADAMARD(2, 16, KRN_TYPE_F32, NULL, 16, data, 16), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(HADAMARD(2, 16, KRN_TYPE_F32, data + 1, 16, data, 16), KRN_ERROR_ALIGNMENT);
    CHECK_STATUS(HADAMARD(2, 16, KRN_TYPE_F32, data, 15, data, 16), KRN_ERROR_LEADING_DIMENSION);
    CHECK_STATUS(HADAMARD(2, 16, KRN_TYPE_F32, data, 16, data, 20), KRN_ERROR_LEADING_DIMENSION);
    options.signs_before = (const uint8_t *)data + 1;
    CHECK_STATUS(HADAMARD(2, 16, KRN_TYPE_F32, data, 16, data, 16), KRN_ERROR_ALIGNMENT);
    options.signs_before = NULL;
    options.n = 65536;
    CHECK_STATUS(HADAMARD(1, 65536, KRN_TYPE_F32, data, 65536, data, 65536), KRN_ERROR_UNSUPPORTED);
    options.n = 252;
    CHECK_STATUS(HADAMARD(1, 252, KRN_TYPE_F32, data, 252, data, 252), KRN_ERROR_UNSUPPORTED);
    options.n = 7;
    CHECK_STATUS(HADAMARD(1, 7, KRN_TYPE_F32, data, 7, data, 7), KRN_ERROR_UNSUPPORTED);
    options.n = 16;
    CHECK_OK(HADAMARD(0, 16, KRN_TYPE_F32, NULL, 16, NULL, 16));
    CHECK_OK(HADAMARD(3, 0, KRN_TYPE_F32, NULL, 0, NULL, 0));
#undef HADAMARD
}

int main(void) {
    int32_t classes[4];
    krn_context *host = context_of(KRN_ISA_REF, 1);
    (void)cuda_classes(classes);
    /* The kernels are the same for all classes. */
    krn_cuda_context *device = cuda_context_of(classes[0]);
    lengths(host, device);
    choices(host, device);
    rounds_at_every_level(host, device);
    arguments(device);
    krn_cuda_context_destroy(device);
    krn_context_destroy(host);
    return 0;
}
