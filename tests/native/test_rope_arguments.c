/* RoPE: every misuse has its status, names the argument and writes nothing; empty tensors. */
#include "check.h"

#include <math.h>
#include <string.h>

enum { TOKENS = 3, HEADS = 2, DIM = 8, LD = 20, FIRST = 10, POSITIONS = 5 };

/* All the arguments of a good call. Every check changes one of them. */
typedef struct {
    krn_context *context;
    krn_rope_options options;
    int64_t tokens, heads;
    int32_t source_type;
    const void *source;
    int64_t source_ld;
    const int32_t *positions;
    float *cos_sin;
    int64_t first_position, position_count;
    int32_t target_type;
    void *target;
    int64_t target_ld;
} call;

static float source[TOKENS * LD], target[TOKENS * LD], table[POSITIONS * DIM];
static int32_t positions[TOKENS];

static call good_call(krn_context *context) {
    for (int i = 0; i < TOKENS * LD; i++)
        source[i] = (float)(i % 11) - 5;
    memset(target, 0xA5, sizeof target);
    memset(table, 0xA5, sizeof table);
    for (int i = 0; i < TOKENS; i++)
        positions[i] = FIRST + i;
    return (call){
        .context = context,
        .options = {.struct_size = sizeof(krn_rope_options),
                    .head_dim = DIM,
                    .scaling = KRN_ROPE_SCALING_LLAMA3,
                    .factor = 8,
                    .low_freq_factor = 1,
                    .high_freq_factor = 4,
                    .original_context = 8192},
        .tokens = TOKENS,
        .heads = HEADS,
        .source_type = KRN_TYPE_F32,
        .source = source,
        .source_ld = LD,
        .positions = positions,
        .cos_sin = table,
        .first_position = FIRST,
        .position_count = POSITIONS,
        .target_type = KRN_TYPE_F32,
        .target = target,
        .target_ld = LD,
    };
}

static krn_status rotate(const call *c, const krn_rope_options *options) {
    return krn_rope(c->context, options, c->tokens, c->heads, c->source_type, c->source, c->source_ld, c->positions,
                    c->cos_sin, c->first_position, c->position_count, c->target_type, c->target, c->target_ld);
}

static void check_untouched(const char *name) {
    for (size_t i = 0; i < sizeof target; i++)
        CHECK(((const uint8_t *)target)[i] == 0xA5, "%s: the target was written", name);
    for (size_t i = 0; i < sizeof table; i++)
        CHECK(((const uint8_t *)table)[i] == 0xA5, "%s: the table was written", name);
}

static void check_says(const char *name) {
    CHECK(strstr(krn_last_error(), name) != NULL, "\"%s\" does not name %s", krn_last_error(), name);
}

/* Changes one argument of a good call and checks that it is refused. */
#define REFUSES(change, status, name)                                                                                  \
    do {                                                                                                               \
        call c = good_call(context);                                                                                   \
        change;                                                                                                        \
        CHECK_STATUS(rotate(&c, &c.options), status);                                                                  \
        check_says(name);                                                                                              \
        check_untouched(name);                                                                                         \
    } while (0)

/* Changes an option and checks that both functions refuse it. */
#define REFUSES_OPTION(change, status, name)                                                                           \
    do {                                                                                                               \
        REFUSES(change, status, name);                                                                                 \
        call c = good_call(context);                                                                                   \
        change;                                                                                                        \
        CHECK_STATUS(krn_rope_table(&c.options, FIRST, POSITIONS, table), status);                                     \
        check_says(name);                                                                                              \
        check_untouched(name);                                                                                         \
    } while (0)

static void refuses_bad_options(krn_context *context) {
    const krn_status invalid = KRN_ERROR_INVALID_ARGUMENT;
    REFUSES_OPTION(c.options.struct_size = 0, KRN_ERROR_STRUCT_SIZE, "options->struct_size");
    REFUSES_OPTION(c.options.struct_size += 8, KRN_ERROR_STRUCT_SIZE, "options->struct_size");
    REFUSES_OPTION(c.options.layout = -1, invalid, "options->layout");
    REFUSES_OPTION(c.options.layout = 2, invalid, "options->layout");
    REFUSES_OPTION(c.options.head_dim = 0, invalid, "options->head_dim");
    REFUSES_OPTION(c.options.head_dim = 65538, invalid, "options->head_dim");
    REFUSES_OPTION(c.options.head_dim = 7, invalid, "options->rotary_dim");
    REFUSES_OPTION(c.options.rotary_dim = 3, invalid, "options->rotary_dim");
    REFUSES_OPTION(c.options.rotary_dim = DIM + 2, invalid, "options->rotary_dim");
    REFUSES_OPTION(c.options.rotary_dim = -2, invalid, "options->rotary_dim");
    REFUSES_OPTION(c.options.theta_base = 0.5, invalid, "options->theta_base");
    REFUSES_OPTION(c.options.theta_base = NAN, invalid, "options->theta_base");
    REFUSES_OPTION(c.options.theta_base = INFINITY, invalid, "options->theta_base");
    REFUSES_OPTION(c.options.reserved = 1, invalid, "options->reserved");
    REFUSES_OPTION(c.options.scaling = -1, invalid, "options->scaling");
    REFUSES_OPTION(c.options.scaling = 3, invalid, "options->scaling");
    REFUSES_OPTION(c.options.factor = 0.5, invalid, "options->factor");
    REFUSES_OPTION(c.options.factor = NAN, invalid, "options->factor");
    REFUSES_OPTION(c.options.factor = 1e30, invalid, "options->factor");
    REFUSES_OPTION(c.options.low_freq_factor = 0, invalid, "options->low_freq_factor");
    REFUSES_OPTION(c.options.low_freq_factor = NAN, invalid, "options->low_freq_factor");
    REFUSES_OPTION(c.options.high_freq_factor = 1, invalid, "options->high_freq_factor");
    REFUSES_OPTION(c.options.high_freq_factor = INFINITY, invalid, "options->high_freq_factor");
    REFUSES_OPTION(c.options.original_context = 0, invalid, "options->original_context");
}

static void refuses_bad_tables(krn_context *context) {
    const call c = good_call(context);
    CHECK_STATUS(krn_rope_table(NULL, 0, 1, table), KRN_ERROR_NULL_ARGUMENT);
    check_says("options");
    CHECK_STATUS(krn_rope_table(&c.options, 0, 1, NULL), KRN_ERROR_NULL_ARGUMENT);
    check_says("cos_sin");
    CHECK_STATUS(krn_rope_table(&c.options, 0, 1, (float *)(void *)((char *)table + 2)), KRN_ERROR_ALIGNMENT);
    check_says("cos_sin");
    CHECK_STATUS(krn_rope_table(&c.options, 0, -1, table), KRN_ERROR_SHAPE);
    check_says("count");
    CHECK_STATUS(krn_rope_table(&c.options, -1, 1, table), KRN_ERROR_INVALID_ARGUMENT);
    check_says("first_position");
    CHECK_STATUS(krn_rope_table(&c.options, INT64_MAX, 1, table), KRN_ERROR_INVALID_ARGUMENT);
    check_says("first_position");
    CHECK_STATUS(krn_rope_table(&c.options, KRN_ROPE_MAX_POSITIONS - 1, 2, table), KRN_ERROR_INVALID_ARGUMENT);
    check_says("count");
    CHECK_STATUS(krn_rope_table(&c.options, 1, INT64_MAX, table), KRN_ERROR_INVALID_ARGUMENT);
    check_says("count");
    check_untouched("table");
    CHECK_OK(krn_rope_table(&c.options, 5, 0, NULL));
    CHECK_OK(krn_rope_table(&c.options, KRN_ROPE_MAX_POSITIONS - 1, 1, table));
}

static void refuses_bad_tensors(krn_context *context) {
    const krn_status null = KRN_ERROR_NULL_ARGUMENT, invalid = KRN_ERROR_INVALID_ARGUMENT;
    REFUSES(c.context = NULL, null, "context");
    call good = good_call(context);
    CHECK_STATUS(rotate(&good, NULL), null);
    check_says("options");
    REFUSES(c.tokens = -1, KRN_ERROR_SHAPE, "tokens");
    REFUSES(c.heads = -1, KRN_ERROR_SHAPE, "heads");
    REFUSES(c.heads = INT64_MAX / 4, KRN_ERROR_SHAPE, "heads");
    REFUSES(c.tokens = INT64_MAX / 4, KRN_ERROR_SHAPE, "tokens");
    REFUSES(c.source_type = KRN_TYPE_S8, invalid, "source_type");
    REFUSES(c.target_type = 0, invalid, "target_type");
    REFUSES(c.source = NULL, null, "source");
    REFUSES(c.target = NULL, null, "target");
    REFUSES(c.source = (const char *)source + 1, KRN_ERROR_ALIGNMENT, "source");
    REFUSES(c.target = (char *)target + 2, KRN_ERROR_ALIGNMENT, "target");
    REFUSES(c.source_ld = HEADS * DIM - 1, KRN_ERROR_LEADING_DIMENSION, "source_ld");
    REFUSES(c.target_ld = HEADS * DIM - 1, KRN_ERROR_LEADING_DIMENSION, "target_ld");
    REFUSES(c.target_ld = INT64_MAX / 2, KRN_ERROR_LEADING_DIMENSION, "target_ld");
    REFUSES(c.positions = NULL, null, "positions");
    REFUSES(c.positions = (const int32_t *)(const void *)((const char *)positions + 1), KRN_ERROR_ALIGNMENT,
            "positions");
    REFUSES(c.cos_sin = NULL, null, "cos_sin");
    REFUSES(c.cos_sin = (float *)(void *)((char *)table + 2), KRN_ERROR_ALIGNMENT, "cos_sin");
    REFUSES(c.first_position = -1, invalid, "first_position");
    REFUSES(c.position_count = -1, KRN_ERROR_SHAPE, "position_count");
    REFUSES(c.position_count = INT64_MAX, invalid, "position_count");
    REFUSES(c.position_count = 2, invalid, "positions[2]");
    REFUSES(positions[1] = FIRST - 1, invalid, "positions[1]");
    REFUSES(positions[0] = FIRST + POSITIONS, invalid, "positions[0]");
    REFUSES(positions[0] = INT32_MIN, invalid, "positions[0]");
    REFUSES((c.source = target, c.source_type = KRN_TYPE_F16), invalid, "target_type");
    REFUSES((c.source = target, c.source_ld = LD - 1), invalid, "target_ld");
}

static void accepts_empty_tensors(krn_context *context) {
    call c = good_call(context);
    c.tokens = 0;
    c.source = NULL;
    c.target = NULL;
    c.positions = NULL;
    c.cos_sin = NULL;
    c.position_count = 0;
    CHECK_OK(rotate(&c, &c.options));
    c = good_call(context);
    c.heads = 0;
    c.source = NULL;
    c.target = NULL;
    CHECK_OK(rotate(&c, &c.options));
    c.source = source;
    c.target = source;
    c.target_type = KRN_TYPE_F16;
    CHECK_OK(rotate(&c, &c.options));
    check_untouched("nothing");
}

int main(void) {
    int32_t levels[8];
    const int num_levels = tested_levels(levels);
    for (int l = 0; l < num_levels; l++) {
        krn_context *context = context_of(levels[l], 2);
        refuses_bad_options(context);
        refuses_bad_tables(context);
        refuses_bad_tensors(context);
        accepts_empty_tensors(context);
        krn_context_destroy(context);
    }
    puts("rope arguments: ok");
    return 0;
}
