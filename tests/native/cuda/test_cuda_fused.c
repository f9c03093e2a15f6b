/* The fused steps of kernels/cuda_fused.h against the CPU's reference, bit for bit. */
#include "cuda_device.h"
#include "fused_case.h"

#include <math.h>
#include <string.h>

typedef krn_status quantizing(krn_cuda_context *, const krn_fused_options *, int64_t, int64_t, const krn_fused_input *,
                              const krn_fused_codes *, int32_t *, void *);
typedef krn_status applying(krn_cuda_context *, const krn_fused_options *, int64_t, int64_t, const krn_fused_input *,
                            int32_t, void *, int64_t, void *);
typedef krn_status applying_on_host(krn_context *, const krn_fused_options *, int64_t, int64_t, const krn_fused_input *,
                                    int32_t, void *, int64_t, void *, int64_t);

static int64_t element_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

static int rotates(const fused_case *c) { return c->step >= STEP_HADAMARD; }

static int has_wide_source(const fused_case *c) { return c->options.gate_layout != KRN_GATE_SEPARATE; }

static void *copy_matrix(krn_cuda_context *device, const void *data, int32_t type, int64_t rows, int64_t width,
                         int64_t ld) {
    return data == NULL ? NULL : cuda_copy_of(device, data, ((rows - 1) * ld + width) * element_bytes(type));
}

/* The input of a case on the device, but for the sum. */
static krn_fused_input input_on_device(const fused_case *c, krn_cuda_context *device) {
    krn_fused_input in = c->input;
    const int64_t width = has_wide_source(c) ? 2 * c->cols : c->cols;
    in.source = copy_matrix(device, in.source, in.type, c->rows, width, in.source_ld);
    in.up = copy_matrix(device, in.up, in.type, c->rows, c->cols, in.up_ld);
    in.residual = copy_matrix(device, in.residual, in.type, c->rows, c->cols, in.residual_ld);
    return in;
}

static krn_fused_options options_on_device(const fused_case *c, krn_cuda_context *device) {
    krn_fused_options options = c->options;
    const int32_t type = options.vector_type;
    options.weight = copy_matrix(device, options.weight, type, 1, c->cols, c->cols);
    options.bias = copy_matrix(device, options.bias, type, 1, c->cols, c->cols);
    options.rotation = rotates(c) ? &c->rotation : NULL;
    return options;
}

/* The case on the device; `expected` tells the sizes. */
static fused_result run_on_device(const fused_case *c, const fused_result *expected, krn_cuda_context *device) {
    static quantizing *const functions[NUM_STEPS] = {
        krn_cuda_rmsnorm_quantize,          krn_cuda_layernorm_quantize,
        krn_cuda_silu_mul_quantize,         krn_cuda_gelu_mul_quantize,
        krn_cuda_smooth_quantize,           krn_cuda_hadamard_quantize,
        krn_cuda_rmsnorm_hadamard_quantize, krn_cuda_silu_mul_hadamard_quantize,
    };
    fused_result r = *expected;
    const krn_fused_options options = options_on_device(c, device);
    krn_fused_input input = input_on_device(c, device);
    input.sum = r.sum == NULL ? NULL : cuda_allocate(device, r.sum_bytes);
    int32_t flags = 0;
    int32_t *device_flags = cuda_copy_of(device, &flags, sizeof flags);
    const krn_fused_codes codes = {.struct_size = sizeof codes,
                                   .static_scale = c->static_scale,
                                   .static_zero_point = c->static_zero_point,
                                   .options = &c->quantize,
                                   .codes = cuda_allocate(device, r.codes_bytes),
                                   .codes_ld_bytes = c->codes_ld_bytes,
                                   .scales = cuda_allocate(device, r.scale_count * 4),
                                   .zero_points =
                                       r.zero_points == NULL ? NULL : cuda_allocate(device, r.scale_count * 4)};
    CHECK_OK(functions[c->step](device, &options, c->rows, c->cols, &input, &codes, device_flags, NULL));
    r.codes = guarded_allocate(r.codes_bytes, c->side);
    r.scales = guarded_allocate(r.scale_count * 4, c->side);
    cuda_read(device, r.codes, codes.codes, r.codes_bytes);
    cuda_read(device, r.scales, codes.scales, r.scale_count * 4);
    if (r.zero_points != NULL) {
        r.zero_points = guarded_allocate(r.scale_count * 4, c->side);
        cuda_read(device, r.zero_points, codes.zero_points, r.scale_count * 4);
    }
    if (r.sum != NULL) {
        r.sum = guarded_allocate(r.sum_bytes, c->side);
        cuda_read(device, r.sum, input.sum, r.sum_bytes);
    }
    cuda_read(device, &flags, device_flags, sizeof flags);
    r.status = flags == KRN_CUDA_FLAG_NON_FINITE ? KRN_ERROR_NON_FINITE : KRN_OK;
    cuda_free_all(device);
    return r;
}

static void compare(const fused_case *c, krn_context *host, krn_cuda_context *device) {
    const fused_result expected = fused_case_run(c, host);
    const fused_result actual = run_on_device(c, &expected, device);
    fused_case_compare(c, &expected, &actual, "the device");
    guarded_free_all();
}

static void random_cases(krn_context *host, krn_cuda_context *device) {
    test_random random = {11};
    for (int i = 0; i < 400; i++) {
        const fused_case c = fused_case_make(&random, i % 16 == 0 ? 9000 : 1500);
        compare(&c, host, device);
    }
}

/* Rows that are not finite, and rows whose sum of squares is not. */
static void lost_rows(krn_context *host, krn_cuda_context *device) {
    test_random random = {12};
    for (int i = 0; i < 80; i++) {
        const fused_case c = fused_case_make(&random, 600);
        const int64_t width = has_wide_source(&c) ? 2 * c.cols : c.cols;
        fused_case_poison(&c, random_between(&random, 0, c.rows - 1), random_between(&random, 0, width - 1), i & 1);
        compare(&c, host, device);
    }
    for (int i = 0; i < 12; i++) {
        fused_case c = fused_case_make(&random, 300);
        c.step = i % 3 == 0 ? STEP_RMSNORM : i % 3 == 1 ? STEP_LAYERNORM : STEP_RMSNORM_HADAMARD;
        c.options = (krn_fused_options){.struct_size = sizeof c.options, .vector_type = KRN_TYPE_F32, .eps = 1e-5f};
        c.rotation = (krn_hadamard_options){.struct_size = sizeof c.rotation, .n = 1};
        c.rows = 2;
        c.cols = 70;
        c.codes_ld_bytes = 70;
        c.static_scale = 0;
        c.static_zero_point = 0;
        c.quantize = (krn_quantize_options){
            .struct_size = sizeof c.quantize, .type = KRN_TYPE_S8, .granularity = KRN_GRANULARITY_TOKEN};
        float *source = guarded_allocate(140 * 4, GUARD_END);
        for (int j = 0; j < 140; j++)
            source[j] = random_activation(&random) * (j < 70 ? 1.0f : 1e25f);
        c.input =
            (krn_fused_input){.struct_size = sizeof c.input, .type = KRN_TYPE_F32, .source = source, .source_ld = 70};
        compare(&c, host, device);
    }
}

/* Every step with a float result, to every type, also in place of what it comes from. */
static void float_results(krn_context *host, krn_cuda_context *device) {
    static applying *const functions[] = {krn_cuda_rmsnorm, krn_cuda_layernorm, krn_cuda_silu_mul, krn_cuda_gelu_mul,
                                          krn_cuda_multiply};
    static applying_on_host *const host_functions[] = {krn_rmsnorm, krn_layernorm, krn_silu_mul, krn_gelu_mul,
                                                       krn_multiply};
    static const int32_t types[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    test_random random = {13};
    int done = 0;
    while (done < 150) {
        const fused_case c = fused_case_make(&random, done % 8 == 0 ? 9000 : 1200);
        if (rotates(&c)) {
            guarded_free_all();
            continue;
        }
        const int in_place = done % 3 == 0;
        const int32_t type = in_place ? c.input.type : types[random_between(&random, 0, 2)];
        const int64_t width = in_place && has_wide_source(&c) ? 2 * c.cols : c.cols;
        const int64_t ld = in_place ? c.input.source_ld : c.cols + random_between(&random, 0, 8);
        const int64_t bytes = ((c.rows - 1) * ld + width) * element_bytes(type);
        const krn_fused_options options = options_on_device(&c, device);
        krn_fused_input input = c.input, on_device = input_on_device(&c, device);
        const int64_t sum_bytes = ((c.rows - 1) * input.sum_ld + c.cols) * element_bytes(input.type);
        if (input.residual != NULL) {
            input.sum = guarded_allocate(sum_bytes, GUARD_END);
            on_device.sum = cuda_allocate(device, sum_bytes);
        }
        unsigned char *expected = guarded_allocate(bytes, GUARD_END), *actual = guarded_allocate(bytes, GUARD_END);
        void *target = in_place ? (void *)(uintptr_t)on_device.source : cuda_allocate(device, bytes);
        if (in_place) {
            memcpy(expected, input.source, (size_t)bytes);
            input.source = expected;
        }
        int64_t workspace_bytes = 0;
        CHECK_OK(krn_fused_workspace_size(host, c.cols, &workspace_bytes));
        void *workspace = guarded_allocate(workspace_bytes, GUARD_START);
        CHECK_OK(host_functions[c.step](host, &c.options, c.rows, c.cols, &input, type, expected, ld, workspace,
                                        workspace_bytes));
        CHECK_OK(functions[c.step](device, &options, c.rows, c.cols, &on_device, type, target, ld, NULL));
        cuda_read(device, actual, target, bytes);
        for (int64_t i = 0; i < bytes; i++)
            CHECK(actual[i] == expected[i], "step %d of type %d to %d, %lld x %lld, in place %d: byte %lld", c.step,
                  input.type, type, (long long)c.rows, (long long)c.cols, in_place, (long long)i);
        cuda_free_all(device);
        guarded_free_all();
        done++;
    }
}

/* Rows too wide for the shared memory of a block, and the widest that rotate. */
static void wide_rows(krn_context *host, krn_cuda_context *device) {
    static const fused_step steps[] = {STEP_RMSNORM,  STEP_LAYERNORM,        STEP_SILU_MUL,
                                       STEP_MULTIPLY, STEP_RMSNORM_HADAMARD, STEP_SILU_MUL_HADAMARD};
    test_random random = {14};
    for (int i = 0; i < 6; i++) {
        const int64_t cols = i < 4 ? 60000 : 28672;
        fused_case c = {.step = steps[i], .rows = 1, .cols = cols, .codes_ld_bytes = cols, .side = GUARD_END};
        float *source = guarded_allocate(cols * 4, GUARD_END), *other = guarded_allocate(cols * 4, GUARD_END);
        for (int64_t j = 0; j < cols; j++) {
            source[j] = random_activation(&random);
            other[j] = random_activation(&random);
        }
        c.options = (krn_fused_options){.struct_size = sizeof c.options, .vector_type = KRN_TYPE_F32};
        c.input =
            (krn_fused_input){.struct_size = sizeof c.input, .type = KRN_TYPE_F32, .source = source, .source_ld = cols};
        c.rotation = (krn_hadamard_options){.struct_size = sizeof c.rotation, .normalized = 1, .n = 28672};
        c.quantize = (krn_quantize_options){
            .struct_size = sizeof c.quantize, .type = KRN_TYPE_S8, .granularity = KRN_GRANULARITY_TOKEN};
        if (c.step == STEP_SILU_MUL || c.step == STEP_SILU_MUL_HADAMARD) {
            c.input.up = other;
            c.input.up_ld = cols;
        } else if (c.step == STEP_MULTIPLY) {
            c.options.weight = other;
        } else {
            c.options.eps = 1e-6f;
        }
        compare(&c, host, device);
    }
}

static void empty_and_arguments(krn_cuda_context *device) {
    const krn_fused_options options = {.struct_size = sizeof options, .eps = 1e-5f};
    krn_fused_input input = {.struct_size = sizeof input, .type = KRN_TYPE_F32};
    krn_quantize_options quantize = {
        .struct_size = sizeof quantize, .type = KRN_TYPE_U8, .granularity = KRN_GRANULARITY_TOKEN};
    krn_fused_codes codes = {.struct_size = sizeof codes, .options = &quantize};
    float scales[2];
    codes.scales = cuda_allocate(device, sizeof scales);
    CHECK_OK(krn_cuda_rmsnorm_quantize(device, &options, 2, 0, &input, &codes, NULL, NULL));
    cuda_read(device, scales, codes.scales, sizeof scales);
    CHECK(scales[0] == 0 && scales[1] == 0, "rows without elements have the scales %g and %g", (double)scales[0],
          (double)scales[1]);
    input.source_ld = 16;
    codes.codes_ld_bytes = 16;
    CHECK_OK(krn_cuda_rmsnorm_quantize(device, &options, 0, 16, &input, &codes, NULL, NULL));
    CHECK_OK(krn_cuda_rmsnorm(device, &options, 0, 16, &input, KRN_TYPE_F16, NULL, 16, NULL));

    /* Nothing is launched: the addresses are none of the device's. */
    _Alignas(16) float data[32] = {0};
    input.source = data;
    codes.codes = data;
    CHECK_STATUS(krn_cuda_rmsnorm_quantize(NULL, &options, 2, 16, &input, &codes, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_rmsnorm_quantize(device, NULL, 2, 16, &input, &codes, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_rmsnorm_quantize(device, &options, 2, 16, NULL, &codes, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_rmsnorm_quantize(device, &options, 2, 16, &input, NULL, NULL, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_cuda_rmsnorm(device, &options, 2, 16, &input, KRN_TYPE_S8, data, 16, NULL),
                 KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_cuda_rmsnorm(device, &options, 2, 16, &input, KRN_TYPE_F32, data + 1, 16, NULL),
                 KRN_ERROR_ALIGNMENT);
    CHECK_STATUS(krn_cuda_hadamard_quantize(device, &options, 2, 16, &input, &codes, NULL, NULL),
                 KRN_ERROR_INVALID_ARGUMENT);
    input.source = data + 1;
    CHECK_STATUS(krn_cuda_rmsnorm_quantize(device, &options, 2, 16, &input, &codes, NULL, NULL), KRN_ERROR_ALIGNMENT);
    input.source = data;
    codes.codes = (unsigned char *)data + 4;
    CHECK_STATUS(krn_cuda_rmsnorm_quantize(device, &options, 2, 16, &input, &codes, NULL, NULL), KRN_ERROR_ALIGNMENT);
    codes.codes = data;
    const krn_hadamard_options rotation = {.struct_size = sizeof rotation, .n = 16};
    const krn_fused_options rotated = {.struct_size = sizeof rotated, .rotation = &rotation};
    input.source_ld = codes.codes_ld_bytes = 32784;
    CHECK_STATUS(krn_cuda_hadamard_quantize(device, &rotated, 1, 32784, &input, &codes, NULL, NULL),
                 KRN_ERROR_UNSUPPORTED);
    CHECK_STATUS(krn_cuda_hadamard_quantize(device, &rotated, 1, 24, &input, &codes, NULL, NULL), KRN_ERROR_SHAPE);
    cuda_free_all(device);
}

int main(void) {
    int32_t classes[4];
    krn_context *host = context_of(KRN_ISA_REF, 1);
    (void)cuda_classes(classes);
    /* The kernels are the same for all classes. */
    krn_cuda_context *device = cuda_context_of(classes[0]);
    random_cases(host, device);
    lost_rows(host, device);
    float_results(host, device);
    wide_rows(host, device);
    empty_and_arguments(device);
    krn_cuda_context_destroy(device);
    krn_context_destroy(host);
    return 0;
}
