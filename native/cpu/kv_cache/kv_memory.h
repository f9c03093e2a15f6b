/* How the one block of memory of a cache is cut. */
#ifndef KRN_KV_MEMORY_H
#define KRN_KV_MEMORY_H

#include "kv_cache/kv_layout.h"

/* Offsets in bytes, multiples of 64; the pool is at 0. */
typedef struct krn_kv_parts {
    int64_t tails;
    int64_t means;
    int64_t tables;
    int64_t table_bytes;
    int64_t total;
} krn_kv_parts;

/* Of a checked description, and its layout. */
krn_kv_parts krn_kv_parts_of(const krn_kv_cache_desc *desc, const krn_kv_layout *layout);

/* Pages in the pool. */
int64_t krn_kv_pages(const krn_kv_cache_desc *desc, const krn_kv_layout *layout);

#endif
