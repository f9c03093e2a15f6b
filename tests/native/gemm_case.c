#include "gemm_case.h"

#include "common/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int64_t type_bytes(int32_t type) { return krn_type_row_bytes(type, 1); }

static void put_float(int32_t type, void *data, int64_t index, float value) {
    if (type == KRN_TYPE_F32)
        ((float *)data)[index] = value;
    else
        ((uint16_t *)data)[index] = type == KRN_TYPE_F16 ? krn_f32_to_f16(value) : krn_f32_to_bf16(value);
}

double float_element(int32_t type, const void *data, int64_t index) {
    if (type == KRN_TYPE_F32)
        return ((const float *)data)[index];
    const uint16_t bits = ((const uint16_t *)data)[index];
    return type == KRN_TYPE_F16 ? krn_f16_to_f32(bits) : krn_bf16_to_f32(bits);
}

/* The last row has no padding behind it: the guard page follows its last element. */
static int64_t tensor_elems(int64_t rows, int64_t width, int64_t ld) { return rows == 0 ? 0 : (rows - 1) * ld + width; }

static void *random_floats(test_random *random, int32_t type, int64_t count, guard_side side) {
    void *data = guarded_allocate(count * type_bytes(type), side);
    for (int64_t i = 0; i < count; i++)
        put_float(type, data, i, random_activation(random));
    return data;
}

static void make_weights(gemm_case *c, test_random *random) {
    const gemm_shape *s = &c->shape;
    const int64_t row_bytes = krn_type_row_bytes(s->format, s->k);
    c->codes_ld_bytes = row_bytes + s->slack;
    const int64_t bytes = tensor_elems(s->n, row_bytes, c->codes_ld_bytes);
    c->codes = guarded_allocate(bytes, s->side);
    /* One byte in four is extreme, so that sums reach their limits. */
    for (int64_t i = 0; i < bytes; i++) {
        const uint64_t r = random_next(random);
        c->codes[i] = (r & 0x300) == 0 ? (uint8_t)(r & 1 ? 0x80 : 0x7F) : (uint8_t)r;
    }
    const int64_t count = s->n * c->num_groups;
    c->scales = guarded_allocate(count * 4, s->side);
    for (int64_t i = 0; i < count; i++)
        c->scales[i] = (float)random_between(random, 0, 1000) * 1e-5f;
    if (s->format == KRN_TYPE_U4) {
        c->zero_points = guarded_allocate(count * 4, s->side);
        for (int64_t i = 0; i < count; i++)
            c->zero_points[i] = (int32_t)random_between(random, 0, 15);
    }
}

static void make_activations(gemm_case *c, test_random *random) {
    const gemm_shape *s = &c->shape;
    krn_activations *a = &c->activations;
    *a = (krn_activations){.struct_size = sizeof *a, .type = s->activation_type, .ld = s->k + s->slack};
    const int64_t count = tensor_elems(s->m, s->k, a->ld);
    if (s->activation_type != KRN_TYPE_S8 && s->activation_type != KRN_TYPE_U8) {
        a->data = random_floats(random, s->activation_type, count, s->side);
        return;
    }
    uint8_t *data = guarded_allocate(count, s->side);
    for (int64_t i = 0; i < count; i++) {
        const uint64_t r = random_next(random);
        data[i] = (r & 0x300) == 0 ? (uint8_t)(r & 1 ? 0x80 : 0x7F) : (uint8_t)r;
    }
    float *scales = guarded_allocate(s->m * 4, s->side);
    int32_t *zeros = guarded_allocate(s->m * 4, s->side);
    for (int64_t i = 0; i < s->m; i++) {
        scales[i] = (float)random_between(random, 1, 1000) * 1e-4f;
        zeros[i] = (int32_t)random_between(random, 0, 255);
    }
    a->data = data;
    a->scales = scales;
    a->zero_points = s->activation_type == KRN_TYPE_U8 ? zeros : NULL;
}

gemm_case gemm_case_make(const gemm_shape *shape) {
    gemm_case c = {.shape = *shape};
    test_random random = {shape->seed};
    const int64_t group = shape->group_size == 0 || shape->group_size > shape->k ? shape->k : shape->group_size;
    c.num_groups = group == 0 ? 0 : (shape->k + group - 1) / group;
    make_weights(&c, &random);
    make_activations(&c, &random);
    c.ld = shape->n + shape->slack;
    if (shape->has_bias)
        c.bias = random_floats(&random, KRN_TYPE_F32, shape->n, shape->side);
    if (shape->has_residual)
        c.residual = random_floats(&random, shape->output_type, tensor_elems(shape->m, shape->n, c.ld), shape->side);
    return c;
}

krn_weights *gemm_case_pack(const gemm_case *c, krn_context *context) {
    const krn_weights_desc desc = {.struct_size = sizeof desc,
                                   .format = c->shape.format,
                                   .n = c->shape.n,
                                   .k = c->shape.k,
                                   .group_size = c->shape.group_size};
    krn_weights *weights = NULL;
    CHECK_OK(krn_weights_pack(context, &desc, c->codes, c->codes_ld_bytes, c->scales, c->zero_points, &weights));
    return weights;
}

void *gemm_case_run(const gemm_case *c, krn_context *context, const krn_weights *weights, int64_t first_row,
                    int64_t rows) {
    const gemm_shape *s = &c->shape;
    krn_activations a = c->activations;
    a.data = (const uint8_t *)a.data + first_row * a.ld * type_bytes(a.type);
    if (a.scales != NULL)
        a.scales += first_row;
    if (a.zero_points != NULL)
        a.zero_points += first_row;
    const int64_t bytes = tensor_elems(rows, s->n, c->ld) * type_bytes(s->output_type);
    void *y = guarded_allocate(bytes, s->side);
    const uint8_t *residual = c->residual;
    if (residual != NULL)
        residual += first_row * c->ld * type_bytes(s->output_type);
    if (residual != NULL && s->residual_is_output && bytes > 0) {
        memcpy(y, residual, (size_t)bytes);
        residual = y;
    }
    const krn_gemm_output output = {.struct_size = sizeof output,
                                    .type = s->output_type,
                                    .data = y,
                                    .ld = c->ld,
                                    .bias = c->bias,
                                    .residual = residual,
                                    .residual_ld = c->ld};
    int64_t workspace_bytes = -1;
    CHECK_OK(krn_gemm_workspace_bytes(context, weights, a.type, rows, &workspace_bytes));
    /* Guarded behind: sizes are multiples of 64, so the end of the page keeps the alignment. */
    void *workspace = guarded_allocate(workspace_bytes, GUARD_END);
    CHECK_OK(krn_gemm(context, weights, rows, &a, &output, workspace, workspace_bytes));
    return y;
}

int32_t case_weight(const gemm_case *c, int64_t n, int64_t k) {
    const uint8_t *row = c->codes + n * c->codes_ld_bytes;
    if (c->shape.format == KRN_TYPE_S8)
        return (int8_t)row[k];
    const int32_t nibble = (row[k / 2] >> (k % 2 * 4)) & 15;
    if (c->shape.format == KRN_TYPE_S4)
        return nibble >= 8 ? nibble - 16 : nibble;
    const int64_t group =
        c->shape.group_size == 0 || c->shape.group_size > c->shape.k ? c->shape.k : c->shape.group_size;
    return nibble - c->zero_points[n * c->num_groups + k / group];
}

double case_activation(const gemm_case *c, int64_t m, int64_t k) {
    const krn_activations *a = &c->activations;
    const int64_t index = m * a->ld + k;
    switch (a->type) {
    case KRN_TYPE_S8: return ((const int8_t *)a->data)[index];
    case KRN_TYPE_U8: return ((const uint8_t *)a->data)[index] - a->zero_points[m];
    default: return float_element(a->type, a->data, index);
    }
}

float integer_oracle(const gemm_case *c, int64_t m, int64_t n) {
    const gemm_shape *s = &c->shape;
    const int64_t group = s->group_size == 0 || s->group_size > s->k ? s->k : s->group_size;
    float t = 0;
    for (int64_t g = 0; g < c->num_groups; g++) {
        int64_t acc = 0;
        for (int64_t k = g * group; k < s->k && k < (g + 1) * group; k++)
            acc += (int64_t)case_activation(c, m, k) * case_weight(c, n, k);
        t = fmaf((float)acc, c->scales[n * c->num_groups + g], t);
    }
    t *= c->activations.scales[m];
    if (c->bias != NULL)
        t += c->bias[n];
    if (c->residual != NULL)
        t += (float)float_element(s->output_type, c->residual, m * c->ld + n);
    return t;
}

double float_oracle(const gemm_case *c, int64_t m, int64_t n, double *magnitude) {
    const gemm_shape *s = &c->shape;
    const int64_t group = s->group_size == 0 || s->group_size > s->k ? s->k : s->group_size;
    double t = 0;
    *magnitude = 0;
    for (int64_t k = 0; k < s->k; k++) {
        const double product =
            case_activation(c, m, k) * case_weight(c, n, k) * c->scales[n * c->num_groups + k / group];
        t += product;
        *magnitude += fabs(product);
    }
    if (c->bias != NULL) {
        t += c->bias[n];
        *magnitude += fabs((double)c->bias[n]);
    }
    if (c->residual != NULL) {
        const double residual = float_element(s->output_type, c->residual, m * c->ld + n);
        t += residual;
        *magnitude += fabs(residual);
    }
    return t;
}
