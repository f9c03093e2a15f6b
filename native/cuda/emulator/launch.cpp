/* The blocks of a launch. They run one after the other; one that polls memory for what another block writes is left for
 * the next and taken up again, so that blocks that wait for each other run as on a device that holds them all. */
#include "cuda/emulator/block.h"

#include <mutex>
#include <string.h>

namespace emulator {

const Registration *&Registration::first() {
    static const Registration *head = nullptr;
    return head;
}

const Registration *Registration::find(const char *name) {
    const Registration *r = first();
    while (r != nullptr && strcmp(r->name, name) != 0)
        r = r->next;
    return r;
}

static constexpr int MAX_BLOCK_THREADS = 1024;
/* Blocks at a time. Devices hold more; kernels may count on no more than their number of multiprocessors. */
static constexpr size_t MAX_RESIDENT = 132;

/* Rounds over all blocks in which nothing changes, after which nothing will. More than one: who polls may be about to
 * do something else. */
static constexpr int MAX_IDLE_ROUNDS = 10000;

/* Stacks are kept for launches to come. */
static std::mutex stacks_lock;
static std::vector<std::shared_ptr<Stacks>> &spare_stacks() {
    static std::vector<std::shared_ptr<Stacks>> spare;
    return spare;
}

static std::shared_ptr<Stacks> take_stacks() {
    const std::lock_guard<std::mutex> guard(stacks_lock);
    if (spare_stacks().empty())
        return std::make_shared<Stacks>(MAX_BLOCK_THREADS);
    const std::shared_ptr<Stacks> stacks = spare_stacks().back();
    spare_stacks().pop_back();
    return stacks;
}

static void keep_stacks(const std::shared_ptr<Stacks> &stacks) {
    const std::lock_guard<std::mutex> guard(stacks_lock);
    if (spare_stacks().size() < 8)
        spare_stacks().push_back(stacks);
}

namespace {

/* A block that can run one after the other, and the stacks that it uses. */
struct Resident {
    std::shared_ptr<Stacks> stacks;
    std::unique_ptr<Block> block;
    bool is_running;

    Resident() : stacks(take_stacks()), block(std::make_unique<Block>(stacks)), is_running(false) {}
    ~Resident() {
        if (is_running)
            stacks->wipe_all(block->launch->block_threads);
        keep_stacks(stacks);
    }
};

} // namespace

bool run_launch(Launch &launch) {
    std::vector<std::unique_ptr<Resident>> residents;
    const uint64_t total = static_cast<uint64_t>(launch.grid[0]) * launch.grid[1] * launch.grid[2];
    uint64_t begun = 0, ended = 0;
    int idle_rounds = 0;
    while (ended < total) {
        const uint64_t changes = launch.changes;
        bool is_new = false;
        for (size_t i = 0; ended < total; i++) {
            if (i == residents.size()) {
                if (begun == total || residents.size() == MAX_RESIDENT || is_new)
                    break;
                residents.push_back(std::make_unique<Resident>());
                if (!residents.back()->stacks->ready()) {
                    launch.fault = "the host has no memory for the stacks of a block";
                    return false;
                }
            }
            Resident &resident = *residents[i];
            /* The next block takes the place of one that has ended. */
            for (bool again = true; again;) {
                again = false;
                if (!resident.is_running) {
                    if (begun == total)
                        break;
                    const uint64_t plane = static_cast<uint64_t>(launch.grid[0]) * launch.grid[1];
                    resident.block->begin(&launch, static_cast<uint32_t>(begun % launch.grid[0]),
                                          static_cast<uint32_t>(begun % plane / launch.grid[0]),
                                          static_cast<uint32_t>(begun / plane));
                    resident.is_running = true;
                    begun++;
                    is_new = true;
                }
                switch (resident.block->run()) {
                case Block::Outcome::ENDED:
                    resident.is_running = false;
                    ended++;
                    again = true;
                    break;
                case Block::Outcome::POLLING: break;
                case Block::Outcome::FAULT: return false;
                }
            }
        }
        idle_rounds = is_new || launch.changes != changes ? 0 : idle_rounds + 1;
        if (ended < total && idle_rounds == MAX_IDLE_ROUNDS) {
            launch.fault = std::string("kernel ") + launch.kernel->name +
                           ": deadlock: every block that runs polls memory that none of them changes";
            return false;
        }
    }
    return true;
}

} // namespace emulator
