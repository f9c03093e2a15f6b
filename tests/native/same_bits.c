/* Prints `op case isa hash` for what has to be the same bits everywhere, from inputs that are the same everywhere, at
 * every level of the machine. eng/same-bits.sh compares runs on several processors with the committed ones. */
#include "gemm_case.h"

#include "common/half.h"

#include <string.h>

static krn_context *context;

/* FNV-1a, 64 bits. */
enum { FNV_SHIFT = 40 };
static uint64_t hash_of(uint64_t hash, const void *data, int64_t bytes) {
    const uint64_t prime = (UINT64_C(1) << FNV_SHIFT) + 0x1B3;
    for (int64_t i = 0; i < bytes; i++)
        hash = (hash ^ ((const uint8_t *)data)[i]) * prime;
    return hash;
}
static const uint64_t HASH_START = 0xCBF29CE484222325u;

static void print(const char *op, const char *name, uint64_t hash) {
    printf("%s %s %s %08x%08x\n", op, name, krn_isa_name(krn_context_isa(context)), (unsigned)(hash >> 32),
           (unsigned)hash);
}

static const char *name_of(int32_t type) {
    switch (type) {
    case KRN_TYPE_F32: return "f32";
    case KRN_TYPE_F16: return "f16";
    case KRN_TYPE_BF16: return "bf16";
    case KRN_TYPE_S8: return "s8";
    case KRN_TYPE_U8: return "u8";
    case KRN_TYPE_S4: return "s4";
    case KRN_TYPE_U4: return "u4";
    default: return "c4";
    }
}

/* Floats like activations, in any float type; the f32 ones are the same numbers for every type before rounding. */
static void *floats(int32_t type, int64_t count, uint64_t seed) {
    test_random random = {seed};
    void *data = guarded_allocate(count * type_bytes(type), GUARD_END);
    for (int64_t i = 0; i < count; i++) {
        const float x = random_activation(&random);
        if (type == KRN_TYPE_F32)
            ((float *)data)[i] = x;
        else
            ((uint16_t *)data)[i] = type == KRN_TYPE_F16 ? krn_f32_to_f16(x) : krn_f32_to_bf16(x);
    }
    return data;
}

/* --- GEMM with integer activations, given or made on the way ------------------------------------------------------ */

static void gemm(const gemm_shape *shape, int32_t compute, const char *extra) {
    gemm_case c = gemm_case_make(shape);
    const krn_gemm_options options = {.struct_size = sizeof options, .compute = compute};
    c.options = compute == 0 ? NULL : &options;
    krn_weights *weights = gemm_case_pack(&c, context);
    const void *y = gemm_case_run(&c, context, weights, 0, shape->m);
    char name[80];
    snprintf(name, sizeof name, "%sg%d%s-%s%s%s/m%d-n%d-k%d", name_of(shape->format), (int)shape->group_size, extra,
             name_of(shape->activation_type), compute == 0 ? "-" : "-as-",
             name_of(compute == 0 ? shape->output_type : compute), (int)shape->m, (int)shape->n, (int)shape->k);
    print("gemm", name, hash_of(HASH_START, y, shape->m * c.ld * type_bytes(shape->output_type)));
    krn_weights_destroy(weights);
    guarded_free_all();
}

static void gemms(void) {
    static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
    static const int32_t activations[] = {KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4};
    static const int64_t groups[] = {0, 32, 128}, rows[] = {1, 2, 7, 29};
    for (int f = 0; f < 3; f++) {
        for (int a = 0; a < 3; a++) {
            for (int g = 0; g < 3; g++) {
                for (int r = 0; r < 4; r++) {
                    gemm_shape shape = {.format = formats[f],
                                        .activation_type = activations[a],
                                        .output_type = KRN_TYPE_F32,
                                        .m = rows[r],
                                        .n = 70,
                                        .k = 300,
                                        .group_size = groups[g],
                                        .has_bias = 1,
                                        .seed = (uint64_t)(100 * f + 10 * a + g)};
                    gemm(&shape, 0, "");
                }
            }
        }
        gemm_shape shape = {.format = formats[f],
                            .activation_type = KRN_TYPE_F32,
                            .output_type = KRN_TYPE_BF16,
                            .m = 13,
                            .n = 33,
                            .k = 257,
                            .group_size = 64,
                            .has_residual = 1,
                            .seed = 7};
        for (int a = 0; a < 3; a++)
            gemm(&shape, activations[a], "");
        shape.activation_type = KRN_TYPE_S8;
        shape.scale_type = KRN_TYPE_F16;
        gemm(&shape, 0, "-f16scales");
        shape.scale_type = KRN_TYPE_U8;
        gemm(&shape, 0, "-u8scales");
        shape.zero_type = KRN_TYPE_BF16;
        shape.ordered = 1;
        gemm(&shape, 0, "-u8scales-offsets-ordered");
    }
}

/* --- Quantizers ------------------------------------------------------------------------------------------------------- */

static void quantize(int32_t type, int32_t granularity, int32_t asymmetric, int32_t source_type) {
    static const char *const by[] = {"tensor", "channel", "token", "group"};
    enum { ROWS = 7, COLS = 331, GROUP = 48 };
    const krn_quantize_options options = {.struct_size = sizeof options,
                                          .type = type,
                                          .granularity = granularity,
                                          .asymmetric = asymmetric,
                                          .group_size = granularity == KRN_GRANULARITY_GROUP ? GROUP : 0,
                                          .scale_type = granularity == KRN_GRANULARITY_GROUP ? KRN_TYPE_F16 : 0};
    const void *source = floats(source_type, ROWS * COLS, 11);
    int64_t scales_count, width = krn_type_row_bytes(type, COLS);
    CHECK_OK(krn_quantize_scale_count(&options, ROWS, COLS, &scales_count));
    uint8_t *codes = guarded_allocate(ROWS * width, GUARD_END);
    float *scales = guarded_allocate(scales_count * 4, GUARD_END), *back = guarded_allocate(ROWS * COLS * 4, GUARD_END);
    int32_t *zeros = type == KRN_TYPE_C4 ? NULL : guarded_allocate(scales_count * 4, GUARD_END);
    CHECK_OK(krn_quantize(context, &options, ROWS, COLS, source_type, source, COLS, codes, width, scales, zeros, NULL));
    CHECK_OK(krn_dequantize(context, &options, ROWS, COLS, codes, width, scales, zeros, KRN_TYPE_F32, back, COLS));
    uint64_t hash = hash_of(HASH_START, codes, ROWS * width);
    hash = hash_of(hash, scales, scales_count * 4);
    hash = hash_of(hash, zeros, zeros == NULL ? 0 : scales_count * 4);
    char name[80];
    snprintf(name, sizeof name, "%s-per-%s-of-%s%s", name_of(type), by[granularity], name_of(source_type),
             asymmetric ? "-asymmetric" : "");
    print("quantize", name, hash);
    print("dequantize", name, hash_of(HASH_START, back, ROWS * COLS * 4));
    guarded_free_all();
}

static void quantizers(void) {
    static const int32_t types[] = {KRN_TYPE_S8, KRN_TYPE_U8, KRN_TYPE_S4, KRN_TYPE_U4, KRN_TYPE_C4};
    static const int32_t sources[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
    for (int t = 0; t < 5; t++)
        for (int32_t by = KRN_GRANULARITY_TENSOR; by <= KRN_GRANULARITY_GROUP; by++)
            for (int s = 0; s < 3; s++)
                for (int32_t asymmetric = 0; asymmetric <= (types[t] == KRN_TYPE_C4 ? 0 : 1); asymmetric++)
                    quantize(types[t], by, asymmetric, sources[s]);
}

/* --- Hadamard --------------------------------------------------------------------------------------------------------- */

static void hadamards(void) {
    static const int64_t orders[] = {1,   2,   4,   8,   12,  16,   20,   28,   32,   64,   80,    96,
                                     128, 172, 256, 512, 896, 1024, 2048, 4096, 8192, 5120, 11008, 14336};
    for (size_t o = 0; o < sizeof orders / sizeof orders[0]; o++) {
        enum { ROWS = 3 };
        const int64_t n = orders[o];
        int64_t bytes;
        float *x = floats(KRN_TYPE_F32, ROWS * n, 13);
        uint8_t *signs = guarded_allocate((n + 7) / 8, GUARD_END);
        const krn_hadamard_options options = {
            .struct_size = sizeof options, .normalized = 1, .n = n, .signs_before = signs};
        CHECK_OK(krn_hadamard_workspace_size(context, &options, &bytes));
        void *workspace = guarded_allocate((bytes + 63) / 64 * 64, GUARD_END);
        CHECK_OK(krn_hadamard(context, &options, ROWS, n, KRN_TYPE_F32, x, n, x, n, workspace, bytes));
        char name[40];
        snprintf(name, sizeof name, "f32/n%d", (int)n);
        print("hadamard", name, hash_of(HASH_START, x, ROWS * n * 4));
        guarded_free_all();
    }
}

/* --- Attention on integer keys and values -------------------------------------------------------------------------- */

static void attention(int32_t keys, int32_t values, int32_t granularity, int32_t head_dim, int64_t queries) {
    enum { KV_HEADS = 2, HEADS = 10, TOKENS = 203 };
    const int64_t width = KV_HEADS * head_dim, query_width = HEADS * head_dim, tokens = TOKENS;
    const krn_kv_cache_desc desc = {.struct_size = sizeof desc,
                                    .sequences = 1,
                                    .kv_heads = KV_HEADS,
                                    .head_dim = head_dim,
                                    .max_tokens = TOKENS,
                                    .page_tokens = 64,
                                    .key_type = keys,
                                    .value_type = values,
                                    .key_granularity = granularity,
                                    .key_group = granularity == KRN_KV_CHANNEL ? 32 : 0,
                                    .rotate_keys = granularity == KRN_KV_TOKEN && head_dim == 64};
    krn_kv_cache *cache;
    CHECK_OK(krn_kv_cache_create(&desc, NULL, 0, &cache));
    const krn_kv_append_options append = {
        .struct_size = sizeof append, .source_type = KRN_TYPE_F32, .key_ld = width, .value_ld = width};
    const int32_t sequence = 0;
    CHECK_OK(krn_kv_cache_append(context, cache, 1, &sequence, &tokens, floats(KRN_TYPE_F32, TOKENS * width, 17),
                                 floats(KRN_TYPE_F32, TOKENS * width, 19), &append));
    const krn_attention_options options = {.struct_size = sizeof options, .heads = HEADS};
    const krn_attention_batch batch = {
        .struct_size = sizeof batch, .count = 1, .sequences = &sequence, .query_tokens = &queries};
    const krn_attention_query query = {.struct_size = sizeof query,
                                       .type = KRN_TYPE_F32,
                                       .ld = query_width,
                                       .data = floats(KRN_TYPE_F32, queries * query_width, 23)};
    float *y = guarded_allocate(queries * query_width * 4, GUARD_END);
    float *lse = guarded_allocate(queries * HEADS * 4, GUARD_END);
    const krn_attention_output output = {
        .struct_size = sizeof output, .type = KRN_TYPE_F32, .data = y, .ld = query_width, .lse = lse};
    int64_t bytes;
    CHECK_OK(krn_attention_workspace_size(context, cache, &options, &batch, &bytes));
    CHECK_OK(
        krn_attention(context, cache, &options, &batch, &query, &output, guarded_allocate(bytes, GUARD_END), bytes));
    char name[80];
    snprintf(name, sizeof name, "k%s%s-v%s/d%d-c%d-q%d", name_of(keys),
             granularity == KRN_KV_CHANNEL ? "-per-channel" : "", name_of(values), head_dim, TOKENS, (int)queries);
    /* The logarithm of the sum of weights is what scores and their sums show in without the values. */
    print("attention-scores", name, hash_of(HASH_START, lse, queries * HEADS * 4));
    print("attention", name, hash_of(HASH_START, y, queries * query_width * 4));
    krn_kv_cache_destroy(cache);
    guarded_free_all();
}

static void attentions(void) {
    static const int32_t types[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
    for (int t = 0; t < 3; t++) {
        for (int64_t queries = 1; queries <= 19; queries += 9) {
            attention(types[t], types[t], KRN_KV_TOKEN, 128, queries);
            attention(types[t], types[(t + 1) % 3], KRN_KV_TOKEN, 64, queries);
            attention(types[t], types[t], KRN_KV_CHANNEL, 80, queries);
        }
    }
}

/* --- Fused steps ------------------------------------------------------------------------------------------------------ */

static void fused(void) {
    enum { ROWS = 3, COLS = 448 };
    static _Alignas(64) unsigned char space[64 * 1024];
    const krn_quantize_options quantize_options = {
        .struct_size = sizeof quantize_options, .type = KRN_TYPE_S8, .granularity = KRN_GRANULARITY_TOKEN};
    const krn_hadamard_options rotation = {.struct_size = sizeof rotation, .normalized = 1, .n = COLS};
    const krn_fused_options options = {.struct_size = sizeof options, .eps = 1e-5f, .rotation = &rotation};
    krn_fused_input input = {.struct_size = sizeof input,
                             .type = KRN_TYPE_F32,
                             .source = floats(KRN_TYPE_F32, ROWS * COLS, 29),
                             .source_ld = COLS};
    uint8_t codes[ROWS * COLS];
    float scales[ROWS];
    const krn_fused_codes to = {.struct_size = sizeof to,
                                .options = &quantize_options,
                                .codes = codes,
                                .codes_ld_bytes = COLS,
                                .scales = scales};
    CHECK_OK(krn_rmsnorm_hadamard_quantize(context, &options, ROWS, COLS, &input, &to, space, sizeof space));
    print("fused", "rmsnorm-hadamard-quantize-s8",
          hash_of(hash_of(HASH_START, codes, sizeof codes), scales, sizeof scales));
    input.up = floats(KRN_TYPE_F32, ROWS * COLS, 31);
    input.up_ld = COLS;
    const krn_fused_options plain = {.struct_size = sizeof plain};
    CHECK_OK(krn_silu_mul_quantize(context, &plain, ROWS, COLS, &input, &to, space, sizeof space));
    print("fused", "silu-mul-quantize-s8", hash_of(hash_of(HASH_START, codes, sizeof codes), scales, sizeof scales));
    CHECK_OK(krn_gelu_mul_quantize(context, &plain, ROWS, COLS, &input, &to, space, sizeof space));
    print("fused", "gelu-mul-quantize-s8", hash_of(hash_of(HASH_START, codes, sizeof codes), scales, sizeof scales));
    guarded_free_all();
}

int main(void) {
    int32_t levels[8];
    const int count = machine_levels(levels);
    for (int i = 0; i < count; i++) {
        context = context_of(levels[i], 1);
        gemms();
        quantizers();
        hadamards();
        attentions();
        fused();
        krn_context_destroy(context);
    }
    return 0;
}
