/* What the KV cache refuses, and in which words; its exact bytes; page tables. */
#include "check.h"

#include <math.h>
#include <string.h>

enum { HEADS = 2, DIM = 16, WIDTH = HEADS * DIM, TOKENS = 64 };

static float source[TOKENS * WIDTH], target[TOKENS * WIDTH];
static float scales[HEADS] = {0.1f, 0.2f};
static int32_t zero_points[HEADS] = {3, 15};

static krn_kv_cache_desc good_desc(void) {
    return (krn_kv_cache_desc){.struct_size = sizeof(krn_kv_cache_desc),
                               .sequences = 3,
                               .kv_heads = HEADS,
                               .head_dim = DIM,
                               .max_tokens = 100,
                               .page_tokens = 32,
                               .pages = 8,
                               .key_type = KRN_TYPE_S8,
                               .value_type = KRN_TYPE_S8};
}

static krn_kv_cache *make(const krn_kv_cache_desc *desc) {
    krn_kv_cache *cache = NULL;
    CHECK_OK(krn_kv_cache_create(desc, NULL, 0, &cache));
    return cache;
}

/* Changes one thing about a good description, and checks the status and a word of the sentence. */
#define REFUSES(change, expected, word)                                                                                \
    do {                                                                                                               \
        krn_kv_cache_desc d = good_desc();                                                                             \
        krn_kv_cache *made_ = NULL;                                                                                    \
        change;                                                                                                        \
        CHECK_STATUS(krn_kv_cache_create(&d, NULL, 0, &made_), expected);                                              \
        CHECK(strstr(krn_last_error(), word) != NULL, "\"%s\" lacks \"%s\"", krn_last_error(), word);                  \
        CHECK(made_ == NULL, "something was made");                                                                    \
    } while (0)

static void refuses_bad_descriptions(void) {
    const krn_status argument = KRN_ERROR_INVALID_ARGUMENT;
    krn_kv_cache *made = NULL;
    CHECK_STATUS(krn_kv_cache_create(NULL, NULL, 0, &made), KRN_ERROR_NULL_ARGUMENT);
    REFUSES(d.struct_size--, KRN_ERROR_STRUCT_SIZE, "struct_size");
    REFUSES(d.sequences = 0, argument, "sequences");
    REFUSES(d.sequences = (1 << 20) + 1, argument, "sequences");
    REFUSES(d.kv_heads = 0, argument, "kv_heads");
    REFUSES(d.kv_heads = 4097, argument, "kv_heads");
    REFUSES(d.head_dim = 12, argument, "head_dim");
    REFUSES(d.head_dim = 520, argument, "head_dim");
    REFUSES(d.max_tokens = 0, argument, "max_tokens");
    REFUSES(d.max_tokens = INT64_MAX, argument, "max_tokens");
    REFUSES(d.page_tokens = 48, argument, "page_tokens");
    REFUSES(d.page_tokens = 111, argument, "page_tokens");
    REFUSES(d.page_tokens = -16, argument, "page_tokens");
    REFUSES(d.pages = -1, argument, "pages");
    REFUSES(d.pages = (INT64_C(1) << 30) + 1, argument, "pages");
    REFUSES(d.key_type = KRN_TYPE_F16, argument, "key_type");
    REFUSES(d.value_type = KRN_TYPE_C4, argument, "value_type");
    REFUSES(d.key_granularity = 3, argument, "key_granularity");
    REFUSES(d.value_granularity = KRN_KV_CHANNEL, argument, "value_granularity");
    REFUSES((d.key_type = KRN_TYPE_F32, d.key_granularity = KRN_KV_STATIC), argument, "key_granularity");
    REFUSES(d.key_group = 16, argument, "key_group");
    REFUSES((d.key_granularity = KRN_KV_CHANNEL, d.key_group = 24), argument, "key_group");
    REFUSES((d.key_granularity = KRN_KV_CHANNEL, d.key_group = 64), argument, "key_group");
    REFUSES((d.key_granularity = KRN_KV_CHANNEL, d.key_group = 16, d.key_type = KRN_TYPE_F8E4M3), argument, "FP8");
    REFUSES(d.rotate_keys = 2, argument, "rotate_keys");
    REFUSES(d.center_keys = -1, argument, "center_keys");
    REFUSES(d.reserved = 1, argument, "reserved");
    REFUSES(d.key_scales = scales, argument, "key_scales");
    REFUSES(d.value_zero_points = zero_points, argument, "value_zero_points");
    REFUSES(d.key_granularity = KRN_KV_STATIC, KRN_ERROR_NULL_ARGUMENT, "key_scales");
    REFUSES((d.value_granularity = KRN_KV_STATIC, d.value_scales = scales, d.value_zero_points = zero_points), argument,
            "value_zero_points");
    const float bad[3][HEADS] = {{0.1f, NAN}, {0.1f, 0}, {0.1f, -1}};
    REFUSES((d.key_granularity = KRN_KV_STATIC, d.key_scales = bad[0]), KRN_ERROR_NON_FINITE, "key_scales[1]");
    REFUSES((d.key_granularity = KRN_KV_STATIC, d.key_scales = bad[1]), argument, "key_scales[1]");
    REFUSES((d.key_granularity = KRN_KV_STATIC, d.key_scales = bad[2]), argument, "key_scales[1]");
    const int32_t off[HEADS] = {0, 16};
    REFUSES(
        (d.key_type = KRN_TYPE_U4, d.key_granularity = KRN_KV_STATIC, d.key_scales = scales, d.key_zero_points = off),
        argument, "key_zero_points[1]");
    /* 376 = 8 * 47: there is no matrix of order 188 here. */
    REFUSES((d.head_dim = 376, d.rotate_keys = 1), KRN_ERROR_UNSUPPORTED, "376");
    REFUSES((d.sequences = 1 << 20, d.kv_heads = 4096, d.head_dim = 512, d.max_tokens = 1 << 30,
             d.page_tokens = 1 << 30, d.pages = 1 << 30),
            KRN_ERROR_SHAPE, "address space");

    const krn_kv_cache_desc desc = good_desc();
    krn_kv_cache_sizes sizes = {.struct_size = sizeof sizes};
    CHECK_OK(krn_kv_cache_bytes(&desc, &sizes));
    unsigned char *memory = guarded_allocate(sizes.total + 64, GUARD_END);
    memory += (64 - (uintptr_t)memory % 64) % 64;
    CHECK_STATUS(krn_kv_cache_create(&desc, memory + 1, sizes.total, &made), KRN_ERROR_ALIGNMENT);
    CHECK_STATUS(krn_kv_cache_create(&desc, memory, sizes.total - 1, &made), KRN_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(krn_kv_cache_create(&desc, memory, sizes.total, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_bytes(&desc, NULL), KRN_ERROR_NULL_ARGUMENT);
    sizes.struct_size = 8;
    CHECK_STATUS(krn_kv_cache_bytes(&desc, &sizes), KRN_ERROR_STRUCT_SIZE);
    krn_kv_cache_destroy(NULL);
    guarded_free_all();
}

/* The classic figures: codes alone, scales beside them, and a total that is their sum. */
static void counts_bytes(void) {
    static const struct {
        int32_t type;
        int64_t codes, scales;
    } cases[] = {
        {KRN_TYPE_BF16, INT64_C(2) << 30, 0},
        {KRN_TYPE_S8, INT64_C(1) << 30, 32 * INT64_C(4096) * 32 * 2 * 4},
        {KRN_TYPE_F8E4M3, INT64_C(1) << 30, 32 * INT64_C(4096) * 32 * 2 * 4},
        {KRN_TYPE_S4, INT64_C(1) << 29, 32 * INT64_C(4096) * 32 * 2 * 4},
        {KRN_TYPE_U4, INT64_C(1) << 29, 32 * INT64_C(4096) * 32 * 2 * 5},
    };
    krn_kv_cache_desc desc = {.struct_size = sizeof desc,
                              .sequences = 1,
                              .kv_heads = 32,
                              .head_dim = 128,
                              .max_tokens = 4096,
                              .page_tokens = 64};
    krn_kv_cache_sizes sizes = {.struct_size = sizeof sizes};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        desc.key_type = desc.value_type = cases[i].type;
        CHECK_OK(krn_kv_cache_bytes(&desc, &sizes));
        const int64_t layers = 32;
        CHECK(layers * (sizes.key_codes + sizes.value_codes) == cases[i].codes, "type %d takes %lld bytes of codes",
              cases[i].type, (long long)(layers * (sizes.key_codes + sizes.value_codes)));
        CHECK(layers * (sizes.key_scales + sizes.value_scales) == cases[i].scales, "type %d takes %lld bytes of scales",
              cases[i].type, (long long)(layers * (sizes.key_scales + sizes.value_scales)));
        CHECK(sizes.total == sizes.key_codes + sizes.value_codes + sizes.key_scales + sizes.value_scales + sizes.tails +
                                 sizes.means + sizes.tables + sizes.padding,
              "the parts of type %d do not add up", cases[i].type);
        CHECK(sizes.tails == 0 && sizes.means == 0 && sizes.padding >= 0 && sizes.padding < 256, "other bytes");
    }
    desc.max_tokens = 2048;
    desc.key_type = desc.value_type = KRN_TYPE_S8;
    CHECK_OK(krn_kv_cache_bytes(&desc, &sizes));
    CHECK(sizes.key_codes + sizes.value_codes == INT64_C(16) << 20, "a layer of 2048 tokens of 4096");
    desc.key_granularity = KRN_KV_CHANNEL;
    desc.key_group = 32;
    desc.center_keys = 1;
    CHECK_OK(krn_kv_cache_bytes(&desc, &sizes));
    CHECK(sizes.tails == 32 * 32 * 128 * 4 && sizes.means == 32 * 128 * 4, "tails and means");
    CHECK(sizes.key_scales == 2048 / 32 * 32 * 128 * 4, "scales of channels");
}

typedef struct {
    krn_context *context;
    krn_kv_cache *cache;
    int64_t count;
    int32_t sequences[3];
    int64_t tokens[3];
    const void *keys, *values;
    krn_kv_append_options options;
} call;

static call good_call(krn_context *context, krn_kv_cache *cache) {
    return (call){.context = context,
                  .cache = cache,
                  .count = 2,
                  .sequences = {1, 0, 2},
                  .tokens = {3, 40, 0},
                  .keys = source,
                  .values = source,
                  .options = {.struct_size = sizeof(krn_kv_append_options),
                              .source_type = KRN_TYPE_F32,
                              .key_ld = WIDTH,
                              .value_ld = WIDTH}};
}

static krn_status append(const call *c) {
    return krn_kv_cache_append(c->context, c->cache, c->count, c->sequences, c->tokens, c->keys, c->values,
                               &c->options);
}

#define REFUSES_APPEND(change, expected, word)                                                                         \
    do {                                                                                                               \
        call c = good_call(context, cache);                                                                            \
        int64_t length_, pages_, free_pages_;                                                                          \
        change;                                                                                                        \
        CHECK_STATUS(append(&c), expected);                                                                            \
        CHECK(strstr(krn_last_error(), word) != NULL, "\"%s\" lacks \"%s\"", krn_last_error(), word);                  \
        CHECK_OK(krn_kv_cache_length(cache, 0, &length_));                                                             \
        CHECK_OK(krn_kv_cache_pages(cache, &pages_, &free_pages_));                                                    \
        CHECK(length_ == 0 && free_pages_ == pages_, "something has changed");                                         \
    } while (0)

static void refuses_bad_appends(krn_context *context) {
    const krn_status argument = KRN_ERROR_INVALID_ARGUMENT, null = KRN_ERROR_NULL_ARGUMENT;
    const krn_kv_cache_desc desc = good_desc();
    krn_kv_cache *cache = make(&desc);
    REFUSES_APPEND(c.context = NULL, null, "context");
    REFUSES_APPEND(c.cache = NULL, null, "cache");
    REFUSES_APPEND(c.count = -1, argument, "count");
    REFUSES_APPEND(c.count = 4, argument, "count");
    REFUSES_APPEND(c.sequences[1] = 3, argument, "sequences[1]");
    REFUSES_APPEND(c.sequences[0] = -1, argument, "sequences[0]");
    REFUSES_APPEND(c.sequences[1] = 1, argument, "twice");
    REFUSES_APPEND(c.tokens[0] = -1, KRN_ERROR_SHAPE, "tokens[0]");
    REFUSES_APPEND(c.tokens[1] = 101, KRN_ERROR_SHAPE, "tokens[1]");
    REFUSES_APPEND(c.keys = NULL, null, "keys");
    REFUSES_APPEND(c.values = NULL, null, "values");
    REFUSES_APPEND(c.keys = (const char *)source + 1, KRN_ERROR_ALIGNMENT, "keys");
    REFUSES_APPEND(c.values = (const char *)source + 2, KRN_ERROR_ALIGNMENT, "values");
    REFUSES_APPEND(c.options.struct_size = 16, KRN_ERROR_STRUCT_SIZE, "struct_size");
    REFUSES_APPEND(c.options.source_type = KRN_TYPE_S8, argument, "source_type");
    REFUSES_APPEND(c.options.key_ld = WIDTH - 1, KRN_ERROR_LEADING_DIMENSION, "key_ld");
    REFUSES_APPEND(c.options.value_ld = INT64_MAX, KRN_ERROR_LEADING_DIMENSION, "value_ld");
    krn_rope_options rope = {.struct_size = sizeof rope, .head_dim = DIM};
    const krn_rope_options other = {.struct_size = sizeof rope, .head_dim = 2 * DIM};
    float table[40 * DIM];
    int32_t positions[43] = {0};
    CHECK_OK(krn_rope_table(&rope, 0, 40, table));
    REFUSES_APPEND((c.options.rope = &other, c.options.cos_sin = table, c.options.position_count = 40), KRN_ERROR_SHAPE,
                   "head_dim");
    REFUSES_APPEND((c.options.rope = &rope, c.options.position_count = 40), null, "cos_sin");
    REFUSES_APPEND((c.options.rope = &rope, c.options.cos_sin = table, c.options.position_count = 39), argument,
                   "sequence 0");
    REFUSES_APPEND((c.options.rope = &rope, c.options.cos_sin = table, c.options.position_count = -1), argument,
                   "position_count");
    positions[42] = 40;
    REFUSES_APPEND((c.options.rope = &rope, c.options.cos_sin = table, c.options.position_count = 40,
                    c.options.positions = positions),
                   argument, "positions[42]");
    CHECK_STATUS(krn_kv_cache_append(context, cache, 1, NULL, NULL, source, source, NULL), null);
    CHECK_OK(krn_kv_cache_append(context, cache, 0, NULL, NULL, NULL, NULL,
                                 &(krn_kv_append_options){.struct_size = sizeof(krn_kv_append_options),
                                                          .source_type = KRN_TYPE_F32,
                                                          .key_ld = WIDTH,
                                                          .value_ld = WIDTH}));
    krn_kv_cache_destroy(cache);
}

static void refuses_bad_reads(krn_context *context) {
    const krn_kv_cache_desc desc = good_desc();
    krn_kv_cache *cache = make(&desc);
    const call c = good_call(context, cache);
    CHECK_OK(append(&c));
    const int32_t f32 = KRN_TYPE_F32;
    CHECK_STATUS(krn_kv_cache_read(NULL, cache, 0, 0, 1, f32, target, WIDTH, NULL, 0), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_read(context, NULL, 0, 0, 1, f32, target, WIDTH, NULL, 0), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_read(context, cache, 3, 0, 1, f32, target, WIDTH, NULL, 0), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_read(context, cache, 0, 40, 1, f32, target, WIDTH, NULL, 0), KRN_ERROR_SHAPE);
    CHECK_STATUS(krn_kv_cache_read(context, cache, 0, 1, INT64_MAX, f32, target, WIDTH, NULL, 0), KRN_ERROR_SHAPE);
    CHECK_STATUS(krn_kv_cache_read(context, cache, 0, -1, 1, f32, target, WIDTH, NULL, 0), KRN_ERROR_SHAPE);
    CHECK_STATUS(krn_kv_cache_read(context, cache, 0, 0, 1, KRN_TYPE_S8, target, WIDTH, NULL, 0),
                 KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_read(context, cache, 0, 0, 1, f32, target, WIDTH - 1, NULL, 0),
                 KRN_ERROR_LEADING_DIMENSION);
    CHECK_STATUS(krn_kv_cache_read(context, cache, 0, 0, 1, f32, NULL, 0, (char *)target + 1, WIDTH),
                 KRN_ERROR_ALIGNMENT);
    CHECK_OK(krn_kv_cache_read(context, cache, 0, 0, 40, f32, NULL, 0, NULL, 0));
    CHECK_OK(krn_kv_cache_read(context, cache, 0, 40, 0, f32, target, WIDTH, target, WIDTH));
    int64_t length;
    CHECK_STATUS(krn_kv_cache_length(cache, 0, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_length(cache, -1, &length), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_truncate(cache, 0, 41), KRN_ERROR_SHAPE);
    CHECK_STATUS(krn_kv_cache_truncate(cache, 0, -1), KRN_ERROR_SHAPE);
    CHECK_STATUS(krn_kv_cache_fork(cache, 0, 41, 2), KRN_ERROR_SHAPE);
    CHECK_STATUS(krn_kv_cache_fork(cache, 0, 1, 0), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_fork(cache, 0, 1, 1), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_reset(cache, 3), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_set_key_mean(cache, 2, source), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_key_mean(cache, 2, target), KRN_ERROR_INVALID_ARGUMENT);
    krn_kv_cache_destroy(cache);
}

static void centers_as_told(krn_context *context) {
    krn_kv_cache_desc desc = good_desc();
    desc.center_keys = 1;
    krn_kv_cache *cache = make(&desc);
    float mean[WIDTH], found[WIDTH];
    for (int i = 0; i < WIDTH; i++)
        mean[i] = (float)i;
    CHECK_OK(krn_kv_cache_set_key_mean(cache, 0, mean));
    const call c = good_call(context, cache);
    CHECK_OK(append(&c));
    CHECK_OK(krn_kv_cache_key_mean(cache, 0, found));
    CHECK(memcmp(mean, found, sizeof mean) == 0, "the mean that was set");
    CHECK_STATUS(krn_kv_cache_set_key_mean(cache, 0, mean), KRN_ERROR_INVALID_ARGUMENT);
    mean[3] = INFINITY;
    CHECK_STATUS(krn_kv_cache_set_key_mean(cache, 2, mean), KRN_ERROR_NON_FINITE);
    CHECK(strstr(krn_last_error(), "mean[3]") != NULL, "\"%s\"", krn_last_error());
    CHECK_OK(krn_kv_cache_reset(cache, 0));
    CHECK_OK(krn_kv_cache_key_mean(cache, 0, found));
    for (int i = 0; i < WIDTH; i++)
        CHECK(found[i] == 0, "a mean after a reset");
    krn_kv_cache_destroy(cache);
}

#define REFUSES_TABLE(count, length, expected, word, ...)                                                              \
    do {                                                                                                               \
        const int32_t pages_[] = {__VA_ARGS__};                                                                        \
        int32_t now_[8];                                                                                               \
        int64_t count_, length_;                                                                                       \
        CHECK_STATUS(krn_kv_cache_set_table(cache, 2, count, pages_, length), expected);                               \
        CHECK(strstr(krn_last_error(), word) != NULL, "\"%s\" lacks \"%s\"", krn_last_error(), word);                  \
        CHECK_OK(krn_kv_cache_table(cache, 2, 8, now_, &count_));                                                      \
        CHECK_OK(krn_kv_cache_length(cache, 2, &length_));                                                             \
        CHECK(count_ == 0 && length_ == 0, "something has changed");                                                   \
    } while (0)

static void adopts_page_tables(krn_context *context) {
    const krn_kv_cache_desc desc = good_desc();
    krn_kv_cache *cache = make(&desc);
    const call c = good_call(context, cache);
    CHECK_OK(append(&c));
    /* Sequence 1 has page 0 with 3 tokens, sequence 0 has pages 1 and 2 with 32 and 8. */
    int32_t table[4], taken[3];
    int64_t count, pages, free_pages;
    CHECK_STATUS(krn_kv_cache_table(cache, 0, 1, table, &count), KRN_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(krn_kv_cache_table(cache, 0, 1, table, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_OK(krn_kv_cache_table(cache, 0, 2, table, &count));
    CHECK(count == 2 && table[0] == 1 && table[1] == 2, "the table of sequence 0");
    CHECK_OK(krn_kv_cache_take_pages(cache, 2, taken));
    CHECK(taken[0] == 3 && taken[1] == 4, "the pages taken");
    const krn_status argument = KRN_ERROR_INVALID_ARGUMENT, shape = KRN_ERROR_SHAPE;
    REFUSES_TABLE(1, 1, argument, "pages[0] is -1", -1);
    REFUSES_TABLE(2, 33, argument, "pages[1] is 8", 1, 8);
    REFUSES_TABLE(2, 33, argument, "twice", 1, 1);
    REFUSES_TABLE(2, 33, argument, "free", 1, 5);
    REFUSES_TABLE(2, 32, argument, "another sequence", 1, 2);
    REFUSES_TABLE(2, 41, shape, "pages[1] is 2", 1, 2);
    REFUSES_TABLE(1, 1, shape, "pages[0] is 3", 3);
    REFUSES_TABLE(1, 33, shape, "length", 1);
    REFUSES_TABLE(5, 1, shape, "count", 1, 2, 3, 4, 0);
    REFUSES_TABLE(-1, 0, shape, "count", 1);
    CHECK_STATUS(krn_kv_cache_set_table(cache, 2, 1, NULL, 1), KRN_ERROR_NULL_ARGUMENT);

    /* A shared prefix of 40 tokens and a page for more: the append copies page 2 and goes on in page 3. */
    const int32_t adopted[] = {1, 2, 3};
    CHECK_OK(krn_kv_cache_set_table(cache, 2, 3, adopted, 40));
    const int32_t sequence = 2;
    const int64_t tokens = 30;
    CHECK_OK(krn_kv_cache_append(context, cache, 1, &sequence, &tokens, source, source, &c.options));
    CHECK_OK(krn_kv_cache_table(cache, 2, 4, table, &count));
    CHECK(count == 3 && table[0] == 1 && table[1] == 5 && table[2] == 3, "the table after a copy is %d %d %d", table[0],
          table[1], table[2]);
    static float expected[TOKENS * WIDTH];
    CHECK_OK(krn_kv_cache_read(context, cache, 0, 0, 40, KRN_TYPE_F32, expected, WIDTH, NULL, 0));
    CHECK_OK(krn_kv_cache_read(context, cache, 2, 0, 40, KRN_TYPE_F32, target, WIDTH, NULL, 0));
    CHECK(memcmp(expected, target, 40 * WIDTH * sizeof(float)) == 0, "the shared prefix");

    /* Held pages outlive their sequence, and go back when they are released. */
    CHECK_OK(krn_kv_cache_reset(cache, 2));
    CHECK_OK(krn_kv_cache_pages(cache, &pages, &free_pages));
    CHECK(pages == 8 && free_pages == 3, "%lld pages are free", (long long)free_pages);
    CHECK_OK(krn_kv_cache_release_pages(cache, 2, taken));
    CHECK_STATUS(krn_kv_cache_release_pages(cache, 1, taken), argument);
    const int32_t twice[] = {1, 1}, outside = 8, unused = 7;
    CHECK_STATUS(krn_kv_cache_hold_pages(cache, 2, twice), argument);
    CHECK_STATUS(krn_kv_cache_hold_pages(cache, 1, &outside), argument);
    CHECK_STATUS(krn_kv_cache_hold_pages(cache, 1, &unused), argument);
    CHECK_STATUS(krn_kv_cache_hold_pages(cache, 1, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_kv_cache_hold_pages(cache, 9, twice), argument);
    CHECK_STATUS(krn_kv_cache_take_pages(cache, 6, table), KRN_ERROR_OUT_OF_PAGES);
    CHECK_STATUS(krn_kv_cache_take_pages(NULL, 0, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_OK(krn_kv_cache_pages(cache, &pages, &free_pages));
    CHECK(free_pages == 5, "%lld pages are free", (long long)free_pages);
    krn_kv_cache_destroy(cache);
}

int main(void) {
    int32_t levels[8];
    const int num_levels = tested_levels(levels);
    test_random random = {7};
    for (int i = 0; i < TOKENS * WIDTH; i++)
        source[i] = random_activation(&random);
    refuses_bad_descriptions();
    counts_bytes();
    for (int l = 0; l < num_levels; l++) {
        krn_context *context = context_of(levels[l], 2);
        refuses_bad_appends(context);
        refuses_bad_reads(context);
        centers_as_told(context);
        adopts_page_tables(context);
        krn_context_destroy(context);
    }
    puts("KV cache arguments: ok");
    return 0;
}
