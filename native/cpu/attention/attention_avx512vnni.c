/* Attention over integer keys and values, AVX-512 VNNI. */
#include "attention/unit_avx512.h"

#include "attention/attention_integers.h"

const krn_attention_kernels krn_attention_avx512vnni = {
    .name = "avx512vnni",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL | KRN_CPU_AVX512VNNI,
    .key_types = KRN_ATTENTION_INTEGERS,
    .value_types = KRN_ATTENTION_INTEGERS,
    KRN_ATTENTION_STEPS,
};
