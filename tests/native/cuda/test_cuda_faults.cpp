/* Every fault that the emulator finds, planted: each kernel here is sound with `planted` = 0, and at fault with 1 in
 * the way that its entry of the table names. */
#include "cuda_faults.h"

#include "cuda/ptx/atomic.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/copy_async.h"
#include "cuda/ptx/matrix.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/mma.h"
#include "cuda/ptx/warp.h"

namespace {

constexpr int32_t WORDS = FAULT_WORDS;

KRN_DEVICE ptx::SharedAddress word(int32_t index) { return ptx::shared_base() + 4 * static_cast<uint32_t>(index); }

} // namespace

/* Memory */

KRN_KERNEL(fault_global_read_behind, FaultParams, 32, 1) {
    if (ptx::thread_x() == 3)
        ptx::store_global(p.data, ptx::load_global(p.data + (p.planted ? WORDS : WORDS - 1)));
}

KRN_KERNEL(fault_global_read_before, FaultParams, 32, 1) {
    if (ptx::thread_x() == 0)
        ptx::store_global(p.data, ptx::load_global(p.data - p.planted));
}

KRN_KERNEL(fault_global_write_behind, FaultParams, 32, 1) {
    ptx::store_global(p.data + WORDS - 32 + p.planted + ptx::thread_x(), 1);
}

KRN_KERNEL(fault_global_misaligned, FaultParams, 32, 1) {
    const auto *const from = reinterpret_cast<const ptx::U32x4 *>(p.data + 4 + p.planted);
    ptx::store_global(p.data, static_cast<int32_t>(ptx::load_global_nc(from).x));
}

KRN_KERNEL(fault_shared_read_behind, FaultParams, 32, 1) {
    ptx::store_shared(word(ptx::thread_x()), 1);
    ptx::load_shared<int32_t>(word(p.planted ? 32 : ptx::thread_x()));
}

KRN_KERNEL(fault_shared_write_before, FaultParams, 32, 1) { ptx::store_shared(word(ptx::thread_x() - p.planted), 1); }

KRN_KERNEL(fault_shared_misaligned, FaultParams, 32, 1) {
    if (ptx::thread_x() == 7)
        ptx::store_shared(word(8) + 4 * static_cast<uint32_t>(p.planted), int64_t{1});
}

KRN_KERNEL(fault_shared_never_written, FaultParams, 32, 1) {
    if (ptx::thread_x() != 9)
        ptx::store_shared(word(ptx::thread_x()), 1);
    ptx::sync_threads();
    if (ptx::thread_x() == 0)
        ptx::load_shared<int32_t>(word(8 + p.planted));
}

KRN_KERNEL(fault_shared_half_written, FaultParams, 32, 1) {
    if (ptx::thread_x() != 0)
        return;
    ptx::store_shared(word(0), int16_t{1});
    if (!p.planted)
        ptx::store_shared(word(0) + 2, int16_t{1});
    ptx::load_shared<int32_t>(word(0));
}

/* cp.async */

KRN_KERNEL(fault_copy_before_wait, FaultParams, 32, 1) {
    const auto own = word(4 * ptx::thread_x() % WORDS);
    if (ptx::thread_x() < 16) {
        ptx::cp_async_16(own, p.data + 4 * ptx::thread_x());
        ptx::cp_async_commit();
        if (!p.planted)
            ptx::cp_async_wait<0>();
        ptx::load_shared<int32_t>(own);
        ptx::cp_async_wait<0>();
    }
}

/* The newest group is waited for only by who counts right. */
KRN_KERNEL(fault_copy_group_too_new, FaultParams, 32, 1) {
    if (ptx::thread_x() != 0)
        return;
    for (int32_t i = 0; i < 3; i++) {
        ptx::cp_async_16(word(4 * i), p.data + 4 * i);
        ptx::cp_async_commit();
    }
    ptx::cp_async_wait<1>();
    ptx::load_shared<int32_t>(word(4));
    ptx::load_shared<int32_t>(word(p.planted ? 8 : 0));
    ptx::cp_async_wait_all();
}

/* Waiting makes a copy visible to its thread; others need a barrier. */
KRN_KERNEL(fault_copy_without_barrier, FaultParams, 64, 1) {
    if (ptx::thread_x() < 16)
        ptx::cp_async_16(word(4 * ptx::thread_x()), p.data + 4 * ptx::thread_x());
    ptx::cp_async_wait_all();
    if (!p.planted)
        ptx::sync_threads();
    ptx::load_shared<int32_t>(word(ptx::thread_x() & 15));
}

KRN_KERNEL(fault_copy_overwritten, FaultParams, 32, 1) {
    if (ptx::thread_x() != 0)
        return;
    ptx::cp_async_16(word(0), p.data);
    if (p.planted)
        ptx::store_shared(word(1), 5);
    ptx::cp_async_wait_all();
    ptx::store_shared(word(1), 5);
}

KRN_KERNEL(fault_copy_left_in_flight, FaultParams, 32, 1) {
    if (ptx::thread_x() < 16)
        ptx::cp_async_16(word(4 * ptx::thread_x()), p.data + 4 * ptx::thread_x());
    if (!p.planted)
        ptx::cp_async_wait_all();
}

KRN_KERNEL(fault_copy_behind, FaultParams, 32, 1) {
    if (ptx::thread_x() == 0)
        ptx::cp_async_16(word(0), p.data + WORDS - 4 + 4 * p.planted, 16 - 4 * p.planted);
    ptx::cp_async_wait_all();
}

/* Races */

KRN_KERNEL(fault_race_read_after_write, FaultParams, 64, 1) {
    ptx::store_shared(word(ptx::thread_x()), ptx::thread_x());
    if (!p.planted)
        ptx::sync_threads();
    ptx::load_shared<int32_t>(word(ptx::lane()));
}

KRN_KERNEL(fault_race_write_after_read, FaultParams, 64, 1) {
    ptx::store_shared(word(ptx::thread_x()), ptx::thread_x());
    ptx::sync_threads();
    ptx::load_shared<int32_t>(word(ptx::thread_x() ^ 32));
    if (!p.planted)
        ptx::sync_threads();
    ptx::store_shared(word(ptx::thread_x()), 0);
}

KRN_KERNEL(fault_race_write_after_many_reads, FaultParams, 64, 1) {
    if (ptx::thread_x() == 0)
        ptx::store_shared(word(0), 1);
    ptx::sync_threads();
    ptx::load_shared<int32_t>(word(0));
    ptx::barrier_sync(1 + ptx::warp(), 32);
    /* Thread 0 knows of its own warp only. */
    if (ptx::thread_x() == 0 && p.planted)
        ptx::store_shared(word(0), 2);
}

KRN_KERNEL(fault_race_write_write, FaultParams, 64, 1) {
    if (ptx::lane() == 0)
        ptx::store_shared(word(p.planted ? 0 : ptx::warp()), 1);
}

/* Within a warp, too: a shuffle is no barrier. */
KRN_KERNEL(fault_race_within_warp, FaultParams, 32, 1) {
    ptx::store_shared(word(ptx::thread_x()), 1);
    ptx::shuffle_xor(1, 1);
    if (!p.planted)
        ptx::sync_warp();
    ptx::load_shared<int32_t>(word(ptx::thread_x() ^ 1));
}

KRN_KERNEL(fault_race_bytes, FaultParams, 64, 1) {
    ptx::store_shared(ptx::shared_base() + static_cast<uint32_t>(ptx::thread_x() & ~p.planted), int8_t{1});
}

KRN_KERNEL(fault_race_atomic, FaultParams, 64, 1) {
    if (ptx::thread_x() == 0)
        ptx::store_shared(word(0), 0);
    ptx::sync_threads();
    ptx::atomic_add_shared(word(0), 1);
    if (!p.planted)
        ptx::sync_threads();
    ptx::load_shared<int32_t>(word(0));
}

KRN_KERNEL(fault_race_ldmatrix, FaultParams, 64, 1) {
    uint32_t d[2];
    ptx::store_shared(word(ptx::thread_x()), 1);
    if (!p.planted)
        ptx::sync_threads();
    if (ptx::warp() == 1)
        ptx::ldmatrix_x2(d, ptx::shared_base() + static_cast<uint32_t>(ptx::lane() & 15) * 16);
}

/* A named barrier orders those that take part, and nobody else. */
KRN_KERNEL(fault_race_other_barrier, FaultParams, 96, 1) {
    if (ptx::warp() == 0) {
        ptx::store_shared(word(ptx::lane()), 1);
        ptx::barrier_arrive(1, 64);
    } else if (ptx::warp() == 1) {
        ptx::barrier_sync(1, 64);
        ptx::load_shared<int32_t>(word(ptx::lane() ^ 1));
    } else {
        ptx::barrier_sync(2, 32);
        if (p.planted)
            ptx::load_shared<int32_t>(word(ptx::lane() ^ 1));
    }
}

/* Who only arrives has not waited. */
KRN_KERNEL(fault_race_arrive_does_not_wait, FaultParams, 64, 1) {
    if (ptx::warp() == 0) {
        if (p.planted)
            ptx::barrier_arrive(1, 64);
        else
            ptx::barrier_sync(1, 64);
        ptx::load_shared<int32_t>(word(p.planted ? 0 : ptx::lane()));
    } else {
        ptx::store_shared(word(ptx::lane()), 1);
        ptx::barrier_sync(1, 64);
    }
}

/* Collectives and barriers */

KRN_KERNEL(fault_divergence_two_instructions, FaultParams, 32, 1) {
    if (ptx::lane() == 5 && p.planted)
        ptx::ballot(true);
    else
        ptx::shuffle_xor(1, 1);
}

KRN_KERNEL(fault_divergence_absent_lane, FaultParams, 32, 1) {
    if (ptx::lane() == 5 && p.planted)
        return;
    ptx::reduce_add(1);
}

KRN_KERNEL(fault_divergence_mask, FaultParams, 32, 1) {
    const bool is_low = ptx::lane() < 16;
    ptx::shuffle_xor(1, 1, is_low && p.planted ? 0x1FFFFu : is_low ? 0xFFFFu : 0xFFFF0000u);
}

KRN_KERNEL(fault_divergence_not_in_mask, FaultParams, 32, 1) {
    if (ptx::lane() < 16 + p.planted)
        ptx::ballot(true, 0xFFFF);
}

KRN_KERNEL(fault_shuffle_from_absent, FaultParams, 32, 1) {
    if (ptx::lane() < 16)
        ptx::shuffle(1, p.planted ? 20 : 3, 0xFFFF);
}

KRN_KERNEL(fault_divergence_mma, FaultParams, 32, 1) {
    int32_t d[4] = {};
    const uint32_t a[4] = {}, b[2] = {};
    if (ptx::lane() == 31 && p.planted)
        ptx::sync_warp();
    ptx::mma_m16n8k32_s8(d, a, b);
}

KRN_KERNEL(fault_divergence_barrier, FaultParams, 64, 1) {
    if (p.planted && ptx::lane() == 1)
        ptx::shuffle_xor(1, 1);
    ptx::sync_threads();
}

KRN_KERNEL(fault_barrier_not_all, FaultParams, 64, 1) {
    if (ptx::warp() == 1 && p.planted)
        return;
    ptx::sync_threads();
}

KRN_KERNEL(fault_barrier_half_warps, FaultParams, 64, 1) {
    if (!p.planted || ptx::lane() < 16)
        ptx::barrier_sync(1, p.planted ? 32 : 64);
}

KRN_KERNEL(fault_barrier_counts, FaultParams, 64, 1) { ptx::barrier_sync(2, ptx::warp() == 1 && p.planted ? 32 : 64); }

KRN_KERNEL(fault_barrier_number, FaultParams, 64, 1) { ptx::barrier_sync(15 + p.planted, 64); }

KRN_KERNEL(fault_blocks_wait_for_nobody, FaultParams, 32, 1) {
    if (ptx::thread_x() != 0)
        return;
    if (ptx::block_x() == 1 && !p.planted)
        ptx::store_release_gpu(p.data, -7);
    while (ptx::load_acquire_gpu(p.data) != -7)
        continue;
}

int main() {
    static const Fault faults[] = {
        {"fault_global_read_behind", 1, 32, 0, "1024 bytes into an allocation of 1024 bytes"},
        {"fault_global_read_before", 1, 32, 0, "4 bytes before an allocation of 1024 bytes"},
        {"fault_global_write_behind", 1, 32, 0, "thread 31: st.global of 4 bytes"},
        {"fault_global_misaligned", 1, 32, 0, "which is no multiple of 16"},
        {"fault_shared_read_behind", 1, 32, 128, "is outside of shared memory"},
        {"fault_shared_write_before", 1, 32, 128, "is outside of shared memory"},
        {"fault_shared_misaligned", 1, 32, 128,
         "thread 7: st.shared of 8 bytes at shared address 0x424, which is no multiple"},
        {"fault_shared_never_written", 1, 32, 128, "reads what was never written"},
        {"fault_shared_half_written", 1, 32, 128, "reads what was never written"},
        {"fault_copy_before_wait", 1, 32, 256, "reads what an asynchronous copy has not been waited for"},
        {"fault_copy_group_too_new", 1, 32, 256, "reads what an asynchronous copy has not been waited for"},
        {"fault_copy_without_barrier", 1, 64, 256, "races with a write by thread"},
        {"fault_copy_overwritten", 1, 32, 256, "writes where an asynchronous copy is in flight"},
        {"fault_copy_left_in_flight", 1, 32, 256, "ends while its cp.async are in flight"},
        {"fault_copy_behind", 1, 32, 256, "cp.async of 12 bytes from global address"},
        {"fault_race_read_after_write", 1, 64, 256, "races with a write by thread"},
        {"fault_race_write_after_read", 1, 64, 256, "races with a write by thread 63"},
        {"fault_race_write_after_many_reads", 1, 64, 256, "races with a read by thread 32"},
        {"fault_race_write_write", 1, 64, 256, "races with a write by thread 0"},
        {"fault_race_within_warp", 1, 32, 256, "races with a write by thread"},
        {"fault_race_bytes", 1, 64, 256, "races with a write by thread 0"},
        {"fault_race_atomic", 1, 64, 256, "races with a"},
        {"fault_race_ldmatrix", 1, 64, 256, "ldmatrix at shared address"},
        {"fault_race_other_barrier", 1, 96, 256, "races with a write by thread"},
        {"fault_race_arrive_does_not_wait", 1, 64, 256, "never written"},
        {"fault_divergence_two_instructions", 1, 32, 0, "the warp has diverged"},
        {"fault_divergence_absent_lane", 1, 32, 0, "deadlock: threads 0 to 4: at redux.sync"},
        {"fault_divergence_mask", 1, 32, 0, "the warp has diverged"},
        {"fault_divergence_not_in_mask", 1, 32, 0, "of which it is none"},
        {"fault_shuffle_from_absent", 1, 32, 0, "reads lane 20, which takes no part"},
        {"fault_divergence_mma", 1, 32, 0, "the warp has diverged"},
        {"fault_divergence_barrier", 1, 64, 0, "at shfl.sync"},
        {"fault_barrier_not_all", 1, 64, 0, "at barrier 0, where 32 of 64 threads have come; threads 32 to 63: ended"},
        {"fault_barrier_half_warps", 1, 64, 0, "complete with 16 threads of warp 0"},
        {"fault_barrier_counts", 1, 64, 0, "while others are at it with 64"},
        {"fault_barrier_number", 1, 64, 0, "on barrier 16"},
        {"fault_blocks_wait_for_nobody", 3, 32, 0, "every block that runs polls memory"},
    };
    check_faults(faults);
    return 0;
}
