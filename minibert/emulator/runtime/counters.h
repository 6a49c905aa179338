// What decides how fast a kernel's memory accesses are on a GPU.
//
// The 32 lanes of a warp run an instruction together.  What they ask of global memory comes in sectors of 32 bytes: the
// fewer sectors for the same bytes, the better.  Shared memory has 32 banks, each of which gives one word of four bytes
// in a turn: lanes that want different words of one bank wait for each other.  A turn serves the whole warp if each lane
// wants four bytes, half of it for eight bytes and a quarter for sixteen.
//
// Here the lanes run one after the other.  What belongs together is found again by the instruction and how often the lane
// has come to it before.
#pragma once
#include <unordered_map>

#include "regions.h"

namespace emulator {

constexpr size_t SECTOR_BYTES = 32, BANK_BYTES = 4, BANKS = 32;

// What all executions of one instruction cost.  Python reads these: counters.py has the same fields in the same order.
struct Count {
    uint64_t counter;   // the instruction, as distance from the library's beginning
    uint64_t accesses;  // of whole warps
    uint64_t transfers; // sectors of global memory; turns of shared memory
    uint64_t least;     // how few it could be for the same bytes, or lanes
    int32_t is_shared, writes;
};

struct Touch {
    uint32_t instruction, execution;
    uint16_t thread, bytes;
    uintptr_t address;  // in shared memory: from the beginning of its array
};

static std::vector<Count> counts;                              // for each instruction
static std::unordered_map<const void*, uint32_t> instructions; // their numbers
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

// Different units (sectors, bytes ...) in a list of their numbers.
inline size_t count_different(std::vector<uintptr_t>& numbers) {
    std::sort(numbers.begin(), numbers.end());
    return size_t(std::unique(numbers.begin(), numbers.end()) - numbers.begin());
}

inline void count_sectors(Count& count, const Touch* begin, const Touch* end) {
    static std::vector<uintptr_t> sectors, bytes;
    sectors.clear(), bytes.clear();
    for (const Touch* touch = begin; touch < end; touch++) {
        for (uintptr_t byte = touch->address; byte < touch->address + touch->bytes; byte++) {
            bytes.push_back(byte);
            sectors.push_back(byte / SECTOR_BYTES);
        }
    }
    count.transfers += count_different(sectors);
    count.least += (count_different(bytes) + SECTOR_BYTES - 1) / SECTOR_BYTES;
}

// The turns for lanes that are served together: as many as the busiest bank has different words to give.
inline size_t turns_of_part(const Touch* begin, const Touch* end) {
    static std::vector<uintptr_t> words;
    words.clear();
    for (const Touch* touch = begin; touch < end; touch++) {
        for (uintptr_t word = touch->address / BANK_BYTES; word * BANK_BYTES < touch->address + touch->bytes; word++) {
            words.push_back(word);
        }
    }
    size_t different = count_different(words), of_bank[BANKS] = {}, most = 0;
    for (size_t i = 0; i < different; i++) most = std::max(most, ++of_bank[words[i] % BANKS]);
    return most;
}

inline void count_turns(Count& count, const Touch* begin, const Touch* end) {
    size_t bytes = 0;
    for (const Touch* touch = begin; touch < end; touch++) bytes = std::max(bytes, size_t(touch->bytes));
    unsigned lanes = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;  // in a turn
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
