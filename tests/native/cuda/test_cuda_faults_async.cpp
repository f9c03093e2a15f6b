/* The faults around mbarriers, the copy engine and wgmma, planted: each kernel is sound with `planted` = 0. */
#include "cuda_device.h"

#include "cuda/common/context.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/mbarrier.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/tma.h"
#include "cuda/ptx/wgmma.h"

#include <cstring>
#include <initializer_list>

namespace {

struct Params {
    krn_cuda_tensor_map map; /* of data: 16 rows of 64 bytes */
    int32_t *data;           /* WORDS words */
    int32_t planted;
};

constexpr int32_t WORDS = 256;

/* Two mbarriers of one arrival each, ready for use by the block. */
KRN_DEVICE ptx::SharedAddress mbarrier(int32_t i) { return ptx::shared_base() + 16384 + 8 * static_cast<uint32_t>(i); }

KRN_DEVICE void make_mbarriers() {
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_init(mbarrier(0), 1);
        ptx::mbarrier_init(mbarrier(1), 1);
        ptx::fence_mbarrier_init();
    }
    ptx::sync_threads();
}

/* 64 words each to shared memory at 0 and at 256, told to the two mbarriers. */
KRN_DEVICE void load_both(const Params &p) {
    if (ptx::thread_x() != 0)
        return;
    for (int32_t i = 0; i < 2; i++) {
        ptx::mbarrier_arrive_expect(mbarrier(i), 256);
        ptx::bulk_load(ptx::shared_base() + 256 * static_cast<uint32_t>(i), p.data + 64 * i, 256, mbarrier(i));
    }
}

KRN_DEVICE int32_t own_word(int32_t half) {
    return ptx::load_shared<int32_t>(ptx::shared_base() + 256 * static_cast<uint32_t>(half) +
                                     4 * static_cast<uint32_t>(ptx::thread_x() % 64));
}

} // namespace

KRN_KERNEL(async_read_before_wait, Params, 64, 1) {
    make_mbarriers();
    load_both(p);
    ptx::sync_threads();
    if (!p.planted)
        ptx::mbarrier_wait(mbarrier(0), 0);
    own_word(0);
    ptx::mbarrier_wait(mbarrier(0), 0);
    ptx::mbarrier_wait(mbarrier(1), 0);
}

/* Who waits for one stage may not read the other, though it has landed by then. */
KRN_KERNEL(async_read_other_stage, Params, 64, 1) {
    make_mbarriers();
    load_both(p);
    if (ptx::thread_x() == 1)
        ptx::mbarrier_wait(mbarrier(0), 0);
    ptx::mbarrier_wait(mbarrier(1), 0);
    if (ptx::thread_x() != 1)
        own_word(1 - p.planted);
}

KRN_KERNEL(async_too_few_bytes, Params, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), p.planted ? 512 : 256);
        ptx::bulk_load(ptx::shared_base(), p.data, 256, mbarrier(0));
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_nobody_arrives, Params, 64, 1) {
    make_mbarriers();
    if (ptx::warp() == 0 && ptx::lane() == 0 && !p.planted)
        ptx::mbarrier_arrive(mbarrier(0));
    if (ptx::warp() == 1)
        ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_no_mbarrier, Params, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0)
        ptx::mbarrier_arrive(mbarrier(2 * p.planted));
}

KRN_KERNEL(async_initialised_twice, Params, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0 && p.planted)
        ptx::mbarrier_init(mbarrier(1), 1);
}

KRN_KERNEL(async_initialisation_race, Params, 64, 1) {
    if (ptx::thread_x() == 0)
        ptx::mbarrier_init(mbarrier(0), 64);
    if (!p.planted)
        ptx::sync_threads();
    ptx::mbarrier_arrive(mbarrier(0));
}

KRN_KERNEL(async_too_many_arrivals, Params, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), 256);
        if (p.planted)
            ptx::mbarrier_arrive(mbarrier(0));
        ptx::bulk_load(ptx::shared_base(), p.data, 256, mbarrier(0));
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_plain_store_on_mbarrier, Params, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0)
        ptx::store_shared(mbarrier(2 - p.planted), 0);
}

/* The next load comes while another warp may still read the last one. */
KRN_KERNEL(async_stage_taken_back, Params, 64, 1) {
    make_mbarriers();
    load_both(p);
    ptx::mbarrier_wait(mbarrier(0), 0);
    ptx::mbarrier_wait(mbarrier(1), 0);
    own_word(0);
    if (!p.planted)
        ptx::sync_threads();
    load_both(p);
    ptx::mbarrier_wait(mbarrier(0), 1);
    ptx::mbarrier_wait(mbarrier(1), 1);
}

KRN_KERNEL(async_end_in_flight, Params, 32, 1) {
    make_mbarriers();
    load_both(p);
    if (!p.planted) {
        ptx::mbarrier_wait(mbarrier(0), 0);
        ptx::mbarrier_wait(mbarrier(1), 0);
    }
}

KRN_KERNEL(async_load_behind, Params, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), 256);
        ptx::bulk_load(ptx::shared_base(), p.data + WORDS - 64 + 4 * p.planted, 256, mbarrier(0));
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_bytes_not_of_16, Params, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), 16 + 8 * p.planted);
        ptx::bulk_load(ptx::shared_base(), p.data, 16 + 8 * p.planted, mbarrier(0));
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_box_misaligned, Params, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), 1024);
        ptx::tma_load_2d(ptx::shared_base() + 256 * static_cast<uint32_t>(p.planted), &p.map, mbarrier(0), 0, 0);
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_box_of_other_rank, Params, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), 1024);
        if (p.planted)
            ptx::tma_load_3d(ptx::shared_base(), &p.map, mbarrier(0), 0, 0, 0);
        else
            ptx::tma_load_2d(ptx::shared_base(), &p.map, mbarrier(0), 0, 0);
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_store_without_fence, Params, 64, 1) {
    ptx::store_shared(ptx::shared_base() + 4 * static_cast<uint32_t>(ptx::thread_x()), 1);
    if (!p.planted)
        ptx::fence_proxy_async();
    ptx::sync_threads();
    if (ptx::thread_x() == 0) {
        ptx::bulk_store(p.data, ptx::shared_base(), 256);
        ptx::bulk_commit();
        ptx::bulk_wait<0>();
    }
}

KRN_KERNEL(async_store_source_overwritten, Params, 32, 1) {
    if (ptx::thread_x() != 0)
        return;
    ptx::store_shared(ptx::shared_base(), ptx::U32x4{1, 2, 3, 4});
    ptx::fence_proxy_async();
    ptx::bulk_store(p.data, ptx::shared_base(), 16);
    ptx::bulk_commit();
    if (!p.planted)
        ptx::bulk_wait_read<0>();
    ptx::store_shared(ptx::shared_base(), 5);
    ptx::bulk_wait<0>();
}

KRN_KERNEL(async_store_left_in_flight, Params, 32, 1) {
    if (ptx::thread_x() != 0)
        return;
    ptx::store_shared(ptx::shared_base(), ptx::U32x4{1, 2, 3, 4});
    ptx::fence_proxy_async();
    ptx::bulk_store(p.data, ptx::shared_base(), 16);
    ptx::bulk_commit();
    if (!p.planted)
        ptx::bulk_wait<0>();
}

namespace {

/* Fills two operands of 64 x 32 bytes without a swizzle, a at 0 and b at 2048. */
KRN_DEVICE void fill_operands(bool with_fence) {
    for (uint32_t i = static_cast<uint32_t>(ptx::thread_x()) * 16; i < 4096; i += 128 * 16)
        ptx::store_shared(ptx::shared_base() + i, ptx::U32x4{i, 1, 2, 3});
    if (with_fence)
        ptx::fence_proxy_async();
}

KRN_DEVICE uint64_t operand(uint32_t offset) {
    return ptx::wgmma_descriptor(ptx::shared_base() + offset, ptx::Swizzle::NONE, 1024, 128);
}

} // namespace

KRN_KERNEL(wgmma_without_proxy_fence, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(!p.planted);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_without_barrier, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    if (!p.planted)
        ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_without_fence, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    if (!p.planted)
        ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_accumulator_written, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    if (p.planted && ptx::thread_x() == 77)
        d[5] = 0;
    ptx::wgmma_wait<0>();
    ptx::store_global(p.data + ptx::thread_x(), d[5]);
}

KRN_KERNEL(wgmma_accumulator_stored, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    if (!p.planted)
        ptx::wgmma_wait<0>();
    ptx::store_global(p.data + ptx::thread_x(), d[5]);
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_operand_overwritten, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    if (!p.planted)
        ptx::wgmma_wait<0>();
    ptx::sync_threads();
    fill_operands(true);
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_operand_never_written, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(p.planted ? 2048 + 128 : 2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_operand_outside, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(p.planted ? 65536 : 2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_base_offset, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048) | static_cast<uint64_t>(p.planted) << 49);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_descriptors_differ, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(p.planted && ptx::warp() == 2 ? 0 : 2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_diverged, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    if (!p.planted || ptx::thread_x() < 100)
        ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_left_in_flight, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    if (!p.planted)
        ptx::wgmma_wait<0>();
}

/* A group that was not committed is in no group that can be waited for. */
KRN_KERNEL(wgmma_not_committed, Params, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    if (!p.planted)
        ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

namespace {

struct Fault {
    const char *kernel;
    uint32_t threads;
    const char *says;
};

const Fault faults[] = {
    {"async_read_before_wait", 64, "reads what an asynchronous copy has not been waited for"},
    {"async_read_other_stage", 64, "this thread has not waited on its mbarrier"},
    {"async_too_few_bytes", 32, "wait on the mbarrier at 0x4400, where 0 arrivals and 256 bytes are missing"},
    {"async_nobody_arrives", 64, "threads 32 to 63: wait on the mbarrier at 0x4400, where 1 arrivals"},
    {"async_no_mbarrier", 32, "where no mbarrier was initialised"},
    {"async_initialised_twice", 32, "where there is an mbarrier"},
    {"async_initialisation_race", 64, "races with its initialisation by thread 0"},
    {"async_too_many_arrivals", 32, "at which all 1 have arrived while 256 bytes are missing"},
    {"async_plain_store_on_mbarrier", 32, "writes where an asynchronous copy is in flight or an mbarrier is"},
    {"async_stage_taken_back", 64, "races with a read by thread 63"},
    {"async_end_in_flight", 32, "the block ends while bulk copies to shared address 0x400"},
    {"async_load_behind", 32, "into an allocation of 1024 bytes"},
    {"async_bytes_not_of_16", 32, "all are to be multiples of 16"},
    {"async_box_misaligned", 32, "is no multiple of 512"},
    {"async_box_of_other_rank", 32, "cp.async.bulk.tensor.3d with a tensor map of rank 2"},
    {"async_store_without_fence", 64, "no fence.proxy.async"},
    {"async_store_source_overwritten", 32, "writes what an asynchronous operation still reads"},
    {"async_store_left_in_flight", 32, "ends while its bulk stores are in flight"},
    {"wgmma_without_proxy_fence", 128, "no fence.proxy.async"},
    {"wgmma_without_barrier", 128, "races with a write by thread"},
    {"wgmma_without_fence", 128, "wgmma without wgmma.fence"},
    {"wgmma_accumulator_written", 128, "thread 77 wrote accumulator 5 while the product was in flight"},
    {"wgmma_accumulator_stored", 128, "stores an accumulator of a wgmma in flight"},
    {"wgmma_operand_overwritten", 128, "writes what an asynchronous operation still reads"},
    {"wgmma_operand_never_written", 128, "reads what was never written"},
    {"wgmma_operand_outside", 128, "is outside of shared memory"},
    {"wgmma_base_offset", 128, "has a base offset"},
    {"wgmma_descriptors_differ", 128, "differ in shape or descriptors"},
    {"wgmma_diverged", 128, "the warpgroup has diverged"},
    {"wgmma_left_in_flight", 128, "while wgmma of its warpgroup are in flight"},
    {"wgmma_not_committed", 128, "while wgmma of its warpgroup are in flight"},
};

void check(krn_cuda_context *context, const Fault &f, int32_t planted) {
    Params params = {};
    params.data = static_cast<int32_t *>(cuda_allocate(context, WORDS * 4));
    params.planted = planted;
    krn_cuda_tensor_map_desc desc = {};
    desc.address = params.data;
    desc.sizes[0] = 64;
    desc.sizes[1] = 16;
    desc.strides_bytes[1] = 64;
    desc.box[0] = 64;
    desc.box[1] = 16;
    desc.rank = 2;
    desc.element_bytes = 1;
    desc.swizzle = KRN_CUDA_SWIZZLE_64;
    CHECK_OK(context->backend->tensor_map(context->state, &params.map, &desc));
    const uint32_t blocks[3] = {1, 1, 1};
    const krn_status status =
        krn_cuda_run(context, f.kernel, blocks, f.threads, 16384 + 64, &params, sizeof params, nullptr);
    if (planted == 0)
        CHECK(status == KRN_OK, "%s, nothing planted: %s", f.kernel, krn_last_error());
    else
        CHECK(status == KRN_ERROR_KERNEL_FAULT && strstr(krn_last_error(), f.says) != nullptr &&
                  strstr(krn_last_error(), f.kernel) != nullptr,
              "%s gave %s: %s", f.kernel, krn_status_name(status), krn_last_error());
    cuda_free_all(context);
}

/* A device of compute capability 8.0 has none of this. */
void check_capability() {
    krn_cuda_context_options options = {};
    options.struct_size = sizeof options;
    options.device = 1;
    options.backend = cuda_backend();
    krn_cuda_context *context = nullptr;
    CHECK_OK(krn_cuda_context_create(&options, &context));
    CHECK(krn_cuda_context_class(context) == KRN_CUDA_CLASS_SM80, "device 1 of the emulator is not of class sm80");
    const Params params = {};
    const uint32_t blocks[3] = {1, 1, 1};
    for (const char *kernel : {"async_end_in_flight", "wgmma_without_fence"}) {
        const uint32_t threads = kernel[0] == 'a' ? 32 : 128;
        const krn_status status = krn_cuda_run(context, kernel, blocks, threads, 16448, &params, sizeof params, nullptr);
        CHECK(status == KRN_ERROR_KERNEL_FAULT && strstr(krn_last_error(), "compute capability 9.0") != nullptr,
              "%s on 8.0: %s, %s", kernel, krn_status_name(status), krn_last_error());
    }
    krn_cuda_context_destroy(context);
}

} // namespace

int main() {
    if (cuda_backend() == nullptr) {
        printf("skipped: faults are for the emulator\n");
        return 77;
    }
    krn_cuda_context *const context = cuda_context_of(KRN_CUDA_CLASS_SM90A);
    for (const Fault &f : faults) {
        check(context, f, 0);
        check(context, f, 1);
    }
    krn_cuda_context_destroy(context);
    check_capability();
    printf("%zu faults found\n", sizeof faults / sizeof faults[0]);
    return 0;
}
