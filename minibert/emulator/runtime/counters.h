// Counts what determines the speed of a kernel's memory accesses on a GPU.
//
// The 32 lanes of a warp run an instruction together.  Global memory is transferred in sectors of 32 bytes: the fewer
// sectors for the same bytes, the better.  Shared memory has 32 banks, each of which serves one word of four bytes
// per turn: lanes that want different words of one bank wait for each other.  A turn serves the whole warp if each lane
// wants four bytes, half of it for eight bytes and a quarter for sixteen.
//
// Here the lanes run one after the other.  Accesses that belong together are identified by the instruction and by how
// often the lane has executed it before.
#pragma once
#include <map>

#include "regions.h"

namespace emulator {

constexpr size_t SECTOR_BYTES = 32, BANK_BYTES = 4, BANKS = 32;

// What all executions of one instruction cost.  Python reads these: counters.py has the same fields in the same order.
struct Count {
    uint64_t counter;   // the instruction, as an offset from the beginning of the library
    uint64_t accesses;  // of whole warps
    uint64_t transfers; // sectors of global memory; turns of shared memory
    uint64_t least;     // the minimum for the same bytes, or lanes
    int32_t is_shared, writes;
};

struct Touch {
    uint32_t instruction, execution;
    uint16_t thread, bytes;
    uintptr_t address;  // in shared memory: an offset into its array
};

static std::vector<Count> counts;                              // for each instruction
static std::map<const void*, uint32_t> instructions;           // their numbers
static std::vector<uint32_t> executions;                       // [instruction, thread], in this block
static std::vector<Touch> touches;                             // of this block

inline uint32_t number_of_instruction(const void* counter, bool is_shared, bool writes) {
    auto [place, is_new] = instructions.try_emplace(counter, uint32_t(counts.size()));
    if (is_new) {
        counts.push_back({library_offset(counter), 0, 0, 0, is_shared, writes});
        executions.resize(counts.size() * MOST_THREADS);
    }
    return place->second;
}

inline void count_access(const Region& region, const char* address, size_t bytes, bool writes, const void* counter) {
    uint32_t instruction = number_of_instruction(counter, region.is_shared, writes);
    uint32_t execution = executions[instruction * MOST_THREADS + current->number]++;
    uintptr_t place = region.is_shared ? size_t(address - region.begin) : reinterpret_cast<uintptr_t>(address);
    touches.push_back({instruction, execution, uint16_t(current->number), uint16_t(bytes), place});
}

// --------------------------------------------------------------------------------------- one access of a warp

// The bytes from `begin` to `end`; each is counted once, although several lanes may want it.
struct Span {
    uintptr_t begin, end;
};

// Calls handle(begin, end) for each run of bytes that lanes want, by address, without overlaps.
template <typename Handle> inline void for_each_run(const Touch* begin, const Touch* end, Handle handle) {
    Span spans[WARP_SIZE];
    unsigned count = 0;
    for (const Touch* touch = begin; touch < end && count < WARP_SIZE; touch++) {
        spans[count++] = {touch->address, touch->address + touch->bytes};
    }
    std::sort(spans, spans + count, [](const Span& a, const Span& b) { return a.begin < b.begin; });
    uintptr_t covered = 0;
    for (unsigned i = 0; i < count; i++) {
        uintptr_t first = std::max(spans[i].begin, covered);
        if (first < spans[i].end) handle(first, spans[i].end);
        covered = std::max(covered, spans[i].end);
    }
}

inline void count_sectors(Count& count, const Touch* begin, const Touch* end) {
    size_t sectors = 0, bytes = 0;
    uintptr_t next_sector = 0;  // those before it have been counted
    for_each_run(begin, end, [&](uintptr_t first, uintptr_t last) {
        bytes += last - first;
        uintptr_t from = std::max(first / SECTOR_BYTES, next_sector), to = (last - 1) / SECTOR_BYTES + 1;
        if (to > from) sectors += to - from;
        next_sector = std::max(next_sector, to);
    });
    count.transfers += sectors;
    count.least += (bytes + SECTOR_BYTES - 1) / SECTOR_BYTES;
}

// The turns for lanes that are served together: the number of different words wanted from the busiest bank.
inline size_t turns_of_part(const Touch* begin, const Touch* end) {
    size_t of_bank[BANKS] = {}, most = 0;
    uintptr_t next_word = 0;
    for_each_run(begin, end, [&](uintptr_t first, uintptr_t last) {
        uintptr_t to = (last - 1) / BANK_BYTES + 1;
        for (uintptr_t word = std::max(first / BANK_BYTES, next_word); word < to; word++) {
            most = std::max(most, ++of_bank[word % BANKS]);
        }
        next_word = std::max(next_word, to);
    });
    return most;
}

inline void count_turns(Count& count, const Touch* begin, const Touch* end) {
    size_t bytes = 0;
    for (const Touch* touch = begin; touch < end; touch++) bytes = std::max(bytes, size_t(touch->bytes));
    unsigned lanes = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;  // per turn
    while (begin < end) {
        unsigned part = begin->thread / lanes;
        const Touch* next = begin;
        while (next < end && next->thread / lanes == part) next++;
        count.transfers += turns_of_part(begin, next);
        count.least++;
        begin = next;
    }
}

// -------------------------------------------------------------------------------------------------- a whole block

inline bool comes_before(const Touch& a, const Touch& b) {
    if (a.instruction != b.instruction) return a.instruction < b.instruction;
    if (a.thread / WARP_SIZE != b.thread / WARP_SIZE) return a.thread < b.thread;
    if (a.execution != b.execution) return a.execution < b.execution;
    return a.thread < b.thread;
}

inline bool same_access(const Touch& a, const Touch& b) {
    return a.instruction == b.instruction && a.thread / WARP_SIZE == b.thread / WARP_SIZE && a.execution == b.execution;
}

inline void count_block() {
    std::sort(touches.begin(), touches.end(), comes_before);
    const Touch *begin = touches.data(), *last = begin + touches.size();
    while (begin < last) {
        const Touch* end = begin;
        while (end < last && same_access(*begin, *end)) end++;
        Count& count = counts[begin->instruction];
        count.accesses++;
        if (count.is_shared) count_turns(count, begin, end);
        else count_sectors(count, begin, end);
        begin = end;
    }
    touches.clear();
    std::fill(executions.begin(), executions.end(), 0);
}

inline void begin_counting() {
    counts.clear(), instructions.clear(), executions.clear(), touches.clear();
}

}  // namespace emulator
