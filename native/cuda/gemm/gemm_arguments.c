#include "cuda/gemm/gemm_arguments.h"

#include "cuda/common/arguments.h"

/* Far more than adapters have, and so few that no size of theirs overflows. */
enum { MAX_RANK = 1 << 16 };

krn_status krn_cuda_gemm_check_alignment(const krn_activations *a, const krn_gemm_output *y,
                                         const krn_gemm_options *options) {
    const krn_lora *const lora = options == NULL ? NULL : options->lora;
    const struct {
        const char *name;
        const void *data;
        int32_t bytes;
    } pointers[] = {
        {"activations->data", a->data, KRN_CUDA_TENSOR_ALIGNMENT},
        {"activations->scales", a->scales, sizeof(float)},
        {"activations->zero_points", a->zero_points, sizeof(int32_t)},
        {"output->data", y->data, KRN_CUDA_TENSOR_ALIGNMENT},
        {"output->bias", y->bias, KRN_CUDA_TENSOR_ALIGNMENT},
        {"output->residual", y->residual, KRN_CUDA_TENSOR_ALIGNMENT},
        {"options->lora->a", lora == NULL ? NULL : lora->a, sizeof(float)},
        {"options->lora->b", lora == NULL ? NULL : lora->b, sizeof(float)},
    };
    for (size_t i = 0; i < sizeof pointers / sizeof pointers[0]; i++)
        if ((uintptr_t)pointers[i].data % (uintptr_t)pointers[i].bytes != 0)
            return krn_fail(KRN_ERROR_ALIGNMENT, "%s is not aligned to %d bytes", pointers[i].name, pointers[i].bytes);
    return KRN_OK;
}

krn_status krn_cuda_gemm_check_rank(const krn_lora *lora) {
    if (lora != NULL && lora->rank > MAX_RANK)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "options->lora->rank is %lld; kernels take at most %d",
                        (long long)lora->rank, MAX_RANK);
    return KRN_OK;
}
