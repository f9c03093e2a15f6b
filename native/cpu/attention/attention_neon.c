/* Attention over keys and values of every type, NEON. */
#include "attention/unit_neon.h"

#include "attention/attention_all_types.h"

const krn_attention_kernels krn_attention_neon = {
    .name = "neon",
    .features = KRN_CPU_NEON,
    .key_types = KRN_ATTENTION_ALL_TYPES,
    .value_types = KRN_ATTENTION_ALL_TYPES,
    KRN_ATTENTION_STEPS,
};
