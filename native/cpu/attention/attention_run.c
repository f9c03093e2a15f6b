/* Items of work: blocks of tokens in the order in which the cache keeps them. */
#include "attention/attention_block.h"

#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

typedef struct {
    krn_attention_call *call;
    atomic_int_least64_t next_item;
} run_job;

static int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

static krn_attention_worker worker_of(const krn_attention_call *call, int64_t index) {
    uint8_t *scratch = call->workspace + call->space.scratch + index * call->space.scratch_bytes;
    krn_attention_worker w = {.call = call, .scratch = (krn_attention_scratch *)(void *)scratch};
    const int64_t fixed = krn_divide_up((int64_t)sizeof *w.scratch, 64) * 64;
    const int64_t acc_bytes = KRN_ATTENTION_ROWS * call->channels * (int64_t)sizeof *w.acc;
    w.acc = (float *)(void *)(scratch + fixed);
    w.group_codes = (int8_t *)(scratch + fixed + acc_bytes);
    return w;
}

static void clear_sums(const krn_attention_call *call, float *m, float *l, float *acc, int64_t rows) {
    for (int64_t r = 0; r < rows; r++)
        m[r] = -INFINITY;
    memset(l, 0, (size_t)(rows * KRN_ATTENTION_UNIT) * sizeof *l);
    memset(acc, 0, (size_t)(rows * call->channels) * sizeof *acc);
}

/* Rows of one head and all tokens, block after block. */
static void run_prefill(const krn_attention_worker *w, const krn_attention_entry *entry, int64_t item) {
    const krn_attention_call *call = w->call;
    const int64_t head_rows = entry->query_tokens * call->group;
    const int64_t tiles = krn_divide_up(head_rows, KRN_ATTENTION_ROWS);
    const int64_t first_row = item % tiles * KRN_ATTENTION_ROWS;
    krn_row_tile tile = {
        .entry = entry,
        .head = item / tiles,
        .first_row = first_row,
        .rows = (int32_t)krn_min(KRN_ATTENTION_ROWS, head_rows - first_row),
        .m = w->scratch->m,
        .l = w->scratch->l,
        .acc = w->acc,
        .group = -1,
    };
    clear_sums(call, tile.m, tile.l, tile.acc, tile.rows);
    const int64_t low = krn_position_of(call, entry, tile.first_row);
    const int64_t high = krn_position_of(call, entry, tile.first_row + tile.rows - 1);
    krn_block_span spans[2];
    int filled = 0, now = 0;
    int64_t asked = 0;
    for (int64_t first = 0; first < entry->length; first += KRN_ATTENTION_BLOCK) {
        if (!krn_is_any_visible(call, low, high, first))
            continue;
        const int next = filled ? 1 - now : now;
        krn_view_blocks(call, entry, tile.head, first, 0, &spans[next]);
        if (filled)
            krn_attend_blocks(w, &tile, &spans[now], &spans[next], &asked);
        filled = 1;
        now = next;
    }
    if (filled)
        krn_attend_blocks(w, &tile, &spans[now], NULL, &asked);
    for (int32_t r = 0; r < tile.rows; r++) {
        const krn_attention_state state = {tile.m + r, tile.l + r * KRN_ATTENTION_UNIT, tile.acc + r * call->channels};
        krn_attention_put_row(call, entry, tile.head, tile.first_row + r, &state, 1, 0, NULL);
    }
}

/* What one span of a chunk leaves to the next: lines asked for (krn_attend_blocks), and the group of keys
 * (krn_row_tile) of which head the scratch has a query for. */
typedef struct {
    int64_t asked, group, head;
} stream;

/* All rows of a head against a span, 48 at a time. */
static void decode_span(const krn_attention_worker *w, const krn_attention_entry *entry, int64_t first_state,
                        stream *at, const krn_block_span *now, const krn_block_span *next) {
    const krn_attention_call *call = w->call;
    const int64_t head_rows = entry->query_tokens * call->group;
    for (int64_t first_row = 0; first_row < head_rows; first_row += KRN_ATTENTION_ROWS) {
        const int64_t state = first_state + now->head * head_rows + first_row;
        krn_row_tile tile = {
            .entry = entry,
            .head = now->head,
            .first_row = first_row,
            .rows = (int32_t)krn_min(KRN_ATTENTION_ROWS, head_rows - first_row),
            .m = krn_attention_floats(call, call->space.m) + state,
            .l = krn_attention_floats(call, call->space.l) + state * KRN_ATTENTION_UNIT,
            .acc = krn_attention_floats(call, call->space.acc) + state * call->channels,
            .group = head_rows <= KRN_ATTENTION_ROWS && at->head == now->head ? at->group : -1,
        };
        krn_attend_blocks(w, &tile, now, next, first_row == 0 ? &at->asked : NULL);
        at->group = tile.group;
    }
    at->head = now->head;
}

/* Where what query tokens at low..high see from a visible block at `first` on ends, at `end` or the block's end at the
 * latest. */
static int64_t end_of_visible(const krn_attention_call *call, int64_t low, int64_t high, int64_t first, int64_t end) {
    int64_t visible = first + KRN_ATTENTION_BLOCK;
    while (visible < end && krn_is_any_visible(call, low, high, visible))
        visible += KRN_ATTENTION_BLOCK;
    return visible;
}

/* A chunk of tokens for some heads. Memory is read as one stream: page after page, the heads of a page one after the
 * other; of pages that are shorter than a block as many as make one. `after` is what will probably be read next, or
 * NULL; `asked` are lines of the first span that have been asked for, then those of that one. */
static void run_decode(const krn_attention_worker *w, const krn_attention_entry *entry, int64_t item, int64_t *asked,
                       const krn_block_span *after) {
    const krn_attention_call *call = w->call;
    const int64_t chunk = item / call->head_ranges, range = item % call->head_ranges;
    const int64_t kv_heads = call->cache->desc.kv_heads;
    const int64_t first_head = krn_first_row(kv_heads, call->head_ranges, range);
    const int64_t end_head = krn_first_row(kv_heads, call->head_ranges, range + 1);
    const int64_t first_state = entry->first_state + chunk * entry->rows;
    const int64_t head_rows = entry->query_tokens * call->group;
    const int64_t state = first_state + first_head * head_rows;
    clear_sums(call, krn_attention_floats(call, call->space.m) + state,
               krn_attention_floats(call, call->space.l) + state * KRN_ATTENTION_UNIT,
               krn_attention_floats(call, call->space.acc) + state * call->channels,
               (end_head - first_head) * head_rows);
    const int64_t low = krn_position_of(call, entry, 0), high = entry->length - 1;
    const int64_t end = krn_min(entry->length, (chunk + 1) * KRN_ATTENTION_CHUNK);
    const int64_t page_tokens = call->cache->layout.page_tokens;
    krn_block_span spans[2];
    int filled = 0, now = 0;
    stream at = {.asked = *asked, .group = -1, .head = -1};
    for (int64_t token = chunk * KRN_ATTENTION_CHUNK; token < end;) {
        const int64_t page_end = (token / page_tokens + 1) * page_tokens / KRN_ATTENTION_BLOCK * KRN_ATTENTION_BLOCK;
        const int64_t stop = krn_min(end, max_i64(token + KRN_ATTENTION_BLOCK, page_end));
        for (int64_t head = first_head; head < end_head; head++) {
            for (int64_t first = token; first < stop;) {
                if (!krn_is_any_visible(call, low, high, first)) {
                    first += KRN_ATTENTION_BLOCK;
                    continue;
                }
                const int next = filled ? 1 - now : now;
                if (filled && spans[now].blocks[0].first_token == first && spans[now].head + 1 == head)
                    krn_view_next_head(call, entry, &spans[now], &spans[next]);
                else
                    krn_view_blocks(call, entry, head, first, end_of_visible(call, low, high, first, stop),
                                    &spans[next]);
                if (filled)
                    decode_span(w, entry, first_state, &at, &spans[now], &spans[next]);
                filled = 1;
                now = next;
                first += spans[now].count * KRN_ATTENTION_BLOCK;
            }
        }
        token = stop;
    }
    if (filled)
        decode_span(w, entry, first_state, &at, &spans[now], after);
    *asked = after == NULL ? 0 : at.asked;
}

static const krn_attention_entry *entry_of(const krn_attention_call *call, int64_t item) {
    const krn_attention_entry *entries = krn_attention_entries(call);
    int64_t low = 0, high = call->batch->count;
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        if (entries[middle].first_item <= item)
            low = middle;
        else
            high = middle;
    }
    return &entries[low];
}

/* The first span of an item of decode; whether it is that. */
static int view_first_span(const krn_attention_call *call, int64_t item, krn_block_span *span) {
    if (item >= call->items)
        return 0;
    const krn_attention_entry *entry = entry_of(call, item);
    const int64_t in_entry = item - entry->first_item, token = in_entry / call->head_ranges * KRN_ATTENTION_CHUNK;
    const int64_t low = krn_position_of(call, entry, 0), high = entry->length - 1;
    if (!entry->is_decode || !krn_is_any_visible(call, low, high, token))
        return 0;
    const int64_t range = in_entry % call->head_ranges;
    krn_view_blocks(call, entry, krn_first_row(call->cache->desc.kv_heads, call->head_ranges, range), token,
                    end_of_visible(call, low, high, token, token + KRN_ATTENTION_CHUNK), span);
    return 1;
}

/* Takes items until there are no more. */
static void work(void *task_context, int64_t index) {
    run_job *job = task_context;
    const krn_attention_worker w = worker_of(job->call, index);
    int64_t expected = -1, asked = 0;
    for (;;) {
        const int64_t item = atomic_fetch_add_explicit(&job->next_item, 1, memory_order_relaxed);
        if (item >= job->call->items)
            return;
        const krn_attention_entry *entry = entry_of(job->call, item);
        if (!entry->is_decode) {
            run_prefill(&w, entry, item - entry->first_item);
            continue;
        }
        /* Unless another thread takes it, the next item is this thread's: asking for its start costs nothing else. */
        if (item != expected)
            asked = 0;
        expected = atomic_load_explicit(&job->next_item, memory_order_relaxed);
        krn_block_span after;
        const int is_known = view_first_span(job->call, expected, &after);
        run_decode(&w, entry, item - entry->first_item, &asked, is_known ? &after : NULL);
    }
}

void krn_attention_run(krn_attention_call *call) {
    run_job job = {.call = call, .next_item = 0};
    krn_context_run(call->context, krn_min(call->context->num_threads, call->items), work, &job);
}
