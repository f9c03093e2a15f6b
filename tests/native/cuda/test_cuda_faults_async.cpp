/* The faults around mbarriers and the copy engine, planted. */
#include "cuda_faults.h"

#include "cuda/ptx/barrier.h"
#include "cuda/ptx/mbarrier.h"
#include "cuda/ptx/memory.h"
#include "cuda/ptx/tma.h"

namespace {

constexpr uint32_t SHARED_BYTES = 16384 + 64;

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
KRN_DEVICE void load_both(const FaultParams &p) {
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

KRN_KERNEL(async_read_before_wait, FaultParams, 64, 1) {
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
KRN_KERNEL(async_read_other_stage, FaultParams, 64, 1) {
    make_mbarriers();
    load_both(p);
    if (ptx::thread_x() == 1)
        ptx::mbarrier_wait(mbarrier(0), 0);
    ptx::mbarrier_wait(mbarrier(1), 0);
    if (ptx::thread_x() != 1)
        own_word(1 - p.planted);
}

KRN_KERNEL(async_too_few_bytes, FaultParams, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), p.planted ? 512 : 256);
        ptx::bulk_load(ptx::shared_base(), p.data, 256, mbarrier(0));
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_nobody_arrives, FaultParams, 64, 1) {
    make_mbarriers();
    if (ptx::warp() == 0 && ptx::lane() == 0 && !p.planted)
        ptx::mbarrier_arrive(mbarrier(0));
    if (ptx::warp() == 1)
        ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_no_mbarrier, FaultParams, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0)
        ptx::mbarrier_arrive(mbarrier(2 * p.planted));
}

KRN_KERNEL(async_initialised_twice, FaultParams, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0 && p.planted)
        ptx::mbarrier_init(mbarrier(1), 1);
}

KRN_KERNEL(async_initialisation_race, FaultParams, 64, 1) {
    if (ptx::thread_x() == 0)
        ptx::mbarrier_init(mbarrier(0), 64);
    if (!p.planted)
        ptx::sync_threads();
    ptx::mbarrier_arrive(mbarrier(0));
}

KRN_KERNEL(async_too_many_arrivals, FaultParams, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), 256);
        if (p.planted)
            ptx::mbarrier_arrive(mbarrier(0));
        ptx::bulk_load(ptx::shared_base(), p.data, 256, mbarrier(0));
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_plain_store_on_mbarrier, FaultParams, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0)
        ptx::store_shared(mbarrier(2 - p.planted), 0);
}

/* The next load comes while another warp may still read the last one. */
KRN_KERNEL(async_stage_taken_back, FaultParams, 64, 1) {
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

/* The next load comes where threads have stored. */
KRN_KERNEL(async_load_over_stores, FaultParams, 64, 1) {
    make_mbarriers();
    load_both(p);
    ptx::mbarrier_wait(mbarrier(0), 0);
    ptx::mbarrier_wait(mbarrier(1), 0);
    ptx::sync_threads();
    ptx::store_shared(ptx::shared_base() + 4 * static_cast<uint32_t>(ptx::thread_x()), 1);
    if (!p.planted)
        ptx::fence_proxy_async();
    ptx::sync_threads();
    load_both(p);
    ptx::mbarrier_wait(mbarrier(0), 1);
    ptx::mbarrier_wait(mbarrier(1), 1);
}

KRN_KERNEL(async_end_in_flight, FaultParams, 32, 1) {
    make_mbarriers();
    load_both(p);
    if (!p.planted) {
        ptx::mbarrier_wait(mbarrier(0), 0);
        ptx::mbarrier_wait(mbarrier(1), 0);
    }
}

KRN_KERNEL(async_load_behind, FaultParams, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), 256);
        ptx::bulk_load(ptx::shared_base(), p.data + FAULT_WORDS - 64 + 4 * p.planted, 256, mbarrier(0));
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_bytes_not_of_16, FaultParams, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), 16 + 8 * p.planted);
        ptx::bulk_load(ptx::shared_base(), p.data, 16 + 8 * p.planted, mbarrier(0));
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_box_misaligned, FaultParams, 32, 1) {
    make_mbarriers();
    if (ptx::thread_x() == 0) {
        ptx::mbarrier_arrive_expect(mbarrier(0), 1024);
        ptx::tma_load_2d(ptx::shared_base() + 256 * static_cast<uint32_t>(p.planted), &p.map, mbarrier(0), 0, 0);
    }
    ptx::mbarrier_wait(mbarrier(0), 0);
}

KRN_KERNEL(async_box_of_other_rank, FaultParams, 32, 1) {
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

KRN_KERNEL(async_store_without_fence, FaultParams, 64, 1) {
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

KRN_KERNEL(async_store_source_overwritten, FaultParams, 32, 1) {
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

KRN_KERNEL(async_store_left_in_flight, FaultParams, 32, 1) {
    if (ptx::thread_x() != 0)
        return;
    ptx::store_shared(ptx::shared_base(), ptx::U32x4{1, 2, 3, 4});
    ptx::fence_proxy_async();
    ptx::bulk_store(p.data, ptx::shared_base(), 16);
    ptx::bulk_commit();
    if (!p.planted)
        ptx::bulk_wait<0>();
}

int main() {
    static const Fault faults[] = {
        {"async_read_before_wait", 1, 64, SHARED_BYTES, "reads what an asynchronous copy has not been waited for"},
        {"async_read_other_stage", 1, 64, SHARED_BYTES, "this thread has not waited on its mbarrier"},
        {"async_too_few_bytes", 1, 32, SHARED_BYTES,
         "wait on the mbarrier at 0x4400, where 0 arrivals and 256 bytes are missing"},
        {"async_nobody_arrives", 1, 64, SHARED_BYTES,
         "threads 32 to 63: wait on the mbarrier at 0x4400, where 1 arrivals"},
        {"async_no_mbarrier", 1, 32, SHARED_BYTES, "where no mbarrier was initialised"},
        {"async_initialised_twice", 1, 32, SHARED_BYTES, "where there is an mbarrier"},
        {"async_initialisation_race", 1, 64, SHARED_BYTES, "races with its initialisation by thread 0"},
        {"async_too_many_arrivals", 1, 32, SHARED_BYTES, "at which all 1 have arrived while 256 bytes are missing"},
        {"async_plain_store_on_mbarrier", 1, 32, SHARED_BYTES,
         "writes where an asynchronous copy is in flight or an mbarrier is"},
        {"async_stage_taken_back", 1, 64, SHARED_BYTES, "races with a read by thread 63"},
        {"async_load_over_stores", 1, 64, SHARED_BYTES, "no fence.proxy.async"},
        {"async_end_in_flight", 1, 32, SHARED_BYTES, "the block ends while bulk copies to shared address 0x400"},
        {"async_load_behind", 1, 32, SHARED_BYTES, "into an allocation of 1024 bytes"},
        {"async_bytes_not_of_16", 1, 32, SHARED_BYTES, "all are to be multiples of 16"},
        {"async_box_misaligned", 1, 32, SHARED_BYTES, "is no multiple of 512"},
        {"async_box_of_other_rank", 1, 32, SHARED_BYTES, "cp.async.bulk.tensor.3d with a tensor map of rank 2"},
        {"async_store_without_fence", 1, 64, SHARED_BYTES, "no fence.proxy.async"},
        {"async_store_source_overwritten", 1, 32, SHARED_BYTES, "writes what an asynchronous operation still reads"},
        {"async_store_left_in_flight", 1, 32, SHARED_BYTES, "ends while its bulk stores are in flight"},
    };
    check_faults(faults);
    return 0;
}
