/* Ceilings: what this machine could do at most, measured by loops that do nothing else.
 *
 * A benchmark states its figures as a share of these. Each call runs a loop once on the calling thread; the caller
 * takes the time, on as many threads as it likes, and divides.
 */
#ifndef KERNELS_CEILING_H
#define KERNELS_CEILING_H

#include "kernels/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What limits a kernel. The numbers are pinned. */
enum krn_ceiling {
    /** 8-bit dot products from registers: into int32 (AVX-512: vpdpbusd), without such an instruction into int16, whose
     *  sums 4-bit codes allow (AVX2: vpmaddubsw and vpaddw). Work: operations, 2 per multiply-add. */
    KRN_CEILING_INT8_DOT = 1,
    /** 16-bit multiply-adds into int32 from registers (AVX2: vpmaddwd and vpaddd). Work: operations. */
    KRN_CEILING_INT16_MADD = 2,
    /** bfloat16 dot products into f32 from registers (AVX-512: vdpbf16ps). Work: operations. */
    KRN_CEILING_BF16_DOT = 3,
    /** f32 fused multiply-adds from registers. Work: operations. */
    KRN_CEILING_F32_FMA = 4,
    /** Reading the buffer once, front to back. Work: bytes read. */
    KRN_CEILING_READ = 10,
    /** Copying the first half of the buffer to the second with streaming stores. Work: bytes read plus bytes
     *  written. */
    KRN_CEILING_COPY = 11,
    /** Reading the first four fifths of the buffer and writing a line of 64 bytes, the sum of four lines as 32-bit
     *  integers, for every four to what follows, with streaming stores: the traffic of f32 that become 8-bit codes.
     *  Work: bytes read plus bytes written, the largest multiple of 320 in the buffer. */
    KRN_CEILING_NARROW = 12,
};

/** Name of the instruction sequence that a ceiling runs in this context, such as "avx512vnni"; NULL when the context's
 *  instruction set has none, and for NULL or a number that is not a krn_ceiling. */
KRN_API const char *krn_ceiling_variant(const krn_context *context, int32_t ceiling);

/** Runs a ceiling's loop on the calling thread and tells the work that was done.
 *  buffer            for KRN_CEILING_READ, _COPY and _NARROW: `buffer_bytes` bytes, a positive multiple of 4096, aligned to 64;
 *                    else ignored
 *  iterations        passes over the buffer, or turns of the register loop, each of 192 to 2048 operations; at least 1
 *  work              operations or bytes, as the ceiling says
 *  Errors: KRN_ERROR_UNSUPPORTED when the context's instruction set has none, and those of the arguments. */
KRN_API krn_status krn_ceiling_run(const krn_context *context, int32_t ceiling, void *buffer, int64_t buffer_bytes,
                                   int64_t iterations, double *work);

#ifdef __cplusplus
}
#endif

#endif
