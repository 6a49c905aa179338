// The runtime of the emulator: compiled once for fast mode and once, with EMULATOR_CHECKS, for check mode, and linked to
// every kernel.  Read in this order:
//
//     state.h            what Python hands over and gets back
//     fibers.h           call stacks, and switching between them
//     scheduler.h        which thread runs when; barriers
//     divergence.h       the diagnosis when threads wait in vain
//     failures.h         how an error ends a launch
//     warp_operations.h  shuffles, votes, atomics
//     shared_arrays.h    shared memory
//     signals.h          invalid addresses, Ctrl-C and time limits
//     host_program.h     device memory and launches for a program's main()
//   and, for check mode,
//     regions.h          which memory a kernel may use, and what is known about it
//     races.h            accesses that no barrier orders
//     accesses.h         what is done at every access
//     sanitizer.h        how the compiler reports accesses and overflows
//     counters.h         sectors and bank conflicts
//     trace.h            the list of all accesses
#include "state.h"
#include "without_library.h"

#include "scheduler.h"
#include "failures.h"
#include "divergence.h"
#include "warp_operations.h"
#include "shared_arrays.h"
#include "signals.h"
#ifdef EMULATOR_CHECKS
#include "accesses.h"
#include "sanitizer.h"
#else
namespace emulator {
void phase_ends() {}
void block_ends() {}
void shared_array_begins(char*, size_t, const SharedArray*) {}
}  // namespace emulator
#endif

#define EMULATOR_API extern "C" __attribute__((visibility("default")))

namespace emulator {

inline void prepare(const Launch& asked) {
    launch = &asked;
    report = Report{};
    stopped = false;
    current = nullptr;
    blockDim = {asked.block[0], asked.block[1], asked.block[2]};
    gridDim = {asked.grid[0], asked.grid[1], asked.grid[2]};
    thread_count = blockDim.x * blockDim.y * blockDim.z;
    warp_count = (thread_count + WARP_SIZE - 1) / WARP_SIZE;
    random_state = 0x9e3779b97f4a7c15u + asked.seed * 0xbf58476d1ce4e5b9u;
    free_all_stacks();
}

inline void run_block_number(size_t number) {
    block_number = number;
    blockIdx = {unsigned(number % gridDim.x), unsigned(number / gridDim.x % gridDim.y),
                unsigned(number / gridDim.x / gridDim.y)};
    begin_block();
    begin_shared_memory();
    clear_scratch();
    run_block();
    block_ends();
    notice_signal();
}

// Runs the blocks one after the other: forwards, backwards, or in random order.
inline void run_grid() {
    size_t count = size_t(gridDim.x) * gridDim.y * gridDim.z;
    unsigned* order = nullptr;
    if (launch->order == Order::RANDOM) {
        order = static_cast<unsigned*>(std::malloc(count * sizeof(unsigned)));
        if (order == nullptr) return fail_block(Kind::LAUNCH, {nullptr, 0}, "no memory for the order of %zu blocks", count);
        fill_order(order, unsigned(count));
    }
    for (size_t i = 0; i < count && !stopped; i++) {
        size_t forward = launch->order == Order::REVERSE ? count - 1 - i : i;
        run_block_number(order != nullptr ? order[i] : forward);
    }
    std::free(order);
}

}  // namespace emulator

#include "host_program.h"

// A kernel that calls exit() or abort() ends its launch, not the process.  In this library, both names stand for these
// functions; since they are hidden, the rest of the process keeps the C library's, to which the host's calls are passed.
#define EMULATOR_TEXT_OF(prefix) #prefix
#define EMULATOR_LABEL(prefix, name) __asm__(EMULATOR_TEXT_OF(prefix) name) __attribute__((visibility("hidden")))
extern "C" {
[[noreturn]] void emulator_exit(int code) EMULATOR_LABEL(__USER_LABEL_PREFIX__, "exit");
[[noreturn]] void emulator_abort() EMULATOR_LABEL(__USER_LABEL_PREFIX__, "abort");

void emulator_exit(int code) {
    if (emulator::current != nullptr) emulator::end_by_call("exit()", __builtin_return_address(0));
    reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "exit"))(code);
    __builtin_unreachable();
}
void emulator_abort() {
    if (emulator::current != nullptr) emulator::end_by_call("abort()", __builtin_return_address(0));
    reinterpret_cast<void (*)()>(dlsym(RTLD_DEFAULT, "abort"))();
    __builtin_unreachable();
}
}

EMULATOR_API char* emulator_make_stacks() { return emulator::make_stacks(); }

#ifdef EMULATOR_CHECKS
// What the last launch recorded and counted.
EMULATOR_API const emulator::Record* emulator_records(size_t* count) {
    *count = emulator::records.size();
    return emulator::records.data();
}
EMULATOR_API const emulator::Count* emulator_counts(size_t* count) {
    *count = emulator::counts.size();
    return emulator::counts.data();
}
#endif

// Runs a kernel.  The report says what went wrong; its kind is NOTHING if nothing did.
EMULATOR_API const emulator::Report* emulator_launch(const emulator::Launch* asked) {
    using namespace emulator;
    prepare(*asked);
#ifdef EMULATOR_CHECKS
    begin_checks();
#endif
    catch_signals();
    run_grid();
    release_signals();
    std::fflush(stdout);  // what the kernel has printed
#ifdef EMULATOR_CHECKS
    end_checks();
#endif
    return &report;
}
