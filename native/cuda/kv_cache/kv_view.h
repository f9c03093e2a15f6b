/* What the doors of the KV cache and of attention share. */
#ifndef KRN_CUDA_KV_VIEW_H
#define KRN_CUDA_KV_VIEW_H

#include "cuda/common/context.h"
#include "cuda/kv_cache/kv_params.h"
#include "kernels/cuda_kv_cache.h"

/* Checks a cache, and what it is to kernels. */
krn_status krn_cuda_kv_view_of(const krn_cuda_kv_cache *cache, krn_cuda_kv_view *view);

/* Checks a batch; *max_length is no longer 0. */
krn_status krn_cuda_kv_check_batch(const krn_cuda_kv_cache *cache, const krn_cuda_kv_batch *batch, int64_t *max_length);

#endif
