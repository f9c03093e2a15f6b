/* A cache of the CPU and the same on a device, into which the same tokens go: the pools begin with the same bytes, and tables
 * are those of the CPU's cache, which is the host's scheduler here. */
#ifndef KRN_TEST_CUDA_KV_CASE_H
#define KRN_TEST_CUDA_KV_CASE_H

#include "cuda_device.h"

typedef struct {
    int32_t key_type, value_type, head_dim;
    int64_t page_tokens;
    int32_t source_type;
    /* Scales of heads where types have any. */
    int32_t is_static;
    /* KRN_KV_CHANNEL. */
    int32_t key_group;
    int32_t rotates, centers;
    /* NULL: none. */
    const krn_rope_options *rope;
    int32_t has_positions;
} cuda_kv_case;

/* Some rounds of tokens: after each, pages, tails and means are those of the CPU, byte for byte, and so is what is read. */
void cuda_kv_check(krn_context *host, krn_cuda_context *device, const cuda_kv_case *c, test_random *random);

#endif
