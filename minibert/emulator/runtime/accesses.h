// What check mode does whenever a kernel reads or writes memory.
#pragma once
#include "counters.h"
#include "races.h"
#include "trace.h"

namespace emulator {

static Region* last_region;  // successive accesses tend to be in the same region

inline Region* region_around(char* address) {
    if (last_region != nullptr && last_region->contains(address)) return last_region;
    Region* region = in_shared_memory(address) ? shared_region_around(address) : global_region_before(address);
    if (region == nullptr || !region->contains(address)) return nullptr;
    return last_region = region;
}

// ---------------------------------------------------------------------------------------------------- the bounds

// Constants and __device__ variables are in the library itself.
inline bool in_library(const char* address) {
    if (in_shared_memory(address)) return false;
    Dl_info mine, its;
    if (!find_library(&dynamic_shared, &mine) || !find_library(address, &its)) return false;
    return mine.dli_fbase == its.dli_fbase;
}

// The region that an out-of-bounds access most likely left: the nearest, if it is close.
inline const Region* nearest_region(const char* address) {
    const Region* nearest = nullptr;
    size_t least = 64 * 1024;
    auto consider = [&](const Region& region) {
        const char* end = region.begin + region.bytes;
        size_t distance = address >= end ? size_t(address - end) : address < region.begin ? size_t(region.begin - address) : 0;
        if (distance < least) nearest = &region, least = distance;
    };
    if (in_shared_memory(address)) {
        for (unsigned i = 0; i < shared_region_count; i++) consider(shared_regions[i]);
    } else {
        for (const Region& region : global_regions) consider(region);
    }
    return nearest;
}

[[noreturn, gnu::cold, gnu::noinline]] inline void fail_bounds(char* address, size_t bytes, bool writes, const void* counter) {
    char text[600];
    int argument = -1;
    const Region* region = nearest_region(address);
    int length = snprintf(text, sizeof text, "%s of %zu bytes ", writes ? "write" : "read", bytes);
    char* rest = text + length;
    size_t room = sizeof text - size_t(length);
    if (reinterpret_cast<uintptr_t>(address) < 4096) {
        snprintf(rest, room, "through a null pointer");
    } else if (region == nullptr) {
        snprintf(rest, room, "at an address in none of the arrays that the kernel was given");
    } else if (region->is_shared && region->shared == nullptr) {
        snprintf(rest, room, "at byte %td of dynamic shared memory, which has %zu", address - region->begin, region->bytes);
    } else if (region->is_shared) {
        snprintf(rest, room, "at element %td of shared memory `%s`, which has %zu",
                 (address - region->begin) / ptrdiff_t(region->shared->element_bytes), region->shared->name,
                 region->bytes / region->shared->element_bytes);
    } else {
        const Array& array = arrays[region->first_array];
        argument = array.argument;
        ptrdiff_t distance = address - array.begin, unit = ptrdiff_t(array.element_bytes);
        snprintf(rest, room, "at element %td of {argument}, which has %zu",
                 distance >= 0 ? distance / unit : (distance - unit + 1) / unit, array.bytes / array.element_bytes);
    }
    write_text(Kind::OUT_OF_BOUNDS, counter, argument, text);
    stop();
    abandon_thread();
}

// -------------------------------------------------------------------------------------- uninitialised memory

inline bool all_written(const unsigned char* written, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) {
        if (written[i] == 0) return false;
    }
    return true;
}

// Perhaps another thread writes there a moment later, and a barrier is missing: that would be a data race, which is
// more informative.  So the kernel continues, with POISON, to the next barrier of the block.
[[gnu::cold, gnu::noinline]] inline void note_uninitialised(const Region& region, char* address, size_t bytes, const void* counter) {
    if (pending.kind != Kind::NOTHING) return;
    char element[200], text[300];
    int argument = -1;
    name_element(element, sizeof element, region, address, bytes, &argument);
    snprintf(text, sizeof text, "read of %s, which nobody has written", element);
    Report before = report;
    write_text(Kind::UNINITIALISED, counter, argument, text);
    pending = report;
    report = before;
}

void phase_ends() {
    if (stopped || pending.kind == Kind::NOTHING) return;
    report = pending;
    stopped = true;
}

// ------------------------------------------------------------------------------------------------- every access

__attribute__((always_inline)) inline void check_any_access(void* where, size_t bytes, bool writes, bool atomic,
                                                            const void* counter) {
    char* address = static_cast<char*>(where);
    if (current == nullptr || size_t(address - launch->stacks) < MOST_THREADS * STACK_BYTES) return;
    Region* region = region_around(address);
    if (region == nullptr && !in_shared_memory(address) && in_library(address)) return;
    bool inside = region != nullptr && address + bytes <= region->begin + region->bytes;
    if (inside && region->array_count > 1) inside = array_around(*region, address, bytes) != nullptr;
    if (!inside) fail_bounds(address, bytes, writes, counter);
    if (launch->tracing) record_access(*region, address, bytes, writes, atomic, counter);
    if (launch->counting) count_access(*region, address, bytes, writes, counter);

    size_t offset = size_t(address - region->begin);
    size_t granule = (offset | bytes | LARGEST_GRANULE) & -(offset | bytes | LARGEST_GRANULE);  // lowest bit set
    if (granule < region->granule) refine(*region, granule);
    if (region->written != nullptr) {
        unsigned char* written = region->written + offset;
        if ((!writes || atomic) && !all_written(written, bytes)) note_uninitialised(*region, address, bytes, counter);
        if (writes) std::memset(written, 1, bytes);
    }
    Cell* end = region->cells + (offset + bytes - 1) / region->granule + 1;
    for (Cell* cell = region->cells + offset / region->granule; cell < end; cell++) {
        note_use(*region, *cell, address, bytes, writes, atomic, counter);
    }
}

void check_access(void* where, size_t bytes, bool writes, bool atomic, const void* counter) {
    check_any_access(where, bytes, writes, atomic, counter);
}

inline void begin_checks() {
    pending = Report{};
    last_region = nullptr;
    records.clear();
    begin_counting();
    find_global_regions();
}

inline void block_ends() {
    if (launch->counting && !stopped) count_block();
}

inline void end_checks() {
    last_region = nullptr;
    forget_global_regions();
}

}  // namespace emulator
