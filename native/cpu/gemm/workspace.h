/* How a call's workspace is laid out: packed activations, their offsets and sums, then what preparing takes
 * (prepare.h). */
#ifndef KRN_GEMM_WORKSPACE_H
#define KRN_GEMM_WORKSPACE_H

#include "gemm/gemm_kernel.h"

enum { KRN_WORKSPACE_ALIGNMENT = 64 };

static inline int64_t krn_align_workspace(int64_t bytes) {
    return (bytes + KRN_WORKSPACE_ALIGNMENT - 1) / KRN_WORKSPACE_ALIGNMENT * KRN_WORKSPACE_ALIGNMENT;
}

/* Sums of activations are made for weights with float offsets. The reference sums activations itself. */
static inline int krn_wants_sums(const krn_gemm_kernel *variant, const krn_layout *layout) {
    return layout->zero_type != 0 && variant->in_steps;
}

/* Where the parts behind packed activations begin, in bytes. */
typedef struct krn_workspace {
    int64_t x_offsets, x_sums, end;
} krn_workspace;

/* For m rows, packed as `type`. */
static inline krn_workspace krn_workspace_of(const krn_gemm_kernel *variant, const krn_layout *layout, int32_t type,
                                             int64_t m) {
    const int has_offsets = type == KRN_TYPE_S8 || type == KRN_TYPE_U8 || type == KRN_TYPE_S4;
    const int64_t offsets = has_offsets ? m * krn_num_runs(layout) * (int64_t)sizeof(int32_t) : 0;
    const int64_t sums = krn_wants_sums(variant, layout) ? m * layout->num_groups * (int64_t)sizeof(float) : 0;
    krn_workspace space = {.x_offsets = krn_align_workspace(m * layout->padded_k * variant->x_bytes)};
    space.x_sums = space.x_offsets + krn_align_workspace(offsets);
    space.end = space.x_sums + krn_align_workspace(sums);
    return space;
}

#endif
