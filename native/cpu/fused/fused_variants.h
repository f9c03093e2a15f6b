/* The kernels of the fused steps and the table of their variants. */
#ifndef KRN_FUSED_VARIANTS_H
#define KRN_FUSED_VARIANTS_H

#include "common/ahead.h"
#include "common/portability.h"
#include "kernels/context.h"
#include "quantize/quantize_variants.h"

#include <string.h>

/* The variants, best first. To add one, write one file that defines it and add one line here. */
#if defined(KRN_X86_64)
#define KRN_FUSED_VARIANTS(X)                                                                                          \
    X(krn_fused_avx512)                                                                                                \
    X(krn_fused_avx2)                                                                                                  \
    X(krn_fused_ref)
#elif defined(KRN_ARM64)
#define KRN_FUSED_VARIANTS(X)                                                                                          \
    X(krn_fused_neon)                                                                                                  \
    X(krn_fused_ref)
#else
#define KRN_FUSED_VARIANTS(X) X(krn_fused_ref)
#endif

enum {
    /* Partial sums of a row, by index modulo this number (kernels/fused.h): four registers of AVX-512, eight of AVX2,
     * as many as hide the latency of an addition. Also the multiple to which rows of floats and vectors are padded. */
    KRN_FUSED_LANES = 64,
};

/* h(g) of the gates; see activation.h. */
typedef enum krn_gate_kind { KRN_GATE_SILU, KRN_GATE_GELU, KRN_GATE_GELU_TANH } krn_gate_kind;

/* What a pass over a row adds up. */
typedef struct krn_row_sums {
    float lanes[KRN_FUSED_LANES];
    /* The largest |(x - mean) * weight| so far; infinity or NaN, but no finite number, once there was infinity or
     * NaN. */
    float magnitude;
    /* The extremes so far, of what is finite: at most 0 and at least 0. */
    float lowest, highest;
} krn_row_sums;

/* The even fours of `lanes` elements, 16 or 32, before the odd ones: as instructions leave them that unpack each 128 bits
 * of a register. */
KRN_ALWAYS_INLINE void krn_unpack(int32_t lanes, float *x) {
    float fours[32];
    for (int32_t i = 0; i < lanes; i++)
        fours[i / 4 % 2 * (lanes / 2) + i / 8 * 4 + i % 4] = x[i];
    memcpy(x, fours, (size_t)lanes * sizeof(float));
}

/* What a variant does. Every function works on a part of a row, n >= 1 elements of `type` KRN_TYPE_F32, _F16 or _BF16
 * of which the first is number 0, KRN_FUSED_LANES, 2 KRN_FUSED_LANES .. of the row; nothing outside it is read. Weight
 * and bias are f32, and they and `y` are padded to a multiple of KRN_FUSED_LANES elements, that of `y` is written.
 * `ahead` changes no result, and a variant may ignore it. Every variant gives the bits of krn_fused_ref, but for the
 * payload of NaN. */
typedef struct krn_fused_kernels {
    const char *name;
    /* The krn_cpu_feature bits without which the variant must not run. */
    uint64_t features;
    /* If not 0: of bf16, `total` and `squares` leave every so many lanes in the order of krn_unpack, and `squares`,
     * `normalize`, `measure` and `encode` take weight and bias in it: that of the cheapest widening on x86, by which two
     * registers hold the even and the odd fours of 2 LANES elements. */
    int32_t unpacked_lanes;
    /* sum = x + residual, rounded to the type, and the same widened to y. `stream`: sums go past the caches where they
     * are aligned for that. */
    void (*add)(int32_t type, const void *x, const void *residual, int64_t n, int32_t stream, krn_ahead ahead,
                void *sum, float *y);
    /* Adds the elements to the lanes. */
    void (*total)(int32_t type, const void *x, int64_t n, krn_ahead ahead, krn_row_sums *sums);
    /* Adds (x - mean)^2 to the lanes, and keeps the magnitude unless `weight` is NULL. */
    void (*squares)(int32_t type, const void *x, const float *weight, int64_t n, float mean, krn_ahead ahead,
                    krn_row_sums *sums);
    /* y = ((x - mean) * weight) * inverse, and + bias unless that is NULL. */
    void (*normalize)(int32_t type, const void *x, const float *weight, const float *bias, int64_t n, float mean,
                      float inverse, krn_ahead ahead, float *y);
    /* The magnitude of such y, which have a bias or `asymmetric` codes, is kept; of the latter the extremes, too. */
    void (*measure)(int32_t type, const void *x, const float *weight, const float *bias, int64_t n, float mean,
                    float inverse, int32_t asymmetric, krn_ahead ahead, krn_row_sums *sums);
    /* Codes of such y, one per byte. `stream`: past the caches where they are aligned for that. */
    void (*encode)(int32_t type, const void *x, const float *weight, const float *bias, int64_t n, float mean,
                   float inverse, const krn_block_encoder *encoder, int32_t stream, krn_ahead ahead, uint8_t *codes);
    /* y = gate(g) * u; the magnitude of y is kept. `up` NULL: gates and ups take turns in 2 n elements. */
    void (*gate)(krn_gate_kind kind, int32_t type, const void *gate, const void *up, int64_t n, krn_ahead ahead,
                 float *y, krn_row_sums *sums);
    /* Rounds y to the type. */
    void (*narrow)(int32_t type, const float *y, int64_t n, void *target);
} krn_fused_kernels;

#define KRN_FUSED_DECLARE(variant) extern const krn_fused_kernels variant;
KRN_FUSED_VARIANTS(KRN_FUSED_DECLARE)
#undef KRN_FUSED_DECLARE

#endif
