/* Where a block of tokens of one KV head lies in a cache. */
#ifndef KRN_ATTENTION_VIEW_H
#define KRN_ATTENTION_VIEW_H

#include "attention/attention_call.h"

/* A block of tokens of one KV head. */
typedef struct krn_block_view {
    int64_t head, first_token;
    int32_t units;
    krn_attention_operand keys, values;
    /* Scales of the channels for each unit's group of keys (KIVI), or NULL. */
    const uint8_t *group_scales[KRN_ATTENTION_UNITS];
    /* All of it in the order in which it is asked for. */
    krn_attention_piece pieces[KRN_ATTENTION_MAX_PIECES];
    int32_t num_pieces;
    int64_t lines;
} krn_block_view;

/* A block of an entry's sequence. Units that it does not have stand for its first one, whose memory is there to be
 * read. */
void krn_view_block(const krn_attention_call *call, const krn_attention_entry *entry, int64_t head, int64_t first_token,
                    krn_block_view *view);

/* The block of the next head; most of what krn_view_block does is the same for all heads. */
void krn_view_next_head(const krn_attention_call *call, const krn_attention_entry *entry, const krn_block_view *before,
                        krn_block_view *view);

#endif
