// Data races: two threads access the same memory, at least one of them writes, and no barrier orders the accesses.
//
// The threads run one after the other here, so the results may be correct.  But earlier accesses are recorded (Cell),
// and an earlier access is ordered before the current one if:
//
//     the same thread made both
//     the same block made both, with __syncthreads in between: the phase is later
//     the same warp made both, with __syncwarp in between: the warp's phase is later
//
// Everything else could have happened in the other order on a GPU.  Atomic operations do not race with each other.
// After a __syncwarp of only some lanes a race between the others can be missed.
#pragma once
#include "regions.h"

namespace emulator {

inline bool is_ordered_before_now(const Use& use) {
    if (use.block != uint32_t(block_serial)) return false;
    if (use.phase < phase) return true;
    if (use.several == Several::NO && use.thread == current->number) return true;
    if (use.several == Several::WARPS) return false;
    return use.thread / WARP_SIZE == current->number / WARP_SIZE && use.warp_phase < current->warp_phase;
}

// Whether there was such a use.  Uses of shared memory by earlier blocks do not count.
inline bool is_there(const Use& use, const Region& region) {
    return use.block != 0 && !(region.is_shared && use.block != uint32_t(block_serial));
}

inline Use use_of_now(bool atomic, const void* counter) {
    Use use = {};
    use.block = uint32_t(block_serial);
    use.thread = uint16_t(current->number);
    use.atomic = atomic;
    use.phase = phase, use.warp_phase = current->warp_phase;
    use.counter = uint32_t(reinterpret_cast<uintptr_t>(counter) - reinterpret_cast<uintptr_t>(&dynamic_shared));
    return use;
}

// Merges two unordered uses into one: later uses must be ordered after both.
inline Use joined(const Use& earlier, Use now) {
    if (earlier.block != now.block) {
        now.block = SEVERAL_BLOCKS;
        now.several = Several::WARPS;
    } else if (earlier.several == Several::WARPS || earlier.thread / WARP_SIZE != now.thread / WARP_SIZE) {
        now.several = Several::WARPS;
    } else if (earlier.thread != now.thread) {
        now.several = Several::LANES;
    }
    return now;
}

// The counter of a use, as the report wants it.
inline size_t library_offset(const Use& use) {
    auto counter = reinterpret_cast<uintptr_t>(&dynamic_shared) + uintptr_t(int64_t(int32_t(use.counter)));
    return library_offset(reinterpret_cast<const void*>(counter));
}

[[noreturn, gnu::cold, gnu::noinline]] inline void fail_race(const Region& region, char* address, size_t bytes, bool writes, bool atomic,
                                   const Use& other, bool other_wrote, const void* counter) {
    char element[200], who[100];
    int argument = -1;
    name_element(element, sizeof element, region, address, bytes, &argument);
    uint3 index = thread_index(other.thread);
    if (other.several != Several::NO) snprintf(who, sizeof who, "other threads");
    else snprintf(who, sizeof who, "thread (%u, %u, %u)", index.x, index.y, index.z);
    bool other_block = other.block != uint32_t(block_serial);
    const char* between = other_block ? "no barrier orders blocks" : "no barrier is between";
    char text[600];
    snprintf(text, sizeof text, "%s%s of %s, which %s%s %s%s%s: %s", atomic ? "atomic " : "", writes ? "write" : "read",
             element, who, other_block ? " of another block" : "", other_wrote ? "wrote" : "read",
             other.atomic ? " atomically" : "", "{other}", between);
    write_text(Kind::RACE, counter, argument, text);
    report.other_counter = library_offset(other);
    stop();
    abandon_thread();
}

// Whether a read adds no information: several warps of this block have read in this phase, or this thread has.
inline bool is_known_read(const Use& read) {
    if (read.block != uint32_t(block_serial) || read.phase != phase) return false;
    if (read.several == Several::WARPS) return true;
    return read.several == Several::NO && read.thread == current->number && read.warp_phase == current->warp_phase;
}

// Compares an access with earlier accesses to one cell, and records it there.
inline void note_use(const Region& region, Cell& cell, char* address, size_t bytes, bool writes, bool atomic,
                     const void* counter) {
    bool after_write = !is_there(cell.write, region) || is_ordered_before_now(cell.write);
    if (!after_write && !(atomic && cell.write.atomic)) {
        fail_race(region, address, bytes, writes, atomic, cell.write, true, counter);
    }
    if (!writes && is_known_read(cell.read)) return;
    bool after_read = !is_there(cell.read, region) || is_ordered_before_now(cell.read);
    Use now = use_of_now(atomic, counter);
    if (!writes) {
        cell.read = after_read ? now : joined(cell.read, now);
        return;
    }
    if (!after_read) fail_race(region, address, bytes, writes, atomic, cell.read, false, counter);
    cell.write = after_write ? now : joined(cell.write, now);
    cell.read.block = 0;
}

}  // namespace emulator
