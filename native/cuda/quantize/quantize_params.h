/* What doors hand to the kernels of quantize/. */
#ifndef KRN_CUDA_QUANTIZE_PARAMS_H
#define KRN_CUDA_QUANTIZE_PARAMS_H

#include <stdint.h>

/* krn_quantize_per_token_*: one block for each row. */
typedef struct krn_cuda_quantize_params {
    const float *source;   /* [rows][source_ld] */
    int8_t *codes;         /* [rows][codes_ld_bytes] */
    float *scales;         /* [rows] */
    int32_t *device_flags; /* krn_cuda_flag, or NULL */
    int64_t source_ld, codes_ld_bytes;
    int32_t cols;
    float clip_ratio;
} krn_cuda_quantize_params;

enum { KRN_CUDA_QUANTIZE_THREADS = 256, KRN_CUDA_QUANTIZE_SHARED_BYTES = KRN_CUDA_QUANTIZE_THREADS / 32 * 4 };

#endif
