/* Attention over keys and values of every type, AVX2. */
#include "attention/unit_avx2.h"

#include "attention/attention_all_types.h"

const krn_attention_kernels krn_attention_avx2 = {
    .name = "avx2",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C,
    .key_types = KRN_ATTENTION_ALL_TYPES,
    .value_types = KRN_ATTENTION_ALL_TYPES,
    KRN_ATTENTION_STEPS,
};
