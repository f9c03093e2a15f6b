/* 8-bit weights and float activations for many tokens: unpacked to f16 or bf16 in the registers from which wgmma takes
 * them. */
#include "cuda/gemm/float_prefill_sm90a.h"

KRN_FLOAT_PREFILL_TMA(s8_bf16, KRN_TYPE_S8, KRN_TYPE_BF16)
KRN_FLOAT_PREFILL_TMA(s8_f16, KRN_TYPE_S8, KRN_TYPE_F16)
