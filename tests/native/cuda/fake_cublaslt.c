/* A cuBLASLt for tests of benchmarks: it takes descriptions as the real one does, and computes the first and the last
 * output of a product, which is what they look at. Operands are memory of the fake driver, which is the host's. */
#include "fake_export.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of cublasLt.h and library_types.h. */
enum {
    SUCCESS = 0,
    INVALID_VALUE = 7,
    NOT_SUPPORTED = 15,
    F32 = 0,
    F16 = 2,
    S8 = 3,
    S32 = 10,
    BF16 = 14,
    DESC_TRANSPOSE_A = 3,
    OP_TRANSPOSE = 1,
    PREFERENCE_WORKSPACE_BYTES = 1
};

static const uint64_t ALGORITHM = 0x6B726E5F6C74;

typedef struct desc {
    int32_t compute, scale, transposes_a;
} desc;

typedef struct layout {
    int32_t type;
    uint64_t rows, cols;
    int64_t ld;
} layout;

typedef struct heuristic {
    uint64_t algorithm[8];
    size_t workspace_bytes;
    int32_t state;
    float waves;
    int32_t reserved[4];
} heuristic;

static char the_handle;

EXPORT size_t cublasLtGetVersion(void) { return 120405; }

EXPORT int32_t cublasLtCreate(void **handle) {
    *handle = &the_handle;
    return SUCCESS;
}

EXPORT int32_t cublasLtDestroy(void *handle) { return handle == &the_handle ? SUCCESS : INVALID_VALUE; }

/* --- Descriptions ------------------------------------------------------------------------------------------------- */

static int32_t made(void **object, const void *content, size_t bytes) {
    *object = malloc(bytes);
    if (*object != NULL)
        memcpy(*object, content, bytes);
    return *object == NULL ? NOT_SUPPORTED : SUCCESS;
}

static int32_t destroyed(void *object) {
    free(object);
    return SUCCESS;
}

EXPORT int32_t cublasLtMatmulDescCreate(void **object, int32_t compute, int32_t scale) {
    const desc content = {compute, scale, 0};
    return made(object, &content, sizeof content);
}

EXPORT int32_t cublasLtMatmulDescSetAttribute(desc *object, int32_t attribute, const void *value, size_t bytes) {
    if (attribute != DESC_TRANSPOSE_A || bytes != sizeof object->transposes_a)
        return INVALID_VALUE;
    memcpy(&object->transposes_a, value, bytes);
    return SUCCESS;
}

EXPORT int32_t cublasLtMatmulDescDestroy(void *object) { return destroyed(object); }

EXPORT int32_t cublasLtMatrixLayoutCreate(void **object, int32_t type, uint64_t rows, uint64_t cols, int64_t ld) {
    const layout content = {type, rows, cols, ld};
    return made(object, &content, sizeof content);
}

EXPORT int32_t cublasLtMatrixLayoutDestroy(void *object) { return destroyed(object); }

EXPORT int32_t cublasLtMatmulPreferenceCreate(void **object) {
    const uint64_t content = 0;
    return made(object, &content, sizeof content);
}

EXPORT int32_t cublasLtMatmulPreferenceSetAttribute(void *object, int32_t attribute, const void *value, size_t bytes) {
    if (attribute != PREFERENCE_WORKSPACE_BYTES || bytes != sizeof(uint64_t))
        return INVALID_VALUE;
    memcpy(object, value, bytes);
    return SUCCESS;
}

EXPORT int32_t cublasLtMatmulPreferenceDestroy(void *object) { return destroyed(object); }

/* --- Products ----------------------------------------------------------------------------------------------------- */

static int fits(const desc *d, const layout *a, const layout *b, const layout *c) {
    return d->transposes_a == OP_TRANSPOSE && a->rows == b->rows && a->cols == c->rows && b->cols == c->cols &&
           a->type == b->type && c->type == (a->type == S8 ? S32 : a->type) && d->scale == (a->type == S8 ? S32 : F32);
}

/* Like the real one it has products of integers for sizes that are multiples of 4 alone. */
EXPORT int32_t cublasLtMatmulAlgoGetHeuristic(void *handle, const desc *d, const layout *a, const layout *b,
                                              const layout *c, const layout *out, const uint64_t *preference,
                                              int32_t wanted, heuristic *results, int32_t *count) {
    *count = 0;
    if (handle != &the_handle || wanted < 1 || out != c || *preference == 0 || !fits(d, a, b, c))
        return INVALID_VALUE;
    if (a->type == S8 && (a->rows % 4 != 0 || a->cols % 4 != 0 || b->cols % 4 != 0))
        return NOT_SUPPORTED;
    memset(results, 0, sizeof *results);
    results->algorithm[0] = ALGORITHM;
    *count = 1;
    return SUCCESS;
}

static double half_at(const uint16_t *values, int64_t at) {
    const int32_t exponent = values[at] >> 10 & 31, fraction = values[at] & 1023;
    const double magnitude = exponent == 0 ? ldexp(fraction, -24) : ldexp(fraction + 1024, exponent - 25);
    return values[at] >> 15 ? -magnitude : magnitude;
}

static double value_at(int32_t type, const void *values, int64_t at) {
    if (type == S8)
        return ((const int8_t *)values)[at];
    if (type == F16)
        return half_at(values, at);
    const uint32_t bits = (uint32_t)((const uint16_t *)values)[at] << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Cut, not rounded: half of what a test allows. */
static void store(int32_t type, void *values, int64_t at, double value) {
    if (type == S32) {
        ((int32_t *)values)[at] = (int32_t)value;
    } else if (type == F16) {
        const double magnitude = fabs(value);
        int32_t exponent;
        (void)frexp(magnitude, &exponent);
        const int32_t biased = exponent + 14 < 0 ? 0 : exponent + 14;
        const int32_t bits = biased == 0 ? (int32_t)ldexp(magnitude, 24)
                                         : (biased << 10) + (int32_t)ldexp(magnitude, 11 - exponent) - 1024;
        ((uint16_t *)values)[at] = (uint16_t)(bits | (value < 0 ? 0x8000 : 0));
    } else {
        const float single = (float)value;
        uint32_t bits;
        memcpy(&bits, &single, sizeof bits);
        ((uint16_t *)values)[at] = (uint16_t)(bits >> 16);
    }
}

EXPORT int32_t cublasLtMatmul(void *handle, const desc *d, const void *alpha, const void *a, const layout *a_layout,
                              const void *b, const layout *b_layout, const void *beta, const void *c,
                              const layout *c_layout, void *out, const layout *out_layout, const uint64_t *algorithm,
                              void *workspace, size_t workspace_bytes, void *stream) {
    const int32_t is_int = d->scale == S32;
    (void)stream;
    if (handle != &the_handle || *algorithm != ALGORITHM || c != out || out_layout != c_layout || workspace == NULL ||
        workspace_bytes == 0 || (is_int ? *(const int32_t *)alpha != 1 : *(const float *)alpha != 1.0f) ||
        (is_int ? *(const int32_t *)beta != 0 : *(const float *)beta != 0.0f))
        return INVALID_VALUE;
    const int64_t rows = (int64_t)c_layout->rows, cols = (int64_t)c_layout->cols, k = (int64_t)a_layout->rows;
    for (int32_t last = 0; last < 2; last++) {
        const int64_t row = last ? rows - 1 : 0, col = last ? cols - 1 : 0;
        double sum = 0.0;
        for (int64_t i = 0; i < k; i++)
            sum += value_at(a_layout->type, a, row * a_layout->ld + i) *
                   value_at(b_layout->type, b, col * b_layout->ld + i);
        store(c_layout->type, out, col * c_layout->ld + row, sum);
    }
    return SUCCESS;
}
