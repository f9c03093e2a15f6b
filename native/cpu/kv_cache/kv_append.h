/* The passes of krn_kv_cache_append behind its door. Everything here was checked. */
#ifndef KRN_KV_APPEND_H
#define KRN_KV_APPEND_H

#include "hadamard/hadamard_variants.h"
#include "kv_cache/kv_cache_state.h"
#include "kv_cache/kv_cache_variants.h"
#include "rope/rope_rows.h"

/* One call. Entry i of the batch has its pages, and cache->starts and cache->rows are filled in. */
typedef struct krn_kv_append_job {
    krn_context *context;
    krn_kv_cache *cache;
    const krn_kv_kernels *kernels;
    const krn_quantize_kernels *quantize;
    const krn_hadamard_kernels *hadamard;
    const krn_rope_kernels *rope;
    int64_t count;
    const int32_t *sequences;
    const int64_t *tokens;
    int32_t source_type;
    const unsigned char *keys;
    const unsigned char *values;
    int64_t key_ld_bytes;
    int64_t value_ld_bytes;
    /* Of one head; rotary_dim is 0 without RoPE. */
    krn_rope_heads rope_heads;
    const float *cos_sin;
    int64_t first_position;
    const int32_t *positions;
    /* Whether codes are written past the caches. */
    int32_t stream;
    /* Whether everything must be known to be finite before anything is stored, not only what goes to a tail. */
    int32_t scan_all;
} krn_kv_append_job;

/* Takes the means of the sequences that have none yet. 0 when one is not finite. */
int krn_kv_append_means(const krn_kv_append_job *job);

/* Whether all keys, on their way in, and values are finite, or with scan_all = 0 the keys that go to a tail: before
 * anything is stored. */
int krn_kv_append_scan(const krn_kv_append_job *job);

/* Stores all tokens. 0 when one is not finite: then pages may hold some tokens behind the old lengths, and nothing else
 * has changed. */
int krn_kv_append_store(const krn_kv_append_job *job);

/* The sentence that says what is not finite. */
krn_status krn_kv_append_fail(const krn_kv_append_job *job);

#endif
