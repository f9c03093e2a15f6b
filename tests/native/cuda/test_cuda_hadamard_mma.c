/* krn_cuda_hadamard with KRN_CUDA_HADAMARD_TENSOR_CORES: within the bound of its header of a float64 oracle; exact
 * where all sums are integers of 16 bits; and the CPU's bits where matrices have no part in it. */
#include "common/half.h"
#include "cuda_device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* n = m 2^k, m 1 or the order of the base. */
typedef struct {
    int64_t m, k, blocks, rows, padding;
} shape;

typedef struct {
    int32_t type;
    int32_t normalized, inverse, has_before, has_after, in_place;
} choice;

/* What rows hold: numbers of one size, a few much larger ones, numbers near the ends of the type, small integers. */
typedef enum { EVEN, OUTLIERS, TINY, HUGE_ONES, INTEGERS, CONTENTS } content;

static float widened(int32_t type, uint16_t bits) {
    return type == KRN_TYPE_F16 ? krn_f16_to_f32(bits) : krn_bf16_to_f32(bits);
}

static uint16_t narrowed(int32_t type, float value) {
    return type == KRN_TYPE_F16 ? krn_f32_to_f16(value) : krn_f32_to_bf16(value);
}

static float value_of(content what, int32_t type, test_random *random) {
    const float even = (float)random_between(random, -30000, 30000) / 16384;
    switch (what) {
    case OUTLIERS: return random_between(random, 0, 99) == 0 ? even * 500 : even;
    case TINY: return ldexpf(even, type == KRN_TYPE_F16 ? -18 : -112);
    case HUGE_ONES: return ldexpf(even, type == KRN_TYPE_F16 ? 12 : 110);
    case INTEGERS: return (float)random_between(random, -15, 15);
    default: return even;
    }
}

enum { MAX_N = 32768, MAX_ORDER = 256 };

/* c D2 H D1 x of one block, exactly, but for some 2^-50. */
static void transform(shape s, const krn_hadamard_options *o, const double *x, double *y) {
    static int8_t base[MAX_ORDER * MAX_ORDER];
    double column[MAX_ORDER];
    const int64_t length = INT64_C(1) << s.k;
    const uint8_t *const before = o->inverse ? o->signs_after : o->signs_before;
    const uint8_t *const after = o->inverse ? o->signs_before : o->signs_after;
    for (int64_t i = 0; i < o->n; i++)
        y[i] = before != NULL && (before[i / 8] >> i % 8 & 1) != 0 ? -x[i] : x[i];
    for (int64_t h = 1; h < length; h *= 2)
        for (int64_t i = 0; i < o->n; i++)
            if ((i & h) == 0) {
                const double a = y[i], b = y[i + h];
                y[i] = a + b;
                y[i + h] = a - b;
            }
    if (s.m > 1) {
        CHECK_OK(krn_hadamard_matrix(s.m, base));
        for (int64_t e = 0; e < length; e++) {
            for (int64_t i = 0; i < s.m; i++) {
                column[i] = 0;
                for (int64_t j = 0; j < s.m; j++)
                    column[i] += (o->inverse ? base[j * s.m + i] : base[i * s.m + j]) * y[j * length + e];
            }
            for (int64_t i = 0; i < s.m; i++)
                y[i * length + e] = column[i];
        }
    }
    for (int64_t i = 0; i < o->n; i++) {
        if (o->normalized)
            y[i] /= sqrt((double)o->n);
        if (after != NULL && (after[i / 8] >> i % 8 & 1) != 0)
            y[i] = -y[i];
    }
}

/* Half the distance of a number of the type to its neighbours. */
static double half_step(int32_t type, float value) {
    int exponent;
    (void)frexpf(value, &exponent);
    const int least = type == KRN_TYPE_F16 ? -13 : -125, bits = type == KRN_TYPE_F16 ? 11 : 8;
    return ldexp(0.5, (value == 0 || exponent < least ? least : exponent) - bits);
}

/* The header's, where a product of 16 elements costs a device 40, and the emulator, which rounds once, 1. */
static double bound_of(shape s, const krn_hadamard_options *o, double norm) {
    const char *const device = getenv("KRN_CUDA_TEST_DEVICE");
    const double product = device != NULL && strcmp(device, "driver") == 0 ? 40 : 1;
    const double e = product + (double)s.k + (s.k < 8 ? 0 : 140 + product) +
                     (s.m == 1 ? 0 : 130 + 2 * product * (double)((s.m + 15) / 16));
    return ldexp(e, -24) * norm * (o->normalized ? 1 : sqrt((double)o->n)) + ldexp((double)o->n, -126);
}

static void check_block(shape s, choice c, content what, const krn_hadamard_options *o, const uint16_t *source,
                        const uint16_t *made) {
    static double x[MAX_N], y[MAX_N];
    double norm = 0, excess = 0;
    for (int64_t i = 0; i < o->n; i++) {
        x[i] = (double)widened(c.type, source[i]);
        norm += x[i] * x[i];
    }
    transform(s, o, x, y);
    const double bound = bound_of(s, o, sqrt(norm));
    for (int64_t i = 0; i < o->n; i++) {
        const float result = widened(c.type, made[i]);
        if (what == INTEGERS && !o->normalized) {
            CHECK(result == widened(c.type, narrowed(c.type, (float)y[i])), "n %lld, type %d: %lld is %g, not %g",
                  (long long)o->n, c.type, (long long)i, (double)result, y[i]);
            continue;
        }
        /* What rounding to the type does not explain. */
        const double beyond = fabs((double)result - y[i]) - half_step(c.type, result);
        if (!(beyond <= 0))
            excess += beyond * beyond;
    }
    CHECK(sqrt(excess) <= bound, "n %lld, type %d, content %d: %g from the oracle, beyond %g", (long long)o->n, c.type,
          what, sqrt(excess), bound);
}

/* Whether options and bits of a call without the flag, on the CPU, are those of the device with it. */
static void check_bits(krn_context *host, shape s, int32_t type, const krn_hadamard_options *o, const uint16_t *source,
                       int64_t ld, const unsigned char *made, int64_t bytes) {
    int64_t workspace_bytes = 0;
    CHECK_OK(krn_hadamard_workspace_size(host, o, &workspace_bytes));
    void *const workspace = guarded_allocate((workspace_bytes + 63) / 64 * 64, GUARD_END);
    unsigned char *const expected = guarded_allocate(bytes, GUARD_END);
    memcpy(expected, made, (size_t)bytes);
    CHECK_OK(
        krn_hadamard(host, o, s.rows, o->n * s.blocks, type, source, ld, expected, ld, workspace, workspace_bytes));
    CHECK(memcmp(expected, made, (size_t)bytes) == 0, "n %lld, type %d: not the CPU's bits", (long long)o->n, type);
}

/* `by_matrices`: whether matrices have a part in it; else it has the CPU's bits. */
static void check(krn_context *host, krn_cuda_context *device, shape s, choice c, content what, int32_t by_matrices,
                  test_random *random) {
    const int64_t n = s.m << s.k, cols = n * s.blocks, ld = cols + s.padding;
    const int64_t elems = (s.rows - 1) * ld + cols, size = elems * 2, sign_bytes = (n + 7) / 8 + 3;
    uint16_t *const source = guarded_allocate(size, GUARD_END), *const made = guarded_allocate(size, GUARD_END);
    uint8_t *const signs = guarded_allocate(2 * sign_bytes, GUARD_START);
    for (int64_t i = 0; i < 2 * sign_bytes; i++)
        signs[i] = (uint8_t)random_next(random);
    for (int64_t i = 0; i < elems; i++)
        source[i] = narrowed(c.type, value_of(what, c.type, random));
    /* The last block of all is also the first one: it must come out the same. */
    memmove(source + elems - n, source, (size_t)n * 2);
    krn_hadamard_options options = {
        .struct_size = sizeof options, .n = n, .normalized = c.normalized, .inverse = c.inverse};
    krn_hadamard_options there = options;
    options.signs_before = c.has_before ? signs : NULL;
    options.signs_after = c.has_after ? signs + sign_bytes : NULL;
    there.flags = KRN_CUDA_HADAMARD_TENSOR_CORES;
    there.signs_before = c.has_before ? cuda_copy_of(device, signs, sign_bytes) : NULL;
    there.signs_after = c.has_after ? cuda_copy_of(device, signs + sign_bytes, sign_bytes) : NULL;
    void *const from = cuda_copy_of(device, source, size), *const to = c.in_place ? from : cuda_allocate(device, size);
    uint16_t *const untouched = guarded_allocate(size, GUARD_END);
    cuda_read(device, untouched, to, size);
    CHECK_OK(krn_cuda_hadamard(device, &there, s.rows, cols, c.type, from, ld, to, ld, NULL));
    cuda_read(device, made, to, size);

    for (int64_t r = 0; r < s.rows; r++) {
        for (int64_t b = 0; by_matrices && b < s.blocks; b++)
            check_block(s, c, what, &options, source + r * ld + b * n, made + r * ld + b * n);
        if (r + 1 < s.rows)
            CHECK(memcmp(made + r * ld + cols, untouched + r * ld + cols, (size_t)(ld - cols) * 2) == 0,
                  "n %lld: row %lld, behind its end", (long long)n, (long long)r);
    }
    CHECK(memcmp(made, made + elems - n, (size_t)n * 2) == 0, "n %lld: equal blocks became different ones",
          (long long)n);
    if (!by_matrices)
        check_bits(host, s, c.type, &options, source, ld, (unsigned char *)made, size);
    cuda_free_all(device);
    guarded_free_all();
}

/* Every number of levels, bases of one, two, three and more tiles, with levels of additions between and without, blocks
 * that fill a tile and blocks that do not, rows that are not aligned. */
static void lengths(krn_context *host, krn_cuda_context *device) {
    static const shape shapes[] = {
        {1, 5, 3, 3, 0},   {1, 5, 129, 1, 0}, {1, 6, 5, 2, 3},  {1, 7, 32, 2, 0}, {1, 7, 3, 3, 1},   {1, 8, 5, 2, 0},
        {1, 8, 1, 3, 5},   {1, 9, 3, 2, 8},   {1, 10, 5, 1, 0}, {1, 10, 1, 3, 2}, {1, 11, 2, 2, 0},  {1, 12, 1, 2, 0},
        {1, 13, 1, 1, 0},  {1, 14, 1, 1, 0},  {1, 15, 1, 1, 0}, {12, 6, 2, 2, 0}, {12, 11, 1, 1, 0}, {20, 5, 3, 1, 0},
        {20, 8, 1, 2, 3},  {28, 5, 2, 2, 4},  {28, 9, 1, 1, 0}, {36, 6, 1, 2, 0}, {44, 9, 1, 1, 0},  {60, 5, 1, 2, 8},
        {108, 7, 1, 1, 0}, {172, 6, 1, 1, 0},
    };
    static const int32_t types[] = {KRN_TYPE_F16, KRN_TYPE_BF16};
    test_random random = {5};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int t = 0; t < 2; t++)
            for (int what = 0; what < CONTENTS; what++) {
                /* Long ones once. */
                if (shapes[s].m << shapes[s].k > 8192 && what != OUTLIERS && what != INTEGERS)
                    continue;
                const uint64_t bits = random_next(&random);
                /* Sums of the largest and the smallest are numbers only when they are normalized. */
                const int32_t normalized = what == INTEGERS ? 0 : what == EVEN ? (int32_t)(bits & 1) : 1;
                const choice c = {types[t], normalized, bits >> 1 & 1, bits >> 2 & 1, bits >> 3 & 1, bits >> 4 & 1};
                check(host, device, shapes[s], c, (content)what, 1, &random);
            }
}

/* Too few levels, two bases, or f32: as without the flag. */
static void without_matrices(krn_context *host, krn_cuda_context *device) {
    static const shape shapes[] = {
        {1, 0, 5, 2, 0}, {1, 4, 9, 3, 0}, {12, 0, 3, 2, 0}, {172, 4, 1, 1, 0}, {1040, 4, 1, 1, 0}};
    test_random random = {6};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        check(host, device, shapes[s], (choice){.type = KRN_TYPE_F16, .has_before = 1}, EVEN, 0, &random);
        check(host, device, shapes[s], (choice){.type = KRN_TYPE_BF16, .normalized = 1, .in_place = 1}, EVEN, 0,
              &random);
    }
    enum { N = 256 };
    float source[N], made[N], expected[N];
    _Alignas(64) unsigned char workspace[8192];
    for (int i = 0; i < N; i++)
        source[i] = random_activation(&random);
    krn_hadamard_options options = {.struct_size = sizeof options, .n = N, .normalized = 1};
    CHECK_OK(krn_hadamard(host, &options, 1, N, KRN_TYPE_F32, source, N, expected, N, workspace, sizeof workspace));
    options.flags = KRN_CUDA_HADAMARD_TENSOR_CORES;
    void *const there = cuda_copy_of(device, source, sizeof source);
    CHECK_OK(krn_cuda_hadamard(device, &options, 1, N, KRN_TYPE_F32, there, N, there, N, NULL));
    cuda_read(device, made, there, sizeof made);
    CHECK(memcmp(made, expected, sizeof made) == 0, "f32 is not the CPU's");
    cuda_free_all(device);
}

/* Infinity and NaN fill their block, and no other one. */
static void not_finite(krn_cuda_context *device) {
    enum { COLS = 4096, BAD = 1500 };
    static const int32_t levels[] = {5, 6, 7, 8, 10, 11};
    static uint16_t source[COLS], good[COLS], made[COLS];
    test_random random = {7};
    for (size_t l = 0; l < sizeof levels / sizeof levels[0]; l++)
        for (int is_nan = 0; is_nan < 2; is_nan++) {
            const int32_t n = 1 << levels[l], first = BAD / n * n;
            const krn_hadamard_options options = {
                .struct_size = sizeof options, .n = n, .normalized = 1, .flags = KRN_CUDA_HADAMARD_TENSOR_CORES};
            for (int i = 0; i < COLS; i++)
                source[i] = krn_f32_to_f16(random_activation(&random));
            void *there = cuda_copy_of(device, source, sizeof source);
            CHECK_OK(krn_cuda_hadamard(device, &options, 1, COLS, KRN_TYPE_F16, there, COLS, there, COLS, NULL));
            cuda_read(device, good, there, sizeof good);
            source[BAD] = is_nan ? 0x7E00 : 0xFC00;
            there = cuda_copy_of(device, source, sizeof source);
            CHECK_OK(krn_cuda_hadamard(device, &options, 1, COLS, KRN_TYPE_F16, there, COLS, there, COLS, NULL));
            cuda_read(device, made, there, sizeof made);
            for (int i = 0; i < COLS; i++) {
                const int32_t is_bad = i >= first && i < first + n;
                CHECK(is_bad ? (made[i] & 0x7C00) == 0x7C00 : made[i] == good[i], "n %d: element %d is %04x", n, i,
                      made[i]);
            }
            cuda_free_all(device);
        }
}

static void arguments(krn_cuda_context *device) {
    _Alignas(16) uint16_t data[64] = {0};
    krn_hadamard_options options = {.struct_size = sizeof options, .n = 32, .flags = 2};
    CHECK_STATUS(krn_cuda_hadamard(device, &options, 1, 32, KRN_TYPE_F16, data, 32, data, 32, NULL),
                 KRN_ERROR_INVALID_ARGUMENT);
    options.flags = KRN_CUDA_HADAMARD_TENSOR_CORES;
    CHECK_STATUS(krn_cuda_hadamard(device, &options, 1, 48, KRN_TYPE_F16, data, 48, data, 48, NULL), KRN_ERROR_SHAPE);
    options.struct_size -= 8;
    CHECK_STATUS(krn_cuda_hadamard(device, &options, 1, 32, KRN_TYPE_F16, data, 32, data, 32, NULL),
                 KRN_ERROR_STRUCT_SIZE);
}

int main(void) {
    int32_t classes[4];
    krn_context *const host = context_of(KRN_ISA_REF, 1);
    (void)cuda_classes(classes);
    /* The kernels are the same for all classes. */
    krn_cuda_context *const device = cuda_context_of(classes[0]);
    lengths(host, device);
    without_matrices(host, device);
    not_finite(device);
    arguments(device);
    krn_cuda_context_destroy(device);
    krn_context_destroy(host);
    return 0;
}
