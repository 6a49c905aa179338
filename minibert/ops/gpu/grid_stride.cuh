// Grid-stride loops: threads process an array sixteen bytes at a time, and single elements at both ends.
//
// A matrix starts at a multiple of sixteen bytes, but its rows may not (a vocabulary of 30,522 in 16 bits: each row
// starts four bytes further from a multiple).  So a row is split in three: single elements up to the first multiple,
// whole vectors, single elements to the end.

// The work that a thread shares with others: elements first .. last of an array, and which of the threads it is.
struct Share {
    long long first, last;
    unsigned thread, threads;  // at least as many threads as a vector has elements
};

// All elements of an array, for all threads of a grid.
__device__ __forceinline__ Share whole(long long size) {
    return {0, size, blockIdx.x * blockDim.x + threadIdx.x, gridDim.x * blockDim.x};
}

// One row of a matrix, for all threads of a block.
__device__ __forceinline__ Share row_of_block(long long row, int width) {
    return {row * width, (row + 1) * width, threadIdx.x, blockDim.x};
}

// One row of a matrix, for the 32 threads of a warp.
__device__ __forceinline__ Share row_of_warp(long long row, int width) {
    return {row * width, (row + 1) * width, threadIdx.x % WARP, WARP};
}

// Calls visit_vector(i) for the vectors of this thread, visit_number(i) for its single elements.
template <typename T, typename VisitVector, typename VisitNumber>
__device__ __forceinline__ void grid_stride(const Share& share, VisitVector visit_vector, VisitNumber visit_number) {
    constexpr int size = Vec<T>::size;
    long long start = (share.first + size - 1) / size * size;  // the first multiple in the row, if there is one
    if (start > share.last) start = share.last;
    long long stop = start + (share.last - start) / size * size;
    long long stride = static_cast<long long>(share.threads) * size;
    for (long long i = start + static_cast<long long>(share.thread) * size; i < stop; i += stride) visit_vector(i);
    if (share.first + share.thread < start) visit_number(share.first + share.thread);
    if (stop + share.thread < share.last) visit_number(stop + share.thread);
}

// Calls visit(i, x[i]) for each element i of this thread.
template <typename T, typename Visit>
__device__ __forceinline__ void each(const T* x, const Share& share, Visit visit) {
    using A = sum_t<T>;
    auto visit_vector = [&](long long i) {
        Vec<T> part = load(x + i);
#pragma unroll
        for (int k = 0; k < Vec<T>::size; k++) visit(i + k, A(part.at[k]));
    };
    grid_stride<T>(share, visit_vector, [&](long long i) { visit(i, A(x[i])); });
}

// Calls visit(i, x[i], y[i]) for each element i of this thread.
template <typename T, typename Visit>
__device__ __forceinline__ void each(const T* x, const T* y, const Share& share, Visit visit) {
    using A = sum_t<T>;
    auto visit_vector = [&](long long i) {
        Vec<T> x_part = load(x + i), y_part = load(y + i);
#pragma unroll
        for (int k = 0; k < Vec<T>::size; k++) visit(i + k, A(x_part.at[k]), A(y_part.at[k]));
    };
    grid_stride<T>(share, visit_vector, [&](long long i) { visit(i, A(x[i]), A(y[i])); });
}

// out[i] = function(i, x[i]) for each element i of this thread.
template <typename T, typename Function>
__device__ __forceinline__ void map(const T* x, T* out, const Share& share, Function function) {
    using A = sum_t<T>;
    auto visit_vector = [&](long long i) {
        Vec<T> part = load(x + i);
#pragma unroll
        for (int k = 0; k < Vec<T>::size; k++) part.at[k] = T(function(i + k, A(part.at[k])));
        store(out + i, part);
    };
    grid_stride<T>(share, visit_vector, [&](long long i) { out[i] = T(function(i, A(x[i]))); });
}

// out[i] = function(i, x[i], y[i]) for each element i of this thread.
template <typename T, typename Function>
__device__ __forceinline__ void map(const T* x, const T* y, T* out, const Share& share, Function function) {
    using A = sum_t<T>;
    auto visit_vector = [&](long long i) {
        Vec<T> part = load(x + i), y_part = load(y + i);
#pragma unroll
        for (int k = 0; k < Vec<T>::size; k++) part.at[k] = T(function(i + k, A(part.at[k]), A(y_part.at[k])));
        store(out + i, part);
    };
    grid_stride<T>(share, visit_vector, [&](long long i) { out[i] = T(function(i, A(x[i]), A(y[i]))); });
}
