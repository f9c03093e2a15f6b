/* mbarriers and the copy engine: where boxes land under each swizzle, what lies outside of a tensor, stores, phases. */
#include "cuda_device.h"

#include "cuda/common/context.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/mbarrier.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/tma.h"

#include <cstring>
#include <initializer_list>
#include <vector>

namespace {

constexpr int32_t WIDTH = 160, HEIGHT = 70, DEPTH = 3; /* bytes, rows, planes */
constexpr int32_t ROWS = 16;

struct LoadParams {
    krn_cuda_tensor_map map;
    uint8_t *out;
    int32_t x, y, z, rank, bytes;
};

} // namespace

/* One box, as it lies in shared memory. */
KRN_KERNEL(load_box, LoadParams, 128, 1) {
    const ptx::SharedAddress box = ptx::shared_base(), mbarrier = box + 8192;
    if (ptx::thread_x() == 0) {
        ptx::prefetch_tensor_map(&p.map);
        ptx::mbarrier_init(mbarrier, 1);
        ptx::fence_mbarrier_init();
    }
    ptx::sync_threads();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier, p.bytes);
        if (p.rank == 2)
            ptx::tma_load_2d(box, &p.map, mbarrier, p.x, p.y);
        else
            ptx::tma_load_3d(box, &p.map, mbarrier, p.x, p.y, p.z);
    }
    ptx::mbarrier_wait(mbarrier, 0);
    for (int32_t i = ptx::thread_x(); i < p.bytes; i += ptx::block_threads())
        ptx::store_global(p.out + i, ptx::load_shared<uint8_t>(box + static_cast<uint32_t>(i)));
}

/* Row r, column c of a box filled with 7 r + c, to the tensor. */
KRN_KERNEL(store_box, LoadParams, 128, 1) {
    for (int32_t i = ptx::thread_x(); i < p.bytes; i += ptx::block_threads()) {
        const int32_t row = i / 64, col = i % 64, chunk = col / 16 ^ row / 2 % 4;
        ptx::store_shared(ptx::shared_base() + static_cast<uint32_t>(row * 64 + chunk * 16 + col % 16),
                          static_cast<uint8_t>(7 * row + col));
    }
    ptx::fence_proxy_async();
    ptx::sync_threads();
    if (ptx::thread_x() == 0) {
        ptx::tma_store_2d(&p.map, ptx::shared_base(), p.x, p.y);
        ptx::bulk_commit();
        ptx::bulk_wait_read<0>();
    }
    ptx::sync_threads();
    ptx::store_shared(ptx::shared_base() + static_cast<uint32_t>(ptx::thread_x()), uint8_t{0});
}

namespace {

struct PipelineParams {
    const int32_t *in;
    int32_t *out;
    int32_t steps;
};

} // namespace

/* A producer warp and a consumer warp over two stages of 128 bytes: every phase of four mbarriers in turn. */
KRN_KERNEL(double_in_stages, PipelineParams, 64, 1) {
    const auto full = [](int32_t s) { return ptx::shared_base() + 512 + 8 * static_cast<uint32_t>(s); };
    const auto empty = [](int32_t s) { return ptx::shared_base() + 528 + 8 * static_cast<uint32_t>(s); };
    const auto stage = [](int32_t s) { return ptx::shared_base() + 128 * static_cast<uint32_t>(s); };
    if (ptx::thread_x() == 0) {
        for (int32_t s = 0; s < 2; s++) {
            ptx::mbarrier_init(full(s), 1);
            ptx::mbarrier_init(empty(s), 32);
        }
        ptx::fence_mbarrier_init();
    }
    ptx::sync_threads();
    for (int32_t i = 0; i < p.steps; i++) {
        const int32_t s = i % 2, round = i / 2;
        if (ptx::warp() == 0 && ptx::lane() == 0) {
            /* The phase before the first counts as ended. */
            ptx::mbarrier_wait(empty(s), (round + 1) & 1);
            ptx::mbarrier_arrive_expect(full(s), 128);
            ptx::bulk_load(stage(s), p.in + 32 * i, 128, full(s));
        } else if (ptx::warp() == 1) {
            ptx::mbarrier_wait(full(s), round & 1);
            const int32_t x = ptx::load_shared<int32_t>(stage(s) + 4 * static_cast<uint32_t>(ptx::lane()));
            ptx::mbarrier_arrive(empty(s));
            ptx::store_global(p.out + 32 * i + ptx::lane(), 2 * x);
        }
    }
}

namespace {

uint8_t byte_of(int32_t x, int32_t y, int32_t z) { return static_cast<uint8_t>(x * 3 + y * 17 + z * 101 + 1); }

/* Where the chunk lies that is number `chunk` of row `row`, written from the drawings of the swizzles. */
int32_t place(int32_t row, int32_t chunk, int32_t swizzle) {
    switch (swizzle) {
    case 128: return chunk ^ row % 8;
    case 64: return chunk ^ row / 2 % 4;
    case 32: return chunk ^ row / 4 % 2;
    default: return chunk;
    }
}

krn_cuda_tensor_map_desc describe(void *tensor, int32_t rank, int32_t swizzle, uint32_t row_bytes) {
    krn_cuda_tensor_map_desc desc = {};
    desc.address = tensor;
    desc.sizes[0] = WIDTH;
    desc.sizes[1] = HEIGHT;
    desc.sizes[2] = DEPTH;
    desc.strides_bytes[1] = WIDTH;
    desc.strides_bytes[2] = WIDTH * HEIGHT;
    desc.box[0] = row_bytes;
    desc.box[1] = rank == 3 ? ROWS / 2 : ROWS;
    desc.box[2] = 2;
    desc.rank = rank;
    desc.element_bytes = 1;
    desc.swizzle = swizzle;
    return desc;
}

void check_loads(krn_cuda_context *context, void *tensor, int32_t rank, int32_t swizzle) {
    const int32_t row_bytes = swizzle == 0 ? 48 : swizzle;
    const krn_cuda_tensor_map_desc desc = describe(tensor, rank, swizzle, static_cast<uint32_t>(row_bytes));
    /* Inside, and across each edge. */
    const int32_t corners[][3] = {{16, 5, 0}, {-20, -3, -1}, {WIDTH - 10, HEIGHT - 9, DEPTH - 1}, {0, HEIGHT, 0}};
    for (const auto &corner : corners) {
        std::vector<uint8_t> out(static_cast<size_t>(row_bytes * ROWS));
        LoadParams params = {};
        CHECK_OK(context->backend->tensor_map(context->state, &params.map, &desc));
        params.out = static_cast<uint8_t *>(cuda_allocate(context, static_cast<int64_t>(out.size())));
        params.x = corner[0];
        params.y = corner[1];
        params.z = corner[2];
        params.rank = rank;
        params.bytes = row_bytes * ROWS;
        const uint32_t blocks[3] = {1, 1, 1};
        CHECK_OK(krn_cuda_run(context, "load_box", blocks, 128, 8200, &params, sizeof params, nullptr));
        cuda_read(context, out.data(), params.out, static_cast<int64_t>(out.size()));
        for (int32_t row = 0; row < ROWS; row++)
            for (int32_t col = 0; col < row_bytes; col++) {
                const int32_t x = corner[0] + col, y = corner[1] + (rank == 3 ? row % (ROWS / 2) : row);
                const int32_t z = rank == 3 ? corner[2] + row / (ROWS / 2) : 0;
                const bool is_inside = x >= 0 && x < WIDTH && y >= 0 && y < HEIGHT && z >= 0 && z < DEPTH;
                const int32_t at = row * row_bytes + place(row, col / 16, swizzle) * 16 + col % 16;
                const int32_t actual = out[static_cast<size_t>(at)], expected = is_inside ? byte_of(x, y, z) : 0;
                CHECK(actual == expected, "rank %d, swizzle %d: row %d, column %d is %d, expected %d", rank, swizzle,
                      row, col, actual, expected);
            }
    }
}

void check_store(krn_cuda_context *context) {
    const std::vector<uint8_t> zeros(WIDTH * HEIGHT);
    std::vector<uint8_t> out(zeros.size());
    const krn_cuda_tensor_map_desc desc =
        describe(cuda_copy_of(context, zeros.data(), WIDTH * HEIGHT), 2, KRN_CUDA_SWIZZLE_64, 64);
    LoadParams params = {};
    CHECK_OK(context->backend->tensor_map(context->state, &params.map, &desc));
    params.x = WIDTH - 40;
    params.y = -2;
    params.bytes = 64 * ROWS;
    const uint32_t blocks[3] = {1, 1, 1};
    CHECK_OK(krn_cuda_run(context, "store_box", blocks, 128, 1024, &params, sizeof params, nullptr));
    cuda_read(context, out.data(), desc.address, WIDTH * HEIGHT);
    for (int32_t y = 0; y < HEIGHT; y++)
        for (int32_t x = 0; x < WIDTH; x++) {
            const bool is_inside = y < ROWS - 2 && x >= params.x;
            const uint8_t expected = is_inside ? static_cast<uint8_t>(7 * (y + 2) + x - params.x) : 0;
            CHECK(out[static_cast<size_t>(y * WIDTH + x)] == expected, "after a store, row %d, column %d", y, x);
        }
}

void check_stages(krn_cuda_context *context) {
    constexpr int32_t STEPS = 7;
    int32_t in[32 * STEPS], out[32 * STEPS];
    for (int32_t i = 0; i < 32 * STEPS; i++)
        in[i] = i * i;
    const PipelineParams params = {static_cast<const int32_t *>(cuda_copy_of(context, in, sizeof in)),
                                   static_cast<int32_t *>(cuda_allocate(context, sizeof out)), STEPS};
    const uint32_t blocks[3] = {1, 1, 1};
    CHECK_OK(krn_cuda_run(context, "double_in_stages", blocks, 64, 544, &params, sizeof params, nullptr));
    cuda_read(context, out, params.out, sizeof out);
    for (int32_t i = 0; i < 32 * STEPS; i++)
        CHECK(out[i] == 2 * i * i, "number %d through the stages is %d", i, out[i]);
}

/* What the driver refuses, the emulator refuses. */
void check_refusals(krn_cuda_context *context, void *tensor) {
    krn_cuda_tensor_map map;
    const krn_cuda_tensor_map_desc good = describe(tensor, 2, KRN_CUDA_SWIZZLE_64, 64);
    krn_cuda_tensor_map_desc bad[6] = {good, good, good, good, good, good};
    bad[0].address = static_cast<uint8_t *>(tensor) + 8;
    bad[1].strides_bytes[1] = 100;
    bad[2].box[0] = 80;
    bad[3].box[1] = 257;
    bad[4].rank = 6;
    bad[5].element_bytes = 3;
    CHECK_OK(context->backend->tensor_map(context->state, &map, &good));
    for (const krn_cuda_tensor_map_desc &desc : bad)
        CHECK_STATUS(context->backend->tensor_map(context->state, &map, &desc), KRN_ERROR_INVALID_ARGUMENT);
}

} // namespace

int main() {
    int32_t classes[4];
    if (classes[cuda_classes(classes) - 1] < KRN_CUDA_CLASS_SM90A) {
        printf("skipped: the device has no copy engine\n");
        return 77;
    }
    krn_cuda_context *const context = cuda_context_of(KRN_CUDA_CLASS_SM90A);
    std::vector<uint8_t> tensor(WIDTH * HEIGHT * DEPTH);
    for (int32_t z = 0; z < DEPTH; z++)
        for (int32_t y = 0; y < HEIGHT; y++)
            for (int32_t x = 0; x < WIDTH; x++)
                tensor[static_cast<size_t>((z * HEIGHT + y) * WIDTH + x)] = byte_of(x, y, z);
    void *const on_device = cuda_copy_of(context, tensor.data(), static_cast<int64_t>(tensor.size()));
    for (const int32_t swizzle : {0, 32, 64, 128}) {
        check_loads(context, on_device, 2, swizzle);
        check_loads(context, on_device, 3, swizzle);
    }
    check_store(context);
    check_stages(context);
    check_refusals(context, on_device);
    cuda_free_all(context);
    krn_cuda_context_destroy(context);
    return 0;
}
