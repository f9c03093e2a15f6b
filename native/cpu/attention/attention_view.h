/* Where blocks of tokens of one KV head lie in a cache. */
#ifndef KRN_ATTENTION_VIEW_H
#define KRN_ATTENTION_VIEW_H

#include "attention/attention_call.h"

/* A block of tokens of one KV head. Units that it does not have stand for its first one, whose memory is there to be
 * read. */
typedef struct krn_block_view {
    int64_t first_token;
    int32_t units;
    krn_attention_operand keys, values;
    /* Scales of the channels for each unit's group of keys (KIVI), or NULL. */
    const uint8_t *group_scales[KRN_ATTENTION_UNITS];
} krn_block_view;

/* Blocks that follow each other in a page: their keys are read before the values of the first of them, as they lie in
 * memory. Reading keys and values in turns, 8 KiB of each, is a fifth slower (measured on Zen 5). */
typedef struct krn_block_span {
    int64_t head;
    int32_t count;
    krn_block_view blocks[KRN_ATTENTION_SPAN];
    /* All of it in the order in which it is asked for. */
    krn_attention_piece pieces[KRN_ATTENTION_MAX_PIECES];
    int32_t num_pieces;
    int64_t lines;
} krn_block_span;

/* The block of an entry's sequence that begins at `first_token`, and those behind it that lie in the same page, hold
 * nothing but whole blocks and begin before `end`. */
void krn_view_blocks(const krn_attention_call *call, const krn_attention_entry *entry, int64_t head,
                     int64_t first_token, int64_t end, krn_block_span *span);

/* The same of the next head; most of what krn_view_blocks does is the same for all heads. */
void krn_view_next_head(const krn_attention_call *call, const krn_attention_entry *entry, const krn_block_span *before,
                        krn_block_span *span);

#endif
