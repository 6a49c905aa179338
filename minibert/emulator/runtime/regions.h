// The memory that a kernel may use, and what is known about it: which bytes were written, and who used them last.
#pragma once
#include <algorithm>
#include <vector>

#include "shared_arrays.h"

namespace emulator {

// Who used a piece of memory.  Only one use is stored; `several` says whether there were others.
enum class Several : uint8_t { NO, LANES, WARPS };
struct Use {
    uint32_t block;       // its serial number; 0: none
    uint16_t thread;
    bool atomic;
    Several several;
    uint32_t phase, warp_phase;
    uint32_t counter;     // the program counter, as an offset from the beginning of the library
};
constexpr uint32_t SEVERAL_BLOCKS = 0xffffffff;

// The last write to a piece of memory, and the reads since.
struct Cell {
    Use write, read;
};

// A run of addresses with a cell for each `granule` bytes.  The granule is reduced, and cells are split, when something
// smaller is read or written for the first time: so two threads that use neighbouring elements never share a cell.
struct Region {
    char* begin;
    size_t bytes;
    unsigned char* written;     // a byte for each byte: 1 if it was written; null if all were
    const SharedArray* shared;  // null for dynamic shared memory, and for global memory
    bool is_shared;
    unsigned first_array, array_count;  // the launch's arrays that it contains (global memory)
    size_t granule;
    Cell* cells;

    bool contains(const char* address) const { return address >= begin && address < begin + bytes; }
};

constexpr size_t LARGEST_GRANULE = 16;

inline Cell* new_cells(size_t bytes, size_t granule) {
    return static_cast<Cell*>(std::calloc(bytes / granule + 1, sizeof(Cell)));  // memory is committed on first write
}

inline void refine(Region& region, size_t granule) {
    size_t parts = region.granule / granule, count = region.bytes / region.granule + 1;
    Cell* cells = new_cells(region.bytes + region.granule, granule);
    for (size_t i = 0; i < count; i++) {
        if (region.cells[i].write.block == 0 && region.cells[i].read.block == 0) continue;
        for (size_t part = 0; part < parts; part++) cells[i * parts + part] = region.cells[i];
    }
    std::free(region.cells);
    region.cells = cells;
    region.granule = granule;
}

// ------------------------------------------------------------------------------------------------ global memory

static std::vector<Array> arrays;           // of the launch, by address
static std::vector<Region> global_regions;  // by address; arrays that overlap share one

inline void find_global_regions() {
    arrays.assign(launch->arrays, launch->arrays + launch->array_count);
    std::sort(arrays.begin(), arrays.end(), [](const Array& a, const Array& b) { return a.begin < b.begin; });
    global_regions.clear();
    for (unsigned i = 0; i < arrays.size(); i++) {
        const Array& array = arrays[i];
        Region* last = global_regions.empty() ? nullptr : &global_regions.back();
        if (last != nullptr && array.begin < last->begin + last->bytes) {
            last->bytes = std::max(last->bytes, size_t(array.begin - last->begin) + array.bytes);
            last->array_count++;
        } else {
            global_regions.push_back({array.begin, array.bytes, array.initialised, nullptr, false, i, 1, LARGEST_GRANULE,
                                      nullptr});
        }
    }
    for (Region& region : global_regions) region.cells = new_cells(region.bytes, region.granule);
}

inline void forget_global_regions() {
    for (Region& region : global_regions) std::free(region.cells);
    global_regions.clear();
}

// The region that contains an address, or the last one before it; null if there is none.
inline Region* global_region_before(const char* address) {
    auto after = std::upper_bound(global_regions.begin(), global_regions.end(), address,
                                  [](const char* wanted, const Region& region) { return wanted < region.begin; });
    return after == global_regions.begin() ? nullptr : &*std::prev(after);
}

// The array that contains all bytes of an access; null if there is none.
inline const Array* array_around(const Region& region, const char* address, size_t bytes) {
    for (unsigned i = region.first_array; i < region.first_array + region.array_count; i++) {
        const Array& array = arrays[i];
        if (address >= array.begin && address + bytes <= array.begin + array.bytes) return &array;
    }
    return nullptr;
}

// ------------------------------------------------------------------------------------------------ shared memory

static unsigned char shared_written[ARENA_BYTES];
static std::vector<Region> shared_regions;  // of the current block, in order of appearance
static unsigned shared_region_count;

// An array of shared memory begins.  It reuses the cells of the previous block's array; their contents are not of
// this block, and so do not count.
void shared_array_begins(char* begin, size_t bytes, const SharedArray* array) {
    if (array == nullptr) shared_region_count = 0;  // dynamic shared memory, the first of a block
    if (shared_region_count == shared_regions.size()) shared_regions.push_back(Region{});
    Region& region = shared_regions[shared_region_count++];
    unsigned char* written = shared_written + (begin - dynamic_shared);
    if (region.cells == nullptr || region.shared != array || region.bytes != bytes) {
        std::free(region.cells);
        region.granule = LARGEST_GRANULE;
        region.cells = new_cells(bytes, region.granule);
    }
    region.begin = begin, region.bytes = bytes, region.written = written;
    region.shared = array, region.is_shared = true;
    std::memset(written, 0, bytes);
}

inline bool in_shared_memory(const char* address) {
    return address >= dynamic_shared && address < dynamic_shared + ARENA_BYTES;
}

inline Region* shared_region_around(const char* address) {
    for (unsigned i = 0; i < shared_region_count; i++) {
        if (shared_regions[i].contains(address)) return &shared_regions[i];
    }
    return nullptr;
}

// ------------------------------------------------------------------------------------------------ names of places

// "element 5 of {argument}", "element 5 of shared memory `room`".  Python fills in the argument's name.
inline void name_element(char* text, size_t room, const Region& region, const char* address, size_t bytes,
                         int* argument) {
    if (region.is_shared) {
        const char* name = region.shared != nullptr ? region.shared->name : "dynamic";
        size_t unit = region.shared != nullptr ? region.shared->element_bytes : bytes;
        size_t element = size_t(address - region.begin) / unit;
        if (region.shared != nullptr) snprintf(text, room, "element %zu of shared memory `%s`", element, name);
        else snprintf(text, room, "byte %zu of dynamic shared memory", size_t(address - region.begin));
        return;
    }
    const Array* array = array_around(region, address, 1);
    if (array == nullptr) array = &arrays[region.first_array];
    *argument = array->argument;
    snprintf(text, room, "element %zu of {argument}", size_t(address - array->begin) / array->element_bytes);
}

}  // namespace emulator
