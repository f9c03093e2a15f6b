/* Attention over bf16 and FP8 keys and values, NEON with BF16. */
#include "attention/unit_neon.h"

#include "attention/attention_pairs.h"

const krn_attention_kernels krn_attention_neon_bf16 = {
    .name = "neon_bf16",
    .features = KRN_CPU_NEON | KRN_CPU_NEON_DOTPROD | KRN_CPU_NEON_I8MM | KRN_CPU_NEON_BF16,
    .key_types = KRN_ATTENTION_NARROW_FLOATS,
    .value_types = KRN_ATTENTION_NARROW_FLOATS,
    .takes_pairs = 1,
    KRN_ATTENTION_STEPS,
};
