/* Attention over integer keys and values, NEON with DotProd. */
#include "attention/unit_neon.h"

#include "attention/attention_integers.h"

const krn_attention_kernels krn_attention_neon_dotprod = {
    .name = "neon_dotprod",
    .features = KRN_CPU_NEON | KRN_CPU_NEON_DOTPROD,
    .key_types = KRN_ATTENTION_INTEGERS,
    .value_types = KRN_ATTENTION_INTEGERS,
    KRN_ATTENTION_STEPS,
};
