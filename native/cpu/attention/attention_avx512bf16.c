/* Attention over bf16 and FP8 keys and values, AVX-512 BF16. */
#include "attention/unit_avx512.h"

#include "attention/attention_pairs.h"

const krn_attention_kernels krn_attention_avx512bf16 = {
    .name = "avx512bf16",
    .features = KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ |
                KRN_CPU_AVX512VL | KRN_CPU_AVX512VNNI | KRN_CPU_AVX512BF16,
    .key_types = KRN_ATTENTION_NARROW_FLOATS,
    .value_types = KRN_ATTENTION_NARROW_FLOATS,
    .takes_pairs = 1,
    KRN_ATTENTION_STEPS,
};
