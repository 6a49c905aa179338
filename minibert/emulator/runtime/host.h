// The host's side of CUDA: memory, copies, errors, and kernel launches from C++ (see launches.py and program.py).
//
// Device memory can be used only while a kernel runs or cudaMemcpy copies, as with a real GPU: see host_program.h.
#pragma once
#include <cstdlib>
#include <ctime>
#include <type_traits>

#include "kernel_table.h"
#include "warps.h"

// The numbers are CUDA's.
enum cudaError {
    cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2, cudaErrorInvalidConfiguration = 9,
    cudaErrorIllegalAddress = 700, cudaErrorLaunchTimeout = 702, cudaErrorAssert = 710, cudaErrorMisalignedAddress = 716,
    cudaErrorLaunchFailure = 719
};
using cudaError_t = cudaError;
enum cudaMemcpyKind {
    cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice, cudaMemcpyDefault
};
struct emulator_stream {};
using cudaStream_t = emulator_stream*;

#pragma GCC visibility push(hidden)
namespace emulator::host {

cudaError_t allocate(void** pointer, size_t bytes, bool managed, Place place);
cudaError_t release(void* pointer, Place place);
cudaError_t copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, Place place);
cudaError_t fill(void* to, int value, size_t bytes, Place place);
cudaError_t last_error(bool forget);
const char* error_name(cudaError_t error);
const char* error_text(cudaError_t error);

// arguments[0] is the kernel, a function object; element_bytes: of what each argument points to, or 0.
void launch(const Kernel& kernel, void** arguments, const size_t* element_bytes, int count, dim3 grid, dim3 block,
            size_t shared, Place place);

struct Configuration {
    dim3 grid, block;
    size_t shared = 0;
    cudaStream_t stream = nullptr;
};

template <typename T> constexpr size_t bytes_of = sizeof(T);
template <> inline constexpr size_t bytes_of<void> = 1;
template <> inline constexpr size_t bytes_of<const void> = 1;
template <typename T> constexpr size_t pointee_bytes = 0;
template <typename T> constexpr size_t pointee_bytes<T*> = bytes_of<T>;

template <typename F, typename... A> struct Call {
    template <size_t... I> EMULATOR_UNCHECKED static void with(void** arguments, std::index_sequence<I...>) {
        (*static_cast<F*>(arguments[0]))(*static_cast<A*>(arguments[I + 1])...);
    }
    EMULATOR_UNCHECKED static void call(const Kernel&, void** arguments) {
        with(arguments, std::index_sequence_for<A...>{});
    }
};

// What kernel<<<grid, block, shared, stream>>>(arguments...) is turned into.
template <typename F, typename... A>
void launch_kernel(Place place, const char* name, Configuration size, F kernel, A... arguments) {
    Kernel entry = {name, &Call<F, A...>::call, nullptr, 0, nullptr};
    void* addresses[] = {&kernel, const_cast<void*>(static_cast<const void*>(&arguments))...};
    const size_t element_bytes[] = {0, pointee_bytes<A>...};
    launch(entry, addresses, element_bytes, int(sizeof...(A)), size.grid, size.block, size.shared, place);
}

}  // namespace emulator::host
#pragma GCC visibility pop

#define EMULATOR_PLACE emulator::Place place = EMULATOR_CALLER

template <typename T> cudaError_t cudaMalloc(T** pointer, size_t bytes, EMULATOR_PLACE) {
    return emulator::host::allocate(reinterpret_cast<void**>(pointer), bytes, false, place);
}
template <typename T> cudaError_t cudaMallocManaged(T** pointer, size_t bytes, unsigned = 1, EMULATOR_PLACE) {
    return emulator::host::allocate(reinterpret_cast<void**>(pointer), bytes, true, place);
}
template <typename T> cudaError_t cudaMallocHost(T** pointer, size_t bytes, unsigned = 0) {
    *pointer = static_cast<T*>(std::malloc(bytes));
    return *pointer == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* pointer) {
    std::free(pointer);
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* pointer, EMULATOR_PLACE) { return emulator::host::release(pointer, place); }
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, EMULATOR_PLACE) {
    return emulator::host::copy(to, from, bytes, kind, place);
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t = nullptr, EMULATOR_PLACE) {
    return emulator::host::copy(to, from, bytes, kind, place);
}
inline cudaError_t cudaMemset(void* to, int value, size_t bytes, EMULATOR_PLACE) {
    return emulator::host::fill(to, value, bytes, place);
}
inline cudaError_t cudaDeviceSynchronize() { return emulator::host::last_error(false); }
inline cudaError_t cudaGetLastError() { return emulator::host::last_error(true); }
inline cudaError_t cudaPeekAtLastError() { return emulator::host::last_error(false); }
inline const char* cudaGetErrorString(cudaError_t error) { return emulator::host::error_text(error); }
inline const char* cudaGetErrorName(cudaError_t error) { return emulator::host::error_name(error); }
inline cudaError_t cudaDeviceReset() { return cudaSuccess; }
inline cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidValue; }
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlock;
    int regsPerBlock, warpSize, maxThreadsPerBlock, maxThreadsDim[3], maxGridSize[3], major, minor, multiProcessorCount;
};
// Of the emulator, not of a GPU: its blocks run one after the other, so it has one multiprocessor.
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    if (device != 0) return cudaErrorInvalidValue;
    *properties = {"minibert's emulator", size_t(16) << 30, 48 * 1024, 65536, 32, 1024, {1024, 1024, 64},
                   {0x7fffffff, 65535, 65535}, 9, 0, 1};
    return cudaSuccess;
}

// Streams and events: everything runs in program order.
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) { return *stream = new emulator_stream, cudaSuccess; }
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return emulator::host::last_error(false); }
struct emulator_event {
    timespec time;
};
using cudaEvent_t = emulator_event*;
inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return *event = new emulator_event(), cudaSuccess; }
inline cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t = nullptr) {
    return clock_gettime(CLOCK_MONOTONIC, &event->time), cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return emulator::host::last_error(false); }
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    double seconds = double(end->time.tv_sec - begin->time.tv_sec);
    *milliseconds = float(1e3 * seconds + 1e-6 * double(end->time.tv_nsec - begin->time.tv_nsec));
    return cudaSuccess;
}
#undef EMULATOR_PLACE
