/* Instructions on the bits of a register. */
#ifndef KRN_PTX_BITS_H
#define KRN_PTX_BITS_H

#include "cuda/ptx/kernel.h"

namespace ptx {

/* The table of lop3 for an expression of its three operands, as in lop3<(LUT_A & LUT_B) | LUT_C>. */
constexpr uint32_t LUT_A = 0xF0, LUT_B = 0xCC, LUT_C = 0xAA;

#if defined(__CUDACC__)

/* Any function of three bits, for 32 bits at once: nibbles are taken apart and put under a constant in one step. */
template <uint32_t table> KRN_DEVICE uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t d;
    asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(d) : "r"(a), "r"(b), "r"(c), "n"(table & 0xFF));
    return d;
}

/* Four bytes of the eight in b:a, each named by a nibble of `selector`; its bit 3 repeats the byte's sign instead. */
KRN_DEVICE uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
    uint32_t d;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(selector));
    return d;
}

/* c plus the products of four signed bytes. */
KRN_DEVICE int32_t dp4a(uint32_t a, uint32_t b, int32_t c) {
    int32_t d;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

/* a has unsigned bytes, b signed ones. */
KRN_DEVICE int32_t dp4a_u8s8(uint32_t a, uint32_t b, int32_t c) {
    int32_t d;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

/* The upper word of high:low shifted left; `shift` modulo 32. */
KRN_DEVICE uint32_t funnel_shift_left(uint32_t low, uint32_t high, uint32_t shift) {
    return __funnelshift_l(low, high, shift);
}

/* The lower word of high:low shifted right; `shift` modulo 32. */
KRN_DEVICE uint32_t funnel_shift_right(uint32_t low, uint32_t high, uint32_t shift) {
    return __funnelshift_r(low, high, shift);
}

/* A copy that the compiler knows nothing of: sums made of it are made anew, where those made of the original would be kept
 * in registers until they are needed again. */
KRN_DEVICE int32_t renewed(int32_t value) {
    int32_t d;
    asm volatile("mov.b32 %0, %1;" : "=r"(d) : "r"(value));
    return d;
}

KRN_DEVICE int32_t popcount(uint32_t value) { return __popc(value); }
/* Zeros above the highest one; 32 for 0. */
KRN_DEVICE int32_t count_leading_zeros(uint32_t value) { return __clz(static_cast<int32_t>(value)); }
/* The number of the lowest one, from 0; -1 for 0. */
KRN_DEVICE int32_t find_first_set(uint32_t value) { return __ffs(static_cast<int32_t>(value)) - 1; }

#else

template <uint32_t table> KRN_DEVICE uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
    uint32_t d = 0;
    d |= (table & 0x80) != 0 ? a & b & c : 0;
    d |= (table & 0x40) != 0 ? a & b & ~c : 0;
    d |= (table & 0x20) != 0 ? a & ~b & c : 0;
    d |= (table & 0x10) != 0 ? a & ~b & ~c : 0;
    d |= (table & 0x08) != 0 ? ~a & b & c : 0;
    d |= (table & 0x04) != 0 ? ~a & b & ~c : 0;
    d |= (table & 0x02) != 0 ? ~a & ~b & c : 0;
    d |= (table & 0x01) != 0 ? ~a & ~b & ~c : 0;
    return d;
}

KRN_DEVICE uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
    const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
    uint32_t d = 0;
    for (int32_t i = 0; i < 4; i++) {
        const uint32_t nibble = selector >> (4 * i) & 15;
        uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (nibble & 7))) & 0xFF;
        if ((nibble & 8) != 0)
            byte = (byte & 0x80) != 0 ? 0xFF : 0;
        d |= byte << (8 * i);
    }
    return d;
}

KRN_DEVICE int32_t dp4a(uint32_t a, uint32_t b, int32_t c) {
    uint32_t sum = static_cast<uint32_t>(c);
    for (int32_t i = 0; i < 32; i += 8)
        sum += static_cast<uint32_t>(static_cast<int8_t>(a >> i) * static_cast<int8_t>(b >> i));
    return static_cast<int32_t>(sum);
}

KRN_DEVICE int32_t dp4a_u8s8(uint32_t a, uint32_t b, int32_t c) {
    uint32_t sum = static_cast<uint32_t>(c);
    for (int32_t i = 0; i < 32; i += 8)
        sum += static_cast<uint32_t>(static_cast<uint8_t>(a >> i) * static_cast<int8_t>(b >> i));
    return static_cast<int32_t>(sum);
}

KRN_DEVICE uint32_t funnel_shift_left(uint32_t low, uint32_t high, uint32_t shift) {
    return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) << (shift & 31) >> 32);
}

KRN_DEVICE uint32_t funnel_shift_right(uint32_t low, uint32_t high, uint32_t shift) {
    return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}

KRN_DEVICE int32_t renewed(int32_t value) { return value; }
KRN_DEVICE int32_t popcount(uint32_t value) { return __builtin_popcount(value); }
KRN_DEVICE int32_t count_leading_zeros(uint32_t value) { return value == 0 ? 32 : __builtin_clz(value); }
KRN_DEVICE int32_t find_first_set(uint32_t value) { return value == 0 ? -1 : __builtin_ctz(value); }

#endif

} // namespace ptx

#endif
