/* What the tiles of scores and of values share: a tile is up to TILE_ROWS rows by TILE_VECTORS vectors of 16 lanes,
 * accumulated in registers. Rows are cut into strips of nearly equal height. */
#ifndef KRN_ATTENTION_TILES_H
#define KRN_ATTENTION_TILES_H

#include "attention/attention_cell.h"

#include <string.h>

KRN_ALWAYS_INLINE int32_t dword_at(const void *p, int64_t index) {
    int32_t dword;
    memcpy(&dword, (const uint8_t *)p + index * 4, sizeof dword);
    return dword;
}

KRN_ALWAYS_INLINE lanes_f float_at(const void *p, int64_t index) {
    float value;
    memcpy(&value, (const uint8_t *)p + index * 4, sizeof value);
    return lanes_all(value);
}

/* How a dword of keys or values is multiplied: four codes of 8 bits, eight of 4 bits; one f32; two bf16 or four e4m3
 * that are widened to f32; the same as pairs of bf16. */
typedef enum { FORM_8, FORM_4, FORM_F32, FORM_BF16, FORM_E4M3, FORM_BF16_PAIRS, FORM_E4M3_PAIRS } operand_form;

/* Elements in a dword. */
KRN_ALWAYS_INLINE int64_t form_elems(operand_form form) {
    switch (form) {
    case FORM_F32: return 1;
    case FORM_BF16:
    case FORM_BF16_PAIRS: return 2;
    case FORM_4: return 8;
    default: return 4;
    }
}

/* Whether elements are multiplied as pairs of bf16. */
KRN_ALWAYS_INLINE int is_pairs(operand_form form) { return form == FORM_BF16_PAIRS || form == FORM_E4M3_PAIRS; }

/* Byte `index` of every dword, an e4m3, as f32 (krn_f8_to_f32). */
KRN_ALWAYS_INLINE lanes_f widen_e4m3(lanes_i raw, int index) {
    const lanes_i byte = index == 0 ? raw : lanes_right(raw, 8 * (unsigned)index);
    const lanes_i sign = lanes_left(lanes_and(byte, lanes_all_i(0x80)), 24);
    const lanes_f magnitude = lanes_as_f(lanes_left(lanes_and(byte, lanes_all_i(0x7F)), 20));
    return lanes_as_f(lanes_or(lanes_as_i(lanes_mul(magnitude, lanes_all(0x1p120f))), sign));
}

/* Element `index` of every dword as f32. */
KRN_ALWAYS_INLINE lanes_f widen_element(lanes_i raw, operand_form form, int index) {
    if (form == FORM_F32)
        return lanes_as_f(raw);
    if (form == FORM_BF16)
        return lanes_as_f(index == 0 ? lanes_left(raw, 16) : lanes_and(raw, lanes_all_i(-65536)));
    return widen_e4m3(raw, index);
}

#if defined(__AVX512BF16__)
/* The low bytes of all words, e4m3, to bf16: e + 120 is the exponent of a normal one, of the 8 others there is a
 * table. */
KRN_ALWAYS_INLINE zmm_i e4m3_to_bf16(zmm_i words) {
    const zmm_i subnormal =
        _mm512_castsi128_si512(_mm_setr_epi16(0, 0x3B00, 0x3B80, 0x3BC0, 0x3C00, 0x3C20, 0x3C40, 0x3C60));
    const zmm_i magnitude = and_i(words, broadcast_i32(0x007F007F));
    const zmm_i normal = _mm512_add_epi16(_mm512_slli_epi16(magnitude, 4), broadcast_i32(0x3C003C00));
    const __mmask32 is_subnormal = _mm512_cmplt_epu16_mask(magnitude, broadcast_i32(0x00080008));
    const zmm_i value = _mm512_mask_permutexvar_epi16(normal, is_subnormal, magnitude, subnormal);
    /* value | (words << 8 & 0x8000) */
    return _mm512_ternarylogic_epi32(value, _mm512_slli_epi16(words, 8), broadcast_i32(INT32_C(-2147450880)), 0xF8);
}
#endif

#if defined(__AVX512BF16__)
/* Pairs of every dword: its two bf16; of e4m3 the first and third, and the second and fourth. Among e4m3 that are all
 * normal, the rule, shifts put a byte at the high end of a word in place, its sign extended and cut off again. */
KRN_ALWAYS_INLINE void pairs_of(lanes_i raw, operand_form form, zmm_i pairs[2]) {
    if (form == FORM_BF16_PAIRS) {
        pairs[0] = raw;
        return;
    }
    const zmm_i kept = broadcast_i32(INT32_C(-2014279696)), rebias = broadcast_i32(0x3C003C00);
    pairs[0] = _mm512_add_epi16(and_i(_mm512_srai_epi16(_mm512_slli_epi16(raw, 8), 4), kept), rebias);
    pairs[1] = _mm512_add_epi16(and_i(_mm512_srai_epi16(raw, 4), kept), rebias);
    if (_mm512_testn_epi8_mask(raw, broadcast_i32(0x78787878)) != 0) {
        pairs[0] = e4m3_to_bf16(raw);
        pairs[1] = e4m3_to_bf16(_mm512_srli_epi16(raw, 8));
    }
}
#endif

/* Ends a loop over accumulators (KRN_KEEP). */
KRN_ALWAYS_INLINE void keep_tile(lanes_i acc[][TILE_VECTORS], int rows, int vectors) {
    KRN_UNROLL
    for (int r = 0; r < rows; r++)
        KRN_UNROLL
    for (int v = 0; v < vectors; v++)
        lanes_keep_i(&acc[r][v]);
}

KRN_ALWAYS_INLINE void keep_float_tile(lanes_f acc[][TILE_VECTORS], int rows, int vectors) {
    KRN_UNROLL
    for (int r = 0; r < rows; r++)
        KRN_UNROLL
    for (int v = 0; v < vectors; v++)
        lanes_keep_f(&acc[r][v]);
}

/* The first row of strip `strip` of the `strips` that `rows` rows are cut into, of nearly equal height. */
KRN_ALWAYS_INLINE int32_t strip_start(int32_t rows, int32_t strips, int32_t strip) {
    const int32_t height = rows / strips, taller = rows % strips;
    return strip * height + (strip < taller ? strip : taller);
}

KRN_ALWAYS_INLINE int32_t count_strips(int32_t rows) { return (rows + TILE_ROWS - 1) / TILE_ROWS; }

#endif
