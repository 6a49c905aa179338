// Ending a launch because of an error in the kernel.
#pragma once
#include <csignal>
#include <dlfcn.h>

#include "scheduler.h"

namespace emulator {

// dladdr holds the dynamic loader's lock.  A thread that is abandoned within it would keep the lock, and the next thread
// of the process that needs it would wait for ever, so a request to stop has to wait meanwhile.
inline volatile sig_atomic_t in_loader = 0;

inline bool find_library(const void* address, Dl_info* library) {
    in_loader = 1;
    bool found = dladdr(address, library) != 0;
    in_loader = 0;
    return found;
}

// Program counters are reported as offsets from the beginning of this library, which is what tools look up in the file.
// A return address is one instruction too far, so we subtract one to get an address in the call.
inline size_t library_offset(const void* counter) {
    Dl_info library;
    if (counter == nullptr || !find_library(counter, &library)) return 0;
    return size_t(static_cast<const char*>(counter) - static_cast<const char*>(library.dli_fbase)) - 1;
}

inline void describe_thread(Report& report) {
    report.has_thread = current != nullptr;
    if (current == nullptr) return;
    report.thread[0] = current->index.x, report.thread[1] = current->index.y, report.thread[2] = current->index.z;
}

// A report on the current thread; nothing is stopped yet.
inline void write_report(Report& report, Kind kind, Place place, const char* text, va_list values) {
    report = Report{};
    report.kind = kind;
    vsnprintf(report.text, sizeof report.text, text, values);
    report.file = place.file, report.line = place.line;
    report.block[0] = blockIdx.x, report.block[1] = blockIdx.y, report.block[2] = blockIdx.z;
    report.argument = -1;
    describe_thread(report);
}

// A report whose text is complete, on what happened at a program counter.
inline void write_text(Kind kind, const void* counter, int argument, const char* text) {
    report = Report{};
    report.kind = kind;
    snprintf(report.text, sizeof report.text, "%s", text);
    report.block[0] = blockIdx.x, report.block[1] = blockIdx.y, report.block[2] = blockIdx.z;
    report.counter = library_offset(counter);
    report.argument = argument;
    describe_thread(report);
}

#ifdef EMULATOR_CHECKS
static Report pending;  // a read of uninitialised memory, which may yet turn out to be a race: see accesses.h
#endif

// Ends the launch with the report that was written.  The first one counts.
inline void stop() {
    stopped = true;
#ifdef EMULATOR_CHECKS
    if (pending.kind != Kind::NOTHING && report.kind != Kind::RACE) report = pending;
#endif
}

namespace host {
[[noreturn]] void fail_on_host();  // for mistakes in the host's code: see host_program.h
}

// Abandons the current thread where it is, for good.
[[noreturn]] inline void abandon_thread() {
    if (current == nullptr) host::fail_on_host();
    states[current->number] = State::FINISHED;
    switch_to_scheduler(current->fiber);
    __builtin_unreachable();
}

void fail(Kind kind, Place place, const char* text, ...) {
    va_list values;
    va_start(values, text);
    write_report(report, kind, place, text, values);
    va_end(values);
    stop();
    abandon_thread();
}

void assertion_fails(const char* condition, Place place) {
    fail(Kind::ASSERTION, place, "`%s` is false", condition);
}

void trap(Place place) {
    fail(Kind::TRAP, place, "__trap() was called");
}

[[noreturn]] inline void end_by_call(const char* function, const void* counter) {
    char text[100];
    snprintf(text, sizeof text, "%s was called", function);
    write_text(Kind::TRAP, counter, -1, text);
    stop();
    abandon_thread();
}

// The same for the scheduler, which has no thread to abandon.
__attribute__((format(printf, 3, 4))) inline void fail_block(Kind kind, Place place, const char* text, ...) {
    va_list values;
    va_start(values, text);
    write_report(report, kind, place, text, values);
    va_end(values);
    stop();
}

}  // namespace emulator
