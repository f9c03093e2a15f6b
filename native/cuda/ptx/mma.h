/* mma.sync: d[16, 8] += a[16, k] b[k, 8] by one warp. A register holds 4 bytes of consecutive k: 2 elements of 16 bits,
 * 4 of 8 or 8 of 4, the first in the lowest bits. With g = lane / 4, t = lane % 4 and e elements to a register (k = 8
 * e):
 *
 *   a[0]  row g       k = e t ..            a[2]  row g       k = 4 e + e t ..
 *   a[1]  row g + 8   k = e t ..            a[3]  row g + 8   k = 4 e + e t ..
 *   b[0]  column g    k = e t ..            b[1]  column g    k = 4 e + e t ..
 *   d[0], d[1]  row g,     columns 2 t, 2 t + 1
 *   d[2], d[3]  row g + 8, columns 2 t, 2 t + 1
 *
 * So a, row-major in shared memory, is one ldmatrix_x4, and b, stored by columns (as weights [n][k] are), an
 * ldmatrix_x2; for any k, as bytes are bytes.
 *
 * Integer sums wrap (no .satfinite). Float products are exact; in which order and precision a device adds them is its
 * own secret, within a bound that tests must derive; the emulator adds in binary64 and rounds once. */
#ifndef KRN_PTX_MMA_H
#define KRN_PTX_MMA_H

#include "cuda/ptx/kernel.h"

#if !defined(__CUDACC__)
#include "cuda/emulator/matrix.h"
#endif

namespace ptx {

#if defined(__CUDACC__)

KRN_DEVICE void mma_m16n8k32_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* a is unsigned. */
KRN_DEVICE void mma_m16n8k32_u8s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* b is unsigned. */
KRN_DEVICE void mma_m16n8k32_s8u8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* 4-bit operands: one instruction on sm_80 to sm_89. On sm_90 the assembler replaces it by 200 others. */
KRN_DEVICE void mma_m16n8k64_s4(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k64.row.col.s32.s4.s4.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* b is unsigned. */
KRN_DEVICE void mma_m16n8k64_s4u4(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k64.row.col.s32.s4.u4.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

KRN_DEVICE void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

KRN_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* k = 8: a[0] and a[1] are rows g and g + 8, elements 2 t and 2 t + 1 of k; b likewise. */
KRN_DEVICE void mma_m16n8k8_f16(float (&d)[4], const uint32_t (&a)[2], uint32_t b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b));
}

KRN_DEVICE void mma_m16n8k8_bf16(float (&d)[4], const uint32_t (&a)[2], uint32_t b) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
}

#else

KRN_DEVICE void mma_m16n8k32_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulator::mma_s8(d, a, b, emulator::Signs::SS);
}
KRN_DEVICE void mma_m16n8k32_u8s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulator::mma_s8(d, a, b, emulator::Signs::US);
}
KRN_DEVICE void mma_m16n8k32_s8u8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulator::mma_s8(d, a, b, emulator::Signs::SU);
}
KRN_DEVICE void mma_m16n8k64_s4(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulator::mma_s4(d, a, b, emulator::Signs::SS);
}
KRN_DEVICE void mma_m16n8k64_s4u4(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulator::mma_s4(d, a, b, emulator::Signs::SU);
}
KRN_DEVICE void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulator::mma_half(d, a, b, emulator::Half::F16);
}
KRN_DEVICE void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    emulator::mma_half(d, a, b, emulator::Half::BF16);
}
KRN_DEVICE void mma_m16n8k8_f16(float (&d)[4], const uint32_t (&a)[2], uint32_t b) {
    emulator::mma_half_k8(d, a, b, emulator::Half::F16);
}
KRN_DEVICE void mma_m16n8k8_bf16(float (&d)[4], const uint32_t (&a)[2], uint32_t b) {
    emulator::mma_half_k8(d, a, b, emulator::Half::BF16);
}

#endif

} // namespace ptx

#endif
