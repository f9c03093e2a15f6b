/* Which accesses are ordered, whatever the schedule: vector clocks over the threads of a block.
 *
 * The life of a thread is cut into intervals where it releases, that is, where it arrives at a barrier; intervals are
 * numbered by a clock of the whole block, so that later ones have larger numbers. An access is labelled with who did it
 * and in which interval. It lies before what thread t does now if t's knowledge of who did it reaches that interval.
 *
 * Who does accesses: threads; warps, by collective instructions, which order with each of their lanes; and agents, the
 * asynchronous copies that complete on one mbarrier each.
 *
 * Knowledge is shared: after a barrier all its threads hold one and the same. That makes a barrier of n threads cost n
 * steps, not n^2. */
#ifndef KRN_EMULATOR_CLOCKS_H
#define KRN_EMULATOR_CLOCKS_H

#include <stdint.h>
#include <vector>

namespace emulator {

/* For each entity, its last interval that is known to have ended. */
using Knowledge = std::vector<uint32_t>;

class Clocks {
  public:
    static constexpr int32_t MAX_AGENTS = 64;

    void reset(int32_t threads);

    uint32_t thread_entity(int32_t thread) const { return static_cast<uint32_t>(thread); }
    uint32_t warp_entity(int32_t warp) const { return static_cast<uint32_t>(threads + warp); }
    uint32_t agent_entity(int32_t agent) const { return static_cast<uint32_t>(threads + warps + agent); }
    uint32_t thread_clock(int32_t thread) const { return thread_clocks[static_cast<uint32_t>(thread)]; }
    uint32_t warp_clock(int32_t warp) const { return warp_clocks[static_cast<uint32_t>(warp)]; }
    int32_t thread_count() const { return threads; }
    int32_t warp_count() const { return warps; }
    bool is_agent(uint32_t entity) const { return entity >= static_cast<uint32_t>(threads + warps); }

    /* Whether what `entity` did in interval `clock` lies before what `thread` does now. */
    bool ordered(int32_t thread, uint32_t entity, uint32_t clock) const {
        return entity == static_cast<uint32_t>(thread) || entity == static_cast<uint32_t>(threads + thread / 32) ||
               known(thread)[entity] >= clock;
    }

    /* Adds what `thread` did and knows to `into`, and begins its next interval. */
    void release(int32_t thread, Knowledge &into);
    /* Adds `from` to what `thread` knows. */
    void acquire(int32_t thread, const Knowledge &from);
    /* Each of the threads releases and acquires from all, and from `extra` unless null. */
    void join(const int32_t *members, int32_t count, const Knowledge *extra);

    /* A fence of the asynchronous proxy: `thread` has passed on what it wrote, and what it knows of. */
    void fence(int32_t thread);
    /* Whether a write has passed such a fence, by its writer or by `thread`. */
    bool fenced(int32_t thread, uint32_t entity, uint32_t clock) const {
        return is_agent(entity) || fences[entity] >= clock ||
               (!seen_at_fence[static_cast<uint32_t>(thread)].empty() &&
                seen_at_fence[static_cast<uint32_t>(thread)][entity] >= clock);
    }

    /* An interval of an agent, which begins and ends with one operation. */
    uint32_t next_clock() { return ++now; }
    Knowledge nothing() const { return Knowledge(entities, 0); }
    /* What `thread` knows of the world without itself. */
    const uint32_t *known(int32_t thread) const { return &store[bases[static_cast<uint32_t>(thread)] * entities]; }

  private:
    uint32_t take();
    void hold(int32_t thread, uint32_t base);

    int32_t threads = 0, warps = 0;
    uint32_t entities = 0, now = 0;
    std::vector<uint32_t> thread_clocks, warp_clocks;
    /* Knowledge number i is store[i * entities ..], held by holders[i] threads. */
    std::vector<uint32_t> store, holders, unused;
    std::vector<uint32_t> bases;
    /* The last acquire: threads of a warp acquire the same one after the other. */
    uint32_t last_from = 0, last_to = 0;
    bool has_last = false;
    std::vector<uint32_t> last_acquired;
    /* Of each thread and warp, the last interval that it fenced; of each thread, what it knew when it last fenced. */
    std::vector<uint32_t> fences;
    std::vector<Knowledge> seen_at_fence;
};

} // namespace emulator

#endif
