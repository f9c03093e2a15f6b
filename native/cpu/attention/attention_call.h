/* One call of krn_attention, from the door to the steps that carry it out: query rows, items of work, results.
 *
 * A row is a query token of a query head. Rows of an entry of the batch are in the order [kv head][token][head of the
 * group], so that those that read one KV head lie together.
 *
 *   decode     an entry of 1..8 tokens: an item is a chunk of tokens for all KV heads or some of them, and leaves the
 *              state (m, l, acc) of its rows in the workspace; states are merged when all items are done
 *   prefill    any other entry: an item is up to 48 rows of one KV head over all tokens, and finishes them */
#ifndef KRN_ATTENTION_CALL_H
#define KRN_ATTENTION_CALL_H

#include "attention/attention_kernel.h"
#include "common/context.h"
#include "hadamard/hadamard_variants.h"
#include "kv_cache/kv_cache_state.h"

enum {
    KRN_ATTENTION_DECODE_TOKENS = 8,
    /* Part of the numeric contract. States of a chunk are 1.5% of its bytes with s8 and groups of 4 heads. */
    KRN_ATTENTION_CHUNK = 512,
};

/* Tokens of a sequence, and where its part of everything begins. */
typedef struct krn_attention_entry {
    int32_t sequence;
    int32_t is_decode;
    int64_t length, query_tokens;
    /* In the query. */
    int64_t first_token;
    int64_t first_row, rows;
    /* Chunks of decode, each with `rows` states from first_state on. */
    int64_t chunks, first_state;
    int64_t first_item, items;
} krn_attention_entry;

/* The workspace, in bytes. */
typedef struct krn_attention_space {
    int64_t q, q_floats, q_scale, q_bias, q_offset, q_sum, m, l, acc, scratch, scratch_bytes, end;
} krn_attention_space;

/* What an item works with, besides sums of its rows. */
typedef struct krn_attention_scratch {
    float s[KRN_ATTENTION_SPAN][KRN_ATTENTION_ROWS * KRN_ATTENTION_BLOCK];
    /* Weights in any of their types. */
    float w[KRN_ATTENTION_ROWS * KRN_ATTENTION_BLOCK];
    float alpha[KRN_ATTENTION_ROWS], w_step[KRN_ATTENTION_ROWS];
    int32_t w_offset[KRN_ATTENTION_ROWS];
    int64_t positions[KRN_ATTENTION_ROWS];
    float slopes[KRN_ATTENTION_ROWS];
    /* Sums of prefill, with `acc` below. */
    float m[KRN_ATTENTION_ROWS], l[KRN_ATTENTION_ROWS * KRN_ATTENTION_UNIT];
    /* The query with the scales of one group of keys (KIVI), codes below. */
    float group_scale[KRN_ATTENTION_ROWS];
    int32_t group_offset[KRN_ATTENTION_ROWS];
} krn_attention_scratch;

typedef struct krn_attention_call {
    krn_context *context;
    const krn_kv_cache *cache;
    const krn_attention_options *options;
    const krn_attention_batch *batch;
    const krn_attention_query *query;
    const krn_attention_output *output;
    /* Of keys, of values, and of the f32 keys of an incomplete group. */
    const krn_attention_kernels *keys, *values, *tail;
    const krn_hadamard_kernels *hadamard;
    float scale;
    int64_t group, head_dim, channels, q_row_bytes;
    int64_t tokens, rows, states, items;
    /* Ranges of KV heads that a chunk is cut into. */
    int64_t head_ranges;
    krn_attention_space space;
    uint8_t *workspace;
} krn_attention_call;

/* How entry `index` would continue behind `before`, which is zero for the first. */
krn_attention_entry krn_attention_next_entry(const krn_attention_call *call, const krn_attention_entry *before,
                                             int32_t index);

/* The entries, at the start of the workspace. */
KRN_ALWAYS_INLINE krn_attention_entry *krn_attention_entries(const krn_attention_call *call) {
    return (krn_attention_entry *)(void *)call->workspace;
}

KRN_ALWAYS_INLINE float *krn_attention_floats(const krn_attention_call *call, int64_t at) {
    return (float *)(void *)(call->workspace + at);
}

KRN_ALWAYS_INLINE int32_t *krn_attention_ints(const krn_attention_call *call, int64_t at) {
    return (int32_t *)(void *)(call->workspace + at);
}

/* The checks of kernels/attention.h. */
krn_status krn_attention_check_options(const krn_kv_cache *cache, const krn_attention_options *options);
krn_status krn_attention_check_batch(const krn_kv_cache *cache, const krn_attention_batch *batch);
krn_status krn_attention_check_tensors(const krn_attention_call *call);

/* Widens, rotates and quantizes the query. KRN_ERROR_NON_FINITE, and then only the workspace was written. */
krn_status krn_attention_prepare(const krn_attention_call *call);

/* All items. */
void krn_attention_run(krn_attention_call *call);

/* Merges the states of decode, and writes their rows. */
void krn_attention_finish(const krn_attention_call *call);

/* The state of one row over some tokens. */
typedef struct krn_attention_state {
    const float *m, *l, *acc;
} krn_attention_state;

/* Merges `count` states, `stride` rows apart, and writes output and lse of row `row` (of its entry) of KV head `head`.
 * `merged` has room for `channels` floats. */
void krn_attention_put_row(const krn_attention_call *call, const krn_attention_entry *entry, int64_t head, int64_t row,
                           const krn_attention_state *first, int64_t count, int64_t stride, float *merged);

#endif
