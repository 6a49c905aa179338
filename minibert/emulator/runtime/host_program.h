// Device memory, copies and launches for a program whose main() runs here: see host.h and program.py.
//
// Device memory lies in one range of addresses.  It is closed (PROT_NONE) while the host's code runs, so that a pointer
// to device memory which the host follows is diagnosed, as a GPU's would crash.
#pragma once
#include <vector>

#include "host.h"
#include "signals.h"

extern "C" __attribute__((visibility("default"))) const emulator::Report* emulator_launch(const emulator::Launch* asked);

namespace emulator::host {

constexpr size_t DEVICE_BYTES = size_t(16) << 30;  // of addresses; memory is used only when it is written
constexpr size_t GUARD = 1024, ALIGNMENT = 256;    // bytes

struct Allocation {
    char* begin;
    size_t bytes;
    unsigned char* written;  // a byte for each byte: 1 once it was written; null for managed memory
    Place place;
    bool managed, is_free;
    int argument;  // of the current launch, or -1
};

static std::vector<Allocation>* allocations;  // never destroyed: the program may end at any point
static char* device;
static size_t device_used;
static const Launch* defaults;                      // order, seed, time limit and stacks
static void (*diagnose)(const Report*, const char*);  // prints a report, with the kernel's name
static cudaError_t sticky, latest;

inline size_t round_up_to(size_t bytes, size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

inline void open_device(bool open) {
    if (device != nullptr) mprotect(device, round_up_to(device_used, 65536), open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

inline cudaError_t remember(cudaError_t error) { return latest = error; }

__attribute__((format(printf, 3, 4))) inline cudaError_t complain(cudaError_t error, Place place, const char* text, ...) {
    va_list values;
    va_start(values, text);
    std::fflush(stdout);
    fprintf(stderr, "%s:%d: ", place.file, place.line);
    vfprintf(stderr, text, values);
    fprintf(stderr, "\n");
    va_end(values);
    return remember(error);
}

inline Allocation* find(const void* address) {
    if (allocations == nullptr) return nullptr;
    const char* wanted = static_cast<const char*>(address);
    for (Allocation& allocation : *allocations) {
        if (wanted >= allocation.begin && wanted < allocation.begin + allocation.bytes) return &allocation;
    }
    return nullptr;
}

inline bool on_device(const void* address) {
    const char* wanted = static_cast<const char*>(address);
    return device != nullptr && wanted >= device && wanted < device + DEVICE_BYTES;
}

cudaError_t allocate(void** pointer, size_t bytes, bool managed, Place place) {
    *pointer = nullptr;
    if (sticky != cudaSuccess) return sticky;
    if (bytes == 0) return cudaSuccess;
    if (allocations == nullptr) allocations = new std::vector<Allocation>;
    if (device == nullptr) {
        void* memory = mmap(nullptr, DEVICE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return complain(cudaErrorMemoryAllocation, place, "no addresses for device memory");
        device = static_cast<char*>(memory);
        device_used = GUARD;
    }
    unsigned char* written = managed ? nullptr : static_cast<unsigned char*>(std::calloc(bytes, 1));
    char* begin = nullptr;
    if (managed) {
        begin = static_cast<char*>(std::aligned_alloc(ALIGNMENT, round_up_to(bytes, ALIGNMENT)));
    } else if (written != nullptr && bytes < DEVICE_BYTES - device_used - 2 * 65536) {
        begin = device + device_used;
        device_used += round_up_to(bytes + GUARD, ALIGNMENT);
        open_device(true);
        std::memset(begin, POISON, bytes);
        open_device(false);
    }
    if (begin == nullptr) {
        std::free(written);
        return complain(cudaErrorMemoryAllocation, place, "%zu bytes of device memory are not available", bytes);
    }
    allocations->push_back({begin, bytes, written, place, managed, false, -1});
    *pointer = begin;
    return cudaSuccess;
}

cudaError_t release(void* pointer, Place place) {
    if (pointer == nullptr) return cudaSuccess;
    if (sticky != cudaSuccess) return sticky;
    Allocation* allocation = find(pointer);
    if (allocation == nullptr || allocation->begin != pointer) {
        return complain(cudaErrorInvalidValue, place, "cudaFree: the pointer is not one that cudaMalloc gave");
    }
    if (allocation->is_free) {
        return complain(cudaErrorInvalidValue, place, "cudaFree: the array of cudaMalloc at %s:%d is already freed",
                        allocation->place.file, allocation->place.line);
    }
    allocation->is_free = true;
    if (allocation->managed) {
        std::free(allocation->begin);
        allocation->begin = nullptr, allocation->bytes = 0;
    }
    return cudaSuccess;
}

// Whether a copy may use these bytes; complains if not.
inline bool may_use(const void* address, size_t bytes, bool must_be_on_device, const char* what, Place place) {
    Allocation* allocation = find(address);
    if (allocation == nullptr || (must_be_on_device && !allocation->managed && !on_device(address))) {
        if (!must_be_on_device && !on_device(address)) return true;
        complain(cudaErrorInvalidValue, place, "%s is not device memory that cudaMalloc gave", what);
        return false;
    }
    if (!must_be_on_device && !allocation->managed) {
        complain(cudaErrorInvalidValue, place, "%s is device memory (cudaMalloc at %s:%d), but the direction says host",
                 what, allocation->place.file, allocation->place.line);
        return false;
    }
    size_t left = size_t(allocation->begin + allocation->bytes - static_cast<const char*>(address));
    if (allocation->is_free || bytes > left) {
        complain(cudaErrorInvalidValue, place, allocation->is_free ? "%s (cudaMalloc at %s:%d) was freed"
                 : "%s (cudaMalloc at %s:%d) has %zu bytes from there, not %zu", what, allocation->place.file,
                 allocation->place.line, left, bytes);
        return false;
    }
    return true;
}

cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, Place place) {
    if (sticky != cudaSuccess) return sticky;
    if (bytes == 0) return cudaSuccess;
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (kind == cudaMemcpyDefault) to_device = find(to) != nullptr, from_device = find(from) != nullptr;
    if (!may_use(to, bytes, to_device, "cudaMemcpy: the destination", place)) return latest;
    if (!may_use(from, bytes, from_device, "cudaMemcpy: the source", place)) return latest;
    Allocation *target = find(to), *source = find(from);
    open_device(true);
    std::memmove(to, from, bytes);
    open_device(false);
    if (target != nullptr && target->written != nullptr) {
        unsigned char* marks = target->written + (static_cast<char*>(to) - target->begin);
        if (source != nullptr && source->written != nullptr) {
            std::memmove(marks, source->written + (static_cast<const char*>(from) - source->begin), bytes);
        } else {
            std::memset(marks, 1, bytes);
        }
    }
    return cudaSuccess;
}

cudaError_t fill(void* to, int value, size_t bytes, Place place) {
    if (sticky != cudaSuccess) return sticky;
    if (bytes == 0) return cudaSuccess;
    if (!may_use(to, bytes, true, "cudaMemset: the destination", place)) return latest;
    Allocation* target = find(to);
    open_device(true);
    std::memset(to, value, bytes);
    open_device(false);
    if (target->written != nullptr) std::memset(target->written + (static_cast<char*>(to) - target->begin), 1, bytes);
    return cudaSuccess;
}

cudaError_t last_error(bool forget) {
    cudaError_t error = sticky != cudaSuccess ? sticky : latest;
    if (forget) latest = cudaSuccess;
    return error;
}

struct ErrorNames {
    cudaError_t error;
    const char *name, *text;
};
constexpr ErrorNames ERRORS[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    {cudaErrorAssert, "cudaErrorAssert", "device-side assert triggered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
};
const char* error_name(cudaError_t error) {
    for (const ErrorNames& entry : ERRORS) if (entry.error == error) return entry.name;
    return "unrecognized error code";
}
const char* error_text(cudaError_t error) {
    for (const ErrorNames& entry : ERRORS) if (entry.error == error) return entry.text;
    return "unrecognized error code";
}

inline cudaError_t error_of(Kind kind) {
    switch (kind) {
        case Kind::OUT_OF_BOUNDS: return cudaErrorIllegalAddress;
        case Kind::ENDLESS: return cudaErrorLaunchTimeout;
        case Kind::ASSERTION: return cudaErrorAssert;
        case Kind::MISALIGNED: return cudaErrorMisalignedAddress;
        default: return cudaErrorLaunchFailure;
    }
}

inline bool fits(dim3 grid, dim3 block) {
    size_t block_size = size_t(block.x) * block.y * block.z;
    return block_size >= 1 && block_size <= MOST_THREADS && block.z <= 64 && size_t(grid.x) * grid.y * grid.z >= 1 &&
           grid.x <= 0x7fffffff && grid.y <= 65535 && grid.z <= 65535;
}

void launch(const Kernel& kernel, void** arguments, const size_t* element_bytes, int count, dim3 grid, dim3 block,
            size_t shared, Place place) {
    if (sticky != cudaSuccess) return;
    if (defaults == nullptr) {
        fprintf(stderr, "%s:%d: a kernel is launched by code that does not run in main()\n", place.file, place.line);
        std::abort();
    }
    if (!fits(grid, block) || shared > MOST_STATIC) {
        complain(cudaErrorInvalidConfiguration, place, "%s<<<(%u, %u, %u), (%u, %u, %u), %zu>>> is not run: a block has 1 "
                 "to %u threads and up to %zu bytes of dynamic shared memory, a grid at least 1 block", kernel.name, grid.x,
                 grid.y, grid.z, block.x, block.y, block.z, shared, MOST_THREADS, MOST_STATIC);
        return;
    }
    std::vector<Array> arrays;
    for (size_t i = 0; allocations != nullptr && i < allocations->size(); i++) {
        Allocation& allocation = (*allocations)[i];
        if (allocation.is_free) continue;
        Array array = {allocation.begin, allocation.bytes, 1, allocation.written, int(i)};
        allocation.argument = -1;
        for (int argument = 1; argument <= count; argument++) {
            if (element_bytes[argument] == 0) continue;
            char* pointer;
            std::memcpy(&pointer, arguments[argument], sizeof pointer);
            if (find(pointer) != &allocation) continue;
            array.element_bytes = element_bytes[argument];
            allocation.argument = argument - 1;
            break;
        }
        arrays.push_back(array);
    }
    Launch asked = *defaults;
    asked.kernel = &kernel, asked.arguments = arguments;
    asked.grid[0] = grid.x, asked.grid[1] = grid.y, asked.grid[2] = grid.z;
    asked.block[0] = block.x, asked.block[1] = block.y, asked.block[2] = block.z;
    asked.dynamic_bytes = shared, asked.most_shared = MOST_STATIC;
    asked.array_count = int(arrays.size()), asked.arrays = arrays.data();
    open_device(true);
    const Report* result = emulator_launch(&asked);
    open_device(false);
    if (result->kind == Kind::NOTHING) return;
    sticky = error_of(result->kind);
    diagnose(result, kernel.name);
    if (result->kind == Kind::INTERRUPTED) std::exit(128 + SIGINT);
}

// ------------------------------------------------------------------------------------------ the host's own mistakes

[[noreturn]] void fail_on_host() {
    if (diagnose == nullptr) std::abort();
    std::fflush(nullptr);
    diagnose(&report, "host code");
    _exit(1);
}

inline void on_host_signal(int signal, siginfo_t* details, void* context) {
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    sigaction(signal, &standard, nullptr);
    const Allocation* allocation = find(details->si_addr);
    if (!on_device(details->si_addr)) return;  // it happens again, and ends the program
    report_signal(Kind::OUT_OF_BOUNDS, "the host uses device memory (allocated at %s:%d): copy it with cudaMemcpy",
                  allocation != nullptr ? allocation->place.file : "an unknown line",
                  allocation != nullptr ? allocation->place.line : 0);
    report.counter = counter_of_context(context);
    fail_on_host();
}

}  // namespace emulator::host

extern "C" {
__attribute__((visibility("default"))) const char* emulator_describe_array(int number) {
    static char text[200];
    const auto& allocation = (*emulator::host::allocations)[size_t(number)];
    int length = allocation.argument < 0 ? 0 : snprintf(text, sizeof text, "argument %d, ", allocation.argument);
    snprintf(text + length, sizeof text - size_t(length), "the array allocated at %s:%d", allocation.place.file,
             allocation.place.line);
    return text;
}

// Runs a program's main().  Returns its exit code, or 1 if that is 0 although something failed.
__attribute__((visibility("default"))) int emulator_run_program(
    const emulator::Launch* defaults, void (*diagnose)(const emulator::Report*, const char*),
    int (*program)(int, char**), int count, char** arguments) {
    using namespace emulator;
    host::defaults = defaults;
    host::diagnose = diagnose;
    struct sigaction action = {};
    action.sa_sigaction = host::on_host_signal;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    int code = program(count, arguments);
    std::fflush(nullptr);
    return code == 0 && host::sticky != cudaSuccess ? 1 : code;
}
}
