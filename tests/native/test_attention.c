/* Attention: every variant against the oracle; bits that do not depend on variants, threads, pages or the batch. */
#include "attention_case.h"

#include <math.h>
#include <string.h>

static const int32_t TYPES[] = {KRN_TYPE_F32, KRN_TYPE_BF16, KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_F8E4M3};
enum { NUM_TYPES = 6 };

static void same_bits(const attention_case *c, const attention_result *expected, int64_t first_token,
                      const attention_result *actual, int64_t tokens, const char *who) {
    const int64_t size = c->output_type == KRN_TYPE_F32 ? 4 : 2, heads = c->options.heads;
    const int64_t row_bytes = heads * c->desc.head_dim * size;
    for (int64_t t = 0; t < tokens; t++) {
        const uint8_t *a = (const uint8_t *)expected->data + (first_token + t) * c->output_ld * size;
        const uint8_t *b = (const uint8_t *)actual->data + t * c->output_ld * size;
        CHECK(memcmp(a, b, (size_t)row_bytes) == 0 &&
                  memcmp(expected->lse + (first_token + t) * heads, actual->lse + t * heads, (size_t)heads * 4) == 0,
              "%s: keys %d (%d), values %d (%d), d %d, token %lld: other bits than expected", who, c->desc.key_type,
              c->desc.key_granularity, c->desc.value_type, c->desc.value_granularity, c->desc.head_dim, (long long)t);
    }
}

static int is_narrow_float(int32_t type) { return type == KRN_TYPE_BF16 || type == KRN_TYPE_F8E4M3; }

/* AVX512-BF16 and NEON BF16 round sums of their own. */
static int has_own_bits(const attention_case *c, int32_t isa) {
    return (isa == KRN_ISA_AVX512BF16 || isa == KRN_ISA_NEON_BF16) &&
           (is_narrow_float(c->desc.key_type) || is_narrow_float(c->desc.value_type));
}

/* Each entry of the batch by itself gives what it gives in the batch. */
static void entries_are_independent(const attention_case *c, krn_context *context, const attention_result *whole) {
    int64_t token = 0;
    for (int32_t i = 0; i < c->batch.count; i++) {
        const attention_result alone = attention_case_run(c, context, i, 1);
        same_bits(c, whole, token, &alone, c->query_tokens[i], "alone");
        token += c->query_tokens[i];
    }
}

static void check_case(attention_case *c, test_random *random, krn_context *const *contexts,
                       krn_context *const *threaded, int count) {
    static const int64_t pages[] = {16, 32, 64, 128, 2048};
    const attention_result expected = attention_case_run(c, contexts[0], 0, c->batch.count);
    if (tests_reference())
        attention_case_check(c, &expected, "ref");
    attention_result best = expected;
    for (int i = tests_reference() ? 0 : 1; i < count; i++) {
        const int32_t isa = krn_context_isa(contexts[i]);
        const attention_result actual = attention_case_run(c, contexts[i], 0, c->batch.count);
        if (has_own_bits(c, isa))
            attention_case_check(c, &actual, krn_isa_name(isa));
        else
            same_bits(c, &expected, 0, &actual, c->tokens, krn_isa_name(isa));
        const attention_result shared = attention_case_run(c, threaded[i], 0, c->batch.count);
        same_bits(c, &actual, 0, &shared, c->tokens, "threads");
        best = actual;
    }
    entries_are_independent(c, contexts[count - 1], &best);
    int64_t page = pages[random_between(random, 0, 4)];
    if (c->desc.key_granularity == KRN_KV_CHANNEL && page % c->desc.key_group != 0)
        page = 2048;
    attention_case_repage(c, page);
    const attention_result repaged = attention_case_run(c, contexts[count - 1], 0, c->batch.count);
    same_bits(c, &best, 0, &repaged, c->tokens, "pages");
}

int main(void) {
    int32_t levels[8];
    krn_context *contexts[8], *threaded[8];
    const int count = machine_levels(levels);
    for (int i = 0; i < count; i++) {
        contexts[i] = context_of(levels[i], 1);
        threaded[i] = context_of(levels[i], 3);
    }
    test_random random = {.state = 5};
    for (int round = 0; round < 12; round++) {
        for (int k = 0; k < NUM_TYPES; k++) {
            attention_case c;
            const int same = round % 2 == 0;
            attention_case_make(&c, &random, TYPES[k], same ? TYPES[k] : TYPES[(k + 1 + round / 2) % NUM_TYPES],
                                round % 4 == 3 ? 1100 : 200);
            check_case(&c, &random, contexts, threaded, count);
            attention_case_free(&c);
        }
    }
    for (int i = 0; i < count; i++) {
        krn_context_destroy(contexts[i]);
        krn_context_destroy(threaded[i]);
    }
    puts("attention: ok");
    return 0;
}
