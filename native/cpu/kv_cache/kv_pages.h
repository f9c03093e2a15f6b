/* The pool of pages and their references. Everything here was checked. */
#ifndef KRN_KV_PAGES_H
#define KRN_KV_PAGES_H

#include "kv_cache/kv_cache_state.h"

/* A free page, for one sequence. There is one. */
int32_t krn_kv_take_page(krn_kv_cache *cache);

/* A sequence has no longer this page. */
void krn_kv_drop_page(krn_kv_cache *cache, int32_t page);

/* Copies the blocks that hold the first `tokens` tokens of a page, their scales, and all groups that begin before
 * them. */
void krn_kv_copy_page(krn_kv_cache *cache, int32_t from, int32_t to, int64_t tokens);

/* Writes the x^ of the first `tokens` keys of the group that begins at token `start` of a sequence's table to a
 * tail. */
void krn_kv_group_to_tail(krn_kv_cache *cache, const int32_t *table, int64_t start, int64_t tokens, int64_t sequence);

#endif
