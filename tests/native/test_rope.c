/* RoPE: the table against exact values, the reference against the header in binary64, every variant and thread count
 * against the reference, bit for bit. */
#include "quantize_case.h"
#include "runners.h"

#include "common/half.h"
#include "rope/rope_variants.h"

#include <float.h>
#include <math.h>
#include <string.h>

static krn_rope_options options_of(int64_t head_dim, double theta_base, int32_t scaling) {
    return (krn_rope_options){
        .struct_size = sizeof(krn_rope_options),
        .head_dim = head_dim,
        .theta_base = theta_base,
        .scaling = scaling,
        .factor = scaling == KRN_ROPE_SCALING_LINEAR ? 4 : 8,
        .low_freq_factor = 1,
        .high_freq_factor = 4,
        .original_context = 8192,
    };
}

/* Entries that were computed with 300 bits and rounded once. */
static void table_has_exact_entries(void) {
    static const struct {
        double theta_base;
        int64_t dim;
        int32_t scaling;
        int64_t position, pair;
        float cosine, sine;
    } entries[] = {
        {10000, 8, KRN_ROPE_SCALING_NONE, 1, 0, 0x1.14a28p-1f, 0x1.aed548p-1f},
        {10000, 8, KRN_ROPE_SCALING_NONE, 511, 3, 0x1.be9854p-1f, 0x1.f4c974p-2f},
        {10000, 128, KRN_ROPE_SCALING_NONE, 4095, 17, -0x1.da05f2p-1f, 0x1.8304eep-2f},
        {10000, 128, KRN_ROPE_SCALING_NONE, 1048575, 1, 0x1.f04e1ep-4f, 0x1.fc3a42p-1f},
        {10000, 128, KRN_ROPE_SCALING_NONE, 16777215, 0, -0x1.4532c4p-2f, -0x1.e57ecp-1f},
        {10000, 128, KRN_ROPE_SCALING_NONE, 16777215, 63, -0x1.259946p-1f, 0x1.a374ep-1f},
        {500000, 128, KRN_ROPE_SCALING_LLAMA3, 131071, 0, -0x1.a2cebcp-1f, -0x1.268614p-1f},
        {500000, 128, KRN_ROPE_SCALING_LLAMA3, 131071, 30, -0x1.7879d2p-1f, -0x1.5b0056p-1f},
        {500000, 128, KRN_ROPE_SCALING_LLAMA3, 131071, 35, 0x1.ff9222p-1f, -0x1.4f592ep-5f},
        {500000, 128, KRN_ROPE_SCALING_LLAMA3, 131071, 63, 0x1.ff95fap-1f, 0x1.496e9ap-5f},
        {500000, 128, KRN_ROPE_SCALING_LINEAR, 7, 5, 0x1.9e611cp-1f, 0x1.2cb8dap-1f},
        {1000000, 80, KRN_ROPE_SCALING_LINEAR, 1000003, 39, 0x1.e067fp-1f, 0x1.622444p-2f},
        {12345.678, 80, KRN_ROPE_SCALING_NONE, 12318627, 4, 0x1.cc14b4p-1f, 0x1.c14f0ap-2f},
    };
    for (size_t e = 0; e < sizeof entries / sizeof entries[0]; e++) {
        const krn_rope_options options = options_of(entries[e].dim, entries[e].theta_base, entries[e].scaling);
        float *row = guarded_allocate(entries[e].dim * 4, GUARD_END);
        CHECK_OK(krn_rope_table(&options, entries[e].position, 1, row));
        const float cosine = row[entries[e].pair], sine = row[entries[e].dim / 2 + entries[e].pair];
        CHECK(cosine == entries[e].cosine && sine == entries[e].sine, "entry %d is %a, %a, not %a, %a", (int)e,
              (double)cosine, (double)sine, (double)entries[e].cosine, (double)entries[e].sine);
    }
    guarded_free_all();
}

static long double exact_frequency(const krn_rope_options *o, int64_t rotary_dim, int64_t i) {
    const long double pi = 3.14159265358979323846264338327950288L;
    const long double base = o->theta_base == 0 ? 10000 : (long double)o->theta_base;
    const long double g = powl(base, (long double)(-2 * i) / (long double)rotary_dim);
    const long double factor = (long double)o->factor;
    if (o->scaling == KRN_ROPE_SCALING_NONE)
        return g;
    if (o->scaling == KRN_ROPE_SCALING_LINEAR)
        return g / factor;
    const long double turns = (long double)o->original_context * g / (2 * pi);
    const long double low = (long double)o->low_freq_factor, high = (long double)o->high_freq_factor;
    const long double share = fmaxl(0, fminl(1, (turns - low) / (high - low)));
    return g * (share + (1 - share) / factor);
}

/* What the library says of an entry holds, as far as the long double of this machine can tell: its angle is off by some
 * roundings of a product and of a power, each a share of the angle. */
static void check_entry(float actual, long double exact, long double angle, const char *what, int64_t position,
                        int64_t i) {
    const long double magnitude = fmaxl(fabsl(exact), (long double)FLT_MIN);
    int exponent;
    (void)frexpl(magnitude, &exponent);
    const long double unit = ldexpl(1, exponent - FLT_MANT_DIG);
    const long double bound = unit * (0.5L + 0x1p-20L) + 64 * LDBL_EPSILON * (fabsl(angle) + 1);
    CHECK(fabsl((long double)actual - exact) <= bound, "%s of pair %lld at %lld is %a, not %a", what, (long long)i,
          (long long)position, (double)actual, (double)exact);
}

static void table_is_near_exact(test_random *random) {
    static const double bases[] = {0, 1, 10000, 500000, 1e6, 12345.678, 1e12};
    static const int64_t dims[] = {2, 6, 64, 80, 128, 256};
    for (int t = 0; t < 300; t++) {
        krn_rope_options o = options_of(dims[random_between(random, 0, 5)], bases[random_between(random, 0, 6)],
                                        (int32_t)random_between(random, 0, 2));
        o.rotary_dim = random_next(random) & 1 ? 0 : 2 * random_between(random, 1, o.head_dim / 2);
        const int64_t dim = o.rotary_dim == 0 ? o.head_dim : o.rotary_dim;
        const int64_t count = random_between(random, 0, 5);
        /* Short and long contexts alike, to the very end. */
        const int64_t most = (int64_t)1 << random_between(random, 3, 24);
        const int64_t first = random_next(random) & 1 ? most - count : random_between(random, 0, most - count);
        float *table = guarded_allocate(count * dim * 4, random_next(random) & 1 ? GUARD_START : GUARD_END);
        CHECK_OK(krn_rope_table(&o, first, count, table));
        for (int64_t p = 0; p < count; p++) {
            for (int64_t i = 0; i < dim / 2; i++) {
                const long double angle = exact_frequency(&o, dim, i) * (long double)(first + p);
                check_entry(table[p * dim + i], cosl(angle), angle, "cos", first + p, i);
                check_entry(table[p * dim + dim / 2 + i], sinl(angle), angle, "sin", first + p, i);
            }
        }
        guarded_free_all();
    }
}

static uint64_t hash_bits(uint64_t hash, const float *values, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        hash = (hash ^ krn_f32_bits(values[i])) * UINT64_C(0x100000001B3);
    return hash;
}

/* The bits are the same on every machine and in every version. */
static void table_keeps_its_bits(void) {
    enum { ROWS = 512, DIM = 128 };
    float *table = guarded_allocate((int64_t)ROWS * DIM * 4, GUARD_END);
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (int32_t scaling = KRN_ROPE_SCALING_NONE; scaling <= KRN_ROPE_SCALING_LLAMA3; scaling++) {
        const krn_rope_options options = options_of(DIM, 500000, scaling);
        CHECK_OK(krn_rope_table(&options, 1 << 20, ROWS, table));
        hash = hash_bits(hash, table, (int64_t)ROWS * DIM);
    }
    CHECK(hash == UINT64_C(0x48D7038959F22A5F), "the table's hash is %llx", (unsigned long long)hash);
    guarded_free_all();
}

/* One random call. */
typedef struct {
    krn_rope_options options;
    int64_t tokens, heads, source_ld, target_ld, first_position, position_count, rotary_dim;
    int32_t source_type, target_type;
    guard_side side;
    int32_t *positions;
    float *table;
    void *source;
} rope_case;

static int64_t bytes_of(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

static int64_t elems_of(const rope_case *c, int64_t ld) {
    return c->tokens == 0 ? 0 : (c->tokens - 1) * ld + c->heads * c->options.head_dim;
}

static void put(int32_t type, void *data, int64_t index, float value) {
    if (type == KRN_TYPE_F32)
        ((float *)data)[index] = value;
    else
        ((uint16_t *)data)[index] = type == KRN_TYPE_F16 ? krn_f32_to_f16(value) : krn_f32_to_bf16(value);
}

static rope_case make_case(test_random *random, int64_t max_elems) {
    static const int32_t types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int64_t dims[] = {2, 8, 64, 80, 96, 128, 256};
    rope_case c = {
        .options = options_of(dims[random_between(random, 0, 6)], 10000, (int32_t)random_between(random, 0, 2)),
        .source_type = types[random_between(random, 0, 2)],
        .target_type = types[random_between(random, 0, 2)],
        .first_position = random_between(random, 0, 1000),
        .position_count = random_between(random, 1, 40),
        .side = random_next(random) & 1 ? GUARD_START : GUARD_END,
    };
    c.options.layout = (int32_t)random_between(random, 0, 1);
    if (random_next(random) & 1) {
        c.options.head_dim = random_between(random, 2, 150);
        c.options.rotary_dim = 2 * random_between(random, 1, c.options.head_dim / 2);
    }
    c.rotary_dim = c.options.rotary_dim == 0 ? c.options.head_dim : c.options.rotary_dim;
    c.heads = random_between(random, 1, 6);
    c.tokens = random_between(random, 1, max_elems / (c.heads * c.options.head_dim) + 1);
    c.source_ld = c.heads * c.options.head_dim + (random_next(random) & 1 ? 0 : random_between(random, 1, 9));
    c.target_ld = c.heads * c.options.head_dim + (random_next(random) & 1 ? 0 : random_between(random, 1, 9));
    c.positions = guarded_allocate(c.tokens * 4, c.side);
    for (int64_t t = 0; t < c.tokens; t++)
        c.positions[t] = (int32_t)(c.first_position + random_between(random, 0, c.position_count - 1));
    c.table = guarded_allocate(c.position_count * c.rotary_dim * 4, c.side);
    CHECK_OK(krn_rope_table(&c.options, c.first_position, c.position_count, c.table));
    c.source = guarded_allocate(elems_of(&c, c.source_ld) * bytes_of(c.source_type), c.side);
    for (int64_t i = 0; i < elems_of(&c, c.source_ld); i++)
        put(c.source_type, c.source, i, random_activation(random));
    return c;
}

static void run(const rope_case *c, krn_context *context, const void *source, int64_t source_ld, void *target) {
    CHECK_OK(krn_rope(context, &c->options, c->tokens, c->heads, c->source_type, source, source_ld, c->positions,
                      c->table, c->first_position, c->position_count, c->target_type, target, c->target_ld));
}

static float f32(double value) { return (float)value; }

/* Element `e` of a head, by the header, in binary64 rounded to binary32 after each operation. */
static float expected_at(const rope_case *c, int64_t token, int64_t head, int64_t e) {
    const int64_t start = token * c->source_ld + head * c->options.head_dim, half = c->rotary_dim / 2;
    if (e >= c->rotary_dim)
        return f32(quantize_float_at(c->source_type, c->source, start + e));
    const int is_half = c->options.layout == KRN_ROPE_HALF;
    const int64_t pair = is_half ? e % half : e / 2;
    const int is_second = is_half ? e >= half : e % 2;
    const int64_t other = is_half ? (e + half) % c->rotary_dim : e ^ 1;
    const float *row = c->table + (c->positions[token] - c->first_position) * c->rotary_dim;
    const double x = quantize_float_at(c->source_type, c->source, start + e);
    const double y = quantize_float_at(c->source_type, c->source, start + other);
    const double with_cos = (double)f32(x * (double)row[pair]), with_sin = (double)f32(y * (double)row[half + pair]);
    return f32(is_second ? with_sin + with_cos : with_cos - with_sin);
}

static void check_target(const rope_case *c, const void *target) {
    const int64_t dim = c->options.head_dim, elems = elems_of(c, c->target_ld);
    const int64_t bytes = bytes_of(c->target_type);
    for (int64_t i = 0; i < elems; i++) {
        const int64_t token = i / c->target_ld, col = i % c->target_ld;
        uint32_t wanted = 0xA5A5A5A5u, actual = 0;
        if (col < c->heads * dim)
            put(c->target_type, &wanted, 0, expected_at(c, token, col / dim, col % dim));
        memcpy(&actual, (const uint8_t *)target + i * bytes, (size_t)bytes);
        CHECK(memcmp(&actual, &wanted, (size_t)bytes) == 0, "target[%lld, %lld] is %x, not %x; layout %d, types %d, %d",
              (long long)token, (long long)col, actual, wanted, c->options.layout, c->source_type, c->target_type);
    }
}

static void every_runner_agrees(test_random *random, const runner *runners, int num_runners, int cases,
                                int64_t max_elems) {
    for (int i = 0; i < cases; i++) {
        rope_case c = make_case(random, max_elems);
        const int64_t target_bytes = elems_of(&c, c.target_ld) * bytes_of(c.target_type);
        for (int r = 0; r < num_runners; r++) {
            void *target = guarded_allocate(target_bytes, c.side);
            run(&c, runners[r].context, c.source, c.source_ld, target);
            check_target(&c, target);
        }
        /* In place: what lies between the rows stays. */
        c.target_type = c.source_type;
        c.target_ld = c.source_ld;
        const int64_t source_bytes = elems_of(&c, c.source_ld) * bytes_of(c.source_type);
        uint8_t *expected = guarded_allocate(source_bytes, c.side), *actual = guarded_allocate(source_bytes, c.side);
        memcpy(expected, c.source, (size_t)source_bytes);
        run(&c, runners[0].context, c.source, c.source_ld, expected);
        for (int r = 0; r < num_runners; r++) {
            memcpy(actual, c.source, (size_t)source_bytes);
            run(&c, runners[r].context, actual, c.source_ld, actual);
            CHECK(memcmp(actual, expected, (size_t)source_bytes) == 0, "in place, %s", runners[r].name);
        }
        guarded_free_all();
    }
}

static void table_is_in_order(void) {
#define ADDRESS(variant) &variant,
    static const krn_rope_kernels *const variants[] = {KRN_ROPE_VARIANTS(ADDRESS)};
#undef ADDRESS
    enum { COUNT = sizeof variants / sizeof variants[0] };
    CHECK(variants[COUNT - 1]->features == 0, "the last variant must run everywhere");
    for (int v = 1; v < COUNT; v++)
        CHECK((variants[v]->features & ~variants[v - 1]->features) == 0, "%s asks for more than %s", variants[v]->name,
              variants[v - 1]->name);
    CHECK(krn_rope_variant(NULL) == NULL, "variant of no context");
}

int main(void) {
    runner runners[MAX_RUNNERS];
    const int count = make_runners(runners, MAX_RUNNER_THREADS);
    test_random random = {.state = 5};
    table_is_in_order();
    if (tests_reference()) {
        table_has_exact_entries();
        table_is_near_exact(&random);
        table_keeps_its_bits();
    }
    every_runner_agrees(&random, runners, count, 300, 2000);
    /* Large enough for several threads. */
    every_runner_agrees(&random, runners, count, 8, 150000);
    destroy_runners(runners, count);
    puts("rope: ok");
    return 0;
}
