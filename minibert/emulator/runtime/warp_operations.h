// Shuffles, votes and other warp-wide operations.
#pragma once
#include "failures.h"

namespace emulator {

static char* scratch;               // WARP_SCRATCH_BYTES for each warp
static bool scratch_used;           // by the block that runs

unsigned lane_id() { return current->number % WARP_SIZE; }

void* warp_scratch() {
    scratch_used = true;
    if (scratch == nullptr) {
        scratch = static_cast<char*>(std::aligned_alloc(SHARED_ALIGNMENT, MOST_WARPS * WARP_SCRATCH_BYTES));
        if (scratch == nullptr) fail(Kind::LAUNCH, {nullptr, 0}, "no memory for tensor cores");
        std::memset(scratch, 0, MOST_WARPS * WARP_SCRATCH_BYTES);
    }
    return scratch + current->number / WARP_SIZE * WARP_SCRATCH_BYTES;
}

inline void clear_scratch() {
    if (scratch_used) std::memset(scratch, 0, warp_count * WARP_SCRATCH_BYTES);
    scratch_used = false;
}

// What a lane gets once all lanes in the mask have arrived.
inline uint64_t result_for(const Thread& thread, const Thread* warp, unsigned mask) {
    if (thread.together == Together::EXCHANGE) return warp[thread.source].gives;
    uint64_t result = 0;
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
        unsigned lane = unsigned(__builtin_ctz(lanes));
        bool set = thread.together == Together::VOTE ? warp[lane].gives != 0 : warp[lane].gives == thread.gives;
        result |= uint64_t(set) << lane;
    }
    return result;
}

uint64_t exchange(unsigned mask, uint64_t bits, unsigned source, Place place) {
    if (source >= WARP_SIZE || (mask & lanes_of_warp(current->number / WARP_SIZE) & 1u << source) == 0) {
        fail(Kind::DIVERGENCE, place, "lane %u takes a value from lane %u, which %s", lane_id(), source,
             source < WARP_SIZE && (mask >> source & 1) ? "the block does not have" : "is not in the mask");
    }
    current->gives = bits;
    current->source = source;
    wait_for_warp(mask, place, Together::EXCHANGE);
    return current->gets;
}

unsigned vote(unsigned mask, bool yes, Place place) {
    current->gives = yes;
    wait_for_warp(mask, place, Together::VOTE);
    return unsigned(current->gets);
}

unsigned lanes_alike(unsigned mask, uint64_t bits, Place place) {
    current->gives = bits;
    wait_for_warp(mask, place, Together::COMPARE);
    return unsigned(current->gets);
}

// The lanes that have not ended.  (On a device it may be fewer: the lanes of a warp need not stay converged.)
unsigned active_lanes() {
    unsigned warp = current->number / WARP_SIZE, result = 0;
    for (unsigned lane = 0; lane < WARP_SIZE && warp * WARP_SIZE + lane < thread_count; lane++) {
        if (states[warp * WARP_SIZE + lane] != State::FINISHED) result |= 1u << lane;
    }
    return result;
}

// ------------------------------------------------------------------------------------------------------- atomics

#ifdef EMULATOR_CHECKS
void check_access(void* address, size_t bytes, bool writes, bool atomic, const void* counter);
#endif

void atomic_access(void* address, size_t bytes, const void* counter) {
#ifdef EMULATOR_CHECKS
    check_access(address, bytes, true, true, counter);
#else
    (void)address, (void)bytes, (void)counter;
#endif
}

constexpr unsigned VAIN_ATOMICS = 100;  // after which a thread yields to others

void atomic_changed_nothing() {
    if (++vain_atomics < VAIN_ATOMICS) return;
    vain_atomics = 0;
    gave_way = true;
    switch_to_scheduler(current->fiber);
}

void atomic_changed_something() { vain_atomics = fruitless_rounds = 0; }

void memory_fence() {}

}  // namespace emulator
