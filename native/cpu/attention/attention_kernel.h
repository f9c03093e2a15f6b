/* What a variant of attention does: the steps of one block of tokens of one KV head, for some rows. A row is a query
 * token of a query head; all rows of a call read the same KV head.
 *
 *   scores    s[row][64]   = scale q . k                     K of the block is read here, once for all rows
 *   adjust    s[row][64]   = softcap, ALiBi, mask            only where there is something to do
 *   softmax   w[row][64]   = exp(s - m) v_scale, and m, l    quantized for the next step
 *   values    acc[row][D]  = acc alpha + w V                 V of the block is read here, once for all rows
 *
 * The order of operations is that of kernels/attention.h. A block is up to four units, the 16 tokens that the cache
 * keeps together (kv_layout.h). */
#ifndef KRN_ATTENTION_KERNEL_H
#define KRN_ATTENTION_KERNEL_H

#include "common/portability.h"
#include "kernels/attention.h"

enum {
    KRN_ATTENTION_UNIT = 16,
    KRN_ATTENTION_UNITS = 4,
    KRN_ATTENTION_BLOCK = KRN_ATTENTION_UNIT * KRN_ATTENTION_UNITS,
    /* Blocks at most whose scores are found before the values of the first of them are read: a page of 128. Four are no
     * faster. */
    KRN_ATTENTION_SPAN = 2,
    /* A multiple of the six rows of an AVX-512 tile. With 128 channels their accumulators take 24 KiB, the block 17 KiB
     * and scores 12 KiB, of which a step needs two: what a first-level cache of 48 KiB holds. */
    KRN_ATTENTION_ROWS = 48,
};

static inline int64_t krn_divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Keys or values of a block, by unit. */
typedef struct krn_attention_operand {
    const uint8_t *codes[KRN_ATTENTION_UNITS];
    /* [16] of each unit; NULL where there are none per token. */
    const float *scales[KRN_ATTENTION_UNITS];
    /* [16] zero points of u4 per token; else NULL. */
    const uint8_t *zeros[KRN_ATTENTION_UNITS];
} krn_attention_operand;

/* Lines that follow each other. */
typedef struct krn_attention_piece {
    const uint8_t *start;
    int64_t lines;
} krn_attention_piece;

/* Codes and scales of the units of a block; those of several whole blocks lie in one piece each. */
enum { KRN_ATTENTION_MAX_PIECES = 4 * KRN_ATTENTION_UNITS + 2 * KRN_ATTENTION_UNITS };

/* Memory that will be read soon, in the order in which it will be. From memory a block takes as long as the work on
 * it, and no more than some 70 lines are on their way at a time; so every step asks for a few lines, none for many at
 * once, and none rests. */
typedef struct krn_attention_ahead {
    /* Pieces of this span of blocks or the next, and those of the next as long as they are not begun. */
    const krn_attention_piece *piece, *end, *next, *next_end;
    /* The next line, and lines left of its piece; none when all pieces have been asked for. */
    const uint8_t *at;
    int64_t left;
    /* Lines asked for since the start of this span, and how many that should be behind softmax. */
    int64_t asked, wanted;
} krn_attention_ahead;

/* Goes on to the next piece. Where there is none, `left` stays at or below 0, and nothing more is asked for. Lines
 * beyond the end of a piece do not count: what follows it may lie elsewhere. */
KRN_ALWAYS_INLINE void krn_next_piece(krn_attention_ahead *ahead) {
    const krn_attention_piece *following = ahead->piece + 1;
    if (following == ahead->end) {
        following = ahead->next;
        ahead->end = ahead->next_end;
        ahead->next = ahead->next_end;
    }
    if (following != ahead->end) {
        ahead->piece = following;
        ahead->asked += ahead->left;
        ahead->at = following->start;
        ahead->left = following->lines;
    }
}

/* Asks for `lines` lines, or a few more than a piece has. */
KRN_ALWAYS_INLINE void krn_look_ahead(krn_attention_ahead *ahead, int64_t lines) {
    if (ahead->left <= 0)
        return;
    for (int64_t i = 0; i < lines; i++)
        KRN_PREFETCH(ahead->at + i * 64);
    ahead->at += lines * 64;
    ahead->asked += lines;
    ahead->left -= lines;
    if (ahead->left <= 0)
        krn_next_piece(ahead);
}

/* Floats become the signed query of integer keys: one row. */
typedef struct krn_query_job {
    int64_t head_dim;
    /* [head_dim]. */
    const float *query;
    /* [head_dim] factors of the channels (KIVI), or NULL. */
    const float *channel_scales;
    /* [head_dim] zero points of the channels, or NULL. */
    const uint8_t *channel_zeros;
    int8_t *codes;
    float *scale;
    /* sum codes, and sum codes * channel_zeros. */
    int32_t *sum, *zero_sum;
} krn_query_job;

typedef struct krn_scores_job {
    int64_t head_dim;
    int32_t key_type;
    int32_t rows;
    /* Units first_unit..first_unit + units - 1 of the block. */
    int32_t first_unit, units;
    const krn_attention_operand *keys;
    /* What to bring near meanwhile, or NULL. */
    krn_attention_ahead *ahead;
    /* Rows of q_row_bytes bytes: s8, f32, or a krn_query_form. */
    const uint8_t *q;
    int64_t q_row_bytes;
    /* [rows] each. s = fma(dot * ks, q_scale, q_bias), where dot has q_offset and zero * q_sum subtracted; the last two
     * for integer keys alone. */
    const float *q_scale, *q_bias;
    const int32_t *q_offset, *q_sum;
    /* [rows][64]. */
    float *s;
} krn_scores_job;

/* What happens to the scores of a row beyond their product. */
typedef struct krn_adjust_job {
    int32_t rows;
    /* Position of token 0 of the block, and of the end of the sequence. */
    int64_t first_token, length;
    /* [rows] positions of the query tokens. */
    const int64_t *positions;
    /* [rows] ALiBi slopes, or NULL. */
    const float *slopes;
    float softcap;
    int32_t full;
    /* 0: none. */
    int64_t window, sink_tokens;
    /* [rows][64]; tokens beyond those of scores become invisible. */
    float *s;
} krn_adjust_job;

typedef struct krn_softmax_job {
    int32_t rows;
    int32_t value_type;
    int32_t units;
    /* [rows][64]: -infinity where a token is not visible. */
    const float *s;
    const krn_attention_operand *values;
    /* A scale and a zero point for all values of the head; the scale is 1 and the zero point that of the type where
     * `values` has its own. */
    float value_scale;
    int32_t value_zero;
    /* [rows] and [rows][16]. */
    float *m, *l;
    /* [rows], with room for a multiple of 16: factor of what was summed so far. */
    float *alpha;
    /* [rows][64] of u8; of f32; of bf16, for e4m3 with tokens 1 and 2 of every four exchanged, when the variant takes
     * pairs of bf16. */
    void *w;
    /* As in krn_scores_job; here up to the number of lines that it wants. */
    krn_attention_ahead *ahead;
    /* [rows]: the step of u8 weights, and sum w * zero. */
    float *w_step;
    int32_t *w_offset;
} krn_softmax_job;

typedef struct krn_values_job {
    /* head_dim rounded up to 16, as the cache has it. */
    int64_t channels;
    int32_t value_type;
    int32_t rows;
    int32_t units;
    const krn_attention_operand *values;
    /* As in krn_scores_job. */
    krn_attention_ahead *ahead;
    const void *w;
    const float *alpha, *w_step;
    const int32_t *w_offset;
    /* [rows][channels]. */
    float *acc;
} krn_values_job;

/* How a query of bf16 and e4m3 keys is kept: f32 with the value of a bf16; bf16; bf16 with elements 1 and 2 of every
 * four exchanged, the order in which e4m3 is taken apart. */
typedef enum krn_query_form { KRN_QUERY_ROUNDED, KRN_QUERY_PAIRS, KRN_QUERY_SWAPPED_PAIRS } krn_query_form;

typedef struct krn_attention_kernels {
    const char *name;
    /* The krn_cpu_feature bits without which the variant must not run. */
    uint64_t features;
    /* Bits of the types of keys that `scores` takes, and of values that `softmax` and `values` take. */
    uint32_t key_types, value_types;
    /* Whether queries and weights of bf16 and e4m3 are bf16, not f32 with the value of a bf16. */
    int32_t takes_pairs;
    int (*widen_query)(int32_t type, const void *query, int64_t first, int64_t head_dim, float *row);
    void (*quantize_query)(const krn_query_job *job);
    void (*round_query)(const float *row, int64_t head_dim, krn_query_form form, void *rounded);
    void (*scores)(const krn_scores_job *job);
    void (*adjust)(const krn_adjust_job *job);
    void (*softmax)(const krn_softmax_job *job);
    void (*values)(const krn_values_job *job);
    /* sum[i] = fma(part[i], weight, sum[i]) for i in 0..count-1, a multiple of 16. */
    void (*accumulate)(float *sum, const float *part, float weight, int64_t count);
    void (*put_output)(const float *acc, float factor, int64_t head_dim, int32_t type, void *output, int64_t first);
} krn_attention_kernels;

/* The functions of a variant whose file names them so, for its initializer. */
#define KRN_ATTENTION_STEPS                                                                                            \
    .widen_query = widen_query, .quantize_query = quantize_query, .round_query = round_query, .scores = scores,        \
    .adjust = adjust, .softmax = softmax, .values = values, .accumulate = accumulate, .put_output = put_output

#endif
