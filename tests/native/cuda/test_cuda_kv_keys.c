/* Keys that are changed on their way in, and groups of keys with scales of their channels: what krn_cuda_kv_append leaves is
 * what krn_kv_cache_append leaves, byte for byte (cuda_kv_case.h). */
#include "cuda_kv_case.h"

static const int32_t sources[] = {KRN_TYPE_F32, KRN_TYPE_F16, KRN_TYPE_BF16};
static const int32_t types[] = {KRN_TYPE_S8, KRN_TYPE_U4, KRN_TYPE_S4, KRN_TYPE_BF16, KRN_TYPE_F8E4M3, KRN_TYPE_F32};

/* Orders of two, and with bases of 12, 20, 36. */
static void changed(krn_context *host, krn_cuda_context *device) {
    static const int32_t dims[] = {64, 80, 96, 128, 8, 72};
    static const int64_t pages[] = {16, 32, 64, 160};
    test_random random = {5};
    for (int t = 0; t < 6; t++) {
        const krn_rope_options half = {.struct_size = sizeof half,
                                       .head_dim = dims[t],
                                       .theta_base = 500000,
                                       .scaling = KRN_ROPE_SCALING_LLAMA3,
                                       .factor = 8,
                                       .low_freq_factor = 1,
                                       .high_freq_factor = 4,
                                       .original_context = 64};
        krn_rope_options interleaved = {
            .struct_size = sizeof interleaved, .layout = KRN_ROPE_INTERLEAVED, .head_dim = dims[(t + 1) % 6]};
        interleaved.rotary_dim = interleaved.head_dim / 4 * 2;
        const cuda_kv_case all = {.key_type = types[t],
                                  .value_type = types[(t + 1) % 6],
                                  .head_dim = dims[t],
                                  .page_tokens = pages[t % 4],
                                  .source_type = sources[t % 3],
                                  .rotates = 1,
                                  .centers = 1,
                                  .rope = &half};
        cuda_kv_check(host, device, &all, &random);
        const cuda_kv_case one = {.key_type = types[t],
                                  .value_type = KRN_TYPE_S8,
                                  .head_dim = dims[(t + 1) % 6],
                                  .page_tokens = 32,
                                  .source_type = sources[(t + 1) % 3],
                                  .is_static = t % 2,
                                  .rotates = t % 3 == 0,
                                  .centers = t % 3 == 1,
                                  .rope = t % 3 == 2 || t > 3 ? &interleaved : NULL,
                                  .has_positions = t != 2};
        cuda_kv_check(host, device, &one, &random);
    }
    const cuda_kv_case wide = {.key_type = KRN_TYPE_S4,
                               .value_type = KRN_TYPE_S4,
                               .head_dim = 512,
                               .page_tokens = 16,
                               .source_type = KRN_TYPE_BF16,
                               .rotates = 1,
                               .centers = 1};
    cuda_kv_check(host, device, &wide, &random);
}

static void groups(krn_context *host, krn_cuda_context *device) {
    static const struct {
        int32_t group, head_dim;
        int64_t page_tokens;
    } shapes[] = {{16, 64, 16}, {32, 128, 32}, {32, 80, 64}, {48, 24, 192}, {64, 8, 64}, {128, 256, 128}};
    test_random random = {7};
    for (int i = 0; i < 6; i++) {
        const krn_rope_options rope = {
            .struct_size = sizeof rope, .layout = i % 2, .head_dim = shapes[i].head_dim, .theta_base = 10000};
        for (int t = 0; t < 3; t++) {
            const cuda_kv_case c = {.key_type = types[t],
                                    .value_type = types[(t + i) % 6],
                                    .head_dim = shapes[i].head_dim,
                                    .page_tokens = shapes[i].page_tokens,
                                    .source_type = sources[(t + i) % 3],
                                    .key_group = shapes[i].group,
                                    .rotates = t == 1,
                                    .centers = (t + i) % 3 == 0,
                                    .rope = (t + i) % 2 == 0 ? &rope : NULL};
            cuda_kv_check(host, device, &c, &random);
        }
    }
}

/* Two tokens, the second of which is at a position that the table lacks. */
static void positions_are_flagged(krn_cuda_context *device) {
    const krn_kv_cache_desc desc = {.struct_size = sizeof desc,
                                    .sequences = 1,
                                    .kv_heads = 1,
                                    .head_dim = 16,
                                    .max_tokens = 16,
                                    .page_tokens = 16,
                                    .key_type = KRN_TYPE_F32,
                                    .value_type = KRN_TYPE_F32};
    static const struct {
        int64_t first, count;
        int32_t expected;
    } cases[] = {{0, 2, 0}, {0, 1, KRN_CUDA_FLAG_POSITIONS}, {1, 5, KRN_CUDA_FLAG_POSITIONS}};
    const krn_rope_options rope = {.struct_size = sizeof rope, .head_dim = 16};
    float x[32], table[5 * 16];
    for (int i = 0; i < 32; i++)
        x[i] = (float)i;
    for (int i = 0; i < 3; i++) {
        const int32_t starts[2] = {0, 2}, zero = 0, length = 2;
        int32_t flags = 64;
        krn_cuda_kv_cache cache = {.struct_size = sizeof cache, .desc = &desc};
        CHECK_OK(krn_cuda_kv_cache_bytes(&desc, NULL, &cache.pool_bytes));
        cache.pool = cuda_allocate(device, cache.pool_bytes);
        cache.tables = cuda_copy_of(device, &zero, 4);
        cache.lengths = cuda_copy_of(device, &length, 4);
        const krn_cuda_kv_batch batch = {.struct_size = sizeof batch,
                                         .count = 1,
                                         .sequences = cuda_copy_of(device, &zero, 4),
                                         .starts = cuda_copy_of(device, starts, sizeof starts),
                                         .rows = 2,
                                         .max_rows = 2};
        CHECK_OK(krn_rope_table(&rope, cases[i].first, cases[i].count, table));
        const krn_cuda_kv_tokens tokens = {.struct_size = sizeof tokens,
                                           .type = KRN_TYPE_F32,
                                           .keys = cuda_copy_of(device, x, sizeof x),
                                           .values = cuda_copy_of(device, x, sizeof x),
                                           .key_ld = 16,
                                           .value_ld = 16,
                                           .rope = &rope,
                                           .cos_sin = cuda_copy_of(device, table, cases[i].count * 16 * 4),
                                           .first_position = cases[i].first,
                                           .position_count = cases[i].count};
        int32_t *device_flags = cuda_copy_of(device, &flags, sizeof flags);
        CHECK_OK(krn_cuda_kv_append(device, &cache, &batch, &tokens, device_flags, NULL));
        cuda_read(device, &flags, device_flags, sizeof flags);
        CHECK(flags == (64 | cases[i].expected), "case %d: the flags are %d", i, flags);
        cuda_free_all(device);
    }
}

int main(void) {
    int32_t classes[4];
    krn_context *host = context_of(KRN_ISA_REF, 1);
    /* The kernels are the same for all classes. */
    cuda_classes(classes);
    krn_cuda_context *device = cuda_context_of(classes[0]);
    changed(host, device);
    groups(host, device);
    positions_are_flagged(device);
    krn_cuda_context_destroy(device);
    krn_context_destroy(host);
    return 0;
}
