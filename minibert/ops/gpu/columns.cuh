// Sums over the columns of a matrix, in a fixed order.
//
// A block has SLICES rows of 32 threads.  Thread (x, y) adds up its pack of N neighbouring columns over every
// SLICES-th row; then the block adds up the slices' sums through shared memory, with one barrier in between.

constexpr unsigned SLICES = 8;

// The distance in scratch between the numbers of one thread, chosen so that neither writes nor reads cause
// bank conflicts: threads write at a stride of 1, and read at strides of `stride` and 1 in turn.
template <int N> constexpr unsigned scratch_stride = WARP + WARP / N;
template <int N> constexpr unsigned scratch_size = SLICES * N * scratch_stride<N>;

// Before the barrier: each thread writes its sums.
template <typename A, int N> __device__ __forceinline__ void put_sums(A* scratch, const A (&sums)[N]) {
#pragma unroll
    for (int k = 0; k < N; k++) scratch[(threadIdx.y * N + k) * scratch_stride<N> + threadIdx.x] = sums[k];
}

// After the barrier: the sum of column `column` of the block's WARP * N columns, over all slices.
template <int N, typename A> __device__ __forceinline__ A sum_of_slices(const A* scratch, unsigned column) {
    A sum = 0;
    for (unsigned slice = 0; slice < SLICES; slice++)
        sum += scratch[(slice * N + column % N) * scratch_stride<N> + column / N];
    return sum;
}

// The block's first column, and the first one of a thread.
template <int N> __device__ __forceinline__ int first_column_of_block(unsigned block) { return block * WARP * N; }
template <int N> __device__ __forceinline__ int first_column_of_thread(unsigned block) {
    return (block * WARP + threadIdx.x) * N;
}
