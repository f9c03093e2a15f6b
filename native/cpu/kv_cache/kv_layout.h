/* Where everything in a cache lies. What attention reads of a cache is here and in kv_cache_state.h.
 *
 * A page holds T = page_tokens tokens of all heads; head h of page p is at pool + p * page_bytes + h * head_bytes, both
 * multiples of 64. d is head_dim, D is d rounded up to 16. Four sections, each a multiple of 16 bytes:
 *
 *   key codes      blocks of 16 tokens, so that the 16 dwords of a vector are 16 tokens, against which an element of a
 *                  query is broadcast:
 *                    8 bits   [d/4][16 tokens][4]          s8 is stored as code + 128, the unsigned operand of dot_u8s8;
 *                                                          FP8 as it is
 *                    4 bits   [d/8][16 tokens][4 bytes]    byte b: low nibble channel 8j + b, high nibble 8j + 4 + b;
 *                                                          s4 is stored as code + 8
 *                    bf16     [d/2][16 tokens][2]
 *                    f32      [d][16 tokens]
 *   key scales     KRN_KV_TOKEN     f32 [T], then for u4 its zero points, u8 [T]
 *                  KRN_KV_CHANNEL   for every group: f32 [d], then for u4 u8 [D]
 *                  KRN_KV_STATIC    none
 *   value codes    the lanes are channels and hold consecutive tokens of one channel, of which a row of probabilities is
 *                  broadcast:
 *                    8 bits   [T/4][D][4 tokens]           s8 as it is, the signed operand of dot_u8s8
 *                    4 bits   [T/8][D][4 bytes]            byte b: low nibble token 8j + b, high nibble token 8j + 4 + b;
 *                                                          s4 is stored as code + 8
 *                    bf16     [T/2][D][2 tokens]
 *                    f32      [T][D]
 *                  so that the values of 16 tokens are a block of consecutive bytes too
 *   value scales   like key scales
 *
 * In every block of 16 tokens that holds at least one token all bytes are written: behind the last token of a sequence
 * come codes of finite values with finite scales (zeros, or other tokens where the sequence was truncated or shares the
 * page), so that kernels compute whole blocks and mask the result. Channels d..D-1 of values are 0, but for u4, where
 * they are any.
 *
 * The tail (KRN_KV_CHANNEL) is, per sequence and head, key_group / 16 blocks of f32 keys. Behind the last token come
 * finite values there, too, in every block that holds a token. */
#ifndef KRN_KV_LAYOUT_H
#define KRN_KV_LAYOUT_H

#include "common/portability.h"
#include "kernels/kv_cache.h"

/* Tokens of a block. */
enum { KRN_KV_BLOCK = 16, KRN_KV_MAX_HEAD_DIM = 512, KRN_KV_MAX_GROUP = 128 };

/* Offsets in bytes. */
typedef struct krn_kv_layout {
    int32_t head_dim;
    /* head_dim rounded up to 16. */
    int32_t value_dim;
    int32_t kv_heads;
    int64_t page_tokens;
    int64_t page_bytes;
    int64_t head_bytes;
    /* Of 16 tokens of a head. */
    int64_t key_block_bytes;
    int64_t value_block_bytes;
    /* Of the sections, from the start of a head. Key codes are at 0. Zero points lie behind the scales of a section. */
    int64_t key_scales_at;
    int64_t value_codes_at;
    int64_t value_scales_at;
    /* Sections, in bytes. */
    int64_t key_scale_bytes;
    int64_t value_scale_bytes;
    /* From the scales of one group of tokens to those of the next; 0 unless KRN_KV_CHANNEL. */
    int64_t key_group_bytes;
    /* Of all heads of a sequence; 0 unless KRN_KV_CHANNEL. */
    int64_t tail_bytes;
    /* The same for the mean of keys; 0 unless center_keys. */
    int64_t mean_bytes;
    /* Pages that a sequence of max_tokens takes. */
    int64_t table_pages;
} krn_kv_layout;

/* Bits of an element of a type that a cache may have; 0 for another type. */
int32_t krn_kv_bits(int32_t type);

/* Of a checked description. */
krn_kv_layout krn_kv_layout_of(const krn_kv_cache_desc *desc);

/* The checks of kernels/kv_cache.h; static scales and zero points only if `with_scales`. */
krn_status krn_kv_check_desc(const krn_kv_cache_desc *desc, int with_scales);

#endif
