/* The door of the Hadamard transform: checks, the choice of a variant, and blocks spread over threads. */
#include "kernels/hadamard.h"

#include "common/context.h"
#include "common/status.h"
#include "hadamard/hadamard_variants.h"
#include "quantize/quantize_rows.h"

#include <stddef.h>

#define ADDRESS(variant) &variant,
static const krn_hadamard_kernels *const variants[] = {KRN_HADAMARD_VARIANTS(ADDRESS)};
#undef ADDRESS

const krn_hadamard_kernels *krn_hadamard_kernels_of(const krn_context *context) {
    const krn_hadamard_kernels *const *variant = variants;
    /* The reference is last and needs no features. */
    while (((*variant)->features & ~context->features) != 0)
        variant++;
    return *variant;
}

const char *krn_hadamard_variant(const krn_context *context) {
    return context == NULL ? NULL : krn_hadamard_kernels_of(context)->name;
}
