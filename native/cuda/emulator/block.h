/* A block that runs: its threads as fibers, one after the other on one thread of the host, until each has ended, all
 * wait, or one did what it must not. */
#ifndef KRN_EMULATOR_BLOCK_H
#define KRN_EMULATOR_BLOCK_H

#include "cuda/emulator/clocks.h"
#include "cuda/emulator/device_memory.h"
#include "cuda/emulator/fault.h"
#include "cuda/emulator/fiber.h"
#include "cuda/emulator/kernel.h"
#include "cuda/emulator/mbarrier.h"
#include "cuda/emulator/shared_memory.h"
#include "cuda/emulator/warp.h"
#include "cuda/emulator/warpgroup.h"

#include <memory>
#include <string>
#include <vector>

namespace emulator {

class Block;

/* What the blocks of a launch share. */
struct Launch {
    const Registration *kernel;
    const void *params;
    uint32_t grid[3];
    int32_t block_threads;
    uint32_t shared_bytes;
    /* Compute capability, 10 * major + minor. */
    int32_t capability;
    DeviceMemory *memory;
    /* Counts what others may wait for: writes by atomics and releases, threads that ended. */
    uint64_t changes = 0;
    /* The sentence about the first fault. */
    std::string fault;
};

struct AsyncCopy {
    uint32_t address, bytes, group;
};

struct Thread {
    Fiber fiber;
    Place place;
    Block *block;
    enum class State { READY, MEETING, BARRIER, MBARRIER, POLLING, ENDED } state;
    /* The instruction at which it waits, and with whom. */
    const char *instruction;
    uint32_t meeting_mask;
    void *meeting_arguments;
    int32_t barrier;
    /* How many predicates were true at the last barrier. */
    int32_t true_predicates;
    uint32_t mbarrier;
    /* Its cp.async in flight, and the number of the group to come. */
    std::vector<AsyncCopy> copies;
    uint32_t next_group;
    /* The same of its bulk stores. */
    std::vector<AsyncCopy> stores;
    uint32_t next_store_group;
    bool has_wgmma_fence;

    int32_t lane() const { return place.thread & 31; }
    int32_t warp() const { return place.thread >> 5; }
};

struct NamedBarrier {
    int32_t expected = 0, arrived = 0, true_predicates = 0;
    /* Who waits; the number of arrivals of each warp; what those told who only arrived. */
    std::vector<int32_t> waiting;
    std::vector<int32_t> of_warp;
    Knowledge told;
    bool has_told = false;
};

class Block {
  public:
    enum class Outcome { ENDED, POLLING, FAULT };

    explicit Block(std::shared_ptr<Stacks> of_threads) : stacks(std::move(of_threads)) {}

    void begin(Launch *launch, uint32_t x, uint32_t y, uint32_t z);
    /* Runs until nothing can run. */
    Outcome run();

    /* For the running thread. */
    void wait(Thread &self);
    void wake(Thread &thread);
    void end(Thread &self);
    Actor actor_of(const Thread &thread) const {
        return Actor{thread.place.thread, clocks.thread_entity(thread.place.thread),
                     clocks.thread_clock(thread.place.thread)};
    }
    Actor warp_actor_of(const Thread &thread) const {
        return Actor{thread.place.thread, clocks.warp_entity(thread.warp()), clocks.warp_clock(thread.warp())};
    }
    [[noreturn]] void abandon(Thread &self);

    Launch *launch = nullptr;
    std::vector<Thread> threads;
    /* Of each warp, the lanes that wait to meet. */
    std::vector<uint32_t> meeting_lanes;
    static constexpr int32_t NUM_BARRIERS = 16;
    NamedBarrier barriers[NUM_BARRIERS];
    Clocks clocks;
    SharedMemory shared;
    Transfers transfers;
    std::vector<Warpgroup> warpgroups;

  private:
    void leave(Thread &self, bool ends);
    void report_deadlock();

    std::shared_ptr<Stacks> stacks;
    Fiber scheduler;
    /* Threads that can run, in a ring. */
    std::vector<Thread *> ring;
    uint32_t ring_first = 0, ring_count = 0;
    std::vector<Thread *> polling;
    int32_t ended = 0;
};

/* Faults unless what threads wrote to these bytes has passed a fence to the asynchronous proxy. */
void check_proxy(Block &block, const char *instruction, int32_t thread, uint32_t address, uint32_t bytes);

/* The thread that runs; null outside of kernels. */
Thread *running();

/* Runs all blocks. True unless a thread was at fault, which launch.fault then tells. */
bool run_launch(Launch &launch);

} // namespace emulator

#endif
