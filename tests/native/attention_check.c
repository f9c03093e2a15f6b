/* The oracle of attention_case.h and its bounds. */
#include "attention_case.h"

#include "common/half.h"
#include "kv_cache/kv_cache_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPS 0x1p-24

static int is_integer(int32_t type) { return type == KRN_TYPE_S8 || type == KRN_TYPE_S4 || type == KRN_TYPE_U4; }

static double float_at(int32_t type, const void *data, int64_t index) {
    if (type == KRN_TYPE_F32)
        return (double)((const float *)data)[index];
    const uint16_t bits = ((const uint16_t *)data)[index];
    return (double)(type == KRN_TYPE_F16 ? krn_f16_to_f32(bits) : krn_bf16_to_f32(bits));
}

/* The scale of a token's values; 0 where they have none. */
static double value_scale(const attention_case *c, int32_t sequence, int64_t token, int64_t head) {
    if (!is_integer(c->desc.value_type))
        return 0;
    if (c->desc.value_granularity == KRN_KV_STATIC)
        return (double)c->value_scales[head];
    const krn_kv_layout *layout = &c->cache->layout;
    const int32_t page = krn_kv_table_of(c->cache, sequence)[token / layout->page_tokens];
    const float *scales = (const float *)(const void *)(krn_kv_head(c->cache, page, head) + layout->value_scales_at);
    return (double)scales[token % layout->page_tokens];
}

/* The scales of the channels of a token's keys (KIVI); NULL for keys that have none, or are in the tail. */
static const float *channel_scales(const attention_case *c, int32_t sequence, int64_t token, int64_t head) {
    if (c->desc.key_granularity != KRN_KV_CHANNEL || token >= krn_kv_paged_keys(c->cache, sequence))
        return NULL;
    const krn_kv_layout *layout = &c->cache->layout;
    const int32_t page = krn_kv_table_of(c->cache, sequence)[token / layout->page_tokens];
    return (const float *)(const void *)(krn_kv_head(c->cache, page, head) + layout->key_scales_at +
                                         token % layout->page_tokens / c->desc.key_group * layout->key_group_bytes);
}

/* What the bounds need of a token of a head: of its keys, as the query meets them, their mass and norm; the largest scale of
 * their channels, or a negative number; the norm of the mean that was taken from them; the scale of its values. */
typedef struct {
    double mass, norm, mean_norm, largest_scale, value_scale;
} token_facts;

/* A sequence as the cache gives it back, and the facts [token][head]. */
typedef struct {
    int64_t length;
    float *keys, *values;
    token_facts *facts;
} contents;

static token_facts facts_of(const attention_case *c, int32_t sequence, const float *k, int64_t token, int64_t head) {
    const int64_t d = c->desc.head_dim;
    const float *scales = channel_scales(c, sequence, token, head);
    const float *mean = c->desc.center_keys ? krn_kv_mean(c->cache, sequence, head) : NULL;
    token_facts facts = {.largest_scale = -1, .value_scale = value_scale(c, sequence, token, head)};
    for (int64_t i = 0; i < d; i++) {
        const double m = mean != NULL ? (double)mean[i] : 0, own = (double)k[i] - m;
        facts.mass += fabs(own);
        facts.norm += own * own;
        facts.mean_norm += m * m;
        if (scales != NULL)
            facts.largest_scale = fmax(facts.largest_scale, (double)scales[i]);
    }
    facts.norm = sqrt(facts.norm);
    facts.mean_norm = sqrt(facts.mean_norm);
    /* Rotated, a vector keeps its norm only. */
    if (c->desc.rotate_keys)
        facts.mass = facts.norm * sqrt((double)d);
    return facts;
}

static contents read_sequence(const attention_case *c, int32_t sequence) {
    const int64_t heads = c->desc.kv_heads, width = heads * c->desc.head_dim;
    contents read = {.length = c->lengths[sequence]};
    read.keys = malloc((size_t)(read.length * width) * sizeof(float));
    read.values = malloc((size_t)(read.length * width) * sizeof(float));
    read.facts = malloc((size_t)(read.length * heads) * sizeof *read.facts);
    krn_context *context = context_of(KRN_ISA_REF, 1);
    CHECK_OK(krn_kv_cache_read(context, c->cache, sequence, 0, read.length, KRN_TYPE_F32, read.keys, width, read.values,
                               width));
    krn_context_destroy(context);
    for (int64_t at = 0; at < read.length * heads; at++)
        read.facts[at] = facts_of(c, sequence, read.keys + at * c->desc.head_dim, at / heads, at % heads);
    return read;
}

/* One row: a query token of a head. */
typedef struct {
    const attention_case *c;
    int32_t sequence;
    const contents *read;
    int64_t head, position;
    double q[512], norm, largest, scale;
} oracle_row;

static const token_facts *facts_at(const oracle_row *row, int64_t token) {
    return row->read->facts + token * row->c->desc.kv_heads + row->head;
}

/* How far rounding and quantizing the query may move a score: of the product of query and keys, absolute is the sum of its
 * terms' magnitudes. */
static double score_error(const oracle_row *row, int64_t token, double product, double absolute, double score) {
    const attention_case *c = row->c;
    const token_facts *facts = facts_at(row, token);
    const double d = (double)c->desc.head_dim;
    const int has_scales = facts->largest_scale >= 0;
    const int in_tail = c->desc.key_granularity == KRN_KV_CHANNEL && !has_scales;
    double error = 0, largest = row->largest;
    /* A rotated query has no element above its norm, and products of rotated vectors are within the product of theirs. */
    if (c->desc.rotate_keys || c->desc.center_keys) {
        if (c->desc.rotate_keys)
            largest = row->norm;
        absolute = row->norm * (facts->norm + facts->mean_norm);
        /* Rotating the query and what was read, and the means. */
        error += (d + 16) * EPS * absolute;
    }
    if (is_integer(c->desc.key_type) && !in_tail) {
        const double codes = c->desc.key_type == KRN_TYPE_S8 ? 127 : c->desc.key_type == KRN_TYPE_S4 ? 7 : 15;
        const double bound = largest * facts->largest_scale;
        if (has_scales)
            error += (bound / 127 / 2 + bound * 4 * EPS) * codes * d;
        else if (!c->is_exact || c->desc.rotate_keys)
            error += largest / 127 / 2 * facts->mass;
    }
    if ((c->desc.key_type == KRN_TYPE_BF16 || c->desc.key_type == KRN_TYPE_F8E4M3) &&
        (!c->is_exact || c->desc.rotate_keys))
        error += 0x1p-8 * absolute;
    error += (c->has_tensor_cores ? 40 * floor((d + 15) / 16) + 8 : d + 8) * EPS * absolute;
    error = error * row->scale + 4 * EPS * fabs(product) + 4 * EPS * fabs(score);
    if (c->options.softcap > 0)
        error += 8 * EPS * (double)c->options.softcap;
    return error;
}

static int is_visible(const attention_case *c, int64_t position, int64_t token) {
    if (!c->options.full && token > position)
        return 0;
    const int64_t behind = position - token, window = c->options.window;
    return window == 0 || token < c->options.sink_tokens || (behind < window && -behind < window);
}

static double score_of(const oracle_row *row, int64_t token, double *error) {
    const attention_case *c = row->c;
    const float *k = row->read->keys + (token * c->desc.kv_heads + row->head) * c->desc.head_dim;
    double product = 0, absolute = 0;
    for (int64_t i = 0; i < c->desc.head_dim; i++) {
        const double term = row->q[i] * (double)k[i];
        product += term;
        absolute += fabs(term);
    }
    double s = product * row->scale;
    if (c->options.softcap > 0)
        s = (double)c->options.softcap * tanh(s / (double)c->options.softcap);
    return *error = score_error(row, token, product * row->scale, absolute, s), s;
}

/* Output and log-sum-exp of a row, and how far a kernel may be from each. */
typedef struct {
    double out[512], out_error[512], lse, lse_error;
} oracle_result;

/* What a row makes of the values with its weights: sums of products, of their magnitudes, and how far quantized weights may
 * move the first. */
typedef struct {
    double out[512], absolute[512], error[512];
} weighted_values;

static void add_weighted(const oracle_row *row, const double *weights, weighted_values *sums) {
    const attention_case *c = row->c;
    const int64_t d = c->desc.head_dim, length = row->read->length;
    memset(sums, 0, sizeof *sums);
    for (int64_t block = 0; block < length; block += 64) {
        const int64_t end = block + 64 < length ? block + 64 : length;
        double largest = 0, codes[512] = {0};
        for (int64_t t = block; t < end; t++) {
            const float *values = row->read->values + (t * c->desc.kv_heads + row->head) * d;
            const double scale = facts_at(row, t)->value_scale, w = weights[t];
            largest = fmax(largest, w * scale);
            for (int64_t i = 0; i < d; i++) {
                const double v = (double)values[i];
                sums->out[i] += w * v;
                sums->absolute[i] += w * fabs(v);
                codes[i] += scale > 0 ? fabs(v) / scale : 0;
            }
        }
        /* Scores that are off make the largest weight off: by no more than a hundredth where this matters. */
        for (int64_t i = 0; i < d; i++)
            sums->error[i] += largest / 510 * codes[i] * 1.01;
    }
}

static void compute_row(const oracle_row *row, int64_t query_head, oracle_result *result) {
    const attention_case *c = row->c;
    const int64_t d = c->desc.head_dim, length = row->read->length;
    /* At first scores. */
    double *weights = malloc((size_t)length * sizeof *weights);
    double highest = -INFINITY, error = 0, sum = 0;
    for (int64_t t = 0; t < length; t++) {
        double own;
        weights[t] = -INFINITY;
        if (!is_visible(c, row->position, t))
            continue;
        weights[t] = score_of(row, t, &own);
        if (c->options.alibi_slopes != NULL) {
            const double bias = (double)c->alibi_slopes[query_head] * fabs((double)(row->position - t));
            weights[t] -= bias;
            own += 2 * EPS * (bias + fabs(weights[t]));
        }
        error = fmax(error, own);
        highest = fmax(highest, weights[t]);
    }
    const double sink = c->options.sink_logits == NULL ? -INFINITY : (double)c->sink_logits[query_head];
    highest = fmax(highest, sink);
    for (int64_t t = 0; t < length; t++) {
        weights[t] = isinf(weights[t]) ? 0 : exp(weights[t] - highest);
        sum += weights[t];
    }
    sum += isinf(sink) ? 0 : exp(sink - highest);
    /* Tensor cores: four steps of 16 tokens, and alpha, for every block of 64. */
    const double terms = c->has_tensor_cores              ? (double)(4 * 40 + 1) * (double)(length / 64 + 1)
                         : is_integer(c->desc.value_type) ? (double)length / 16
                                                          : (double)length;
    const double rounding = (terms + 100) * EPS;
    const double relative = expm1(2 * error) + rounding * exp(2 * error);
    result->lse = highest + log(sum);
    result->lse_error = 2 * error + rounding + 2 * EPS * fabs(highest) + EPS * fabs(result->lse);
    if (c->has_tensor_cores)
        result->lse_error += 4 * EPS + 2 * EPS * (log((double)length + 1) + fabs(result->lse));
    static weighted_values sums;
    add_weighted(row, weights, &sums);
    for (int64_t i = 0; i < d; i++) {
        const double quantizing = is_integer(c->desc.value_type)       ? sums.error[i]
                                  : c->desc.value_type != KRN_TYPE_F32 ? 0x1p-8 * sums.absolute[i]
                                                                       : 0;
        result->out[i] = sum > 0 ? sums.out[i] / sum : 0;
        result->out_error[i] = sum > 0 ? (sums.absolute[i] * relative + quantizing * exp(2 * error)) / sum : 0;
    }
    free(weights);
}

/* Half a unit in the last place of an output, and below that of a subnormal. */
static double output_rounding(int32_t type, double value) {
    if (type == KRN_TYPE_F32)
        return EPS * fabs(value) + 0x1p-140;
    return type == KRN_TYPE_F16 ? 0x1p-11 * fabs(value) + 0x1p-24 : 0x1p-8 * fabs(value) + 0x1p-130;
}

static void check_row(const oracle_row *row, const attention_result *result, int64_t token, int64_t h,
                      const char *who) {
    const attention_case *c = row->c;
    static oracle_result expected;
    compute_row(row, h, &expected);
    for (int64_t i = 0; i < c->desc.head_dim; i++) {
        const double actual = float_at(c->output_type, result->data, token * c->output_ld + h * c->desc.head_dim + i);
        const double bound =
            expected.out_error[i] + output_rounding(c->output_type, fabs(expected.out[i]) + expected.out_error[i]);
        CHECK(fabs(actual - expected.out[i]) <= bound,
              "%s: keys %d (%d), values %d (%d), token %lld, head %lld, channel %lld: %g, expected %g +- %g", who,
              c->desc.key_type, c->desc.key_granularity, c->desc.value_type, c->desc.value_granularity,
              (long long)token, (long long)h, (long long)i, actual, expected.out[i], bound);
    }
    const double lse = (double)result->lse[token * c->options.heads + h];
    CHECK(isinf(expected.lse) ? lse == expected.lse : fabs(lse - expected.lse) <= expected.lse_error,
          "%s: keys %d, token %lld, head %lld: lse %g, expected %g +- %g", who, c->desc.key_type, (long long)token,
          (long long)h, lse, expected.lse, expected.lse_error);
}

void attention_case_check(const attention_case *c, const attention_result *result, const char *who) {
    int64_t token = 0;
    for (int32_t entry = 0; entry < c->batch.count; entry++) {
        const int32_t sequence = c->sequences[entry];
        const contents read = read_sequence(c, sequence);
        for (int64_t i = 0; i < c->query_tokens[entry]; i++, token++) {
            for (int64_t h = 0; h < c->options.heads; h++) {
                static oracle_row row;
                row = (oracle_row){.c = c, .sequence = sequence, .read = &read};
                row.head = h / (c->options.heads / c->desc.kv_heads);
                row.position = read.length - c->query_tokens[entry] + i;
                row.scale =
                    c->options.scale != 0 ? (double)c->options.scale : (double)(float)(1 / sqrt(c->desc.head_dim));
                for (int64_t k = 0; k < c->desc.head_dim; k++) {
                    row.q[k] = float_at(c->query.type, c->query.data, token * c->query.ld + h * c->desc.head_dim + k);
                    row.norm += row.q[k] * row.q[k];
                    row.largest = fmax(row.largest, fabs(row.q[k]));
                }
                row.norm = sqrt(row.norm);
                check_row(&row, result, token, h, who);
            }
        }
        free(read.keys);
        free(read.values);
        free(read.facts);
    }
    /* Between the rows nothing was touched. */
    const int64_t size = c->output_type == KRN_TYPE_F32 ? 4 : 2, width = (int64_t)c->options.heads * c->desc.head_dim;
    for (int64_t t = 0; t + 1 < c->tokens; t++)
        for (int64_t b = (t * c->output_ld + width) * size; b < (t + 1) * c->output_ld * size; b++)
            CHECK(((const uint8_t *)result->data)[b] == 0xA5, "%s: padding behind token %lld", who, (long long)t);
}
