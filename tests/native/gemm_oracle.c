#include "gemm_oracle.h"

#include "common/fma.h"

#include <math.h>

const int32_t FLOAT_TYPES[3] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};

int64_t outlier_columns(const gemm_case *c, float threshold, uint8_t *is_outlier) {
    int64_t count = 0;
    for (int64_t k = 0; k < c->shape.k; k++) {
        is_outlier[k] = 0;
        for (int64_t m = 0; threshold > 0 && m < c->shape.m; m++)
            is_outlier[k] |= fabs(case_activation(c, m, k)) > threshold;
        count += is_outlier[k];
    }
    return count;
}

gemm_case quantized_case(const gemm_case *c, krn_context *context, int32_t compute, const uint8_t *is_outlier) {
    const gemm_shape *s = &c->shape;
    float *x = guarded_allocate(s->m * s->k * 4, GUARD_END);
    for (int64_t i = 0; i < s->m * s->k; i++)
        x[i] = is_outlier[i % s->k] ? 0 : (float)case_activation(c, i / s->k, i % s->k);
    const krn_quantize_options options = {.struct_size = sizeof options,
                                          .type = compute,
                                          .granularity = KRN_GRANULARITY_TOKEN,
                                          .asymmetric = compute == KRN_TYPE_U8};
    const int64_t row_bytes = krn_type_row_bytes(compute, s->k);
    void *codes = guarded_allocate(s->m * row_bytes, GUARD_END);
    float *scales = guarded_allocate(s->m * 4, GUARD_END);
    int32_t *zeros = guarded_allocate(s->m * 4, GUARD_END);
    CHECK_OK(krn_quantize(context, &options, s->m, s->k, KRN_TYPE_F32, x, s->k, codes, row_bytes, scales, zeros, NULL));
    gemm_case q = *c;
    q.options = NULL;
    q.shape.activation_type = compute;
    q.activations = (krn_activations){.struct_size = sizeof q.activations,
                                      .type = compute,
                                      .data = codes,
                                      .ld = s->k,
                                      .scales = scales,
                                      .zero_points = compute == KRN_TYPE_U8 ? zeros : NULL};
    return q;
}

/* p[m,j] of gemm.h. */
static float projection(const gemm_case *c, const krn_lora *lora, int64_t m, int64_t j) {
    float lanes[16] = {0};
    for (int64_t k = 0; k < (c->shape.k + 15) / 16 * 16; k++) {
        const int is_input = k < c->shape.k;
        const float x = is_input ? (float)case_activation(c, m, k) : 0;
        const float a = is_input ? (float)float_element(lora->type, lora->a, j * lora->a_ld + k) : 0;
        lanes[k % 16] = krn_fmaf(x, a, lanes[k % 16]);
    }
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0] * lora->scale;
}

/* w^[n,k] of gemm.h. */
static float weight_bits(const gemm_case *c, int64_t n, int64_t k) {
    for (int64_t j = 0; c->outlier_weights != NULL && j < c->num_outliers; j++)
        if (c->outlier_columns[j] == k)
            return (float)float_element(c->outlier_type, c->outlier_weights, n * c->num_outliers + j);
    return krn_fmaf((float)case_weight(c, n, k), case_scale(c, n, k), case_offset(c, n, k));
}

float *side_bits(const gemm_case *c, const uint8_t *is_outlier, const krn_lora *lora) {
    const gemm_shape *s = &c->shape;
    const int64_t rank = lora == NULL ? 0 : lora->rank;
    float *side = guarded_allocate(s->m * s->n * 4, GUARD_END), *p = guarded_allocate(rank * 4, GUARD_END);
    for (int64_t m = 0; m < s->m; m++) {
        for (int64_t j = 0; j < rank; j++)
            p[j] = projection(c, lora, m, j);
        for (int64_t n = 0; n < s->n; n++) {
            float sum = 0;
            for (int64_t k = 0; k < s->k; k++)
                if (is_outlier[k])
                    sum = krn_fmaf((float)case_activation(c, m, k), weight_bits(c, n, k), sum);
            for (int64_t j = 0; j < rank; j++)
                sum = krn_fmaf(p[j], (float)float_element(lora->type, lora->b, n * lora->b_ld + j), sum);
            side[m * s->n + n] = sum;
        }
    }
    return side;
}

int64_t pick(test_random *random, const int64_t *values, int count) {
    return values[random_between(random, 0, count - 1)];
}

void *random_matrix(test_random *random, int32_t type, int64_t rows, int64_t width, int64_t ld) {
    const int64_t count = (rows - 1) * ld + width;
    const gemm_shape shape = {.format = KRN_TYPE_S8,
                              .activation_type = type,
                              .output_type = KRN_TYPE_F32,
                              .m = 1,
                              .k = count,
                              .side = random_between(random, 0, 1) == 1 ? GUARD_START : GUARD_END,
                              .seed = random_next(random)};
    return (void *)(uintptr_t)gemm_case_make(&shape).activations.data;
}

void vary_weights(test_random *random, gemm_shape *shape, int is_float) {
    static const int32_t SCALE_TYPES[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16, KRN_TYPE_U8};
    static const int32_t ZERO_TYPES[] = {0, KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    if (shape->n == 0 || shape->k < 16 || random_between(random, 0, 1) == 0)
        return;
    shape->scale_type = SCALE_TYPES[random_between(random, 0, 3)];
    shape->ordered = random_between(random, 0, 1) == 1;
    if (is_float && random_between(random, 0, 1) == 1)
        shape->format = KRN_TYPE_C4;
    else
        shape->zero_type = ZERO_TYPES[random_between(random, 0, 3)];
}

krn_lora random_lora(test_random *random, const gemm_shape *s) {
    static const int32_t TYPES[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    static const int64_t RANKS[] = {1, 2, 3, 4, 7, 8, 16, 17, 33, 70};
    krn_lora lora = {.struct_size = sizeof lora,
                     .type = TYPES[random_between(random, 0, 2)],
                     .rank = pick(random, RANKS, 10),
                     .scale = (float)random_between(random, -40, 40) / 16};
    lora.a_ld = s->k + random_between(random, 0, 1) * 3;
    lora.b_ld = lora.rank + random_between(random, 0, 1) * 5;
    if (s->k > 0)
        lora.a = random_matrix(random, lora.type, lora.rank, s->k, lora.a_ld);
    if (s->n > 0)
        lora.b = random_matrix(random, lora.type, s->n, lora.rank, lora.b_ld);
    return lora;
}
