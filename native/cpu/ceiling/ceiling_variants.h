/* The loops behind krn_ceiling_run and the table of who has which: the one place where a variant is registered. */
#ifndef KRN_CEILING_VARIANTS_H
#define KRN_CEILING_VARIANTS_H

#include "common/portability.h"
#include "kernels/ceiling.h"

/* Runs a loop that touches registers only `turns` times and returns the operations of one turn. */
typedef int64_t krn_ceiling_turns(int64_t turns);
/* Goes `passes` times over `bytes` bytes, a multiple of 4096, aligned to 64. */
typedef void krn_ceiling_passes(unsigned char *buffer, int64_t bytes, int64_t passes);

/* What one source file offers; NULL for what its instructions do not have. */
typedef struct {
    const char *name;
    /* The level whose instructions the file is compiled with. */
    int32_t isa;
    krn_ceiling_turns *int8_dot;
    krn_ceiling_turns *int16_madd;
    krn_ceiling_turns *bf16_dot;
    krn_ceiling_turns *f32_fma;
    krn_ceiling_passes *read;
    krn_ceiling_passes *copy;
    krn_ceiling_passes *narrow;
} krn_ceiling_variant_loops;

/* Best first: a context runs the first one that it can and that has the loop. To add one, write one file
 * that defines it and add one line here. */
#if defined(KRN_X86_64)
#define KRN_CEILING_VARIANTS(X)                                                                                        \
    X(krn_ceiling_avx512bf16)                                                                                          \
    X(krn_ceiling_avx512vnni)                                                                                          \
    X(krn_ceiling_avx512)                                                                                              \
    X(krn_ceiling_avx2)                                                                                                \
    X(krn_ceiling_ref)
#elif defined(KRN_ARM64)
#define KRN_CEILING_VARIANTS(X)                                                                                        \
    X(krn_ceiling_neon_bf16)                                                                                           \
    X(krn_ceiling_neon_i8mm)                                                                                           \
    X(krn_ceiling_neon_dotprod)                                                                                        \
    X(krn_ceiling_neon)                                                                                                \
    X(krn_ceiling_ref)
#else
#define KRN_CEILING_VARIANTS(X) X(krn_ceiling_ref)
#endif

#define KRN_CEILING_DECLARE(variant) extern const krn_ceiling_variant_loops variant;
KRN_CEILING_VARIANTS(KRN_CEILING_DECLARE)
#undef KRN_CEILING_DECLARE

/* Lines of 64 bytes that the narrowing loop reads for each that it writes. */
enum { KRN_CEILING_LINE = 64, KRN_CEILING_LINES_READ = 4, KRN_CEILING_LINES_MOVED = KRN_CEILING_LINES_READ + 1 };

/* Lines that the narrowing loop writes in a buffer. */
static inline int64_t krn_ceiling_lines_written(int64_t bytes) {
    return bytes / (KRN_CEILING_LINES_MOVED * KRN_CEILING_LINE);
}

/* The value, hidden from the optimizer: what it does not know it cannot fold, and what it cannot prove equal it
 * computes twice. */
static inline int32_t krn_ceiling_opaque(int32_t value) {
    volatile int32_t hidden = value;
    return hidden;
}

/* Operands of the register loops. As bf16 and as f32 they are 1.0 and a little: sums of them stay finite and normal. */
enum { KRN_CEILING_OPERAND_A = 0x3F803F80, KRN_CEILING_OPERAND_B = 0x3F823F82 };

#endif
