// Fibers: several call stacks in one CPU thread, and switching from one to another.
//
// A CUDA thread that waits at a barrier must remember where it was in the kernel, in whatever function and loop.  So each
// has its own call stack.  A switch saves the callee-saved registers, exchanges the stack
// pointer and restores them: a dozen instructions, whereas a switch between CPU threads takes some thousand.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#include "state.h"

#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(EMULATOR_UCONTEXT)
#define EMULATOR_UCONTEXT 1
#endif
#ifdef EMULATOR_UCONTEXT
#include <ucontext.h>
#endif

namespace emulator {

constexpr size_t STACK_BYTES = 256 * 1024;  // of address space; memory is used only as a stack grows

constexpr size_t LOCAL_BYTES = 128 * 1024;  // the part of them that is guaranteed to local variables

constexpr size_t BELOW_STACKS = 64 * 1024 * 1024;  // unused, so that nothing of Python's is there

// Stacks for the threads of the largest block.  The lowest page of each is a guard page: an overflow is caught.
inline char* make_stacks() {
    size_t bytes = BELOW_STACKS + MOST_THREADS * STACK_BYTES;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    mprotect(memory, BELOW_STACKS, PROT_NONE);
    char* stacks = static_cast<char*>(memory) + BELOW_STACKS;
    for (unsigned i = 0; i < MOST_THREADS; i++) mprotect(stacks + i * STACK_BYTES, getpagesize(), PROT_NONE);
    return stacks;
}

// Stacks of finished threads are reused for new ones, the most recent first: it is still in the cache.  A kernel
// without barriers runs all its threads on one stack.
static unsigned free_stacks[MOST_THREADS];
static unsigned free_count;

inline void free_all_stacks() {
    for (free_count = 0; free_count < MOST_THREADS; free_count++) {
        free_stacks[free_count] = MOST_THREADS - 1 - free_count;
    }
}

struct Fiber {
    unsigned stack;  // its number
#ifdef EMULATOR_UCONTEXT
    ucontext_t context;
#else
    void* stack_pointer;
#endif
};

// Where a stack begins; it grows downwards.  The offsets avoid multiples of a large power of two, which would all map
// to the same few cache lines.
inline char* top_of_stack(unsigned number) {
    return launch->stacks + (number + 1) * STACK_BYTES - number % 128 * 576;
}

void run_thread();  // the entry point of a new fiber; it never returns

#ifdef EMULATOR_UCONTEXT

static ucontext_t scheduler_context;

inline void start(Fiber& fiber) {
    fiber.stack = free_stacks[--free_count];
    char* bottom = launch->stacks + fiber.stack * STACK_BYTES;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = bottom;
    fiber.context.uc_stack.ss_size = size_t(top_of_stack(fiber.stack) - bottom);
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, run_thread, 0);
}
inline void switch_to(Fiber& fiber) { swapcontext(&scheduler_context, &fiber.context); }
inline void switch_to_scheduler(Fiber& fiber) { swapcontext(&fiber.context, &scheduler_context); }

#else

static void* scheduler_stack_pointer;

// Saves the registers on the current stack and its pointer in *save, and switches to the stack `load`.
void exchange_stacks(void** save, void* load) asm("emulator_exchange_stacks");

#if defined(__x86_64__)
constexpr size_t SAVED_REGISTERS = 6;  // words that the function below pushes
constexpr size_t RETURN_ADDRESS = 6;   // which word on a stack is the address to resume at
asm(R"(
    .text
    .p2align 4
emulator_exchange_stacks:
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
)");
constexpr size_t FRAME_WORDS = SAVED_REGISTERS + 2;  // on entry to a function the stack is 8 bytes off a multiple of 16
#else
constexpr size_t RETURN_ADDRESS = 11;  // x30
constexpr size_t FRAME_WORDS = 20;
asm(R"(
    .text
    .p2align 4
emulator_exchange_stacks:
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
)");
#endif

// The stack of a new fiber looks as if it had been left at the first instruction of run_thread.
inline void start(Fiber& fiber) {
    fiber.stack = free_stacks[--free_count];
    void** frame = reinterpret_cast<void**>(top_of_stack(fiber.stack)) - FRAME_WORDS;
    for (size_t i = 0; i < FRAME_WORDS; i++) frame[i] = nullptr;
    frame[RETURN_ADDRESS] = reinterpret_cast<void*>(&run_thread);
    fiber.stack_pointer = frame;
}
inline void switch_to(Fiber& fiber) { exchange_stacks(&scheduler_stack_pointer, fiber.stack_pointer); }
inline void switch_to_scheduler(Fiber& fiber) { exchange_stacks(&fiber.stack_pointer, scheduler_stack_pointer); }

#endif

inline void finish(Fiber& fiber) { free_stacks[free_count++] = fiber.stack; }

}  // namespace emulator
