/* 8-bit weights for many tokens: both operands of wgmma from shared memory. */
#include "cuda/gemm/prefill_sm90a.h"

KRN_PREFILL_TMA(krn_gemm_prefill_s8_channel_128x256_sm90a, KRN_TYPE_S8, false, 256)
KRN_PREFILL_TMA(krn_gemm_prefill_s8_channel_128x128_sm90a, KRN_TYPE_S8, false, 128)
KRN_PREFILL_TMA(krn_gemm_prefill_s8_channel_128x64_sm90a, KRN_TYPE_S8, false, 64)
KRN_PREFILL_TMA(krn_gemm_prefill_s8_group_128x128_sm90a, KRN_TYPE_S8, true, 128)
KRN_PREFILL_TMA(krn_gemm_prefill_s8_group_128x64_sm90a, KRN_TYPE_S8, true, 64)
