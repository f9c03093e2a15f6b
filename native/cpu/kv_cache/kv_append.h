/* The passes of krn_kv_cache_append behind its door. Everything here was checked. */
#ifndef KRN_KV_APPEND_H
#define KRN_KV_APPEND_H

#include "kv_cache/kv_cache_state.h"
#include "kv_cache/kv_cache_variants.h"

/* One call. Entry i of the batch has its pages, and cache->starts and cache->rows are filled in. */
typedef struct krn_kv_append_job {
    krn_context *context;
    krn_kv_cache *cache;
    const krn_kv_kernels *kernels;
    const krn_quantize_kernels *quantize;
    int64_t count;
    const int32_t *sequences;
    const int64_t *tokens;
    int32_t source_type;
    const unsigned char *keys;
    const unsigned char *values;
    int64_t key_ld_bytes;
    int64_t value_ld_bytes;
} krn_kv_append_job;

/* Takes the means of the sequences that have none yet. 0 when one is not finite. */
int krn_kv_append_means(const krn_kv_append_job *job);

/* Whether all keys, on their way in, and values are finite: before anything is stored. */
int krn_kv_append_scan(const krn_kv_append_job *job);

/* Stores all tokens. 0 when one is not finite: then the pages hold any finite values behind the old lengths. */
int krn_kv_append_store(const krn_kv_append_job *job);

/* The sentence that says what is not finite. */
krn_status krn_kv_append_fail(const krn_kv_append_job *job);

#endif
