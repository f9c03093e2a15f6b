/* Attention of query tokens over a quantized KV cache (kv_cache.h): softmax(scale Q K^T + ...) V in one pass, without
 * the matrix of scores (Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022).
 *
 *   query    [tokens][heads][head_dim], f32, f16 or bf16; the tokens of the batch's sequences one after the other
 *   cache    [length][kv_heads][head_dim] keys and values of every sequence, in any format of kv_cache.h
 *   output   [tokens][heads][head_dim], f32, f16 or bf16
 *   lse      [tokens][heads], f32: the logarithm of the softmax's denominator, on request
 *
 * Query tokens are the last ones of their sequence: append comes first. Token i of n has the position p = length - n +
 * i. Query head h reads the KV head h / (heads / kv_heads), so that one read of a KV head serves a whole group (MHA,
 * GQA and MQA, Ainslie et al. 2023). A few query tokens (decode, up to 8 of a sequence) and many (prefill) are one
 * call; sequences with few and with many may share a batch.
 *
 * The score of the token at position t, in this order:
 *
 *   s = scale * (q . k[t])         scale: 0 means 1 / sqrt(head_dim)
 *   s = softcap * tanh(s / softcap)                                       if softcap > 0
 *   s = s - slope[head] * |p - t|                                         if there are ALiBi slopes (Press et al. 2022)
 *   s is dropped unless t is visible:
 *     causal   t <= p,  full   every t
 *     window   p - t < window; full: also t - p < window
 *     sinks    t < sink_tokens is visible beyond the window (StreamingLLM, Xiao et al. 2024)
 *
 * and output = sum exp(s - m) v[t] / (sum exp(s - m) + exp(sink_logit[head] - m)), where the last term is there only
 * if there are sink logits, and m is the largest score. lse = m + log(denominator), the sink logit included. A row
 * that sees nothing has output 0 and lse = -infinity.
 *
 * A cache that rotates its keys has the query rotated here; one that centers them has q . mean added back to the
 * score, so that softcap, sink logits and lse are those of the keys as they were appended.
 *
 * Arithmetic, in binary32 unless said. A block is 64 tokens, at a multiple of 64; j runs over its tokens.
 *
 *   K s8, s4, u4    q is quantized as quantize.h does with s8 per token and head: q ~ qs * qc. Per channel (KIVI): the
 *                   query is first multiplied by the scales of the group's channels, and quantized once per group.
 *                   dot = sum qc * (code - zero), exact in int32
 *                   s   = fma(float(dot) * ks[t], qs * scale, scale * (q . mean))      ks[t]: no factor per channel;
 *                   qs * scale is rounded once before; a static scale of the head is one more factor of it, and ks[t]
 *                   none
 *   K f32, tail     dot = fma over the channels in ascending order from 0; s as above with qs = 1, no ks
 *   K bf16, e4m3    the same with the query rounded to bf16; e4m3 with ks[t]
 *   softmax         m'  = max(m, s[j]), alpha = exp(m - m'), p[j] = exp(s[j] - m'); below -87 an exp is 0
 *                   l[i] = fma(l[i], alpha, (p[i] + p[16 + i]) + (p[32 + i] + p[48 + i])), i in 0..15
 *   V s8, s4, u4    w[j] = p[j] * vs[j], wmax = max w[j], c[j] = rint(w[j] * (255 / wmax)); a wmax below 2^-100 is 0
 *                   acc = fma(float(sum c[j] * (code[j] - zero[j])), wmax / 255, acc * alpha), the sum exact in int32
 *   V bf16, e4m3    w[j] = p[j] * vs[j], rounded to bf16; acc = acc * alpha, then fma over j in ascending order
 *   V f32           the same with w[j] = p[j]
 *
 * Decode cuts the tokens into chunks of 512 and merges their (m, l, acc) in ascending order; prefill does not. Integer
 * and f32 formats give the same bits in every variant; so do bf16 and e4m3, except that AVX512-BF16 and NEON BF16
 * multiply pairs of elements with their own rounding of the sum (and take subnormal bf16 for 0). For a given variant a query token's
 * output depends on its sequence, and on whether its sequence has more than 8 query tokens in the call, and on nothing
 * else: not on threads, pages or the rest of the batch.
 *
 * Errors against exact arithmetic on the same cache (eps = 2^-24, d = head_dim; derived in docs/numerics.md):
 *
 *   query quantized   |ds[t]| <= scale * qs / 2 * ks[t] * sum_i |code - zero|, with qs <= max|q| / 127
 *   query in bf16     |ds[t]| <= scale * 2^-8 * sum_i |q k|
 *   sums in f32       |ds[t]| <= scale * (d + 3) eps * sum_i |q k|, not for integer keys
 *   weights in u8     |dout_c| <= sum over blocks of wmax / 510 * sum_j |code_jc - zero_j|, over the denominator
 *   weights in bf16   |dout_c| <= 2^-8 * sum_t w[t] |v_tc|, over the denominator
 *
 * An error of ds in every score moves an output by at most (exp(2 ds) - 1) * sum_t w[t] |v_tc| / denominator. */
#ifndef KERNELS_ATTENTION_H
#define KERNELS_ATTENTION_H

#include "kernels/kv_cache.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is computed. */
typedef struct krn_attention_options {
    /** sizeof(krn_attention_options). */
    uint32_t struct_size;
    /** Query heads, a multiple of the cache's KV heads, at most 65536. */
    int32_t heads;
    /** Factor of the scores, finite; 0 means 1 / sqrt(head_dim). */
    float scale;
    /** 0: causal. 1: every token of the sequence is visible. */
    int32_t full;
    /** Tokens that a query token sees, itself included; 0: no window. */
    int64_t window;
    /** First tokens of a sequence that stay visible beyond the window; read only with a window. */
    int64_t sink_tokens;
    /** Bound of the scores, finite; 0: none. */
    float softcap;
    /** Must be 0. */
    int32_t reserved;
    /** [heads] logits that join the denominator of every row of their head; finite or -infinity. NULL: none. */
    const float *sink_logits;
    /** [heads] finite ALiBi slopes. NULL: none. */
    const float *alibi_slopes;
} krn_attention_options;

/** Which query tokens there are. */
typedef struct krn_attention_batch {
    /** sizeof(krn_attention_batch). */
    uint32_t struct_size;
    /** Sequences in the batch, at most 2^20. */
    int32_t count;
    /** [count] sequences of the cache. */
    const int32_t *sequences;
    /** [count] query tokens of each, 0 to the length of the sequence. */
    const int64_t *query_tokens;
} krn_attention_batch;

/** The query. */
typedef struct krn_attention_query {
    /** sizeof(krn_attention_query). */
    uint32_t struct_size;
    /** KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16. */
    int32_t type;
    /** [tokens][heads][head_dim], finite. */
    const void *data;
    /** Elements from a token to the next, at least heads * head_dim. */
    int64_t ld;
} krn_attention_query;

/** Where results go. It must not overlap the query. */
typedef struct krn_attention_output {
    /** sizeof(krn_attention_output). */
    uint32_t struct_size;
    /** KRN_TYPE_F32, KRN_TYPE_F16 or KRN_TYPE_BF16. */
    int32_t type;
    /** [tokens][heads][head_dim]. */
    void *data;
    /** Elements from a token to the next, at least heads * head_dim. */
    int64_t ld;
    /** [tokens][heads] log-sum-exp, dense; NULL: not wanted. */
    float *lse;
} krn_attention_output;

/** One of several results over disjoint sets of tokens, of the same queries. */
typedef struct krn_attention_part {
    /** [tokens][heads][head_dim], f32. */
    const float *data;
    /** Elements from a token to the next, at least heads * head_dim. */
    int64_t ld;
    /** [tokens][heads]. */
    const float *lse;
} krn_attention_part;

/** Name of the variant that runs over a cache with these types of keys and values, such as "avx512vnni": of the two
 *  halves of the work the one that asks for more. NULL for NULL or a type that a cache cannot have. */
KRN_API const char *krn_attention_variant(const krn_context *context, int32_t key_type, int32_t value_type);

/** Bytes of workspace for a call with the sequences at their present lengths. `options` and `batch` as in
 *  krn_attention. Errors: as krn_attention for these arguments. */
KRN_API krn_status krn_attention_workspace_size(const krn_context *context, const krn_kv_cache *cache,
                                                const krn_attention_options *options, const krn_attention_batch *batch,
                                                int64_t *bytes);

/** Attends. On failure output and lse are untouched.
 *  `workspace` holds at least krn_attention_workspace_size() bytes and is aligned to 64 bytes.
 *  Errors: KRN_ERROR_NULL_ARGUMENT, KRN_ERROR_STRUCT_SIZE, KRN_ERROR_INVALID_ARGUMENT (an option, a sequence that the
 *  cache does not have), KRN_ERROR_SHAPE (heads is no multiple of kv_heads; more query tokens than the sequence is
 *  long), KRN_ERROR_LEADING_DIMENSION, KRN_ERROR_NON_FINITE (the query), KRN_ERROR_BUFFER_TOO_SMALL,
 *  KRN_ERROR_ALIGNMENT. */
KRN_API krn_status krn_attention(krn_context *context, const krn_kv_cache *cache, const krn_attention_options *options,
                                 const krn_attention_batch *batch, const krn_attention_query *query,
                                 const krn_attention_output *output, void *workspace, int64_t workspace_bytes);

/** Merges `count` >= 1 results over disjoint sets of tokens: with w_i = exp(lse_i - max lse),
 *  output = sum w_i data_i / sum w_i and lse = max lse + log(sum w_i), summed in ascending i. A part with
 *  lse = -infinity counts for nothing; where all do, output is 0. A sink logit belongs into one part alone. The output
 *  may be one of the parts, with the same ld.
 *  Errors: KRN_ERROR_NULL_ARGUMENT, KRN_ERROR_STRUCT_SIZE, KRN_ERROR_INVALID_ARGUMENT, KRN_ERROR_SHAPE,
 *  KRN_ERROR_LEADING_DIMENSION. */
KRN_API krn_status krn_attention_merge(krn_context *context, int32_t count, const krn_attention_part *parts,
                                       int64_t tokens, int64_t heads, int64_t head_dim,
                                       const krn_attention_output *output);

#ifdef __cplusplus
}
#endif

#endif
