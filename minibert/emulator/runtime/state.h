// The state of the current launch, block and thread.
//
// Python fills a Launch and reads a Report: launch.py has the same fields in the same order.
#pragma once
#define EMULATOR_RUNTIME 1
#include <cstdarg>
#include <cstdio>
#include <cstdlib>

#include "kernel_table.h"
#include "shared_memory.h"
#include "warps.h"

// The built-in variables, which kernels see as constants.
#pragma GCC visibility push(hidden)
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
#pragma GCC visibility pop

namespace emulator {

constexpr unsigned MOST_THREADS = 1024;  // in a block
constexpr unsigned MOST_WARPS = MOST_THREADS / WARP_SIZE;

// ------------------------------------------------------------------------------------------------ the launch

enum class Order : int { FORWARD, REVERSE, RANDOM };

// An array among the arguments.  initialised: a byte for each of its bytes, 0 until it is written; or null.
// (Only check mode uses arrays.)
struct Array {
    char* begin;
    size_t bytes, element_bytes;
    unsigned char* initialised;
    int argument;
};

struct Launch {
    const Kernel* kernel;
    void** arguments;
    unsigned grid[3], block[3];
    size_t dynamic_bytes, most_shared;  // of shared memory: requested, and the limit including static arrays
    char* stacks;
    Order order;
    unsigned seed;
    unsigned seconds;  // of CPU time, after which the launch is stopped; 0 for no limit
    int array_count;
    const Array* arrays;
    int counting, tracing;
    size_t most_records;  // of a trace
};

// --------------------------------------------------------------------------------------------- what went wrong

// The location is a place, or a program counter (an offset from the beginning of the library), which Python looks up.
struct Report {
    Kind kind;
    char text[1024];
    const char* file;
    int line;
    int has_thread;
    unsigned block[3], thread[3];
    size_t counter, other_counter;  // other: of the access that this one conflicts with
    int argument;                   // the number of the array concerned, or -1
};

// ------------------------------------------------------------------------------------------------- the threads

enum class State : uint8_t { NEW, READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, FINISHED };

struct Thread;
static Thread* current = nullptr;  // the thread that runs; null while the scheduler runs
static const Launch* launch = nullptr;
static Report report;
static bool stopped = false;       // something went wrong: no thread continues
static unsigned thread_count, warp_count;
static size_t block_number;        // the current block, counted x first
static unsigned phase;             // block-wide barriers that have been passed

inline uint3 thread_index(unsigned number) {
    return {number % blockDim.x, number / blockDim.x % blockDim.y, number / (blockDim.x * blockDim.y)};
}

}  // namespace emulator
