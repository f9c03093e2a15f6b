/* A tile of a W8A8 GEMM as kernels do it: stages of cp.async, ldmatrix from swizzled rows, mma, 8 warps; against a
 * plain product. It is also what the emulator's speed is measured by. */
#include "cuda_device.h"

#include "cuda/common/context.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/copy_async.h"
#include "cuda/ptx/matrix.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/mma.h"

#include <cstring>
#include <vector>

namespace {

struct Params {
    const int8_t *a; /* [M][k] */
    const int8_t *b; /* [N][k] */
    int32_t *d;      /* [M][N] */
    int32_t k;
};

constexpr int32_t M = 128, N = 256, DEPTH = 64, STAGES = 3, THREADS = 256;
constexpr uint32_t STAGE_BYTES = (M + N) * DEPTH;

/* Rows of 64 bytes: their 16-byte chunks are exchanged so that 8 rows meet all banks. */
KRN_DEVICE uint32_t chunk_at(int32_t row, int32_t chunk) {
    return static_cast<uint32_t>(row * DEPTH + (chunk ^ row / 2 % 4) * 16);
}

KRN_DEVICE void load_stage(const Params &p, int32_t step) {
    const ptx::SharedAddress stage = ptx::shared_base() + static_cast<uint32_t>(step % STAGES) * STAGE_BYTES;
    if (step * DEPTH < p.k)
        for (int32_t i = ptx::thread_x(); i < (M + N) * 4; i += THREADS) {
            const int32_t row = i / 4, chunk = i % 4;
            const int8_t *const from = row < M ? p.a + row * p.k : p.b + (row - M) * p.k;
            ptx::cp_async_16(stage + chunk_at(row, chunk), from + step * DEPTH + chunk * 16);
        }
    ptx::cp_async_commit();
}

} // namespace

KRN_KERNEL(gemm_tile_s8, Params, THREADS, 1) {
    /* Warps in 2 x 4, each with 64 x 64 of the product. */
    const int32_t m0 = ptx::warp() / 4 * 64, n0 = ptx::warp() % 4 * 64, lane = ptx::lane();
    int32_t d[4][8][4] = {};
    for (int32_t s = 0; s < STAGES - 1; s++)
        load_stage(p, s);
    for (int32_t step = 0; step * DEPTH < p.k; step++) {
        ptx::cp_async_wait<STAGES - 2>();
        ptx::sync_threads();
        load_stage(p, step + STAGES - 1);
        const ptx::SharedAddress stage = ptx::shared_base() + static_cast<uint32_t>(step % STAGES) * STAGE_BYTES;
        for (int32_t k = 0; k < DEPTH / 32; k++) {
            uint32_t a[4][4], b[8][2];
            for (int32_t i = 0; i < 4; i++)
                ptx::ldmatrix_x4(a[i], stage + chunk_at(m0 + 16 * i + lane % 16, 2 * k + lane / 16));
            for (int32_t j = 0; j < 8; j++)
                ptx::ldmatrix_x2(b[j], stage + chunk_at(M + n0 + 8 * j + lane % 8, 2 * k + lane / 8 % 2));
            for (int32_t i = 0; i < 4; i++)
                for (int32_t j = 0; j < 8; j++)
                    ptx::mma_m16n8k32_s8(d[i][j], a[i], b[j]);
        }
    }
    ptx::cp_async_wait_all();
    for (int32_t i = 0; i < 4; i++)
        for (int32_t j = 0; j < 8; j++)
            for (int32_t r = 0; r < 4; r++)
                ptx::store_global(p.d + (m0 + 16 * i + lane / 4 + r / 2 * 8) * N + n0 + 8 * j + lane % 4 * 2 + r % 2,
                                  d[i][j][r]);
}

int main() {
    constexpr int32_t K = 512;
    test_random random = {1};
    krn_cuda_context *const context = cuda_context_of(KRN_CUDA_CLASS_AUTO);
    std::vector<int8_t> a(M * K), b(N * K);
    std::vector<int32_t> d(M * N);
    for (int8_t &x : a)
        x = static_cast<int8_t>(random_next(&random));
    for (int8_t &x : b)
        x = static_cast<int8_t>(random_next(&random));
    const Params params = {static_cast<const int8_t *>(cuda_copy_of(context, a.data(), M * K)),
                           static_cast<const int8_t *>(cuda_copy_of(context, b.data(), N * K)),
                           static_cast<int32_t *>(cuda_allocate(context, M * N * 4)), K};
    const uint32_t blocks[3] = {1, 1, 1};
    CHECK_OK(
        krn_cuda_run(context, "gemm_tile_s8", blocks, THREADS, STAGES * STAGE_BYTES, &params, sizeof params, nullptr));
    cuda_read(context, d.data(), params.d, M * N * 4);
    for (int32_t m = 0; m < M; m++)
        for (int32_t n = 0; n < N; n++) {
            int32_t sum = 0;
            for (int32_t k = 0; k < K; k++)
                sum += a[static_cast<size_t>(m * K + k)] * b[static_cast<size_t>(n * K + k)];
            CHECK(d[static_cast<size_t>(m * N + n)] == sum, "d[%d][%d] is %d, expected %d", m, n,
                  d[static_cast<size_t>(m * N + n)], sum);
        }
    cuda_free_all(context);
    krn_cuda_context_destroy(context);
    return 0;
}
