/* Items of work: blocks of tokens in the order in which the cache keeps them, and the four steps of each. */
#include "attention/attention_call.h"
#include "attention/attention_cell.h"

#include <math.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

typedef struct {
    krn_attention_call *call;
    atomic_int_least64_t next_item;
} run_job;

/* Up to 48 rows that read one KV head, and their sums. */
typedef struct {
    const krn_attention_entry *entry;
    int64_t head;
    /* Of those of the head. */
    int64_t first_row;
    int32_t rows;
    float *m, *l, *acc;
    /* The group of keys (KIVI) that the scratch has the query for, or -1. */
    int64_t group;
} row_tile;

/* A block of tokens of one KV head. */
typedef struct {
    int64_t head, first_token;
    int32_t units;
    krn_attention_operand keys, values;
    /* All of it in the order in which it is read. */
    krn_attention_piece pieces[KRN_ATTENTION_MAX_PIECES];
    int32_t num_pieces;
    int64_t lines;
} block_view;

/* What a worker works with. */
typedef struct {
    const krn_attention_call *call;
    krn_attention_scratch *scratch;
    float *acc;
    int8_t *group_codes;
} worker;

static int64_t max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

static worker worker_of(const krn_attention_call *call, int64_t index) {
    uint8_t *scratch = call->workspace + call->space.scratch + index * call->space.scratch_bytes;
    worker w = {.call = call, .scratch = (krn_attention_scratch *)(void *)scratch};
    const int64_t fixed = krn_divide_up((int64_t)sizeof *w.scratch, 64) * 64;
    const int64_t acc_bytes = KRN_ATTENTION_ROWS * call->channels * (int64_t)sizeof *w.acc;
    w.acc = (float *)(void *)(scratch + fixed);
    w.group_codes = (int8_t *)(scratch + fixed + acc_bytes);
    return w;
}

static void add_piece(block_view *view, const void *start, int64_t bytes) {
    const int64_t lines = krn_divide_up(bytes, 64);
    krn_attention_piece *last = &view->pieces[view->num_pieces - 1];
    if (view->num_pieces > 0 && last->start + last->lines * 64 == start)
        last->lines += lines;
    else if (view->num_pieces == 0 || (const uint8_t *)start < last->start ||
             (const uint8_t *)start + bytes > last->start + last->lines * 64)
        view->pieces[view->num_pieces++] = (krn_attention_piece){start, lines};
    else
        return;
    view->lines += lines;
}

static void add_operand(block_view *view, const krn_attention_operand *operand, int64_t unit_bytes) {
    for (int32_t u = 0; u < view->units; u++)
        add_piece(view, operand->codes[u], unit_bytes);
    for (int32_t u = 0; operand->scales[0] != NULL && u < view->units; u++)
        add_piece(view, operand->scales[u], KRN_ATTENTION_UNIT * (int64_t)sizeof(float));
    for (int32_t u = 0; operand->zeros[0] != NULL && u < view->units; u++)
        add_piece(view, operand->zeros[u], KRN_ATTENTION_UNIT);
}

static void list_pieces(const krn_kv_layout *layout, block_view *view) {
    view->num_pieces = 0;
    view->lines = 0;
    add_operand(view, &view->keys, layout->key_block_bytes);
    add_operand(view, &view->values, layout->value_block_bytes);
}

/* Where a block lies. Units that it does not have stand for its first one, whose memory is there to be read. */
static void view_block(const krn_attention_call *call, const krn_attention_entry *entry, int64_t head,
                       int64_t first_token, block_view *view) {
    const krn_kv_cache *cache = call->cache;
    const krn_kv_layout *layout = &cache->layout;
    const int32_t *table = krn_kv_table_of(cache, entry->sequence);
    const int64_t paged = krn_kv_paged_keys(cache, entry->sequence), page_tokens = layout->page_tokens;
    const int64_t tokens = krn_min(entry->length - first_token, KRN_ATTENTION_BLOCK);
    view->head = head;
    view->first_token = first_token;
    view->units = (int32_t)krn_divide_up(tokens, KRN_ATTENTION_UNIT);
    view->keys = view->values = (krn_attention_operand){{NULL}, {NULL}, {NULL}};
    const int has_key_scales = krn_kv_bits(cache->keys.type) <= 8 && cache->keys.granularity == KRN_KV_TOKEN;
    const int has_value_scales = krn_kv_bits(cache->values.type) <= 8 && cache->values.granularity == KRN_KV_TOKEN;
    const int64_t zeros_at = page_tokens * (int64_t)sizeof(float);
    int64_t page = first_token / page_tokens, at = first_token % page_tokens, unit = at / KRN_ATTENTION_UNIT;
    const unsigned char *base = krn_kv_head(cache, table[page], head);
    for (int32_t u = 0; u < KRN_ATTENTION_UNITS; u++) {
        const int64_t token = first_token + u * KRN_ATTENTION_UNIT;
        if (u >= view->units) {
            view->keys.codes[u] = view->keys.codes[0];
            view->keys.scales[u] = view->keys.scales[0];
            view->keys.zeros[u] = view->keys.zeros[0];
            view->values.codes[u] = view->values.codes[0];
            view->values.scales[u] = view->values.scales[0];
            view->values.zeros[u] = view->values.zeros[0];
            continue;
        }
        if (at == page_tokens) {
            at = unit = 0;
            base = krn_kv_head(cache, table[++page], head);
        }
        const unsigned char *key_scales = base + layout->key_scales_at;
        const unsigned char *value_scales = base + layout->value_scales_at;
        view->keys.codes[u] = base + unit * layout->key_block_bytes;
        if (token >= paged)
            view->keys.codes[u] =
                (const uint8_t *)(krn_kv_tail(cache, entry->sequence, head) + (token - paged) * layout->head_dim);
        view->values.codes[u] = base + layout->value_codes_at + unit * layout->value_block_bytes;
        if (has_key_scales)
            view->keys.scales[u] = (const float *)(const void *)key_scales + at;
        if (has_key_scales && cache->keys.type == KRN_TYPE_U4)
            view->keys.zeros[u] = key_scales + zeros_at + at;
        if (has_value_scales)
            view->values.scales[u] = (const float *)(const void *)value_scales + at;
        if (has_value_scales && cache->values.type == KRN_TYPE_U4)
            view->values.zeros[u] = value_scales + zeros_at + at;
        at += KRN_ATTENTION_UNIT;
        unit++;
    }
    list_pieces(layout, view);
}

static void move_operand(krn_attention_operand *operand, int64_t bytes) {
    for (int32_t u = 0; u < KRN_ATTENTION_UNITS; u++) {
        operand->codes[u] += bytes;
        if (operand->scales[0] != NULL)
            operand->scales[u] = (const float *)(const void *)((const uint8_t *)operand->scales[u] + bytes);
        if (operand->zeros[0] != NULL)
            operand->zeros[u] += bytes;
    }
}

/* The block of the next head; most of what view_block does is the same for all heads. */
static void view_next_head(const krn_attention_call *call, const krn_attention_entry *entry, const block_view *before,
                           block_view *view) {
    const int64_t bytes = call->cache->layout.head_bytes;
    /* The tail lies elsewhere. */
    if (before->first_token + KRN_ATTENTION_BLOCK > krn_kv_paged_keys(call->cache, entry->sequence)) {
        view_block(call, entry, before->head + 1, before->first_token, view);
        return;
    }
    view->head = before->head + 1;
    view->first_token = before->first_token;
    view->units = before->units;
    view->keys = before->keys;
    view->values = before->values;
    move_operand(&view->keys, bytes);
    move_operand(&view->values, bytes);
    view->num_pieces = before->num_pieces;
    view->lines = before->lines;
    for (int32_t p = 0; p < view->num_pieces; p++)
        view->pieces[p] = (krn_attention_piece){before->pieces[p].start + bytes, before->pieces[p].lines};
}

/* Position of the query token of a row of a head. */
static int64_t position_of(const krn_attention_call *call, const krn_attention_entry *entry, int64_t row) {
    return entry->length - entry->query_tokens + row / call->group;
}

/* Tokens [first, end) are visible to some of the query tokens at low..high, if there were no mask within. */
static int is_any_visible(const krn_attention_call *call, int64_t low, int64_t high, int64_t first, int64_t end) {
    const krn_attention_options *options = call->options;
    if (!options->full && first > high)
        return 0;
    return options->window == 0 || first < options->sink_tokens ||
           (end - 1 > low - options->window && (!options->full || first - high < options->window));
}

/* Whether every query token at low..high sees all of the block as it is. */
static int is_plain(const krn_attention_call *call, int64_t low, int64_t high, int64_t first, int64_t length) {
    const krn_attention_options *options = call->options;
    const int64_t last = first + KRN_ATTENTION_BLOCK - 1;
    if (options->softcap > 0 || options->alibi_slopes != NULL || last >= length || (!options->full && last > low))
        return 0;
    return options->window == 0 || last < options->sink_tokens ||
           (high - first < options->window && last - low < options->window);
}

/* Queries for the keys of one group (KIVI): times the scales of its channels, and quantized. */
static void prepare_group(const worker *w, row_tile *tile, int64_t group) {
    if (tile->group == group)
        return;
    tile->group = group;
    const krn_attention_call *call = w->call;
    const krn_kv_cache *cache = call->cache;
    const krn_kv_layout *layout = &cache->layout;
    const int64_t token = group * cache->desc.key_group, row = tile->entry->first_row +
                          tile->head * tile->entry->query_tokens * call->group + tile->first_row;
    const int32_t page = krn_kv_table_of(cache, tile->entry->sequence)[token / layout->page_tokens];
    const unsigned char *scales = krn_kv_head(cache, page, tile->head) + layout->key_scales_at +
                                  token % layout->page_tokens / cache->desc.key_group * layout->key_group_bytes;
    const int is_u4 = cache->keys.type == KRN_TYPE_U4;
    for (int32_t r = 0; r < tile->rows; r++) {
        int32_t sum = 0, zero_sum = 0;
        const krn_query_job job = {
            .head_dim = call->head_dim,
            .query = krn_attention_floats(call, call->space.q_floats) + (row + r) * call->head_dim,
            .channel_scales = (const float *)(const void *)scales,
            .channel_zeros = is_u4 ? scales + call->head_dim * (int64_t)sizeof(float) : NULL,
            .codes = w->group_codes + r * call->head_dim,
            .scale = &w->scratch->group_scale[r],
            .sum = &sum,
            .zero_sum = &zero_sum,
        };
        call->keys->quantize_query(&job);
        w->scratch->group_scale[r] *= call->scale;
        w->scratch->group_offset[r] = is_u4 ? zero_sum : (cache->keys.type == KRN_TYPE_S8 ? 128 : 8) * sum;
    }
}

static void score_units(const worker *w, row_tile *tile, const block_view *now, krn_attention_ahead *ahead,
                        int32_t first_unit, int32_t units) {
    const krn_attention_call *call = w->call;
    const krn_attention_space *space = &call->space;
    const int64_t row = tile->entry->first_row + tile->head * tile->entry->query_tokens * call->group +
                        tile->first_row;
    const krn_kv_format *format = &call->cache->keys;
    krn_scores_job job = {
        .head_dim = call->head_dim,
        .key_type = format->type,
        .rows = tile->rows,
        .first_unit = first_unit,
        .units = units,
        .keys = &now->keys,
        .ahead = ahead,
        .q = call->workspace + space->q + row * call->q_row_bytes,
        .q_row_bytes = call->q_row_bytes,
        .q_scale = krn_attention_floats(call, space->q_scale) + row,
        .q_bias = krn_attention_floats(call, space->q_bias) + row,
        .q_offset = krn_attention_ints(call, space->q_offset) + row,
        .q_sum = krn_attention_ints(call, space->q_sum) + row,
        .s = w->scratch->s,
    };
    if (format->granularity != KRN_KV_CHANNEL) {
        call->keys->scores(&job);
        return;
    }
    const int64_t token = now->first_token + first_unit * KRN_ATTENTION_UNIT;
    if (token >= krn_kv_paged_keys(call->cache, tile->entry->sequence)) {
        job.key_type = KRN_TYPE_F32;
        job.ahead = NULL;
        job.q = call->workspace + space->q_floats + row * call->head_dim * (int64_t)sizeof(float);
        job.q_row_bytes = call->head_dim * (int64_t)sizeof(float);
        call->tail->scores(&job);
        return;
    }
    prepare_group(w, tile, token / call->cache->desc.key_group);
    job.q = (const uint8_t *)w->group_codes;
    job.q_row_bytes = call->head_dim;
    job.q_scale = w->scratch->group_scale;
    job.q_offset = w->scratch->group_offset;
    call->keys->scores(&job);
}

/* Units of a block that share a query: all of them, or those of one group of keys. */
static int32_t count_alike(const krn_attention_call *call, const row_tile *tile, const block_view *now, int32_t unit) {
    if (call->cache->keys.granularity != KRN_KV_CHANNEL)
        return now->units;
    const int64_t group = call->cache->desc.key_group;
    const int64_t token = now->first_token + unit * KRN_ATTENTION_UNIT;
    if (token >= krn_kv_paged_keys(call->cache, tile->entry->sequence))
        return now->units - unit;
    const int64_t end = (token / group + 1) * group;
    return (int32_t)krn_min((end - token) / KRN_ATTENTION_UNIT, now->units - unit);
}

static void adjust_scores(const worker *w, const row_tile *tile, const block_view *now) {
    const krn_attention_call *call = w->call;
    const krn_attention_options *options = call->options;
    for (int32_t r = 0; r < tile->rows; r++) {
        const int64_t row = tile->first_row + r;
        w->scratch->positions[r] = position_of(call, tile->entry, row);
        if (options->alibi_slopes != NULL)
            w->scratch->slopes[r] = options->alibi_slopes[tile->head * call->group + row % call->group];
    }
    const krn_adjust_job job = {
        .rows = tile->rows,
        .first_token = now->first_token,
        .length = tile->entry->length,
        .positions = w->scratch->positions,
        .slopes = options->alibi_slopes == NULL ? NULL : w->scratch->slopes,
        .softcap = options->softcap,
        .full = options->full,
        .window = options->window,
        .sink_tokens = options->sink_tokens,
        .s = w->scratch->s,
    };
    call->values->adjust(&job);
}

enum {
    /* How far ahead memory is asked for: 16 KiB, 400 ns at 40 GB/s. Half of it loses a tenth of the bandwidth with s8 and
     * bf16, a quarter of it a fifth. */
    AHEAD_LINES = 256,
};

/* What lies ahead at the start of block `now`, of which `asked` lines have been asked for. */
static void look_from(const krn_attention_call *call, const block_view *now, const block_view *next, int64_t asked,
                      krn_attention_ahead *ahead) {
    ahead->piece = now->pieces;
    ahead->end = now->pieces + now->num_pieces;
    ahead->next = next == NULL ? NULL : next->pieces;
    ahead->next_end = next == NULL ? NULL : next->pieces + next->num_pieces;
    ahead->at = ahead->piece->start + asked * 64;
    ahead->left = ahead->piece->lines - asked;
    for (const krn_attention_piece *before = NULL; ahead->left <= 0 && ahead->piece != before;) {
        before = ahead->piece;
        krn_next_piece(ahead);
    }
    ahead->asked = asked;
    /* `values` asks for three lines of four that it reads. */
    ahead->wanted = now->lines + AHEAD_LINES - now->units * call->cache->layout.value_block_bytes / 64 * 3 / 4;
}

/* `asked`: lines of the block that have been asked for, then those of the next; NULL for rows that find the block near. */
static void attend_block(const worker *w, row_tile *tile, const block_view *now, const block_view *next,
                         int64_t *asked) {
    const krn_attention_call *call = w->call;
    const krn_kv_format *format = &call->cache->values;
    krn_attention_scratch *scratch = w->scratch;
    const int64_t low = position_of(call, tile->entry, tile->first_row);
    const int64_t high = position_of(call, tile->entry, tile->first_row + tile->rows - 1);
    if (!is_any_visible(call, low, high, now->first_token, now->first_token + KRN_ATTENTION_BLOCK))
        return;
    krn_attention_ahead near, *ahead = asked == NULL ? NULL : &near;
    if (ahead != NULL)
        look_from(call, now, next, *asked, ahead);
    for (int32_t unit = 0; unit < now->units;) {
        const int32_t alike = count_alike(call, tile, now, unit);
        score_units(w, tile, now, ahead, unit, alike);
        unit += alike;
    }
    if (!is_plain(call, low, high, now->first_token, tile->entry->length))
        adjust_scores(w, tile, now);
    const int is_static = format->granularity == KRN_KV_STATIC;
    krn_softmax_job softmax = {
        .rows = tile->rows,
        .value_type = format->type,
        .units = now->units,
        .s = scratch->s,
        .values = &now->values,
        .value_scale = is_static ? format->static_scales[now->head] : 1.0f,
        .value_zero = format->type == KRN_TYPE_S4 ? 8 : 0,
        .m = tile->m,
        .l = tile->l,
        .alpha = scratch->alpha,
        .w = scratch->w,
        .w_step = scratch->w_step,
        .w_offset = scratch->w_offset,
        .ahead = ahead,
    };
    if (is_static && format->type == KRN_TYPE_U4)
        softmax.value_zero = format->static_zero_points[now->head];
    call->values->softmax(&softmax);
    const krn_values_job values = {
        .channels = call->channels,
        .value_type = format->type,
        .rows = tile->rows,
        .units = now->units,
        .values = &now->values,
        .ahead = ahead,
        .w = scratch->w,
        .alpha = scratch->alpha,
        .w_step = scratch->w_step,
        .w_offset = scratch->w_offset,
        .acc = tile->acc,
    };
    call->values->values(&values);
    if (ahead != NULL)
        *asked = max_i64(0, ahead->asked - now->lines);
}

static void clear_sums(const krn_attention_call *call, float *m, float *l, float *acc, int64_t rows) {
    for (int64_t r = 0; r < rows; r++)
        m[r] = -INFINITY;
    memset(l, 0, (size_t)(rows * KRN_ATTENTION_UNIT) * sizeof *l);
    memset(acc, 0, (size_t)(rows * call->channels) * sizeof *acc);
}

/* Rows of one head and all tokens, block after block. */
static void run_prefill(const worker *w, const krn_attention_entry *entry, int64_t item) {
    const krn_attention_call *call = w->call;
    const int64_t head_rows = entry->query_tokens * call->group;
    const int64_t tiles = krn_divide_up(head_rows, KRN_ATTENTION_ROWS);
    const int64_t first_row = item % tiles * KRN_ATTENTION_ROWS;
    row_tile tile = {
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
    const int64_t low = position_of(call, entry, tile.first_row);
    const int64_t high = position_of(call, entry, tile.first_row + tile.rows - 1);
    block_view views[2];
    int filled = 0, now = 0;
    int64_t asked = 0;
    for (int64_t first = 0; first < entry->length; first += KRN_ATTENTION_BLOCK) {
        if (!is_any_visible(call, low, high, first, first + KRN_ATTENTION_BLOCK))
            continue;
        const int next = filled ? 1 - now : now;
        view_block(call, entry, tile.head, first, &views[next]);
        if (filled)
            attend_block(w, &tile, &views[now], &views[next], &asked);
        filled = 1;
        now = next;
    }
    if (filled)
        attend_block(w, &tile, &views[now], NULL, &asked);
    for (int32_t r = 0; r < tile.rows; r++) {
        const krn_attention_state state = {tile.m + r, tile.l + r * KRN_ATTENTION_UNIT, tile.acc + r * call->channels};
        krn_attention_put_row(call, entry, tile.head, tile.first_row + r, &state, 1, 0, NULL);
    }
}

/* What one block of a chunk leaves to the next: lines asked for (attend_block), and the group of keys (row_tile) of which
 * head the scratch has a query for. */
typedef struct {
    int64_t asked, group, head;
} stream;

/* All rows of a head against a block, 48 at a time. */
static void decode_block(const worker *w, const krn_attention_entry *entry, int64_t first_state, stream *at,
                         const block_view *now, const block_view *next) {
    const krn_attention_call *call = w->call;
    const int64_t head_rows = entry->query_tokens * call->group;
    for (int64_t first_row = 0; first_row < head_rows; first_row += KRN_ATTENTION_ROWS) {
        const int64_t state = first_state + now->head * head_rows + first_row;
        row_tile tile = {
            .entry = entry,
            .head = now->head,
            .first_row = first_row,
            .rows = (int32_t)krn_min(KRN_ATTENTION_ROWS, head_rows - first_row),
            .m = krn_attention_floats(call, call->space.m) + state,
            .l = krn_attention_floats(call, call->space.l) + state * KRN_ATTENTION_UNIT,
            .acc = krn_attention_floats(call, call->space.acc) + state * call->channels,
            .group = head_rows <= KRN_ATTENTION_ROWS && at->head == now->head ? at->group : -1,
        };
        attend_block(w, &tile, now, next, first_row == 0 ? &at->asked : NULL);
        at->group = tile.group;
    }
    at->head = now->head;
}

/* A chunk of tokens for some heads. Memory is read as one stream: page after page, the heads of a page one after the
 * other; of pages that are shorter than a block as many as make one. */
static void run_decode(const worker *w, const krn_attention_entry *entry, int64_t item) {
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
    const int64_t low = position_of(call, entry, 0), high = entry->length - 1;
    const int64_t end = krn_min(entry->length, (chunk + 1) * KRN_ATTENTION_CHUNK);
    const int64_t page_tokens = call->cache->layout.page_tokens;
    block_view views[2];
    int filled = 0, now = 0;
    stream at = {.asked = 0, .group = -1, .head = -1};
    for (int64_t token = chunk * KRN_ATTENTION_CHUNK; token < end;) {
        const int64_t page_end = (token / page_tokens + 1) * page_tokens / KRN_ATTENTION_BLOCK * KRN_ATTENTION_BLOCK;
        const int64_t stop = krn_min(end, max_i64(token + KRN_ATTENTION_BLOCK, page_end));
        for (int64_t head = first_head; head < end_head; head++) {
            for (int64_t first = token; first < stop; first += KRN_ATTENTION_BLOCK) {
                if (!is_any_visible(call, low, high, first, first + KRN_ATTENTION_BLOCK))
                    continue;
                const int next = filled ? 1 - now : now;
                if (filled && views[now].first_token == first && views[now].head + 1 == head)
                    view_next_head(call, entry, &views[now], &views[next]);
                else
                    view_block(call, entry, head, first, &views[next]);
                if (filled)
                    decode_block(w, entry, first_state, &at, &views[now], &views[next]);
                filled = 1;
                now = next;
            }
        }
        token = stop;
    }
    if (filled)
        decode_block(w, entry, first_state, &at, &views[now], NULL);
}

/* Takes items until there are no more. */
static void work(void *task_context, int64_t index) {
    run_job *job = task_context;
    const worker w = worker_of(job->call, index);
    const krn_attention_entry *entries = krn_attention_entries(job->call);
    for (;;) {
        const int64_t item = atomic_fetch_add_explicit(&job->next_item, 1, memory_order_relaxed);
        if (item >= job->call->items)
            return;
        int64_t low = 0, high = job->call->batch->count;
        while (high - low > 1) {
            const int64_t middle = (low + high) / 2;
            if (entries[middle].first_item <= item)
                low = middle;
            else
                high = middle;
        }
        if (entries[low].is_decode)
            run_decode(&w, &entries[low], item - entries[low].first_item);
        else
            run_prefill(&w, &entries[low], item - entries[low].first_item);
    }
}

void krn_attention_run(krn_attention_call *call) {
    run_job job = {.call = call, .next_item = 0};
    krn_context_run(call->context, krn_min(call->context->num_threads, call->items), work, &job);
}
