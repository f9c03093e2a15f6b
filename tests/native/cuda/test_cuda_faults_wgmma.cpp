/* The faults around wgmma, planted. */
#include "cuda_faults.h"

#include "cuda/ptx/barrier.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/tma.h"
#include "cuda/ptx/wgmma.h"

namespace {

constexpr uint32_t SHARED_BYTES = 8192;

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

KRN_KERNEL(wgmma_without_proxy_fence, FaultParams, 128, 1) {
    int32_t d[32] = {};
    fill_operands(!p.planted);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_without_barrier, FaultParams, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    if (!p.planted)
        ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_without_fence, FaultParams, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    if (!p.planted)
        ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_accumulator_written, FaultParams, 128, 1) {
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

KRN_KERNEL(wgmma_accumulator_stored, FaultParams, 128, 1) {
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

KRN_KERNEL(wgmma_operand_overwritten, FaultParams, 128, 1) {
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

KRN_KERNEL(wgmma_operand_never_written, FaultParams, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(p.planted ? 2048 + 128 : 2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_operand_outside, FaultParams, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(p.planted ? 65536 : 2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_base_offset, FaultParams, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(2048) | static_cast<uint64_t>(p.planted) << 49);
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_descriptors_differ, FaultParams, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    ptx::wgmma_k32_s8(d, operand(0), operand(p.planted && ptx::warp() == 2 ? 0 : 2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_diverged, FaultParams, 128, 1) {
    int32_t d[32] = {};
    fill_operands(true);
    ptx::sync_threads();
    ptx::wgmma_fence();
    if (!p.planted || ptx::thread_x() < 100)
        ptx::wgmma_k32_s8(d, operand(0), operand(2048));
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
}

KRN_KERNEL(wgmma_left_in_flight, FaultParams, 128, 1) {
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
KRN_KERNEL(wgmma_not_committed, FaultParams, 128, 1) {
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

/* A device of compute capability 8.0 has none of this. */
void check_capability() {
    krn_cuda_context_options options = {};
    options.struct_size = sizeof options;
    options.device = 1;
    options.backend = cuda_backend();
    krn_cuda_context *context = nullptr;
    CHECK_OK(krn_cuda_context_create(&options, &context));
    CHECK(krn_cuda_context_class(context) == KRN_CUDA_CLASS_SM80, "device 1 of the emulator is not of class sm80");
    const FaultParams params = {};
    const uint32_t blocks[3] = {1, 1, 1};
    const krn_status status =
        krn_cuda_run(context, "wgmma_without_fence", blocks, 128, SHARED_BYTES, &params, sizeof params, nullptr);
    CHECK(status == KRN_ERROR_KERNEL_FAULT && strstr(krn_last_error(), "compute capability 9.0") != nullptr,
          "wgmma on 8.0: %s, %s", krn_status_name(status), krn_last_error());
    krn_cuda_context_destroy(context);
}

} // namespace

int main() {
    static const Fault faults[] = {
        {"wgmma_without_proxy_fence", 1, 128, SHARED_BYTES, "no fence.proxy.async"},
        {"wgmma_without_barrier", 1, 128, SHARED_BYTES, "races with a write by thread"},
        {"wgmma_without_fence", 1, 128, SHARED_BYTES, "wgmma without wgmma.fence"},
        {"wgmma_accumulator_written", 1, 128, SHARED_BYTES,
         "thread 77 wrote accumulator 5 while the product was in flight"},
        {"wgmma_accumulator_stored", 1, 128, SHARED_BYTES, "stores an accumulator of a wgmma in flight"},
        {"wgmma_operand_overwritten", 1, 128, SHARED_BYTES, "writes what an asynchronous operation still reads"},
        {"wgmma_operand_never_written", 1, 128, SHARED_BYTES, "reads what was never written"},
        {"wgmma_operand_outside", 1, 128, SHARED_BYTES, "is outside of shared memory"},
        {"wgmma_base_offset", 1, 128, SHARED_BYTES, "has a base offset"},
        {"wgmma_descriptors_differ", 1, 128, SHARED_BYTES, "differ in shape or descriptors"},
        {"wgmma_diverged", 1, 128, SHARED_BYTES, "the warpgroup has diverged"},
        {"wgmma_left_in_flight", 1, 128, SHARED_BYTES, "while wgmma of its warpgroup are in flight"},
        {"wgmma_not_committed", 1, 128, SHARED_BYTES, "while wgmma of its warpgroup are in flight"},
    };
    check_faults(faults);
    check_capability();
    return 0;
}
