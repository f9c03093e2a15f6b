/* bar.sync and bar.arrive. */
#include "cuda/emulator/block.h"

namespace emulator {

static NamedBarrier &enter(Thread &self, const char *instruction, int32_t id, int32_t threads) {
    Block &block = *self.block;
    if (id < 0 || id >= Block::NUM_BARRIERS)
        fault("%s on barrier %d; there are barriers 0 to %d", instruction, id, Block::NUM_BARRIERS - 1);
    if (threads <= 0 || threads % 32 != 0 || threads > block.launch->block_threads)
        fault("%s of %d threads: a barrier takes whole warps of the block's %d threads", instruction, threads,
              block.launch->block_threads);
    NamedBarrier &barrier = block.barriers[id];
    if (barrier.arrived == 0) {
        barrier.expected = threads;
        barrier.true_predicates = 0;
        barrier.waiting.clear();
        barrier.of_warp.assign(block.meeting_lanes.size(), 0);
        barrier.has_told = false;
    } else if (barrier.expected != threads) {
        fault("%s on barrier %d of %d threads, while others are at it with %d", instruction, id, threads,
              barrier.expected);
    }
    int32_t &of_warp = barrier.of_warp[static_cast<uint32_t>(self.warp())];
    if (of_warp == 32)
        fault("%s on barrier %d, at which all lanes of the warp have come before: %d of %d threads are there",
              instruction, id, barrier.arrived, barrier.expected);
    of_warp++;
    barrier.arrived++;
    return barrier;
}

static void complete(Block &block, NamedBarrier &barrier, int32_t id, Thread &self) {
    for (size_t w = 0; w < barrier.of_warp.size(); w++)
        if (barrier.of_warp[w] % 32 != 0)
            fault("barrier %d is complete with %d threads of warp %zu: the warp has diverged", id, barrier.of_warp[w],
                  w);
    if (!barrier.waiting.empty())
        block.clocks.join(barrier.waiting.data(), static_cast<int32_t>(barrier.waiting.size()),
                          barrier.has_told ? &barrier.told : nullptr);
    barrier.arrived = 0;
    block.launch->changes++;
    for (int32_t number : barrier.waiting) {
        Thread &thread = block.threads[static_cast<uint32_t>(number)];
        /* Told to each: the next use of the barrier may begin before all have read it. */
        thread.true_predicates = barrier.true_predicates;
        if (&thread != &self)
            block.wake(thread);
    }
}

static void wait_at(Thread &self, NamedBarrier &barrier, int32_t id) {
    Block &block = *self.block;
    barrier.waiting.push_back(self.place.thread);
    if (barrier.arrived == barrier.expected) {
        complete(block, barrier, id, self);
        return;
    }
    self.state = Thread::State::BARRIER;
    self.barrier = id;
    block.wait(self);
}

void barrier_sync(int32_t id, int32_t threads) {
    Thread &self = *running();
    wait_at(self, enter(self, "barrier.sync", id, threads), id);
}

void barrier_arrive(int32_t id, int32_t threads) {
    Thread &self = *running();
    Block &block = *self.block;
    NamedBarrier &barrier = enter(self, "barrier.arrive", id, threads);
    if (!barrier.has_told)
        barrier.told = block.clocks.nothing();
    barrier.has_told = true;
    block.clocks.release(self.place.thread, barrier.told);
    if (barrier.arrived == barrier.expected)
        complete(block, barrier, id, self);
}

int32_t barrier_count(bool predicate) {
    Thread &self = *running();
    NamedBarrier &barrier = enter(self, "barrier.red", 0, self.place.block_threads);
    barrier.true_predicates += predicate;
    wait_at(self, barrier, 0);
    return self.true_predicates;
}

} // namespace emulator
