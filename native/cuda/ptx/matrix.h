/* ldmatrix and stmatrix: 8x8 matrices of 16-bit elements between shared memory and the registers of a warp, as mma.sync
 * wants them. A row is 16 bytes at a multiple of 16. Lane 8 i + r gives the address of row r of matrix i; of matrix i,
 * lane l gets (gives) in register i the elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4, the first in the low half.
 * With _trans it is the transposed matrix. Bytes move as bits: a row is as well 16 bytes of s8. All 32 lanes take part,
 * also in the _x2 form, where the addresses of lanes 16..31 are not used. */
#ifndef KRN_PTX_MATRIX_H
#define KRN_PTX_MATRIX_H

#include "cuda/ptx/memory.h"

#if !defined(__CUDACC__)
#include "cuda/emulator/matrix.h"
#endif

namespace ptx {

#if defined(__CUDACC__)

KRN_DEVICE void ldmatrix_x4(uint32_t (&d)[4], SharedAddress row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(row)
                 : "memory");
}

KRN_DEVICE void ldmatrix_x4_trans(uint32_t (&d)[4], SharedAddress row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(row)
                 : "memory");
}

KRN_DEVICE void ldmatrix_x2(uint32_t (&d)[2], SharedAddress row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(d[0]), "=r"(d[1])
                 : "r"(row)
                 : "memory");
}

KRN_DEVICE void ldmatrix_x2_trans(uint32_t (&d)[2], SharedAddress row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(d[0]), "=r"(d[1])
                 : "r"(row)
                 : "memory");
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

KRN_DEVICE void stmatrix_x4(SharedAddress row, const uint32_t (&s)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(s[0]), "r"(s[1]),
                 "r"(s[2]), "r"(s[3])
                 : "memory");
}

KRN_DEVICE void stmatrix_x4_trans(SharedAddress row, const uint32_t (&s)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row), "r"(s[0]),
                 "r"(s[1]), "r"(s[2]), "r"(s[3])
                 : "memory");
}

KRN_DEVICE void stmatrix_x2(SharedAddress row, const uint32_t (&s)[2]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(row), "r"(s[0]), "r"(s[1])
                 : "memory");
}

#endif

#else

KRN_DEVICE void ldmatrix_x4(uint32_t (&d)[4], SharedAddress row) { emulator::ldmatrix(d, 4, row, false); }
KRN_DEVICE void ldmatrix_x4_trans(uint32_t (&d)[4], SharedAddress row) { emulator::ldmatrix(d, 4, row, true); }
KRN_DEVICE void ldmatrix_x2(uint32_t (&d)[2], SharedAddress row) { emulator::ldmatrix(d, 2, row, false); }
KRN_DEVICE void ldmatrix_x2_trans(uint32_t (&d)[2], SharedAddress row) { emulator::ldmatrix(d, 2, row, true); }
KRN_DEVICE void stmatrix_x4(SharedAddress row, const uint32_t (&s)[4]) { emulator::stmatrix(s, 4, row, false); }
KRN_DEVICE void stmatrix_x4_trans(SharedAddress row, const uint32_t (&s)[4]) { emulator::stmatrix(s, 4, row, true); }
KRN_DEVICE void stmatrix_x2(SharedAddress row, const uint32_t (&s)[2]) { emulator::stmatrix(s, 2, row, false); }

#endif

} // namespace ptx

#endif
