#include "cuda/emulator/warp.h"

#include "cuda/emulator/block.h"

#include <algorithm>

namespace emulator {

void meet(const char *instruction, uint32_t mask, void *arguments, void (*run)(const Meeting &meeting)) {
    Thread &self = *running();
    Block &block = *self.block;
    const uint32_t own = 1u << self.lane();
    if ((mask & own) == 0)
        fault("%s with the lanes 0x%08x, of which it is none", instruction, mask);
    uint32_t &meeting = block.meeting_lanes[static_cast<uint32_t>(self.warp())];
    Thread *const lanes = &block.threads[static_cast<uint32_t>(self.warp() * 32)];
    /* Who waits with a common mask waits at the same instruction: one of each mask is asked. */
    for (uint32_t others = meeting; others != 0;) {
        const Thread &other = lanes[__builtin_ctz(others)];
        if ((other.meeting_mask & mask) != 0 && (other.meeting_mask != mask || other.instruction != instruction))
            fault("%s with the lanes 0x%08x, while lane %d is at %s with the lanes 0x%08x: the warp has diverged",
                  instruction, mask, other.lane(), other.instruction, other.meeting_mask);
        others &= ~other.meeting_mask;
    }
    self.instruction = instruction;
    self.meeting_mask = mask;
    self.meeting_arguments = arguments;
    meeting |= own;
    if ((meeting & mask) != mask) {
        self.state = Thread::State::MEETING;
        block.wait(self);
        return;
    }
    Meeting all;
    all.mask = mask;
    for (uint32_t who = mask; who != 0; who &= who - 1) {
        const int32_t lane = __builtin_ctz(who);
        all.arguments[lane] = lanes[lane].meeting_arguments;
    }
    meeting &= ~mask;
    run(all);
    for (uint32_t who = mask & ~own; who != 0; who &= who - 1)
        block.wake(lanes[__builtin_ctz(who)]);
}

namespace {

struct Shuffle {
    uint32_t value, result;
    int32_t operand, width;
    ShuffleMode mode;
};

struct Reduce {
    uint32_t value;
    Reduction reduction;
};

} // namespace

static int32_t source_lane(const Shuffle &s, int32_t lane) {
    const int32_t first = lane & ~(s.width - 1);
    switch (s.mode) {
    case ShuffleMode::XOR: return lane ^ s.operand;
    case ShuffleMode::DOWN: return lane + s.operand;
    case ShuffleMode::UP: return lane - s.operand < first ? lane : lane - s.operand;
    case ShuffleMode::INDEX: return first + (s.operand & (s.width - 1));
    }
    return lane;
}

static void run_shuffle(const Meeting &m) {
    for (int32_t lane = 0; lane < 32; lane++) {
        if (!m.has(lane))
            continue;
        Shuffle &s = m.of<Shuffle>(lane);
        int32_t from = source_lane(s, lane);
        /* Out of range is the own value; a lane that takes no part has none. */
        if (from < 0 || from >= (lane & ~(s.width - 1)) + s.width)
            from = lane;
        if (!m.has(from))
            fault("shfl.sync: lane %d reads lane %d, which takes no part (0x%08x)", lane, from, m.mask);
        s.result = m.of<Shuffle>(from).value;
    }
}

uint32_t shuffle(uint32_t mask, uint32_t value, int32_t operand, int32_t width, ShuffleMode mode) {
    Shuffle s = {value, 0, operand, width, mode};
    meet("shfl.sync", mask, s, run_shuffle);
    return s.result;
}

static void run_ballot(const Meeting &m) {
    uint32_t votes = 0;
    for (int32_t lane = 0; lane < 32; lane++)
        votes |= m.has(lane) && m.of<uint32_t>(lane) != 0 ? 1u << lane : 0;
    for (int32_t lane = 0; lane < 32; lane++)
        if (m.has(lane))
            m.of<uint32_t>(lane) = votes;
}

uint32_t ballot(uint32_t mask, bool predicate) {
    uint32_t vote = predicate;
    meet("vote.sync", mask, vote, run_ballot);
    return vote;
}

static uint32_t combine(uint32_t a, uint32_t b, Reduction reduction) {
    const int32_t signed_a = static_cast<int32_t>(a), signed_b = static_cast<int32_t>(b);
    switch (reduction) {
    case Reduction::ADD: return a + b;
    case Reduction::MIN_S32: return static_cast<uint32_t>(std::min(signed_a, signed_b));
    case Reduction::MAX_S32: return static_cast<uint32_t>(std::max(signed_a, signed_b));
    case Reduction::MIN_U32: return std::min(a, b);
    case Reduction::MAX_U32: return std::max(a, b);
    case Reduction::AND: return a & b;
    case Reduction::OR: return a | b;
    case Reduction::XOR: return a ^ b;
    }
    return a;
}

static void run_reduce(const Meeting &m) {
    const int32_t first = __builtin_ctz(m.mask);
    uint32_t result = m.of<Reduce>(first).value;
    for (int32_t lane = first + 1; lane < 32; lane++)
        if (m.has(lane))
            result = combine(result, m.of<Reduce>(lane).value, m.of<Reduce>(first).reduction);
    for (int32_t lane = 0; lane < 32; lane++)
        if (m.has(lane))
            m.of<Reduce>(lane).value = result;
}

uint32_t reduce(uint32_t mask, uint32_t value, Reduction reduction) {
    Reduce r = {value, reduction};
    meet("redux.sync", mask, r, run_reduce);
    return r.value;
}

static void run_match(const Meeting &m) {
    uint32_t values[32], same[32];
    for (int32_t lane = 0; lane < 32; lane++)
        values[lane] = m.has(lane) ? m.of<uint32_t>(lane) : 0;
    for (int32_t lane = 0; lane < 32; lane++) {
        same[lane] = 0;
        for (int32_t other = 0; other < 32; other++)
            same[lane] |= m.has(other) && values[other] == values[lane] ? 1u << other : 0;
    }
    for (int32_t lane = 0; lane < 32; lane++)
        if (m.has(lane))
            m.of<uint32_t>(lane) = same[lane];
}

uint32_t match_any(uint32_t mask, uint32_t value) {
    meet("match.any.sync", mask, value, run_match);
    return value;
}

static void run_sync(const Meeting &m) {
    Thread &self = *running();
    int32_t members[32], count = 0;
    for (int32_t lane = 0; lane < 32; lane++)
        if (m.has(lane))
            members[count++] = self.warp() * 32 + lane;
    self.block->clocks.join(members, count, nullptr);
}

void sync_warp(uint32_t mask) { meet("bar.warp.sync", mask, nullptr, run_sync); }

} // namespace emulator
