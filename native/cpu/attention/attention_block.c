#include "attention/attention_block.h"

#include "attention/attention_cell.h"

#include <stddef.h>

int krn_is_any_visible(const krn_attention_call *call, int64_t low, int64_t high, int64_t first) {
    const int64_t last = first + KRN_ATTENTION_BLOCK - 1;
    const krn_attention_options *options = call->options;
    if (!options->full && first > high)
        return 0;
    return options->window == 0 || first < options->sink_tokens ||
           (last > low - options->window && (!options->full || first - high < options->window));
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
static void prepare_group(const krn_attention_worker *w, krn_row_tile *tile, int64_t group) {
    if (tile->group == group)
        return;
    tile->group = group;
    const krn_attention_call *call = w->call;
    const krn_kv_cache *cache = call->cache;
    const krn_kv_layout *layout = &cache->layout;
    const int64_t token = group * cache->desc.key_group,
                  row = tile->entry->first_row + tile->head * tile->entry->query_tokens * call->group + tile->first_row;
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

static void score_units(const krn_attention_worker *w, krn_row_tile *tile, const krn_block_view *now,
                        krn_attention_ahead *ahead, float *s, int32_t first_unit, int32_t units) {
    const krn_attention_call *call = w->call;
    const krn_attention_space *space = &call->space;
    const int64_t row = tile->entry->first_row + tile->head * tile->entry->query_tokens * call->group + tile->first_row;
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
        .s = s,
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
static int32_t count_alike(const krn_attention_call *call, const krn_row_tile *tile, const krn_block_view *now,
                           int32_t unit) {
    if (call->cache->keys.granularity != KRN_KV_CHANNEL)
        return now->units;
    const int64_t group = call->cache->desc.key_group;
    const int64_t token = now->first_token + unit * KRN_ATTENTION_UNIT;
    if (token >= krn_kv_paged_keys(call->cache, tile->entry->sequence))
        return now->units - unit;
    const int64_t end = (token / group + 1) * group;
    return (int32_t)krn_min((end - token) / KRN_ATTENTION_UNIT, now->units - unit);
}

static void adjust_scores(const krn_attention_worker *w, const krn_row_tile *tile, const krn_block_view *now,
                          float *s) {
    const krn_attention_call *call = w->call;
    const krn_attention_options *options = call->options;
    for (int32_t r = 0; r < tile->rows; r++) {
        const int64_t row = tile->first_row + r;
        w->scratch->positions[r] = krn_position_of(call, tile->entry, row);
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
        .s = s,
    };
    call->values->adjust(&job);
}

enum {
    /* How far ahead memory is asked for: 16 KiB, 400 ns at 40 GB/s. Half of it loses a tenth of the bandwidth with s8
     * and bf16, a quarter of it a fifth. */
    AHEAD_LINES = 256,
};

/* What lies ahead at the start of span `now`, of which `asked` lines have been asked for. */
static void look_from(const krn_block_span *now, const krn_block_span *next, int64_t asked,
                      krn_attention_ahead *ahead) {
    ahead->piece = now->pieces;
    ahead->end = now->pieces + now->num_pieces;
    ahead->next = next == NULL ? NULL : next->pieces;
    ahead->next_end = next == NULL ? NULL : next->pieces + next->num_pieces;
    ahead->at = ahead->piece->start;
    ahead->left = ahead->piece->lines;
    for (int64_t rest = asked; rest > 0 && ahead->left > 0;) {
        const int64_t some = krn_min(rest, ahead->left);
        ahead->at += some * 64;
        ahead->left -= some;
        rest -= some;
        if (ahead->left == 0)
            krn_next_piece(ahead);
    }
    ahead->asked = asked;
}

/* Scores of a block. */
static void score_block(const krn_attention_worker *w, krn_row_tile *tile, const krn_block_view *now,
                        krn_attention_ahead *ahead, int64_t low, int64_t high, float *s) {
    for (int32_t unit = 0; unit < now->units;) {
        const int32_t alike = count_alike(w->call, tile, now, unit);
        score_units(w, tile, now, ahead, s, unit, alike);
        unit += alike;
    }
    if (!is_plain(w->call, low, high, now->first_token, tile->entry->length))
        adjust_scores(w, tile, now, s);
}

/* From the scores of a block to the sums of its rows. */
static void weigh_block(const krn_attention_worker *w, const krn_row_tile *tile, int64_t head,
                        const krn_block_view *now, krn_attention_ahead *ahead, const float *s) {
    const krn_attention_call *call = w->call;
    const krn_kv_format *format = &call->cache->values;
    krn_attention_scratch *scratch = w->scratch;
    const int is_static = format->granularity == KRN_KV_STATIC;
    krn_softmax_job softmax = {
        .rows = tile->rows,
        .value_type = format->type,
        .units = now->units,
        .s = s,
        .values = &now->values,
        .value_scale = is_static ? format->static_scales[head] : 1.0f,
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
        softmax.value_zero = format->static_zero_points[head];
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
}

void krn_attend_blocks(const krn_attention_worker *w, krn_row_tile *tile, const krn_block_span *now,
                       const krn_block_span *next, int64_t *asked) {
    const krn_attention_call *call = w->call;
    const int64_t low = krn_position_of(call, tile->entry, tile->first_row);
    const int64_t high = krn_position_of(call, tile->entry, tile->first_row + tile->rows - 1);
    krn_attention_ahead near, *ahead = asked == NULL ? NULL : &near;
    if (ahead != NULL)
        look_from(now, next, *asked, ahead);
    for (int32_t b = 0; b < now->count; b++)
        if (krn_is_any_visible(call, low, high, now->blocks[b].first_token))
            score_block(w, tile, &now->blocks[b], ahead, low, high, w->scratch->s[b]);
    for (int32_t b = 0; b < now->count; b++) {
        const krn_block_view *block = &now->blocks[b];
        if (!krn_is_any_visible(call, low, high, block->first_token))
            continue;
        const int64_t value_lines = block->units * call->cache->layout.value_block_bytes / 64;
        /* Of the values of a block `values` asks for three lines of four that it reads. */
        near.wanted = now->lines - (now->count - 1 - b) * value_lines - value_lines * 3 / 4 +
                      krn_min(AHEAD_LINES, next == NULL ? 0 : next->lines);
        weigh_block(w, tile, now->head, block, ahead, w->scratch->s[b]);
    }
    if (ahead != NULL)
        *asked = ahead->asked > now->lines ? ahead->asked - now->lines : 0;
}
