#include "attention/attention_view.h"

#include "attention/attention_cell.h"

#include <stddef.h>

static void add_piece(krn_block_view *view, const uint8_t *start, int64_t bytes) {
    const int64_t lines = krn_divide_up(bytes, 64);
    if (view->num_pieces > 0) {
        krn_attention_piece *last = &view->pieces[view->num_pieces - 1];
        const uint8_t *end = last->start + last->lines * 64;
        /* Scales of 16 tokens are a line at most, which two units may share. */
        if (start >= last->start && start + bytes <= end)
            return;
        if (start == end) {
            last->lines += lines;
            view->lines += lines;
            return;
        }
    }
    view->pieces[view->num_pieces++] = (krn_attention_piece){start, lines};
    view->lines += lines;
}

static void add_operand(krn_block_view *view, const krn_attention_operand *operand, int64_t unit_bytes, int32_t unit,
                        int32_t end) {
    for (int32_t u = unit; u < end; u++)
        add_piece(view, operand->codes[u], unit_bytes);
    for (int32_t u = unit; operand->scales[0] != NULL && u < end; u++)
        add_piece(view, (const uint8_t *)operand->scales[u], KRN_ATTENTION_UNIT * (int64_t)sizeof(float));
    for (int32_t u = unit; operand->zeros[0] != NULL && u < end; u++)
        add_piece(view, operand->zeros[u], KRN_ATTENTION_UNIT);
}

/* Page after page in the order of addresses, in which memory is fastest. A block is asked for before its first unit is
 * read, so that the order in which it will be read does not count. */
static void list_pieces(const krn_kv_layout *layout, krn_block_view *view) {
    const int32_t page_units = (int32_t)krn_min(layout->page_tokens, KRN_ATTENTION_BLOCK) / KRN_ATTENTION_UNIT;
    view->num_pieces = 0;
    view->lines = 0;
    for (int32_t unit = 0; unit < view->units; unit += page_units) {
        const int32_t end = (int32_t)krn_min(unit + page_units, view->units);
        add_operand(view, &view->keys, layout->key_block_bytes, unit, end);
        for (int32_t u = unit; u < end; u++)
            if (view->group_scales[u] != NULL)
                add_piece(view, view->group_scales[u], layout->key_group_bytes);
        add_operand(view, &view->values, layout->value_block_bytes, unit, end);
    }
}

void krn_view_block(const krn_attention_call *call, const krn_attention_entry *entry, int64_t head, int64_t first_token,
                    krn_block_view *view) {
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
    list_pieces(layout, view);
}

/* The same place `bytes` further on. */
static void move_operand(krn_attention_operand *to, const krn_attention_operand *from, int64_t bytes) {
    for (int32_t u = 0; u < KRN_ATTENTION_UNITS; u++) {
        to->codes[u] = from->codes[u] + bytes;
        to->scales[u] = from->scales[u] == NULL ? NULL : from->scales[u] + bytes / (int64_t)sizeof(float);
        to->zeros[u] = from->zeros[u] == NULL ? NULL : from->zeros[u] + bytes;
    }
}

void krn_view_next_head(const krn_attention_call *call, const krn_attention_entry *entry, const krn_block_view *before,
                        krn_block_view *view) {
    const int64_t bytes = call->cache->layout.head_bytes;
    /* The tail lies elsewhere. */
    if (before->first_token + KRN_ATTENTION_BLOCK > krn_kv_paged_keys(call->cache, entry->sequence)) {
        krn_view_block(call, entry, before->head + 1, before->first_token, view);
        return;
    }
    view->head = before->head + 1;
    view->first_token = before->first_token;
    view->units = before->units;
    move_operand(&view->keys, &before->keys, bytes);
    move_operand(&view->values, &before->values, bytes);
    for (int32_t u = 0; u < KRN_ATTENTION_UNITS; u++)
        view->group_scales[u] = before->group_scales[u] == NULL ? NULL : before->group_scales[u] + bytes;
    view->num_pieces = before->num_pieces;
    view->lines = before->lines;
    for (int32_t p = 0; p < view->num_pieces; p++)
        view->pieces[p] = (krn_attention_piece){before->pieces[p].start + bytes, before->pieces[p].lines};
}
