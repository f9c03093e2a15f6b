/* What kernel.h of ptx/ needs of the emulator: where a thread is, and the list of kernels. */
#ifndef KRN_EMULATOR_KERNEL_H
#define KRN_EMULATOR_KERNEL_H

#include <stddef.h>
#include <stdint.h>

namespace emulator {

/* Where the running thread is. */
struct Place {
    int32_t thread, block_threads;
    int32_t block[3], grid[3];
};
const Place &place();

/* A kernel that can be launched by name. Registrations are static objects of kernel sources. */
class Registration {
  public:
    using Body = void (*)(const void *params);

    Registration(const char *kernel_name, Body kernel_body, size_t bytes, int32_t threads)
        : name(kernel_name), body(kernel_body), params_bytes(bytes), max_threads(threads), next(first()) {
        first() = this;
    }
    Registration(const Registration &) = delete;
    Registration &operator=(const Registration &) = delete;

    /* The kernel of that name, or null. */
    static const Registration *find(const char *name);

    const char *const name;
    const Body body;
    const size_t params_bytes;
    const int32_t max_threads;

  private:
    static const Registration *&first();
    const Registration *const next;
};

} // namespace emulator

#endif
