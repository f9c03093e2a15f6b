#include "cuda/emulator/block.h"

#include <stdarg.h>
#include <stdio.h>

namespace emulator {

#if defined(__GNUC__)
/* The library is loaded with the program or soon after: thread-local storage at a fixed place costs no call. */
#define KRN_FAST_THREAD_LOCAL __attribute__((tls_model("initial-exec"))) thread_local
#else
#define KRN_FAST_THREAD_LOCAL thread_local
#endif
static KRN_FAST_THREAD_LOCAL Thread *current;

Thread *running() { return current; }

const Place &place() { return current->place; }

static void thread_main() {
    Thread &self = *current;
    fiber_begins(self.fiber);
    self.block->launch->kernel->body(self.block->launch->params);
    self.block->end(self);
}

void Block::begin(Launch *of_launch, uint32_t x, uint32_t y, uint32_t z) {
    launch = of_launch;
    const int32_t count = launch->block_threads;
    const uint32_t warps = static_cast<uint32_t>((count + 31) / 32);
    clocks.reset(count);
    shared.reset(launch->shared_bytes, &clocks);
    threads.resize(static_cast<uint32_t>(count));
    meeting_lanes.assign(warps, 0);
    for (NamedBarrier &barrier : barriers)
        barrier = NamedBarrier();
    ring.resize(static_cast<uint32_t>(count));
    ring_first = 0;
    ring_count = 0;
    polling.clear();
    transfers.reset();
    warpgroups.assign((warps + 3) / 4, Warpgroup());
    ended = 0;
    for (int32_t i = 0; i < count; i++) {
        Thread &thread = threads[static_cast<uint32_t>(i)];
        thread.place = Place{i,
                             count,
                             {static_cast<int32_t>(x), static_cast<int32_t>(y), static_cast<int32_t>(z)},
                             {static_cast<int32_t>(launch->grid[0]), static_cast<int32_t>(launch->grid[1]),
                              static_cast<int32_t>(launch->grid[2])}};
        thread.block = this;
        thread.instruction = "";
        thread.copies.clear();
        thread.next_group = 0;
        thread.stores.clear();
        thread.next_store_group = 0;
        thread.has_wgmma_fence = false;
        stacks->prepare(i, thread.fiber, thread_main);
        wake(thread);
    }
}

void Block::wake(Thread &thread) {
    thread.state = Thread::State::READY;
    const uint32_t size = static_cast<uint32_t>(ring.size());
    uint32_t last = ring_first + ring_count;
    last = last >= size ? last - size : last;
    ring[last] = &thread;
    ring_count++;
}

void Block::leave(Thread &self, bool ends) {
    while (ring_count == 0 && !transfers.flying.empty())
        transfers.land_first(*this);
    if (ring_count == 0) {
        current = nullptr;
        switch_fiber(self.fiber, scheduler, ends);
        return;
    }
    Thread *const next = ring[ring_first];
    ring_first = ring_first + 1 == ring.size() ? 0 : ring_first + 1;
    ring_count--;
    current = next;
    if (next != &self)
        switch_fiber(self.fiber, next->fiber, ends);
}

void Block::wait(Thread &self) {
    if (self.state == Thread::State::POLLING)
        polling.push_back(&self);
    leave(self, false);
}

void Block::end(Thread &self) {
    if (!self.copies.empty())
        fault("the thread ends while its cp.async are in flight");
    if (!self.stores.empty())
        fault("the thread ends while its bulk stores are in flight");
    if (warpgroups[static_cast<uint32_t>(self.warp() / 4)].is_busy())
        fault("the thread ends while wgmma of its warpgroup are in flight");
    if (ended + 1 == launch->block_threads && !transfers.flying.empty())
        fault("the block ends while bulk copies to shared address 0x%x are in flight", transfers.flying.front().to);
    self.state = Thread::State::ENDED;
    ended++;
    launch->changes++;
    leave(self, true);
}

void Block::abandon(Thread &self) {
    current = nullptr;
    switch_fiber(self.fiber, scheduler, true);
    __builtin_unreachable();
}

Block::Outcome Block::run() {
    for (Thread *thread : polling)
        wake(*thread);
    polling.clear();
    if (ring_count > 0) {
        Thread *const first = ring[ring_first];
        ring_first = ring_first + 1 == ring.size() ? 0 : ring_first + 1;
        ring_count--;
        current = first;
        switch_fiber(scheduler, first->fiber, false);
    }
    if (!launch->fault.empty())
        return Outcome::FAULT;
    if (ended == launch->block_threads)
        return Outcome::ENDED;
    if (!polling.empty())
        return Outcome::POLLING;
    report_deadlock();
    return Outcome::FAULT;
}

/* What a thread waits for, in a few words. */
static std::string waits_for(const Block &block, const Thread &thread) {
    char text[160];
    switch (thread.state) {
    case Thread::State::ENDED: return "ended";
    case Thread::State::BARRIER: {
        const NamedBarrier &barrier = block.barriers[thread.barrier];
        snprintf(text, sizeof text, "at barrier %d, where %d of %d threads have come", thread.barrier, barrier.arrived,
                 barrier.expected);
        return text;
    }
    case Thread::State::MBARRIER:
        for (const Mbarrier &m : block.transfers.mbarriers)
            if (m.address == thread.mbarrier)
                snprintf(text, sizeof text,
                         "wait on the mbarrier at 0x%x, where %d arrivals and %lld bytes are missing", m.address,
                         m.missing, static_cast<long long>(m.missing_bytes));
        return text;
    case Thread::State::MEETING:
        snprintf(text, sizeof text, "at %s with the lanes 0x%08x", thread.instruction, thread.meeting_mask);
        return text;
    case Thread::State::POLLING: return "poll memory";
    case Thread::State::READY: break;
    }
    return "can run";
}

void Block::report_deadlock() {
    char text[160];
    const Place &at = threads[0].place;
    snprintf(text, sizeof text, "kernel %s, block (%d, %d, %d): deadlock: ", launch->kernel->name, at.block[0],
             at.block[1], at.block[2]);
    launch->fault = text;
    /* Neighbours that wait for the same are told of together; the first few groups tell the story. */
    int32_t groups = 0;
    for (size_t first = 0; first < threads.size() && groups < 6; groups++) {
        const std::string what = waits_for(*this, threads[first]);
        size_t last = first;
        while (last + 1 < threads.size() && waits_for(*this, threads[last + 1]) == what)
            last++;
        snprintf(text, sizeof text, "%sthreads %zu to %zu: ", groups == 0 ? "" : "; ", first, last);
        launch->fault += text + what;
        first = last + 1;
    }
}

void fault(const char *format, ...) {
    Thread &self = *current;
    Launch &launch = *self.block->launch;
    char what[400], text[600];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    snprintf(text, sizeof text, "kernel %s, block (%d, %d, %d), thread %d: %s", launch.kernel->name,
             self.place.block[0], self.place.block[1], self.place.block[2], self.place.thread, what);
    launch.fault = text;
    self.block->abandon(self);
}

} // namespace emulator
