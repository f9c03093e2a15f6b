/* A context, and what doors do with it. */
#ifndef KRN_CUDA_CONTEXT_H
#define KRN_CUDA_CONTEXT_H

#include "cuda/common/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

struct krn_cuda_context {
    const krn_cuda_backend *backend;
    void *state;
    int32_t architecture; /* a krn_cuda_class, never AUTO */
    krn_cuda_properties properties;
};

/* Launches `kernel` with as many blocks of `threads` threads as `blocks` says (x, y, z), `shared_bytes` of dynamic shared
 * memory and a copy of `params`. A door calls this once for each kernel, after all its checks. */
krn_status krn_cuda_run(krn_cuda_context *context, const char *kernel, const uint32_t blocks[3], uint32_t threads,
                        uint32_t shared_bytes, const void *params, uint32_t params_bytes, void *stream);

#ifdef __cplusplus
}
#endif

#endif
