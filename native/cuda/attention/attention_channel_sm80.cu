/* Attention over caches whose keys have scales of their channels (KRN_KV_CHANNEL). */
#include "cuda/attention/attend.cuh"

#define KERNEL_OF(name, key_type, value_type, groups)                                                                  \
    KRN_KERNEL(krn_cuda_attention_channel_##name, krn_cuda_attention_params, KRN_CUDA_ATTENTION_THREADS, 3) {          \
        kernels::attend<key_type, value_type, groups, true>(p);                                                        \
    }

KERNEL_OF(s8_s8_d128, KRN_TYPE_S8, KRN_TYPE_S8, 1)
KERNEL_OF(s8_s8_d256, KRN_TYPE_S8, KRN_TYPE_S8, 2)
KERNEL_OF(s8_s4_d128, KRN_TYPE_S8, KRN_TYPE_S4, 1)
KERNEL_OF(s8_s4_d256, KRN_TYPE_S8, KRN_TYPE_S4, 2)
KERNEL_OF(s4_s8_d128, KRN_TYPE_S4, KRN_TYPE_S8, 1)
KERNEL_OF(s4_s8_d256, KRN_TYPE_S4, KRN_TYPE_S8, 2)
KERNEL_OF(s4_s4_d128, KRN_TYPE_S4, KRN_TYPE_S4, 1)
KERNEL_OF(s4_s4_d256, KRN_TYPE_S4, KRN_TYPE_S4, 2)
