/* The one file of the emulator that knows the processor. */
#include "cuda/emulator/fiber.h"

#include "cpu/common/portability.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#if defined(KRN_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

/* Saves what a function must preserve on the stack, changes stacks and restores it from the other:
 * void krn_emulator_switch(void **save_stack_pointer, void *stack_pointer). */
extern "C" void krn_emulator_switch(void **save, void *load) __attribute__((visibility("hidden")));

#if defined(__x86_64__)
asm(R"(
    .text
    .p2align 4
    .hidden krn_emulator_switch
    .globl krn_emulator_switch
    .type krn_emulator_switch, @function
krn_emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size krn_emulator_switch, . - krn_emulator_switch
)");
/* Six registers, the address to return to, and an end for whoever walks the stack. */
static const size_t FRAME_WORDS = 8, ENTRY_WORD = 6;
#elif defined(__aarch64__)
asm(R"(
    .text
    .p2align 4
    .hidden krn_emulator_switch
    .globl krn_emulator_switch
    .type krn_emulator_switch, %function
krn_emulator_switch:
    sub sp, sp, #160
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
    .size krn_emulator_switch, . - krn_emulator_switch
)");
static const size_t FRAME_WORDS = 20, ENTRY_WORD = 11;
#else
#error "the emulator has no context switch for this processor"
#endif

namespace emulator {

/* Kernels have small frames; sanitizers make them several times larger. */
#if defined(KRN_ADDRESS_SANITIZER)
static const size_t STACK_BYTES = 512 << 10;
#else
static const size_t STACK_BYTES = 64 << 10;
#endif
static const size_t PAGE_BYTES = 4096;
/* One page more than a power of two, so that stacks do not fall on the same lines of the cache. */
static const size_t STRIDE_BYTES = STACK_BYTES + PAGE_BYTES;

Stacks::Stacks(int threads) : count(threads) {
    void *const mapped = mmap(nullptr, STRIDE_BYTES * static_cast<size_t>(count), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memory = mapped == MAP_FAILED ? nullptr : static_cast<char *>(mapped);
    for (int i = 0; memory != nullptr && i < count; i++)
        mprotect(memory + STRIDE_BYTES * static_cast<size_t>(i), PAGE_BYTES, PROT_NONE);
}

Stacks::~Stacks() {
    if (memory != nullptr)
        munmap(memory, STRIDE_BYTES * static_cast<size_t>(count));
}

void Stacks::prepare(int index, Fiber &fiber, void (*entry)()) const {
    char *const bottom = memory + STRIDE_BYTES * static_cast<size_t>(index) + PAGE_BYTES;
    /* Within a page, too, tops of stacks lie apart. */
    const size_t bytes = STACK_BYTES - static_cast<size_t>(index % 12) * 320;
    uint64_t *const frame = reinterpret_cast<uint64_t *>(bottom + bytes) - FRAME_WORDS;
    memset(frame, 0, FRAME_WORDS * sizeof *frame);
    frame[ENTRY_WORD] = reinterpret_cast<uintptr_t>(entry);
    fiber.stack_pointer = frame;
    fiber.fake_stack = nullptr;
    fiber.bottom = bottom;
    fiber.bytes = bytes;
}

#if defined(KRN_ADDRESS_SANITIZER)

static thread_local Fiber *left;
static thread_local bool left_ended;

/* Functions that never return leave marks around what they had on the stack, where others will have theirs. */
static void wipe(const void *begin, const void *end) {
    __asan_unpoison_memory_region(
        begin, static_cast<size_t>(static_cast<const char *>(end) - static_cast<const char *>(begin)));
}

void Stacks::wipe_all(int threads) const {
    for (int i = 0; i < threads; i++) {
        const char *const bottom = memory + STRIDE_BYTES * static_cast<size_t>(i) + PAGE_BYTES;
        wipe(bottom, bottom + STACK_BYTES);
    }
}

void switch_fiber(Fiber &from, Fiber &to, bool ends) {
    left = &from;
    left_ended = ends;
    __sanitizer_start_switch_fiber(ends ? nullptr : &from.fake_stack, to.bottom, to.bytes);
    krn_emulator_switch(&from.stack_pointer, to.stack_pointer);
    fiber_begins(from);
}

void fiber_begins(Fiber &self) {
    /* The stack of the operating system's thread becomes known only when it is left. */
    const void *bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(self.fake_stack, &bottom, &bytes);
    left->bottom = bottom;
    left->bytes = bytes;
    if (left_ended)
        wipe(left->stack_pointer, static_cast<const char *>(bottom) + bytes);
}

#else

void Stacks::wipe_all(int) const {}

void switch_fiber(Fiber &from, Fiber &to, bool) { krn_emulator_switch(&from.stack_pointer, to.stack_pointer); }

void fiber_begins(Fiber &) {}

#endif

} // namespace emulator
