#include "cuda/hadamard/rotation.h"

#include "common/status.h"
#include "hadamard/hadamard_plan.h"

#include <stddef.h>
#include <string.h>

/* Levels that one pass does: up to five in the first, then evenly in as few as it takes. */
static void cut_levels(int32_t levels, krn_cuda_rotation *r) {
    const int32_t most = KRN_CUDA_ROTATION_LEVELS;
    const int32_t first = levels < most ? levels : most, rest = levels - first;
    r->first_levels = (int16_t)first;
    r->pass_levels[0] = (int16_t)(rest <= most ? rest : (rest + 1) / 2);
    r->pass_levels[1] = (int16_t)(rest - r->pass_levels[0]);
}

int32_t krn_cuda_rotation_cut_for_matrices(krn_cuda_rotation *rotation) {
    const int32_t most = KRN_CUDA_ROTATION_MATRIX_LEVELS;
    const int32_t levels = rotation->first_levels + rotation->pass_levels[0] + rotation->pass_levels[1];
    /* Two bases leave fewer levels than that, up to n = 32768. */
    if (levels < KRN_CUDA_ROTATION_LEAST_MATRIX_LEVELS)
        return 0;
    rotation->first_levels = (int16_t)(levels < most ? levels : most);
    rotation->pass_levels[0] = (int16_t)(levels - rotation->first_levels);
    rotation->pass_levels[1] = 0;
    return 1;
}

/* The signs of 4 x 4 entries to a word. */
static void pack_signs(const krn_hadamard_base *base, uint16_t *words) {
    const int32_t quads = base->order / 4;
    for (int32_t rows = 0; rows < quads; rows++) {
        for (int32_t q = 0; q < quads; q++) {
            uint32_t word = 0;
            for (int32_t r = 0; r < 4; r++)
                word |= (uint32_t)(base->signs[(4 * rows + r) * quads + q] >> 4) << 4 * r;
            *words++ = (uint16_t)word;
        }
    }
}

/* The order of a base whose signs kernels have as constants, else 0. They have no transposed ones, but that of order 28
 * is symmetric; and its elements are 32 apart at least. */
static int32_t constant_order(const krn_hadamard_plan *plan) {
    const krn_hadamard_base *base = &plan->bases[0];
    if (plan->num_bases != 1 || plan->levels < 5)
        return 0;
    return base->order == 28 || ((base->order == 12 || base->order == 20) && !base->transposed) ? base->order : 0;
}

krn_status krn_cuda_rotation_of(const krn_hadamard_options *options, krn_cuda_rotation *rotation) {
    krn_hadamard_plan plan;
    const krn_status status = krn_hadamard_make_plan(options, &plan);
    if (status != KRN_OK)
        return status;
    if (plan.n > KRN_CUDA_ROTATION_MAX_N)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "n is %lld; kernels of devices rotate up to %d elements",
                        (long long)plan.n, KRN_CUDA_ROTATION_MAX_N);
    if ((uintptr_t)plan.signs_before % 4 != 0 || (uintptr_t)plan.signs_after % 4 != 0)
        return krn_fail(KRN_ERROR_ALIGNMENT, "signs are not aligned to 4 bytes");
    *rotation = (krn_cuda_rotation){
        .signs_before = plan.signs_before,
        .signs_after = plan.signs_after,
        .scale = plan.scale,
        .n = (int32_t)plan.n,
        .num_bases = (int16_t)plan.num_bases,
        .constant_order = (int16_t)constant_order(&plan),
    };
    cut_levels(plan.levels, rotation);
    int32_t words = 0;
    for (int32_t b = 0; b < plan.num_bases; b++) {
        const int32_t order = plan.bases[b].order, count = order / 4 * (order / 4);
        if (words + count > KRN_CUDA_ROTATION_SIGN_WORDS)
            return krn_fail(KRN_ERROR_UNSUPPORTED,
                            "n is %lld, whose matrix has a base of order %d; kernels of devices take one up to 172",
                            (long long)plan.n, order);
        rotation->orders[b] = (int16_t)order;
        rotation->first_words[b] = (int16_t)words;
        pack_signs(&plan.bases[b], rotation->signs + words);
        words += count;
    }
    return KRN_OK;
}

krn_status krn_cuda_head_rotation_of(int32_t n, int32_t inverse, krn_cuda_head_rotation *rotation) {
    const krn_hadamard_options options = {.struct_size = sizeof options, .normalized = 1, .n = n, .inverse = inverse};
    krn_cuda_rotation any;
    const krn_status status = krn_cuda_rotation_of(&options, &any);
    if (status != KRN_OK)
        return status;
    int32_t words = 0;
    for (int32_t b = 0; b < any.num_bases; b++)
        words += any.orders[b] / 4 * (any.orders[b] / 4);
    if (words > KRN_CUDA_HEAD_ROTATION_SIGN_WORDS)
        return krn_fail(KRN_ERROR_UNSUPPORTED,
                        "head_dim is %d, whose matrix has a base above order 124, which devices do not rotate heads by",
                        n);
    *rotation = (krn_cuda_head_rotation){
        .scale = any.scale,
        .n = any.n,
        .first_levels = any.first_levels,
        .pass_levels = {any.pass_levels[0], any.pass_levels[1]},
        .num_bases = any.num_bases,
    };
    memcpy(rotation->orders, any.orders, sizeof rotation->orders);
    memcpy(rotation->first_words, any.first_words, sizeof rotation->first_words);
    memcpy(rotation->signs, any.signs, (size_t)words * sizeof *rotation->signs);
    return KRN_OK;
}

static uint32_t whole_warps(int64_t threads) { return (uint32_t)((threads + 31) / 32 * 32); }

krn_status krn_cuda_rotation_threads(const krn_cuda_rotation *rotation, int64_t elems, uint32_t *threads) {
    const int64_t most = rotation->num_bases == 0 ? KRN_CUDA_ROTATION_MAX_N
                                                  : KRN_CUDA_ROTATION_MAX_THREADS * KRN_CUDA_ROTATION_BASE_ITEMS * 4;
    if (elems > most)
        return krn_fail(KRN_ERROR_UNSUPPORTED, "a block of a device would rotate %lld elements together; it can %lld",
                        (long long)elems, (long long)most);
    *threads = whole_warps((elems + KRN_CUDA_ROTATION_ELEMS - 1) / KRN_CUDA_ROTATION_ELEMS);
    if (*threads <= KRN_CUDA_ROTATION_MAX_THREADS)
        return KRN_OK;
    /* Twice as much for each thread; but in a base as many threads as there can be. */
    *threads = rotation->num_bases > 0 ? KRN_CUDA_ROTATION_MAX_THREADS : whole_warps(*threads / 2);
    return KRN_OK;
}
