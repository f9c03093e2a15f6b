/* Attention over integer keys and values, NEON with I8MM. */
#include "attention/unit_neon.h"

#include "attention/attention_integers.h"

const krn_attention_kernels krn_attention_neon_i8mm = {
    .name = "neon_i8mm",
    .features = KRN_CPU_NEON | KRN_CPU_NEON_DOTPROD | KRN_CPU_NEON_I8MM,
    .key_types = KRN_ATTENTION_INTEGERS,
    .value_types = KRN_ATTENTION_INTEGERS,
    KRN_ATTENTION_STEPS,
};
