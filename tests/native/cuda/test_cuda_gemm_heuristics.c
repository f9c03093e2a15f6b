/* The plans of gemm_heuristics.c hold what the kernels rely on, on every device that they are for. */
#include "check.h"
#include "cuda/gemm/gemm_heuristics.h"

#include <string.h>

typedef struct {
    const char *name;
    int32_t multiprocessors, shared_per_block, shared_per_multiprocessor, architecture, mhz, memory_mhz, bus_bits;
} device_of;

/* The shared memory of compute capability 8.0, 8.6 and 8.9, and 9.0. */
static const device_of devices[] = {{"A100", 108, 163 * 1024, 164 * 1024, KRN_CUDA_CLASS_SM80, 1410, 1593, 5120},
                                    {"A10", 72, 99 * 1024, 100 * 1024, KRN_CUDA_CLASS_SM80, 1695, 6251, 384},
                                    {"L40", 142, 99 * 1024, 100 * 1024, KRN_CUDA_CLASS_SM80, 2490, 9001, 384},
                                    {"H200", 132, 227 * 1024, 228 * 1024, KRN_CUDA_CLASS_SM80, 1980, 3201, 6144},
                                    {"H200", 132, 227 * 1024, 228 * 1024, KRN_CUDA_CLASS_SM90A, 1980, 3201, 6144}};
enum { H200 = 3 };

static krn_cuda_properties properties_of(const device_of *d) {
    return (krn_cuda_properties){.struct_size = sizeof(krn_cuda_properties),
                                 .multiprocessors = d->multiprocessors,
                                 .shared_bytes_per_block = d->shared_per_block,
                                 .shared_bytes_per_multiprocessor = d->shared_per_multiprocessor,
                                 .clock_khz = d->mhz * 1000,
                                 .memory_clock_khz = d->memory_mhz * 1000,
                                 .memory_bus_bits = d->bus_bits};
}

static krn_cuda_weights_layout layout_of(int32_t format, int64_t n, int64_t k, int64_t group_size) {
    const krn_weights_desc desc = {
        .struct_size = sizeof desc, .format = format, .n = n, .k = k, .group_size = group_size};
    krn_cuda_weights_layout l;
    krn_cuda_weights_place(&desc, 0, &l);
    return l;
}

/* No two pieces that are summed at the same time share a place of the ring, and every slice is summed once. */
static void check_ring(const krn_cuda_weights_layout *l, const krn_cuda_gemm_plan *p) {
    const int64_t slices = l->padded_k / 128;
    CHECK(p->ring_pieces > 0 && (p->ring_pieces & (p->ring_pieces - 1)) == 0, "ring of %d", p->ring_pieces);
    CHECK(slices == 0 || p->chunk_slices > 0, "a chunk of nothing");
    CHECK(p->piece_steps * 32LL * 128 * 128 < INT64_C(1) << 31, "pieces of %d steps do not fit", p->piece_steps);
    if (p->group_pieces == 1)
        CHECK(p->piece_steps == (l->group_steps > 0 ? l->group_steps : 1), "pieces of %d", p->piece_steps);
    else
        CHECK((int64_t)p->piece_steps * p->group_pieces >= l->group_steps, "pieces of %d", p->piece_steps);
    /* A block's part begins wherever its length has it. */
    const int64_t start = p->is_split ? p->split_length : 0;
    for (int64_t chunk = start; chunk < slices; chunk += p->chunk_slices) {
        const int64_t end = (chunk + p->chunk_slices) * 4 < l->num_steps ? (chunk + p->chunk_slices) * 4 : l->num_steps;
        const int64_t last = end - 1;
#define PIECE(step) ((step) / l->group_steps * p->group_pieces + (step) % l->group_steps / p->piece_steps)
        CHECK(PIECE(last) - PIECE(chunk * 4) < p->ring_pieces, "slices %lld and on have %lld pieces, the ring %d",
              (long long)chunk, (long long)(PIECE(last) - PIECE(chunk * 4) + 1), p->ring_pieces);
#undef PIECE
    }
    const int32_t shared = krn_cuda_decode_shared_bytes(l->code_bits, p->channels, p->tokens, p->deep, p->ring_pieces);
    CHECK((int64_t)p->shared_bytes == shared, "%u bytes, not %d", p->shared_bytes, shared);
}

/* Every slice or piece is in one part, every warp of a block has one, and there is room in the workspace for what they
 * leave, of any rows up to m. */
static void check_split(const krn_cuda_weights_layout *l, int32_t activation_type, int64_t m,
                        const krn_cuda_properties *device, int64_t parts, int64_t sums, const krn_cuda_gemm_plan *p) {
    CHECK(p->is_split == (strstr(p->kernel, "_split_") != NULL) && p->is_split == (p->blocks[2] > 1), "%s: %u parts",
          p->kernel, p->blocks[2]);
    CHECK(krn_cuda_gemm_partial_bytes(l, activation_type, m, device) >=
              krn_cuda_gemm_partial_bytes(l, activation_type, m - 1, device),
          "%s: %lld rows take less than one less", p->kernel, (long long)m);
    if (!p->is_split)
        return;
    const int64_t splits = p->blocks[2], length = p->split_length;
    CHECK(p->is_decode && !p->deep && p->channels == 16 && p->tokens == 8, "%s", p->kernel);
    CHECK((splits - 1) * length < parts && splits * length >= parts, "%lld parts of %lld in %lld", (long long)splits,
          (long long)length, (long long)parts);
    CHECK(length >= KRN_CUDA_DECODE_WARPS, "parts of %lld leave warps idle", (long long)length);
    CHECK(splits * p->blocks[0] * p->blocks[1] <= (uint32_t)device->multiprocessors * 2, "%s: %lld parts", p->kernel,
          (long long)splits);
    CHECK(krn_cuda_gemm_partial_bytes(l, activation_type, m, device) >= sums * m * l->padded_n * 4, "%s: no room",
          p->kernel);
}

/* Every output has a block. Blocks walk over tiles only where there are more of them than multiprocessors, and where the
 * last stages of a tile are room enough for its results. */
static void check_outputs(const krn_cuda_weights_layout *l, int64_t m, const device_of *d, int32_t x_bytes,
                          const krn_cuda_gemm_plan *p) {
    const int64_t blocks = (int64_t)p->blocks[0] * p->blocks[1], tiles = p->uses_tma ? p->tiles : blocks;
    CHECK(tiles * p->channels * p->tokens >= m * l->desc.n, "%s: %u x %u blocks", p->kernel, p->blocks[0],
          p->blocks[1]);
    if (blocks == tiles)
        return;
    CHECK(blocks == d->multiprocessors && blocks < tiles, "%s: %lld blocks for %lld tiles", p->kernel,
          (long long)blocks, (long long)tiles);
    CHECK(l->padded_k / 128 >= krn_cuda_tma_turn_stages(l->code_bits, x_bytes, p->tokens), "%s has too short tiles",
          p->kernel);
}

static void check_plan(const krn_cuda_weights_layout *l, int64_t m, int32_t activation_type, const device_of *d) {
    const krn_cuda_properties device = properties_of(d);
    krn_cuda_gemm_plan p;
    krn_cuda_gemm_make_plan(l, activation_type, m, &device, d->architecture, &p);
    CHECK((int64_t)p.shared_bytes <= d->shared_per_block, "%s: %u bytes of shared memory, %s has %d", p.kernel,
          p.shared_bytes, d->name, d->shared_per_block);
    CHECK((int64_t)p.blocks[0] * p.channels >= l->desc.n || !p.is_decode, "channels are left out");
    check_outputs(l, m, d, 1, &p);
    CHECK(p.is_decode || l->group_steps <= KRN_CUDA_MAX_PIECE_STEPS, "a sum does not fit");
    CHECK(p.is_decode == (strstr(p.kernel, "decode") != NULL), "%s", p.kernel);
    CHECK(!p.uses_tma || d->architecture == KRN_CUDA_CLASS_SM90A, "%s on %s", p.kernel, d->name);
    CHECK(p.uses_tma == (strstr(p.kernel, "sm90a") != NULL), "%s", p.kernel);
    if (p.is_decode)
        check_ring(l, &p);
    if (p.uses_tma) {
        CHECK(l->padded_k > 0, "%s without inputs", p.kernel);
        CHECK(krn_cuda_tma_stages(l->code_bits, 1, p.tokens) >= 3, "%s has too few stages", p.kernel);
    }
    if (p.short_groups)
        CHECK((l->desc.k < l->group_size ? l->desc.k : l->group_size) * (activation_type == KRN_TYPE_U8 ? 255 : 128) *
                      128 <=
                  1 << 22,
              "groups are not short");
    const int64_t slices = l->padded_k / 128;
    check_split(l, activation_type, m, &device, slices, l->num_groups + (int64_t)p.blocks[2] - 1, &p);
}

/* Pieces of a block of 128 inputs, the whole of K, in chunks that fit. */
static void check_float_plan(const krn_cuda_weights_layout *l, int64_t m, int32_t activation_type, const device_of *d) {
    const krn_cuda_properties device = properties_of(d);
    krn_cuda_gemm_plan p;
    krn_cuda_gemm_make_plan(l, activation_type, m, &device, d->architecture, &p);
    CHECK((int64_t)p.shared_bytes <= d->shared_per_block, "%s: %u bytes of shared memory, %s has %d", p.kernel,
          p.shared_bytes, d->name, d->shared_per_block);
    check_outputs(l, m, d, 2, &p);
    CHECK(strstr(p.kernel, activation_type == KRN_TYPE_F16 ? "_f16_" : "_bf16_") != NULL, "%s", p.kernel);
    CHECK(p.is_decode == (strstr(p.kernel, "float_decode") != NULL), "%s", p.kernel);
    CHECK(p.uses_tma == (strstr(p.kernel, "sm90a") != NULL), "%s", p.kernel);
    CHECK(p.uses_tma == (d->architecture == KRN_CUDA_CLASS_SM90A && !p.is_decode && l->padded_k > 0), "%s on %s",
          p.kernel, d->name);
    if (p.uses_tma) {
        CHECK(krn_cuda_tma_stages(l->code_bits, 2, p.tokens) >= 4, "%s has too few stages", p.kernel);
        CHECK(p.threads == KRN_CUDA_TMA_THREADS, "%s has %u threads", p.kernel, p.threads);
    }
    if (!p.is_decode)
        return;
    int64_t pieces = 0;
    for (int64_t g = 0; g < l->num_groups; g++)
        pieces += ((krn_cuda_group_length(l, g) + 31) / 32 + 3) / 4;
    CHECK(p.num_pieces == pieces, "%d pieces, not %lld", p.num_pieces, (long long)pieces);
    CHECK(pieces == 0 ? p.chunk_pieces == 0 : p.chunk_pieces > 0, "chunks of %d", p.chunk_pieces);
    CHECK(p.chunk_pieces >= pieces || p.chunk_pieces % 8 == 0, "chunks of %d leave warps idle", p.chunk_pieces);
    const int32_t shared =
        krn_cuda_float_decode_shared_bytes(l->code_bits, p.channels, p.tokens, p.deep, p.chunk_pieces);
    CHECK((int64_t)p.shared_bytes == shared, "%u bytes, not %d", p.shared_bytes, shared);
    check_split(l, activation_type, m, &device, pieces, pieces, &p);
}

/* Into how many parts K of `n` channels is cut. */
static void check_parts(int32_t format, int32_t activation_type, int64_t m, int64_t n, int64_t k, int64_t group_size,
                        const krn_cuda_properties *device, uint32_t expected) {
    const krn_cuda_weights_layout l = layout_of(format, n, k, group_size);
    krn_cuda_gemm_plan p;
    krn_cuda_gemm_make_plan(&l, activation_type, m, device, KRN_CUDA_CLASS_SM80, &p);
    CHECK(p.blocks[2] == expected, "m %lld n %lld k %lld: %s, %u parts, not %u", (long long)m, (long long)n,
          (long long)k, p.kernel, p.blocks[2], expected);
}

/* Only where blocks of all of K would take longer than their parts and the merging of them. */
static void check_splits(void) {
    krn_cuda_properties h200 = properties_of(&devices[H200]);
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 1, 256, 14336, 0, &h200, 14);
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 1, 16, 28672, 0, &h200, 28);
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 1, 512, 28672, 0, &h200, 8);
    check_parts(KRN_TYPE_S4, KRN_TYPE_S8, 1, 256, 28672, 128, &h200, 16);
    check_parts(KRN_TYPE_S4, KRN_TYPE_BF16, 8, 96, 28672, 128, &h200, 28);
    /* Tiles of tokens are blocks, too. */
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 16, 256, 28672, 0, &h200, 8);
    /* K is short: one more kernel takes longer. */
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 1, 256, 4096, 0, &h200, 1);
    check_parts(KRN_TYPE_S4, KRN_TYPE_S8, 1, 256, 14336, 128, &h200, 1);
    /* Blocks enough to draw what the memory gives. */
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 1, 1024, 28672, 0, &h200, 1);
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 1, 4096, 28672, 0, &h200, 1);
    /* More tokens, sums of which there are too many, and groups in pieces. */
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 17, 64, 28672, 0, &h200, 1);
    check_parts(KRN_TYPE_S4, KRN_TYPE_S8, 8, 256, 28672, 64, &h200, 1);
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 1, 256, 200000, 0, &h200, 1);
    /* A device whose memory a few multiprocessors draw empty, and one that does not say. */
    const krn_cuda_properties a10 = properties_of(&devices[1]);
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 1, 256, 28672, 0, &a10, 1);
    const krn_cuda_weights_layout nothing = layout_of(KRN_TYPE_S8, 0, 28672, 0);
    CHECK(krn_cuda_gemm_partial_bytes(&nothing, KRN_TYPE_S8, 1, &h200) == 0, "no channels");
    h200.memory_clock_khz = 0;
    check_parts(KRN_TYPE_S8, KRN_TYPE_S8, 1, 256, 28672, 0, &h200, 1);
}

static void check_kernel(int32_t format, int32_t activation_type, int64_t m, int64_t n, int64_t group_size,
                         int32_t architecture, const char *expected) {
    const krn_cuda_properties device = properties_of(&devices[H200]);
    const krn_cuda_weights_layout l = layout_of(format, n, 4096, group_size);
    krn_cuda_gemm_plan p;
    krn_cuda_gemm_make_plan(&l, activation_type, m, &device, architecture, &p);
    CHECK(strcmp(p.kernel, expected) == 0, "m %lld n %lld: %s, not %s", (long long)m, (long long)n, p.kernel, expected);
}

int main(void) {
    static const int32_t formats[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U4};
    static const int32_t activations[] = {KRN_TYPE_S8, KRN_TYPE_S4, KRN_TYPE_U8};
    static const int64_t ms[] = {1, 8, 9, 16, 17, 40, 49, 128, 4096};
    static const int64_t ns[] = {1, 64, 500, 4096, 14336, 128256};
    static const int64_t ks[] = {0, 1, 100, 4096, 14336, 131072, 1000000};
    static const int64_t groups[] = {0, 16, 24, 32, 64, 96, 128, 200, 1024, 200000};
    int count = 0;
    for (int i = 0; i < 5 * 3 * 9 * 6 * 7 * 10; i++) {
        const krn_cuda_weights_layout l =
            layout_of(formats[i / 5 % 3], ns[i / 135 % 6], ks[i / 810 % 7], groups[i / 5670]);
        check_plan(&l, ms[i / 15 % 9], activations[i % 3], &devices[i % 5]);
        check_float_plan(&l, ms[i / 15 % 9], i % 2 == 0 ? KRN_TYPE_F16 : KRN_TYPE_BF16, &devices[i % 5]);
        count++;
    }
    check_splits();
    const int32_t sm80 = KRN_CUDA_CLASS_SM80, sm90a = KRN_CUDA_CLASS_SM90A;
    check_kernel(KRN_TYPE_S8, KRN_TYPE_S8, 1, 2048, 0, sm80, "krn_gemm_decode_s8_deep_16x8_sm80");
    check_kernel(KRN_TYPE_S8, KRN_TYPE_S8, 1, 4096, 0, sm90a, "krn_gemm_decode_s8_32x8_sm80");
    check_kernel(KRN_TYPE_S4, KRN_TYPE_S8, 8, 14336, 128, sm90a, "krn_gemm_decode_s4_32x8_sm80");
    check_kernel(KRN_TYPE_U4, KRN_TYPE_S8, 16, 4096, 128, sm80, "krn_gemm_decode_u4_32x16_sm80");
    check_kernel(KRN_TYPE_S4, KRN_TYPE_S8, 17, 2048, 128, sm90a, "krn_gemm_decode_s4_32x16_sm80");
    check_kernel(KRN_TYPE_S8, KRN_TYPE_S8, 64, 4096, 0, sm80, "krn_gemm_prefill_s8_channel_64x64_sm80");
    check_kernel(KRN_TYPE_U4, KRN_TYPE_S8, 4096, 4096, 128, sm80, "krn_gemm_prefill_u4_group_128x128_sm80");
    check_kernel(KRN_TYPE_S8, KRN_TYPE_S8, 8192, 8192, 0, sm90a, "krn_gemm_prefill_s8_channel_128x256_sm90a");
    check_kernel(KRN_TYPE_S8, KRN_TYPE_S8, 64, 4096, 0, sm90a, "krn_gemm_prefill_s8_channel_128x64_sm90a");
    check_kernel(KRN_TYPE_S4, KRN_TYPE_S8, 4096, 4096, 0, sm90a, "krn_gemm_prefill_s4_channel_128x256_sm90a");
    check_kernel(KRN_TYPE_U4, KRN_TYPE_S8, 4096, 4096, 128, sm90a, "krn_gemm_prefill_u4_group_128x128_sm90a");
    check_kernel(KRN_TYPE_S4, KRN_TYPE_S8, 300, 4096, 64, sm90a, "krn_gemm_prefill_s4_group_128x128_sm90a");
    check_kernel(KRN_TYPE_S4, KRN_TYPE_BF16, 16, 4096, 128, sm90a, "krn_gemm_float_decode_s4_bf16_16x16_sm80");
    check_kernel(KRN_TYPE_S4, KRN_TYPE_BF16, 64, 4096, 128, sm90a, "krn_gemm_float_prefill_s4_bf16_128x64_sm90a");
    check_kernel(KRN_TYPE_C4, KRN_TYPE_F16, 4096, 4096, 64, sm90a, "krn_gemm_float_prefill_c4_f16_128x128_sm90a");
    check_kernel(KRN_TYPE_S8, KRN_TYPE_F16, 4096, 4096, 0, sm90a, "krn_gemm_float_prefill_s8_f16_128x128_sm90a");
    check_kernel(KRN_TYPE_U4, KRN_TYPE_BF16, 4096, 4096, 0, sm80, "krn_gemm_float_prefill_u4_bf16_128x128_sm80");
    printf("%d plans\n", count);
    return 0;
}
