#include "attention/attention_view.h"

#include "attention/attention_cell.h"

#include <stddef.h>

static void add_piece(krn_block_span *span, const uint8_t *start, int64_t bytes) {
    const int64_t lines = krn_divide_up(bytes, 64);
    if (span->num_pieces > 0) {
        krn_attention_piece *last = &span->pieces[span->num_pieces - 1];
        const uint8_t *end = last->start + last->lines * 64;
        /* Scales of 16 tokens are a line at most, which two units may share. */
        if (start >= last->start && start + bytes <= end)
            return;
        if (start == end) {
            last->lines += lines;
            span->lines += lines;
            return;
        }
    }
    span->pieces[span->num_pieces++] = (krn_attention_piece){start, lines};
    span->lines += lines;
}

static void add_scales(krn_block_span *span, const float *scales, int64_t tokens) {
    add_piece(span, (const uint8_t *)scales, tokens * (int64_t)sizeof(float));
}

/* Keys, or values, of units unit..end-1 of every block. In a page of several chunks scales lie far from their codes, in
 * rows of memory that are opened for them alone: there those of a chunk are asked for at once. */
static void add_operands(const krn_kv_layout *layout, krn_block_span *span, int is_keys, int32_t unit, int32_t end) {
    const int64_t unit_bytes = is_keys ? layout->key_block_bytes : layout->value_block_bytes;
    const int is_long = layout->page_tokens > KRN_ATTENTION_CHUNK;
    const krn_attention_operand *operands[KRN_ATTENTION_SPAN] = {NULL};
    for (int32_t b = 0; b < span->count; b++)
        operands[b] = is_keys ? &span->blocks[b].keys : &span->blocks[b].values;
    for (int32_t b = 0; b < span->count; b++)
        for (int32_t u = unit; u < end; u++)
            add_piece(span, operands[b]->codes[u], unit_bytes);
    const int has_scales = operands[0]->scales[0] != NULL;
    if (has_scales && is_long && span->blocks[0].first_token % KRN_ATTENTION_CHUNK == 0)
        add_scales(span, operands[0]->scales[0], KRN_ATTENTION_CHUNK);
    for (int32_t b = 0; has_scales && !is_long && b < span->count; b++)
        for (int32_t u = unit; u < end; u++)
            add_scales(span, operands[b]->scales[u], KRN_ATTENTION_UNIT);
    for (int32_t b = 0; operands[0]->zeros[0] != NULL && b < span->count; b++)
        for (int32_t u = unit; u < end; u++)
            add_piece(span, operands[b]->zeros[u], KRN_ATTENTION_UNIT);
}

/* Page after page in the order of addresses, in which memory is fastest. A span is asked for before its first unit is
 * read, so that the order in which it will be read does not count. */
static void list_pieces(const krn_kv_layout *layout, krn_block_span *span) {
    const int32_t page_units = (int32_t)krn_min(layout->page_tokens, KRN_ATTENTION_BLOCK) / KRN_ATTENTION_UNIT;
    const int32_t units = span->blocks[0].units;
    span->num_pieces = 0;
    span->lines = 0;
    for (int32_t unit = 0; unit < units; unit += page_units) {
        const int32_t end = (int32_t)krn_min(unit + page_units, units);
        add_operands(layout, span, 1, unit, end);
        for (int32_t b = 0; b < span->count; b++)
            for (int32_t u = unit; u < end; u++)
                if (span->blocks[b].group_scales[u] != NULL)
                    add_piece(span, span->blocks[b].group_scales[u], layout->key_group_bytes);
        add_operands(layout, span, 0, unit, end);
    }
}

static void view_block(const krn_attention_call *call, const krn_attention_entry *entry, int64_t head,
                       int64_t first_token, krn_block_view *view) {
    const krn_kv_cache *cache = call->cache;
    const krn_kv_layout *layout = &cache->layout;
    const int32_t *table = krn_kv_table_of(cache, entry->sequence);
    const int64_t paged = krn_kv_paged_keys(cache, entry->sequence), page_tokens = layout->page_tokens;
    const int64_t tokens = krn_min(entry->length - first_token, KRN_ATTENTION_BLOCK);
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
        view->group_scales[u] = NULL;
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
        else if (cache->keys.granularity == KRN_KV_CHANNEL)
            view->group_scales[u] = base + layout->key_scales_at + at / cache->desc.key_group * layout->key_group_bytes;
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
}

/* Codes, and scales and zero points, so many bytes further on. */
static void move_operand(krn_attention_operand *to, const krn_attention_operand *from, int64_t code_bytes,
                         int64_t scale_bytes, int64_t zero_bytes) {
    for (int32_t u = 0; u < KRN_ATTENTION_UNITS; u++) {
        to->codes[u] = from->codes[u] + code_bytes;
        to->scales[u] = from->scales[u] == NULL ? NULL : from->scales[u] + scale_bytes / (int64_t)sizeof(float);
        to->zeros[u] = from->zeros[u] == NULL ? NULL : from->zeros[u] + zero_bytes;
    }
}

/* The block behind one in the same page; both are whole. */
static void view_next_block(const krn_attention_call *call, const krn_block_view *before, krn_block_view *view) {
    const krn_kv_cache *cache = call->cache;
    const krn_kv_layout *layout = &cache->layout;
    const int64_t scale_bytes = KRN_ATTENTION_BLOCK * (int64_t)sizeof(float), zero_bytes = KRN_ATTENTION_BLOCK;
    view->first_token = before->first_token + KRN_ATTENTION_BLOCK;
    view->units = before->units;
    move_operand(&view->keys, &before->keys, KRN_ATTENTION_UNITS * layout->key_block_bytes, scale_bytes, zero_bytes);
    move_operand(&view->values, &before->values, KRN_ATTENTION_UNITS * layout->value_block_bytes, scale_bytes,
                 zero_bytes);
    for (int32_t u = 0; u < KRN_ATTENTION_UNITS; u++) {
        view->group_scales[u] = NULL;
        if (before->group_scales[u] != NULL) {
            const int64_t token = before->first_token + u * KRN_ATTENTION_UNIT, group = cache->desc.key_group;
            const int64_t groups = (token + KRN_ATTENTION_BLOCK) / group - token / group;
            view->group_scales[u] = before->group_scales[u] + groups * layout->key_group_bytes;
        }
    }
}

void krn_view_blocks(const krn_attention_call *call, const krn_attention_entry *entry, int64_t head,
                     int64_t first_token, int64_t end, krn_block_span *span) {
    const krn_kv_cache *cache = call->cache;
    const int64_t page_tokens = cache->layout.page_tokens;
    /* The tail of a sequence lies elsewhere. */
    const int64_t whole = krn_min(entry->length, krn_kv_paged_keys(cache, entry->sequence));
    const int64_t stop = krn_min(krn_min(end, whole), (first_token / page_tokens + 1) * page_tokens);
    span->head = head;
    span->count = 1;
    view_block(call, entry, head, first_token, &span->blocks[0]);
    for (int64_t next = first_token + KRN_ATTENTION_BLOCK;
         span->count < KRN_ATTENTION_SPAN && next + KRN_ATTENTION_BLOCK <= stop; next += KRN_ATTENTION_BLOCK) {
        view_next_block(call, &span->blocks[span->count - 1], &span->blocks[span->count]);
        span->count++;
    }
    list_pieces(&cache->layout, span);
}

void krn_view_next_head(const krn_attention_call *call, const krn_attention_entry *entry, const krn_block_span *before,
                        krn_block_span *span) {
    const int64_t bytes = call->cache->layout.head_bytes;
    const krn_block_view *last = &before->blocks[before->count - 1];
    /* The tail lies elsewhere. */
    if (last->first_token + KRN_ATTENTION_BLOCK > krn_kv_paged_keys(call->cache, entry->sequence)) {
        krn_view_blocks(call, entry, before->head + 1, before->blocks[0].first_token, 0, span);
        return;
    }
    span->head = before->head + 1;
    span->count = before->count;
    for (int32_t b = 0; b < span->count; b++) {
        const krn_block_view *from = &before->blocks[b];
        krn_block_view *to = &span->blocks[b];
        to->first_token = from->first_token;
        to->units = from->units;
        move_operand(&to->keys, &from->keys, bytes, bytes, bytes);
        move_operand(&to->values, &from->values, bytes, bytes, bytes);
        for (int32_t u = 0; u < KRN_ATTENTION_UNITS; u++)
            to->group_scales[u] = from->group_scales[u] == NULL ? NULL : from->group_scales[u] + bytes;
    }
    span->num_pieces = before->num_pieces;
    span->lines = before->lines;
    for (int32_t p = 0; p < span->num_pieces; p++)
        span->pieces[p] = (krn_attention_piece){before->pieces[p].start + bytes, before->pieces[p].lines};
}
