/* How a launch ends when a kernel does what it must not. */
#ifndef KRN_EMULATOR_FAULT_H
#define KRN_EMULATOR_FAULT_H

namespace emulator {

/* Records what the running thread did wrong, with kernel, block and thread, and ends the launch: nothing of the block
 * runs on. Only for code that runs on a thread of a kernel. Destructors do not run. */
[[noreturn]] void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

} // namespace emulator

#endif
