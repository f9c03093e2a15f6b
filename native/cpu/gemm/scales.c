#include "gemm/scales.h"

#include "gemm/scales_variants.h"

#define KRN_ROW(prefix, features) {features, prefix##_widen, prefix##_start},
static const krn_scales_kernel variants[] = {KRN_SCALES_VARIANTS(KRN_ROW)};
#undef KRN_ROW

const krn_scales_kernel *krn_scales_kernel_for(uint64_t features) {
    const krn_scales_kernel *variant = variants;
    /* The reference is last and needs no features. */
    while ((variant->features & ~features) != 0)
        variant++;
    return variant;
}
