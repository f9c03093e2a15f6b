/* 4-bit weights and float activations for many tokens: unpacked to f16 or bf16 in the registers from which wgmma takes
 * them. */
#include "cuda/gemm/float_prefill_sm90a.h"

KRN_FLOAT_PREFILL_TMA(s4_bf16, KRN_TYPE_S4, KRN_TYPE_BF16)
KRN_FLOAT_PREFILL_TMA(u4_bf16, KRN_TYPE_U4, KRN_TYPE_BF16)
KRN_FLOAT_PREFILL_TMA(c4_bf16, KRN_TYPE_C4, KRN_TYPE_BF16)
KRN_FLOAT_PREFILL_TMA(s4_f16, KRN_TYPE_S4, KRN_TYPE_F16)
KRN_FLOAT_PREFILL_TMA(u4_f16, KRN_TYPE_U4, KRN_TYPE_F16)
KRN_FLOAT_PREFILL_TMA(c4_f16, KRN_TYPE_C4, KRN_TYPE_F16)
