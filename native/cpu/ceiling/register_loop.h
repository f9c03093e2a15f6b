/* The loop of the arithmetic ceilings: nothing but one operation, in chains that do not wait for each other. Compiled
 * once per instruction set by the file that includes this header after it has defined
 *
 *   lanes_i             a register
 *   broadcast_i32       a 32-bit integer in all of its lanes
 */
#ifndef KRN_REGISTER_LOOP_H
#define KRN_REGISTER_LOOP_H

#include "ceiling/ceiling_variants.h"

enum { MAX_CHAINS = 16 };

/* What a chain does once: a new sum of the old one and of two operands. Floats travel as their bits. */
typedef lanes_i chain_step(lanes_i sum, lanes_i a, lanes_i b);

/* Where the chains begin: each elsewhere, because equal ones would be computed once. */
KRN_ALWAYS_INLINE void begin_chains(lanes_i sum[MAX_CHAINS], int chains) {
    KRN_UNROLL
    for (int i = 0; i < chains; i++)
        sum[i] = broadcast_i32(krn_ceiling_opaque(KRN_CEILING_OPERAND_B + i));
}

/* Without a use the chains would not be computed at all. */
KRN_ALWAYS_INLINE void end_chains(const lanes_i sum[MAX_CHAINS], int chains) {
    volatile lanes_i sink;
    KRN_UNROLL
    for (int i = 0; i < chains; i++)
        sink = sum[i];
    (void)sink;
}

/* `chains` and `step` are constants where this is called: the sums stay in registers and the step has no call. */
KRN_ALWAYS_INLINE void run_chains(int64_t turns, int chains, chain_step *step) {
    const lanes_i a = broadcast_i32(krn_ceiling_opaque(KRN_CEILING_OPERAND_A));
    const lanes_i b = broadcast_i32(krn_ceiling_opaque(KRN_CEILING_OPERAND_B));
    lanes_i sum[MAX_CHAINS];
    begin_chains(sum, chains);
    for (int64_t turn = 0; turn < turns; turn++) {
        KRN_UNROLL
        for (int i = 0; i < chains; i++)
            sum[i] = step(sum[i], a, b);
    }
    end_chains(sum, chains);
}

#endif
