/* Fibers: functions on stacks of their own, switched by hand. One for every thread of a block. */
#ifndef KRN_EMULATOR_FIBER_H
#define KRN_EMULATOR_FIBER_H

#include <stddef.h>

namespace emulator {

struct Fiber {
    void *stack_pointer = nullptr;
    /* What address sanitizers keep of the stack. */
    void *fake_stack = nullptr;
    const void *bottom = nullptr;
    size_t bytes = 0;
};

/* Stacks for the threads of one block, with an inaccessible page below each. */
class Stacks {
  public:
    explicit Stacks(int threads);
    ~Stacks();
    Stacks(const Stacks &) = delete;
    Stacks &operator=(const Stacks &) = delete;

    /* Whether there was memory for them. */
    bool ready() const { return memory != nullptr; }
    /* Makes `fiber` begin with `entry`, which never returns, when it is switched to. */
    void prepare(int index, Fiber &fiber, void (*entry)()) const;
    /* Before others use the stacks of threads that were left where they stood and have not ended. */
    void wipe_all(int threads) const;

  private:
    const int count;
    char *memory;
};

/* Goes on with `to`. `ends`: nobody will come back to `from`. */
void switch_fiber(Fiber &from, Fiber &to, bool ends);
/* The first thing a new fiber does. */
void fiber_begins(Fiber &from);

} // namespace emulator

#endif
