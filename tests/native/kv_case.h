/* A random KV cache in guarded memory, and a model of it that knows no pages: the tokens of every sequence as they went
 * in, and what kernels/kv_cache.h says must come out. */
#ifndef KRN_TEST_KV_CASE_H
#define KRN_TEST_KV_CASE_H

#include "check.h"

enum { KV_MAX_HEADS = 4, KV_MAX_SEQUENCES = 6 };

typedef struct {
    krn_kv_cache_desc desc;
    float key_scales[KV_MAX_HEADS], value_scales[KV_MAX_HEADS];
    int32_t key_zero_points[KV_MAX_HEADS], value_zero_points[KV_MAX_HEADS];
    /* Elements of all heads of a token. */
    int64_t width;
} kv_case;

/* One sequence of the model. Keys are those that were quantized: rotated by position, centred, rotated by Hadamard; or
 * in a group that was cut, what the cache gave back. */
typedef struct {
    int64_t length;
    float *keys, *values;
    float *mean;
    int mean_is_set;
} kv_sequence;

typedef struct {
    const kv_case *c;
    kv_sequence sequences[KV_MAX_SEQUENCES];
} kv_model;

/* A batch of tokens, its tensors in guarded memory. */
typedef struct {
    int64_t count, rows;
    int32_t sequences[KV_MAX_SEQUENCES];
    int64_t tokens[KV_MAX_SEQUENCES];
    krn_kv_append_options options;
    void *keys, *values;
    krn_rope_options rope;
    int32_t *positions;
} kv_batch;

/* A description whose pointers lead into the case; `type` < 0 for a random one. Never moved. */
void kv_case_make(kv_case *c, test_random *random, int32_t key_type, int32_t value_type);
/* A cache in guarded memory, filled with 0xA5, of exactly the bytes that it asks for. */
krn_kv_cache *kv_case_create(const kv_case *c, guard_side side, void **memory, int64_t *bytes);

/* Frees with kv_model_free. */
void kv_model_make(kv_model *model, const kv_case *c);
void kv_model_free(kv_model *model);

/* Random tokens for random sequences, no more than they can take; at most max_tokens each. */
void kv_batch_make(kv_batch *batch, const kv_model *model, test_random *random, int64_t max_tokens);
krn_status kv_batch_append(const kv_batch *batch, krn_context *context, krn_kv_cache *cache);

/* The same to the model. */
void kv_model_append(kv_model *model, const kv_batch *batch);
void kv_model_truncate(kv_model *model, int32_t sequence, int64_t length);
void kv_model_reset(kv_model *model, int32_t sequence);
void kv_model_fork(kv_model *model, int32_t source, int64_t length, int32_t target);

/* Ends the test unless a sequence of the cache is that of the model: its length, every bit that krn_kv_cache_read gives
 * back, and every element where kv_layout.h draws it. */
void kv_model_check(const kv_model *model, krn_context *context, const krn_kv_cache *cache, int32_t sequence);

/* The keys of a sequence as they are stored: x^ before it is rotated back and its mean added. */
void kv_expect_keys(const kv_case *c, const kv_sequence *s, float *expected);
/* Multiplies the heads of rows of all heads by the Hadamard matrix. */
void kv_rotate_heads(const kv_case *c, float *keys, int64_t rows, int inverse);
int kv_has_scales(int32_t type);
krn_context *kv_reference(void);

#endif
