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

#if defined(KRN_UNIT_HAS_PAIRS)
/* Pairs of every dword: its two bf16; of e4m3 the first and third, and the second and fourth. */
KRN_ALWAYS_INLINE void pairs_of(lanes_i raw, operand_form form, lanes_i pairs[2]) {
    if (form == FORM_BF16_PAIRS)
        pairs[0] = raw;
    else
        lanes_e4m3_pairs(raw, pairs);
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
