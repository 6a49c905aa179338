// A list of all reads and writes by the threads of a launch, in the order in which they happened here.
#pragma once
#include "races.h"

namespace emulator {

// Python reads these: trace.py has the same fields in the same order.
struct Record {
    uint32_t block, thread;    // their numbers, x first
    int32_t argument;          // the array's among the arguments; -1 for shared memory
    uint32_t bytes;
    uint64_t offset;           // from the beginning of the array, in bytes
    uint64_t element_bytes;    // 0 if unknown (dynamic shared memory)
    uint64_t counter;
    const char* name;          // of a shared array; null for dynamic shared memory and global memory
    int32_t writes, atomic;
};

static std::vector<Record> records;

inline void record_access(const Region& region, const char* address, size_t bytes, bool writes, bool atomic,
                          const void* counter) {
    if (records.size() == launch->most_records) {
        fail(Kind::LAUNCH, {nullptr, 0}, "more than %zu reads and writes: trace a smaller grid", launch->most_records);
    }
    Record record = {};
    record.block = uint32_t(block_number), record.thread = current->number;
    record.bytes = uint32_t(bytes);
    record.counter = library_offset(counter);
    record.writes = writes, record.atomic = atomic;
    record.argument = -1;
    record.offset = size_t(address - region.begin);
    if (region.shared != nullptr) {
        record.name = region.shared->name;
        record.element_bytes = region.shared->element_bytes;
    } else if (!region.is_shared) {
        const Array& array = *array_around(region, address, bytes);
        record.argument = array.argument;
        record.element_bytes = array.element_bytes;
        record.offset = size_t(address - array.begin);
    }
    records.push_back(record);
}

}  // namespace emulator
