/* One random attention problem in guarded memory, and an oracle for it, written from kernels/attention.h in binary64
 * over what krn_kv_cache_read gives back. */
#ifndef KRN_TEST_ATTENTION_CASE_H
#define KRN_TEST_ATTENTION_CASE_H

#include "check.h"

enum { ATTENTION_MAX_SEQUENCES = 4, ATTENTION_MAX_HEADS = 64 };

typedef struct {
    krn_kv_cache_desc desc;
    float key_scales[8], value_scales[8];
    krn_attention_options options;
    float sink_logits[ATTENTION_MAX_HEADS], alibi_slopes[ATTENTION_MAX_HEADS];
    krn_attention_batch batch;
    int32_t sequences[ATTENTION_MAX_SEQUENCES];
    int64_t query_tokens[ATTENTION_MAX_SEQUENCES];
    krn_attention_query query;
    int32_t output_type;
    int64_t output_ld, tokens;
    /* Queries are integers, at most 127: integer keys and bf16 take them without an error. */
    int is_exact;
    /* Whether products of bf16 are added by tensor cores: a sum of 16 costs up to 40 * 2^-24 of their magnitudes
     * (kernels/cuda_attention.h), and a logarithm is approximated. */
    int has_tensor_cores;
    /* Keys and values of every sequence, so that a cache with other pages can be filled with the same. */
    int64_t lengths[ATTENTION_MAX_SEQUENCES];
    float *keys[ATTENTION_MAX_SEQUENCES], *values[ATTENTION_MAX_SEQUENCES];
    krn_kv_cache *cache;
} attention_case;

/* What a call wrote; 0xA5 where it did not. */
typedef struct {
    void *data;
    float *lse;
    int64_t bytes;
} attention_result;

/* A random problem with these types of the cache; lengths up to `max_length`. */
void attention_case_make(attention_case *c, test_random *random, int32_t key_type, int32_t value_type,
                         int64_t max_length);
/* The same tokens in a cache with pages of another size. */
void attention_case_repage(attention_case *c, int64_t page_tokens);
void attention_case_free(attention_case *c);

/* Entries first..first+count-1 of the batch. */
attention_result attention_case_run(const attention_case *c, krn_context *context, int32_t first, int32_t count);

/* Ends the test unless a result of the whole batch is within the bound. */
void attention_case_check(const attention_case *c, const attention_result *result, const char *who);

#endif
