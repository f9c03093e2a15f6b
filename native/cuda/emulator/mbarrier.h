/* The mbarriers of a block, and the copies that are on their way to it. */
#ifndef KRN_EMULATOR_MBARRIER_H
#define KRN_EMULATOR_MBARRIER_H

#include "cuda/emulator/asynchronous.h"
#include "cuda/emulator/clocks.h"
#include "cuda/emulator/tensor_map.h"

#include <deque>
#include <stdint.h>
#include <vector>

namespace emulator {

class Block;
struct Thread;

struct Mbarrier {
    uint32_t address;
    int32_t agent;
    /* Who made it, and when. */
    uint32_t maker, made;
    int32_t arrivals, missing;
    int64_t missing_bytes;
    uint32_t phase;
    /* What those told who have arrived in this phase, and what who waits for the last one learns. */
    Knowledge arriving, completed;
    std::vector<Thread *> waiting;
};

/* A load in flight. */
struct Transfer {
    uint32_t to, bytes, mbarrier;
    bool is_tensor;
    const void *from;
    TensorMap map;
    Coordinates box;
};

/* Loads land as late as they can: when no thread of the block can run. */
struct Transfers {
    std::vector<Mbarrier> mbarriers;
    std::deque<Transfer> flying;

    void reset() {
        mbarriers.clear();
        flying.clear();
    }
    void land_first(Block &block);
};

} // namespace emulator

#endif
