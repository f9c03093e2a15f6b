/* Attention over integer keys and values, AVX-512 without VNNI. */
#include "attention/unit_avx512.h"

#include "attention/attention_integers.h"

const krn_attention_kernels krn_attention_integers_avx512 = {
    .name = "avx512",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL,
    .key_types = KRN_ATTENTION_INTEGERS,
    .value_types = KRN_ATTENTION_INTEGERS,
    KRN_ATTENTION_STEPS,
};
