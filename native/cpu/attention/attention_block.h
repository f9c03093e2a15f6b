/* The four steps of a block for some rows of one KV head. */
#ifndef KRN_ATTENTION_BLOCK_H
#define KRN_ATTENTION_BLOCK_H

#include "attention/attention_view.h"

/* Up to 48 rows that read one KV head, and their sums. */
typedef struct krn_row_tile {
    const krn_attention_entry *entry;
    int64_t head;
    /* Of those of the head. */
    int64_t first_row;
    int32_t rows;
    float *m, *l, *acc;
    /* The group of keys (KIVI) that the scratch has the query for, or -1. */
    int64_t group;
} krn_row_tile;

/* What a worker works with. */
typedef struct krn_attention_worker {
    const krn_attention_call *call;
    krn_attention_scratch *scratch;
    float *acc;
    int8_t *group_codes;
} krn_attention_worker;

/* Position of the query token of a row of a head. */
KRN_ALWAYS_INLINE int64_t krn_position_of(const krn_attention_call *call, const krn_attention_entry *entry,
                                          int64_t row) {
    return entry->length - entry->query_tokens + row / call->group;
}

/* Whether some of the query tokens at low..high see some of the tokens of the block that begins at `first`. */
int krn_is_any_visible(const krn_attention_call *call, int64_t low, int64_t high, int64_t first);

/* Attends to a span of blocks. `next` will be the next one, or is NULL. `asked`: lines of the span that have been asked
 * for, then those of the next; NULL for rows that find the span near. */
void krn_attend_blocks(const krn_attention_worker *w, krn_row_tile *tile, const krn_block_span *now,
                       const krn_block_span *next, int64_t *asked);

#endif
