/* wgmma against plain products: every type, widths from 8 to 256 columns, both operands from shared memory through
 * every swizzle or a from registers, b with k or with n contiguous, tiles brought by tensor maps of the same
 * swizzle. */
#include "cuda_device.h"

#include "common/half.h"
#include "cuda/common/context.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/mbarrier.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/registers.h"
#include "cuda/ptx/tma.h"
#include "cuda/ptx/wgmma.h"

#include <cmath>
#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <vector>

namespace {

/* a [64][K], b [n][K] or [K][n], d [64][n]; K is 128 bytes of the operands. */
constexpr int32_t K_BYTES = 128;

struct Params {
    krn_cuda_tensor_map a_map, b_map;
    const uint8_t *a;
    int32_t *d;
    int32_t swizzle, a_in_registers;
};

enum class Type { S8, U8S8, S8U8, F16, BF16 };

constexpr bool is_float(Type type) { return type == Type::F16 || type == Type::BF16; }

KRN_DEVICE ptx::Swizzle mode(int32_t swizzle) {
    return swizzle == 128  ? ptx::Swizzle::BYTES_128
           : swizzle == 64 ? ptx::Swizzle::BYTES_64
           : swizzle == 32 ? ptx::Swizzle::BYTES_32
                           : ptx::Swizzle::NONE;
}

/* Tiles of `swizzle` bytes of k (of 16 without one) and all rows, one behind the other. */
KRN_DEVICE uint64_t k_major(ptx::SharedAddress tiles, int32_t rows, int32_t k_byte, int32_t swizzle) {
    if (swizzle == 0) {
        const auto tile = static_cast<uint32_t>(rows * 16);
        return ptx::wgmma_descriptor(tiles + static_cast<uint32_t>(k_byte / 16) * tile, ptx::Swizzle::NONE, tile, 128);
    }
    const auto at = static_cast<uint32_t>(k_byte / swizzle * rows * swizzle + k_byte % swizzle);
    return ptx::wgmma_descriptor(tiles + at, mode(swizzle), 16, static_cast<uint32_t>(8 * swizzle));
}

/* b with n contiguous: tiles of `swizzle` bytes of n (of 16 without one) and all 64 rows of k. */
KRN_DEVICE uint64_t n_major(ptx::SharedAddress tiles, int32_t k, int32_t swizzle) {
    constexpr uint32_t ROWS = K_BYTES / 2;
    if (swizzle == 0)
        return ptx::wgmma_descriptor(tiles + static_cast<uint32_t>(k) * 16, ptx::Swizzle::NONE, 128, ROWS * 16);
    const auto bytes = static_cast<uint32_t>(swizzle);
    return ptx::wgmma_descriptor(tiles + static_cast<uint32_t>(k) * bytes, mode(swizzle), ROWS * bytes, 8 * bytes);
}

template <Type type, int32_t n_contiguous, class D, class A>
KRN_DEVICE void multiply(D &d, const A &a, uint64_t b, bool accumulates) {
    if constexpr (type == Type::S8)
        ptx::wgmma_k32_s8(d, a, b, accumulates);
    else if constexpr (type == Type::U8S8)
        ptx::wgmma_k32_u8s8(d, a, b, accumulates);
    else if constexpr (type == Type::S8U8)
        ptx::wgmma_k32_s8u8(d, a, b, accumulates);
    else if constexpr (type == Type::F16)
        ptx::wgmma_k16_f16<n_contiguous>(d, a, b, accumulates);
    else
        ptx::wgmma_k16_bf16<n_contiguous>(d, a, b, accumulates);
}

/* Two warpgroups: the first brings the tiles, the second multiplies. */
template <Type type, int32_t n, int32_t n_contiguous> KRN_DEVICE void product(const Params &p) {
    using Element = std::conditional_t<is_float(type), float, int32_t>;
    const int32_t width = p.swizzle == 0 ? 16 : p.swizzle;
    const ptx::SharedAddress a_tiles = ptx::shared_base(), b_tiles = a_tiles + 64 * K_BYTES;
    const ptx::SharedAddress mbarrier = b_tiles + 256 * K_BYTES;
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_init(mbarrier, 1);
        ptx::fence_mbarrier_init();
    }
    ptx::sync_threads();
    if (ptx::warp() < 4) {
        ptx::keep_registers<40>();
        if (ptx::thread_x() == 0) {
            ptx::mbarrier_arrive_expect(mbarrier, (64 + n) * K_BYTES);
            for (int32_t i = 0; i < K_BYTES / width; i++)
                ptx::tma_load_2d(a_tiles + static_cast<uint32_t>(i * 64 * width), &p.a_map, mbarrier, i * width, 0);
            const int32_t b_bytes = n_contiguous ? 2 * n : K_BYTES, b_rows = n_contiguous ? K_BYTES / 2 : n;
            for (int32_t i = 0; i < b_bytes / width; i++)
                ptx::tma_load_2d(b_tiles + static_cast<uint32_t>(i * b_rows * width), &p.b_map, mbarrier, i * width, 0);
        }
        return;
    }
    ptx::take_registers<232>();
    ptx::mbarrier_wait(mbarrier, 0);
    Element d[n / 2];
    KRN_UNROLL_ALL
    for (int32_t i = 0; i < n / 2; i++)
        d[i] = 77;
    const int32_t row = ptx::warp() % 4 * 16 + ptx::lane() / 4, t = ptx::lane() % 4;
    uint32_t a[K_BYTES / 32][4];
    for (int32_t k = 0; k < K_BYTES / 32; k++)
        for (int32_t r = 0; r < 4; r++)
            a[k][r] = ptx::load_global(reinterpret_cast<const uint32_t *>(p.a) + (row + r % 2 * 8) * (K_BYTES / 4) +
                                       k * 8 + r / 2 * 4 + t);
    ptx::wgmma_fence();
    for (int32_t k = 0; k < K_BYTES / 32; k++) {
        const uint64_t b = n_contiguous ? n_major(b_tiles, 16 * k, p.swizzle) : k_major(b_tiles, n, 32 * k, p.swizzle);
        /* What d held before the first is overwritten. */
        if (p.a_in_registers)
            multiply<type, n_contiguous>(d, a[k], b, k > 0);
        else
            multiply<type, n_contiguous>(d, k_major(a_tiles, 64, 32 * k, p.swizzle), b, k > 0);
        ptx::wgmma_commit();
    }
    ptx::wgmma_wait<1>();
    ptx::wgmma_wait<0>();
    KRN_UNROLL_ALL
    for (int32_t i = 0; i < n / 2; i++)
        ptx::store_global(p.d + (row + i / 2 % 2 * 8) * n + i / 4 * 8 + 2 * t + i % 2, ptx::bits_as<int32_t>(d[i]));
}

} // namespace

KRN_KERNEL(wgmma_s8_8, Params, 256, 1) { product<Type::S8, 8, 0>(p); }
KRN_KERNEL(wgmma_s8_16, Params, 256, 1) { product<Type::S8, 16, 0>(p); }
KRN_KERNEL(wgmma_s8_32, Params, 256, 1) { product<Type::S8, 32, 0>(p); }
KRN_KERNEL(wgmma_s8_96, Params, 256, 1) { product<Type::S8, 96, 0>(p); }
KRN_KERNEL(wgmma_s8_192, Params, 256, 1) { product<Type::S8, 192, 0>(p); }
KRN_KERNEL(wgmma_s8_256, Params, 256, 1) { product<Type::S8, 256, 0>(p); }
KRN_KERNEL(wgmma_u8s8_64, Params, 256, 1) { product<Type::U8S8, 64, 0>(p); }
KRN_KERNEL(wgmma_s8u8_64, Params, 256, 1) { product<Type::S8U8, 64, 0>(p); }
KRN_KERNEL(wgmma_f16_64, Params, 256, 1) { product<Type::F16, 64, 0>(p); }
KRN_KERNEL(wgmma_bf16_128, Params, 256, 1) { product<Type::BF16, 128, 0>(p); }
KRN_KERNEL(wgmma_f16_128_n, Params, 256, 1) { product<Type::F16, 128, 1>(p); }
KRN_KERNEL(wgmma_bf16_64_n, Params, 256, 1) { product<Type::BF16, 64, 1>(p); }

namespace {

struct Case {
    const char *kernel;
    Type type;
    int32_t n;
    bool n_contiguous;
};

double value(const std::vector<uint8_t> &matrix, int32_t index, Type type, bool is_unsigned) {
    const auto i = static_cast<size_t>(index);
    if (!is_float(type))
        return is_unsigned ? matrix[i] : static_cast<int8_t>(matrix[i]);
    uint16_t half;
    memcpy(&half, &matrix[2 * i], sizeof half);
    return static_cast<double>(type == Type::F16 ? krn_f16_to_f32(half) : krn_bf16_to_f32(half));
}

std::vector<uint8_t> random_matrix(size_t bytes, Type type, test_random &random) {
    std::vector<uint8_t> matrix(bytes);
    for (size_t i = 0; i < bytes; i += 2) {
        const float x = random_activation(&random);
        const uint16_t half = type == Type::F16    ? krn_f32_to_f16(x)
                              : type == Type::BF16 ? krn_f32_to_bf16(x)
                                                   : static_cast<uint16_t>(random_next(&random));
        memcpy(&matrix[i], &half, sizeof half);
    }
    return matrix;
}

krn_cuda_tensor_map map_of(krn_cuda_context *context, void *matrix, int32_t row_bytes, int32_t rows, int32_t swizzle) {
    krn_cuda_tensor_map_desc desc = {};
    krn_cuda_tensor_map map;
    desc.address = matrix;
    desc.sizes[0] = static_cast<uint64_t>(row_bytes);
    desc.sizes[1] = static_cast<uint64_t>(rows);
    desc.strides_bytes[1] = static_cast<uint64_t>(row_bytes);
    desc.box[0] = swizzle == 0 ? 16 : static_cast<uint32_t>(swizzle);
    desc.box[1] = static_cast<uint32_t>(rows);
    desc.rank = 2;
    desc.element_bytes = 1;
    desc.swizzle = swizzle;
    CHECK_OK(context->backend->tensor_map(context->state, &map, &desc));
    return map;
}

void check(krn_cuda_context *context, const Case &c, int32_t swizzle, bool a_in_registers, test_random &random) {
    const int32_t depth = is_float(c.type) ? K_BYTES / 2 : K_BYTES;
    const std::vector<uint8_t> a = random_matrix(64 * K_BYTES, c.type, random);
    const std::vector<uint8_t> b = random_matrix(static_cast<size_t>(c.n * K_BYTES), c.type, random);
    std::vector<int32_t> d(static_cast<size_t>(64 * c.n));
    void *const a_on_device = cuda_copy_of(context, a.data(), static_cast<int64_t>(a.size()));
    void *const b_on_device = cuda_copy_of(context, b.data(), static_cast<int64_t>(b.size()));
    Params params = {};
    params.a_map = map_of(context, a_on_device, K_BYTES, 64, swizzle);
    params.b_map = c.n_contiguous ? map_of(context, b_on_device, 2 * c.n, depth, swizzle)
                                  : map_of(context, b_on_device, K_BYTES, c.n, swizzle);
    params.a = static_cast<const uint8_t *>(a_on_device);
    params.d = static_cast<int32_t *>(cuda_allocate(context, static_cast<int64_t>(d.size() * 4)));
    params.swizzle = swizzle;
    params.a_in_registers = a_in_registers;
    const uint32_t blocks[3] = {1, 1, 1};
    CHECK_OK(krn_cuda_run(context, c.kernel, blocks, 256, (64 + 256) * K_BYTES + 8, &params, sizeof params, nullptr));
    cuda_read(context, d.data(), params.d, static_cast<int64_t>(d.size() * 4));
    for (int32_t m = 0; m < 64; m++)
        for (int32_t n = 0; n < c.n; n++) {
            double sum = 0, magnitude = 0;
            for (int32_t k = 0; k < depth; k++) {
                const int32_t at = c.n_contiguous ? k * c.n + n : n * depth + k;
                const double term =
                    value(a, m * depth + k, c.type, c.type == Type::U8S8) * value(b, at, c.type, c.type == Type::S8U8);
                sum += term;
                magnitude += std::fabs(term);
            }
            const int32_t bits = d[static_cast<size_t>(m * c.n + n)];
            float as_float;
            memcpy(&as_float, &bits, sizeof as_float);
            const double actual = is_float(c.type) ? static_cast<double>(as_float) : bits;
            /* Each product of 32 bytes is added and rounded once, on a device a few times more. */
            const double bound = is_float(c.type) ? depth * 0x1p-23 * magnitude : 0;
            CHECK(std::fabs(actual - sum) <= bound, "%s, swizzle %d, a in %s: d[%d][%d] is %.9g, expected %.9g",
                  c.kernel, swizzle, a_in_registers ? "registers" : "shared memory", m, n, actual, sum);
        }
    cuda_free_all(context);
}

} // namespace

int main() {
    int32_t classes[4];
    if (classes[cuda_classes(classes) - 1] < KRN_CUDA_CLASS_SM90A) {
        printf("skipped: the device has no wgmma\n");
        return 77;
    }
    test_random random = {1};
    krn_cuda_context *const context = cuda_context_of(KRN_CUDA_CLASS_SM90A);
    const Case cases[] = {
        {"wgmma_s8_8", Type::S8, 8, false},        {"wgmma_s8_16", Type::S8, 16, false},
        {"wgmma_s8_32", Type::S8, 32, false},      {"wgmma_s8_96", Type::S8, 96, false},
        {"wgmma_s8_192", Type::S8, 192, false},    {"wgmma_s8_256", Type::S8, 256, false},
        {"wgmma_u8s8_64", Type::U8S8, 64, false},  {"wgmma_s8u8_64", Type::S8U8, 64, false},
        {"wgmma_f16_64", Type::F16, 64, false},    {"wgmma_bf16_128", Type::BF16, 128, false},
        {"wgmma_f16_128_n", Type::F16, 128, true}, {"wgmma_bf16_64_n", Type::BF16, 64, true},
    };
    for (const Case &c : cases)
        for (const int32_t swizzle : {0, 32, 64, 128})
            for (int32_t a_in_registers = 0; a_in_registers < 2; a_in_registers++)
                check(context, c, swizzle, a_in_registers != 0, random);
    krn_cuda_context_destroy(context);
    return 0;
}
