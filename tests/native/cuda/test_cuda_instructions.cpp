/* The instructions of ptx/ against plain arithmetic: matrix products from fragments laid out element by element as the
 * PTX ISA numbers them, and moves of matrices with distinct values. */
#include "cuda_device.h"

#include "common/half.h"
#include "cuda/common/context.h"
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/atomic.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/bits.h"
#include "cuda/ptx/convert.h"
#include "cuda/ptx/matrix.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/mma.h"
#include "cuda/ptx/warp.h"

#include <cmath>
#include <cstring>
#include <vector>

namespace {

/* a[16][k], b[k][8], d[16][8], an element to an int32 or (for float products) to the bits of a float. */
struct ProductParams {
    const int32_t *a, *b;
    int32_t *d;
};

/* The PTX ISA's numbering: element i of a thread's fragment, with `e` elements to a register and k = 8 e. */
KRN_DEVICE int32_t a_row(int32_t i, int32_t e) { return ptx::lane() / 4 + (i / e % 2 == 1 ? 8 : 0); }
KRN_DEVICE int32_t a_col(int32_t i, int32_t e) { return ptx::lane() % 4 * e + i % e + (i >= 2 * e ? 4 * e : 0); }
KRN_DEVICE int32_t b_row(int32_t i, int32_t e) { return ptx::lane() % 4 * e + i % e + (i >= e ? 4 * e : 0); }
KRN_DEVICE int32_t d_row(int32_t i) { return ptx::lane() / 4 + (i >= 2 ? 8 : 0); }
KRN_DEVICE int32_t d_col(int32_t i) { return ptx::lane() % 4 * 2 + i % 2; }

template <int32_t e> KRN_DEVICE void load_fragments(const ProductParams &p, uint32_t (&a)[4], uint32_t (&b)[2]) {
    constexpr int32_t bits = 32 / e, k = 8 * e;
    constexpr uint32_t mask = (1u << bits) - 1;
    for (int32_t i = 0; i < 4 * e; i++) {
        const auto x = static_cast<uint32_t>(ptx::load_global(p.a + a_row(i, e) * k + a_col(i, e)));
        a[i / e] = (i % e == 0 ? 0 : a[i / e]) | (x & mask) << (bits * (i % e));
    }
    for (int32_t i = 0; i < 2 * e; i++) {
        const auto x = static_cast<uint32_t>(ptx::load_global(p.b + b_row(i, e) * 8 + ptx::lane() / 4));
        b[i / e] = (i % e == 0 ? 0 : b[i / e]) | (x & mask) << (bits * (i % e));
    }
}

template <int32_t e, class T, class Mma> KRN_DEVICE void product(const ProductParams &p, Mma mma) {
    uint32_t a[4], b[2];
    T d[4];
    load_fragments<e>(p, a, b);
    for (int32_t i = 0; i < 4; i++)
        d[i] = static_cast<T>(d_row(i) * 100 + d_col(i));
    mma(d, a, b);
    for (int32_t i = 0; i < 4; i++)
        ptx::store_global(p.d + d_row(i) * 8 + d_col(i), ptx::bits_as<int32_t>(d[i]));
}

} // namespace

KRN_KERNEL(product_s8, ProductParams, 32, 1) {
    product<4, int32_t>(p, [](auto &d, auto &a, auto &b) { ptx::mma_m16n8k32_s8(d, a, b); });
}
KRN_KERNEL(product_u8s8, ProductParams, 32, 1) {
    product<4, int32_t>(p, [](auto &d, auto &a, auto &b) { ptx::mma_m16n8k32_u8s8(d, a, b); });
}
KRN_KERNEL(product_s8u8, ProductParams, 32, 1) {
    product<4, int32_t>(p, [](auto &d, auto &a, auto &b) { ptx::mma_m16n8k32_s8u8(d, a, b); });
}
KRN_KERNEL(product_s4, ProductParams, 32, 1) {
    product<8, int32_t>(p, [](auto &d, auto &a, auto &b) { ptx::mma_m16n8k64_s4(d, a, b); });
}
KRN_KERNEL(product_s4u4, ProductParams, 32, 1) {
    product<8, int32_t>(p, [](auto &d, auto &a, auto &b) { ptx::mma_m16n8k64_s4u4(d, a, b); });
}
KRN_KERNEL(product_f16, ProductParams, 32, 1) {
    product<2, float>(p, [](auto &d, auto &a, auto &b) { ptx::mma_m16n8k16_f16(d, a, b); });
}
KRN_KERNEL(product_bf16, ProductParams, 32, 1) {
    product<2, float>(p, [](auto &d, auto &a, auto &b) { ptx::mma_m16n8k16_bf16(d, a, b); });
}
/* Two products of k = 8 make one of k = 16. */
KRN_KERNEL(product_f16_k8, ProductParams, 32, 1) {
    product<2, float>(p, [](auto &d, auto &a, auto &b) {
        const uint32_t first[2] = {a[0], a[1]}, second[2] = {a[2], a[3]};
        ptx::mma_m16n8k8_f16(d, first, b[0]);
        ptx::mma_m16n8k8_f16(d, second, b[1]);
    });
}
KRN_KERNEL(product_bf16_k8, ProductParams, 32, 1) {
    product<2, float>(p, [](auto &d, auto &a, auto &b) {
        const uint32_t first[2] = {a[0], a[1]}, second[2] = {a[2], a[3]};
        ptx::mma_m16n8k8_bf16(d, first, b[0]);
        ptx::mma_m16n8k8_bf16(d, second, b[1]);
    });
}

namespace {

/* 4 matrices of 8 x 8 16-bit numbers, each number its own, to shared memory, to registers, to the results. */
struct MoveParams {
    const uint16_t *in; /* [4][8][8] */
    uint32_t *out;      /* [12][32] */
};

KRN_DEVICE void fill(const MoveParams &p) {
    for (int32_t i = ptx::lane(); i < 256; i += 32)
        ptx::store_shared(ptx::shared_base() + 2 * static_cast<uint32_t>(i), ptx::load_global(p.in + i));
    ptx::sync_warp();
}

} // namespace

KRN_KERNEL(move_matrices, MoveParams, 32, 1) {
    fill(p);
    const ptx::SharedAddress row = ptx::shared_base() + 16 * static_cast<uint32_t>(ptx::lane());
    uint32_t d[12];
    ptx::ldmatrix_x4(*reinterpret_cast<uint32_t(*)[4]>(d), row);
    ptx::ldmatrix_x4_trans(*reinterpret_cast<uint32_t(*)[4]>(d + 4), row);
    /* The addresses of the upper lanes are not used. */
    const ptx::SharedAddress row_x2 = ptx::lane() < 16 ? row : 1;
    ptx::ldmatrix_x2(*reinterpret_cast<uint32_t(*)[2]>(d + 8), row_x2);
    ptx::ldmatrix_x2_trans(*reinterpret_cast<uint32_t(*)[2]>(d + 10), row_x2);
    for (int32_t i = 0; i < 12; i++)
        ptx::store_global(p.out + i * 32 + ptx::lane(), d[i]);
}

/* stmatrix undoes ldmatrix, plain and transposed. */
KRN_KERNEL(move_matrices_back, MoveParams, 32, 1) {
    fill(p);
    const uint32_t lane = static_cast<uint32_t>(ptx::lane());
    uint32_t d[4];
    ptx::ldmatrix_x4(d, ptx::shared_base() + 16 * lane);
    ptx::stmatrix_x4(ptx::shared_base() + 512 + 16 * lane, d);
    ptx::stmatrix_x4_trans(ptx::shared_base() + 1024 + 16 * lane, d);
    const uint32_t half[2] = {d[2], d[3]};
    ptx::stmatrix_x2(ptx::shared_base() + 1536 + (lane < 16 ? 16 * lane : 1), half);
    ptx::sync_warp();
    for (int32_t i = 0; i < 9; i++)
        for (uint32_t j = lane; i < 9 && j < (i == 8 ? 64u : 32u); j += 32)
            ptx::store_global(
                p.out + i * 32 + static_cast<int32_t>(j),
                ptx::load_shared<uint32_t>(ptx::shared_base() + 512 + 128 * static_cast<uint32_t>(i) + 4 * j));
}

namespace {

struct LaneParams {
    int32_t *out; /* [16][32] */
};

} // namespace

KRN_KERNEL(talk_in_a_warp, LaneParams, 32, 1) {
    const int32_t lane = ptx::lane();
    int32_t *const out = p.out + lane;
    ptx::store_global(out, ptx::shuffle_xor(lane * 3, 5));
    ptx::store_global(out + 32, ptx::shuffle_down(lane, 3));
    ptx::store_global(out + 64, ptx::shuffle_up(lane, 3));
    ptx::store_global(out + 96, ptx::shuffle(lane, lane * 7));
    ptx::store_global(out + 128, static_cast<int32_t>(ptx::ballot(lane % 3 == 0)));
    ptx::store_global(out + 160, ptx::any(lane == 31) + 2 * ptx::all(lane < 32) + 4 * ptx::any(lane > 31));
    ptx::store_global(out + 192, ptx::reduce_max(lane == 7 ? -1 : -lane - 2));
    ptx::store_global(out + 224, ptx::reduce_add(lane));
    ptx::store_global(out + 256, static_cast<int32_t>(ptx::match_any(static_cast<uint32_t>(lane % 5))));
    ptx::store_global(out + 288, ptx::sync_threads_count(lane < 11));
    /* Each half of the warp by itself. */
    const uint32_t half = lane < 16 ? 0xFFFFu : 0xFFFF0000u;
    ptx::store_global(out + 320, static_cast<int32_t>(ptx::reduce_min(static_cast<uint32_t>(lane), half)));
}

namespace {

struct TurnParams {
    int32_t *turn, *out;
};

} // namespace

/* Blocks take turns from the last to the first, which the first waits for: they must run side by side. */
KRN_KERNEL(take_turns, TurnParams, 32, 1) {
    if (ptx::lane() != 0)
        return;
    const int32_t own = ptx::grid_x() - 1 - ptx::block_x();
    while (ptx::load_acquire_gpu(p.turn) != own)
        continue;
    /* Asking again and again is no deadlock. */
    for (int32_t i = 0; i < 50; i++)
        ptx::atomic_or(p.turn, 0);
    ptx::store_global(p.out + ptx::block_x(), ptx::load_acquire_gpu(p.turn));
    ptx::atomic_add_release_gpu(p.turn, 1);
}

namespace {

enum class Kind { INTEGER, F16, BF16 };

int32_t element(test_random &random, Kind kind, int64_t low, int64_t high) {
    if (kind == Kind::INTEGER)
        return static_cast<int32_t>(random_between(&random, low, high));
    const float x = random_activation(&random);
    return kind == Kind::F16 ? krn_f32_to_f16(x) : krn_f32_to_bf16(x);
}

double value(int32_t bits, Kind kind) {
    if (kind == Kind::INTEGER)
        return bits;
    const auto half = static_cast<uint16_t>(bits);
    return static_cast<double>(kind == Kind::F16 ? krn_f16_to_f32(half) : krn_bf16_to_f32(half));
}

struct Product {
    const char *kernel;
    int32_t k;
    Kind kind;
    int64_t a_low, a_high, b_low, b_high;
};

void check_product(krn_cuda_context *context, const Product &c, test_random &random) {
    std::vector<int32_t> a(static_cast<size_t>(16 * c.k)), b(static_cast<size_t>(8 * c.k));
    int32_t d[16][8];
    for (int32_t &x : a)
        x = element(random, c.kind, c.a_low, c.a_high);
    for (int32_t &x : b)
        x = element(random, c.kind, c.b_low, c.b_high);
    const ProductParams params = {
        static_cast<const int32_t *>(cuda_copy_of(context, a.data(), static_cast<int64_t>(a.size() * 4))),
        static_cast<const int32_t *>(cuda_copy_of(context, b.data(), static_cast<int64_t>(b.size() * 4))),
        static_cast<int32_t *>(cuda_allocate(context, sizeof d))};
    const uint32_t blocks[3] = {1, 1, 1};
    CHECK_OK(krn_cuda_run(context, c.kernel, blocks, 32, 0, &params, sizeof params, nullptr));
    cuda_read(context, d, params.d, sizeof d);
    for (int32_t row = 0; row < 16; row++)
        for (int32_t col = 0; col < 8; col++) {
            double sum = row * 100 + col, magnitude = sum;
            for (int32_t k = 0; k < c.k; k++) {
                const double term = value(a[static_cast<size_t>(row * c.k + k)], c.kind) *
                                    value(b[static_cast<size_t>(k * 8 + col)], c.kind);
                sum += term;
                magnitude += std::fabs(term);
            }
            float as_float;
            memcpy(&as_float, &d[row][col], sizeof as_float);
            const double actual = c.kind == Kind::INTEGER ? d[row][col] : static_cast<double>(as_float);
            const double bound = c.kind == Kind::INTEGER ? 0 : (c.k + 1) * 0x1p-23 * magnitude;
            CHECK(std::fabs(actual - sum) <= bound, "%s: d[%d][%d] is %.9g, expected %.9g", c.kernel, row, col, actual,
                  sum);
        }
    cuda_free_all(context);
}

uint16_t number(int32_t matrix, int32_t row, int32_t col) {
    return static_cast<uint16_t>(matrix * 1000 + row * 100 + col * 3 + 1);
}

void check_moves(krn_cuda_context *context) {
    uint16_t in[4][8][8], back[4][4][8][8];
    uint32_t out[12][32];
    for (int32_t m = 0; m < 4; m++)
        for (int32_t r = 0; r < 8; r++)
            for (int32_t c = 0; c < 8; c++)
                in[m][r][c] = number(m, r, c);
    const MoveParams params = {static_cast<const uint16_t *>(cuda_copy_of(context, in, sizeof in)),
                               static_cast<uint32_t *>(cuda_allocate(context, sizeof back))};
    const uint32_t blocks[3] = {1, 1, 1};
    CHECK_OK(krn_cuda_run(context, "move_matrices", blocks, 32, 512, &params, sizeof params, nullptr));
    cuda_read(context, out, params.out, sizeof out);
    for (int32_t i = 0; i < 12; i++)
        for (int32_t lane = 0; lane < 32; lane++) {
            const bool transposed = (i >= 4 && i < 8) || i >= 10;
            const int32_t matrix = i < 8 ? i % 4 : i % 2, major = lane / 4, minor = lane % 4 * 2;
            const uint32_t low = transposed ? number(matrix, minor, major) : number(matrix, major, minor);
            const uint32_t high = transposed ? number(matrix, minor + 1, major) : number(matrix, major, minor + 1);
            CHECK(out[i][lane] == (high << 16 | low), "ldmatrix: register %d of lane %d is %08x", i, lane,
                  out[i][lane]);
        }
    CHECK_OK(krn_cuda_run(context, "move_matrices_back", blocks, 32, 2048, &params, sizeof params, nullptr));
    cuda_read(context, back, params.out, 512 * 2 + 256);
    for (int32_t m = 0; m < 4; m++)
        for (int32_t r = 0; r < 8; r++)
            for (int32_t c = 0; c < 8; c++) {
                CHECK(back[0][m][r][c] == in[m][r][c], "stmatrix: matrix %d, row %d, column %d", m, r, c);
                CHECK(back[1][m][r][c] == in[m][c][r], "stmatrix.trans: matrix %d, row %d, column %d", m, r, c);
                CHECK(m >= 2 || back[2][m][r][c] == in[m + 2][r][c], "stmatrix.x2: matrix %d, row %d, column %d", m, r,
                      c);
            }
    cuda_free_all(context);
}

void check_warp(krn_cuda_context *context) {
    int32_t out[16][32];
    const LaneParams params = {static_cast<int32_t *>(cuda_allocate(context, sizeof out))};
    const uint32_t blocks[3] = {1, 1, 1};
    CHECK_OK(krn_cuda_run(context, "talk_in_a_warp", blocks, 32, 0, &params, sizeof params, nullptr));
    cuda_read(context, out, params.out, sizeof out);
    for (int32_t lane = 0; lane < 32; lane++) {
        uint32_t threes = 0, same = 0;
        for (int32_t i = 0; i < 32; i++) {
            threes |= i % 3 == 0 ? 1u << i : 0;
            same |= i % 5 == lane % 5 ? 1u << i : 0;
        }
        const int32_t expected[11] = {(lane ^ 5) * 3,
                                      lane + 3 > 31 ? lane : lane + 3,
                                      lane < 3 ? lane : lane - 3,
                                      lane * 7 % 32,
                                      static_cast<int32_t>(threes),
                                      3,
                                      -1,
                                      496,
                                      static_cast<int32_t>(same),
                                      11,
                                      lane < 16 ? 0 : 16};
        for (int32_t i = 0; i < 11; i++)
            CHECK(out[i][lane] == expected[i], "operation %d, lane %d: %d, expected %d", i, lane, out[i][lane],
                  expected[i]);
    }
    cuda_free_all(context);
}

void check_turns(krn_cuda_context *context) {
    constexpr int32_t BLOCKS = 7;
    const int32_t zero = 0;
    int32_t out[BLOCKS];
    const TurnParams params = {static_cast<int32_t *>(cuda_copy_of(context, &zero, sizeof zero)),
                               static_cast<int32_t *>(cuda_allocate(context, sizeof out))};
    const uint32_t blocks[3] = {BLOCKS, 1, 1};
    CHECK_OK(krn_cuda_run(context, "take_turns", blocks, 32, 0, &params, sizeof params, nullptr));
    cuda_read(context, out, params.out, sizeof out);
    for (int32_t i = 0; i < BLOCKS; i++)
        CHECK(out[i] == BLOCKS - 1 - i, "block %d had turn %d", i, out[i]);
    cuda_free_all(context);
}

} // namespace

int main() {
    test_random random = {1};
    /* stmatrix is an instruction of 9.0. */
    krn_cuda_context *const context = cuda_context_of(KRN_CUDA_CLASS_AUTO);
    const Product products[] = {
        {"product_s8", 32, Kind::INTEGER, -128, 127, -128, 127},
        {"product_u8s8", 32, Kind::INTEGER, 0, 255, -128, 127},
        {"product_s8u8", 32, Kind::INTEGER, -128, 127, 0, 255},
        {"product_s4", 64, Kind::INTEGER, -8, 7, -8, 7},
        {"product_s4u4", 64, Kind::INTEGER, -8, 7, 0, 15},
        {"product_f16", 16, Kind::F16, 0, 0, 0, 0},
        {"product_bf16", 16, Kind::BF16, 0, 0, 0, 0},
        {"product_f16_k8", 16, Kind::F16, 0, 0, 0, 0},
        {"product_bf16_k8", 16, Kind::BF16, 0, 0, 0, 0},
    };
    for (const Product &product : products)
        check_product(context, product, random);
    check_moves(context);
    check_warp(context);
    check_turns(context);
    krn_cuda_context_destroy(context);
    return 0;
}
