/* The KV cache: the reference against the model, every variant and thread count against the reference, bit for bit; and
 * a long random life of sequences that share pages. */
#include "kv_case.h"
#include "runners.h"

#include <math.h>
#include <string.h>

static const int32_t types[] = {KRN_TYPE_F32, KRN_TYPE_BF16, KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_F8E4M3};

/* Grows and cuts the sequences of one cache per runner; all of their memory has to be the same, all the time. */
static void every_runner_agrees(test_random *random, const runner *runners, int num_runners, int32_t key_type,
                                int32_t value_type) {
    kv_case c;
    kv_case_make(&c, random, key_type, value_type);
    kv_model model;
    kv_model_make(&model, &c);
    krn_kv_cache *caches[MAX_RUNNERS];
    void *memory[MAX_RUNNERS];
    int64_t bytes = 0;
    for (int r = 0; r < num_runners; r++)
        caches[r] = kv_case_create(&c, r % 2 ? GUARD_START : GUARD_END, &memory[r], &bytes);
    for (int step = 0; step < 6; step++) {
        kv_batch batch;
        kv_batch_make(&batch, &model, random, step == 0 ? 200 : 40);
        kv_model_append(&model, &batch);
        const int32_t cut = (int32_t)random_between(random, 0, c.desc.sequences - 1);
        const int64_t length = random_between(random, 0, 2) ? model.sequences[cut].length
                                                            : random_between(random, 0, model.sequences[cut].length);
        for (int r = 0; r < num_runners; r++) {
            CHECK_OK(kv_batch_append(&batch, runners[r].context, caches[r]));
            CHECK_OK(krn_kv_cache_truncate(caches[r], cut, length));
            CHECK(memcmp(memory[r], memory[0], (size_t)bytes) == 0,
                  "step %d: %s is not %s; keys %d by %d, values %d by %d, head_dim %d", step, runners[r].name,
                  runners[0].name, c.desc.key_type, c.desc.key_granularity, c.desc.value_type, c.desc.value_granularity,
                  c.desc.head_dim);
        }
        kv_model_truncate(&model, cut, length);
    }
    for (int32_t s = 0; s < c.desc.sequences; s++)
        kv_model_check(&model, runners[num_runners - 1].context, caches[0], s);
    for (int r = 0; r < num_runners; r++)
        krn_kv_cache_destroy(caches[r]);
    kv_model_free(&model);
    guarded_free_all();
}

/* Who has which page, from the tables alone, against what the cache says. */
static void check_references(const kv_case *c, const krn_kv_cache *cache, const int32_t *holds) {
    int32_t counted[128] = {0}, table[64];
    int64_t pages, free_pages, count, used = 0;
    CHECK_OK(krn_kv_cache_pages(cache, &pages, &free_pages));
    for (int32_t s = 0; s < c->desc.sequences; s++) {
        int64_t length;
        CHECK_OK(krn_kv_cache_length(cache, s, &length));
        CHECK_OK(krn_kv_cache_table(cache, s, 64, table, &count));
        CHECK(count * c->desc.page_tokens >= length, "sequence %d has too few pages", s);
        for (int64_t i = 0; i < count; i++)
            counted[table[i]]++;
    }
    for (int64_t p = 0; p < pages; p++) {
        int32_t sequences, host;
        CHECK_OK(krn_kv_cache_page_references(cache, p, &sequences, &host));
        CHECK(sequences == counted[p] && host == holds[p], "page %lld has %d and %d references, expected %d and %d",
              (long long)p, sequences, host, counted[p], holds[p]);
        used += sequences > 0 || host > 0;
    }
    CHECK(free_pages == pages - used, "%lld pages are free, expected %lld", (long long)free_pages,
          (long long)(pages - used));
}

/* Non-finite input and a pool that is too small. */
static void append_fails(test_random *random, const kv_model *model, krn_context *context, krn_kv_cache *cache) {
    kv_batch batch;
    kv_batch_make(&batch, model, random, 100);
    if (batch.rows == 0)
        return;
    const int in_values = random_between(random, 0, 1) != 0;
    const int64_t row = random_between(random, 0, batch.rows - 1);
    const int64_t at = row * (in_values ? batch.options.value_ld : batch.options.key_ld) +
                       random_between(random, 0, model->c->width - 1);
    void *data = in_values ? batch.values : batch.keys;
    if (batch.options.source_type == KRN_TYPE_F32)
        ((float *)data)[at] = random_between(random, 0, 1) ? INFINITY : NAN;
    else
        ((uint16_t *)data)[at] = random_between(random, 0, 1) ? 0x7F80 | 0x7C00 : 0xFFFF;
    const krn_status status = kv_batch_append(&batch, context, cache);
    CHECK(status == KRN_ERROR_NON_FINITE || status == KRN_ERROR_OUT_OF_PAGES, "a bad append gave %s (%s)",
          krn_status_name(status), krn_last_error());
    if (status == KRN_ERROR_NON_FINITE)
        CHECK(strstr(krn_last_error(), in_values ? "values[" : "keys[") != NULL, "\"%s\"", krn_last_error());
}

static void live(test_random *random, krn_context *context, int steps) {
    kv_case c;
    kv_case_make(&c, random, -1, -1);
    const int64_t table_pages = (c.desc.max_tokens + c.desc.page_tokens - 1) / c.desc.page_tokens;
    c.desc.pages = random_between(random, table_pages, table_pages * c.desc.sequences);
    kv_model model;
    kv_model_make(&model, &c);
    void *memory;
    int64_t bytes;
    krn_kv_cache *cache = kv_case_create(&c, GUARD_END, &memory, &bytes);
    int32_t holds[128] = {0};
    for (int step = 0; step < steps; step++) {
        const int32_t s = (int32_t)random_between(random, 0, c.desc.sequences - 1);
        const int32_t other = (int32_t)random_between(random, 0, c.desc.sequences - 1);
        kv_sequence *sequence = &model.sequences[s];
        switch (random_between(random, 0, 7)) {
        case 0:
        case 1:
        case 2: {
            kv_batch batch;
            kv_batch_make(&batch, &model, random, 70);
            const krn_status status = kv_batch_append(&batch, context, cache);
            if (status == KRN_OK)
                kv_model_append(&model, &batch);
            else
                CHECK_STATUS(status, KRN_ERROR_OUT_OF_PAGES);
            break;
        }
        case 3: {
            const int64_t length = random_between(random, 0, sequence->length);
            CHECK_OK(krn_kv_cache_truncate(cache, s, length));
            kv_model_truncate(&model, s, length);
            break;
        }
        case 4:
            CHECK_OK(krn_kv_cache_reset(cache, s));
            kv_model_reset(&model, s);
            break;
        case 5:
            if (s != other) {
                const int64_t length = random_between(random, 0, sequence->length);
                CHECK_OK(krn_kv_cache_reset(cache, other));
                CHECK_OK(krn_kv_cache_fork(cache, s, length, other));
                kv_model_fork(&model, s, length, other);
            }
            break;
        case 6: {
            int32_t page = (int32_t)random_between(random, 0, c.desc.pages - 1), sequences, host;
            CHECK_OK(krn_kv_cache_page_references(cache, page, &sequences, &host));
            if (host > 0 && random_between(random, 0, 1)) {
                CHECK_OK(krn_kv_cache_release_pages(cache, 1, &page));
                holds[page]--;
            } else if (sequences + host > 0) {
                CHECK_OK(krn_kv_cache_hold_pages(cache, 1, &page));
                holds[page]++;
            } else {
                CHECK_STATUS(krn_kv_cache_hold_pages(cache, 1, &page), KRN_ERROR_INVALID_ARGUMENT);
            }
            break;
        }
        default: append_fails(random, &model, context, cache); break;
        }
        check_references(&c, cache, holds);
        kv_model_check(&model, context, cache, s);
        kv_model_check(&model, context, cache, other);
        if (step % 16 == 15)
            for (int32_t i = 0; i < c.desc.sequences; i++)
                kv_model_check(&model, context, cache, i);
    }
    krn_kv_cache_destroy(cache);
    kv_model_free(&model);
    guarded_free_all();
}

int main(void) {
    runner runners[MAX_RUNNERS];
    const int num_runners = make_runners(runners, 3);
    test_random random = {1};
    for (int round = 0; round < 4; round++)
        for (int k = 0; k < 6; k++)
            for (int v = 0; v < 6; v++)
                every_runner_agrees(&random, runners, num_runners, types[k], types[v]);
    for (int i = 0; i < 30; i++)
        live(&random, runners[num_runners - 1].context, 40);
    destroy_runners(runners, num_runners);
    puts("KV cache: ok");
    return 0;
}
