/* Operations that the threads of a warp or a block do together. */
#ifndef KRN_EMULATOR_WARP_H
#define KRN_EMULATOR_WARP_H

#include <stdint.h>

namespace emulator {

/* The arguments of the lanes that meet, and who they are. */
struct Meeting {
    void *arguments[32];
    uint32_t mask;

    bool has(int32_t lane) const { return (mask >> lane & 1) != 0; }
    template <class T> T &of(int32_t lane) const { return *static_cast<T *>(arguments[lane]); }
};

/* Waits until all lanes of `mask` are at this instruction, then does `run` once, for all; it may read and write the
 * arguments of each. A lane that is at another instruction meanwhile is a fault. */
void meet(const char *instruction, uint32_t mask, void *arguments, void (*run)(const Meeting &meeting));

/* The same in types. */
template <class T>
void meet(const char *instruction, uint32_t mask, T &arguments, void (*run)(const Meeting &meeting)) {
    meet(instruction, mask, static_cast<void *>(&arguments), run);
}

enum class ShuffleMode { XOR, DOWN, UP, INDEX };
uint32_t shuffle(uint32_t mask, uint32_t value, int32_t operand, int32_t width, ShuffleMode mode);
uint32_t ballot(uint32_t mask, bool predicate);
enum class Reduction { ADD, MIN_S32, MAX_S32, MIN_U32, MAX_U32, AND, OR, XOR };
uint32_t reduce(uint32_t mask, uint32_t value, Reduction reduction);
uint32_t match_any(uint32_t mask, uint32_t value);
/* bar.warp.sync: what the lanes wrote before it, all of them see after it. */
void sync_warp(uint32_t mask);

/* Barriers of a block: `threads` take part, of which those that arrive do not wait. */
void barrier_sync(int32_t id, int32_t threads);
void barrier_arrive(int32_t id, int32_t threads);
/* bar.sync 0 of the whole block; gives how many predicates were true. */
int32_t barrier_count(bool predicate);

} // namespace emulator

#endif
