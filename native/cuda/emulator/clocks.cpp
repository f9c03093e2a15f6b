#include "cuda/emulator/clocks.h"

#include <algorithm>
#include <string.h>

namespace emulator {

void Clocks::reset(int32_t block_threads) {
    threads = block_threads;
    warps = (block_threads + 31) / 32;
    entities = static_cast<uint32_t>(threads + warps + MAX_AGENTS);
    now = 1;
    thread_clocks.assign(static_cast<uint32_t>(threads), 1);
    warp_clocks.assign(static_cast<uint32_t>(warps), 1);
    store.assign(entities, 0);
    holders.assign(1, static_cast<uint32_t>(threads));
    unused.clear();
    bases.assign(static_cast<uint32_t>(threads), 0);
    has_last = false;
    fences.assign(entities, 0);
    seen_at_fence.assign(static_cast<uint32_t>(threads), Knowledge());
}

void Clocks::fence(int32_t thread) {
    uint32_t &own = thread_clocks[static_cast<uint32_t>(thread)];
    uint32_t &of_warp = warp_clocks[static_cast<uint32_t>(thread / 32)];
    seen_at_fence[static_cast<uint32_t>(thread)].assign(known(thread), known(thread) + entities);
    fences[thread_entity(thread)] = own;
    fences[warp_entity(thread / 32)] = of_warp;
    own = of_warp = ++now;
}

uint32_t Clocks::take() {
    if (unused.empty()) {
        holders.push_back(0);
        store.resize(store.size() + entities);
        return static_cast<uint32_t>(holders.size()) - 1;
    }
    const uint32_t base = unused.back();
    unused.pop_back();
    return base;
}

void Clocks::hold(int32_t thread, uint32_t base) {
    uint32_t &held = bases[static_cast<uint32_t>(thread)];
    holders[base]++;
    if (--holders[held] == 0) {
        unused.push_back(held);
        /* The number may come to mean something else. */
        has_last = has_last && held != last_from && held != last_to;
    }
    held = base;
}

static void add(uint32_t *to, const uint32_t *from, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        to[i] = std::max(to[i], from[i]);
}

void Clocks::release(int32_t thread, Knowledge &into) {
    add(into.data(), known(thread), entities);
    uint32_t &own = thread_clocks[static_cast<uint32_t>(thread)];
    uint32_t &of_warp = warp_clocks[static_cast<uint32_t>(thread / 32)];
    into[thread_entity(thread)] = own;
    into[warp_entity(thread / 32)] = of_warp;
    own = of_warp = ++now;
}

void Clocks::acquire(int32_t thread, const Knowledge &from) {
    const uint32_t base = bases[static_cast<uint32_t>(thread)];
    if (has_last && base == last_from && from == last_acquired) {
        hold(thread, last_to);
        return;
    }
    const uint32_t to = take();
    memcpy(&store[to * entities], &store[base * entities], entities * sizeof store[0]);
    add(&store[to * entities], from.data(), entities);
    hold(thread, to);
    last_from = base;
    last_to = to;
    last_acquired = from;
    has_last = holders[base] > 0;
}

void Clocks::join(const int32_t *members, int32_t count, const Knowledge *extra) {
    const uint32_t to = take();
    uint32_t *const joined = &store[to * entities];
    uint32_t seen = bases[static_cast<uint32_t>(members[0])];
    memcpy(joined, &store[seen * entities], entities * sizeof store[0]);
    for (int32_t i = 1; i < count; i++) {
        const uint32_t base = bases[static_cast<uint32_t>(members[i])];
        if (base != seen)
            add(joined, &store[base * entities], entities);
        seen = base;
    }
    if (extra != nullptr)
        add(joined, extra->data(), entities);
    const uint32_t clock = ++now;
    for (int32_t i = 0; i < count; i++) {
        const int32_t thread = members[i];
        joined[thread_entity(thread)] = thread_clocks[static_cast<uint32_t>(thread)];
        joined[warp_entity(thread / 32)] =
            std::max(joined[warp_entity(thread / 32)], warp_clocks[static_cast<uint32_t>(thread / 32)]);
    }
    for (int32_t i = 0; i < count; i++) {
        const int32_t thread = members[i];
        thread_clocks[static_cast<uint32_t>(thread)] = clock;
        warp_clocks[static_cast<uint32_t>(thread / 32)] = clock;
        hold(thread, to);
    }
}

} // namespace emulator
