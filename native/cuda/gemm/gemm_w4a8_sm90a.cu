/* 4-bit weights for many tokens: unpacked to 8 bits in the registers from which wgmma takes them. */
#include "cuda/gemm/prefill_sm90a.h"

KRN_PREFILL_TMA(krn_gemm_prefill_s4_channel_128x256_sm90a, KRN_TYPE_S4, false, 256)
KRN_PREFILL_TMA(krn_gemm_prefill_s4_channel_128x128_sm90a, KRN_TYPE_S4, false, 128)
KRN_PREFILL_TMA(krn_gemm_prefill_s4_channel_128x64_sm90a, KRN_TYPE_S4, false, 64)
KRN_PREFILL_TMA(krn_gemm_prefill_s4_group_128x128_sm90a, KRN_TYPE_S4, true, 128)
KRN_PREFILL_TMA(krn_gemm_prefill_s4_group_128x64_sm90a, KRN_TYPE_S4, true, 64)
KRN_PREFILL_TMA(krn_gemm_prefill_u4_channel_128x256_sm90a, KRN_TYPE_U4, false, 256)
KRN_PREFILL_TMA(krn_gemm_prefill_u4_channel_128x128_sm90a, KRN_TYPE_U4, false, 128)
KRN_PREFILL_TMA(krn_gemm_prefill_u4_channel_128x64_sm90a, KRN_TYPE_U4, false, 64)
KRN_PREFILL_TMA(krn_gemm_prefill_u4_group_128x128_sm90a, KRN_TYPE_U4, true, 128)
KRN_PREFILL_TMA(krn_gemm_prefill_u4_group_128x64_sm90a, KRN_TYPE_U4, true, 64)
