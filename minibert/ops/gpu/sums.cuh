// Sums over a one-dimensional block.  Each use needs its own scratch in shared memory, one element per warp: then no
// second barrier is needed to keep a fast warp from overwriting what a slow one has not read yet.

constexpr unsigned MOST_WARPS = 32;  // per block

// Every thread gets the sum of `value` over the block, always added up in the same order.
template <typename A> __device__ __forceinline__ A block_sum(A value, A* scratch) {
    unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    value = warp_sum(value);
    if (lane == 0) scratch[warp] = value;
    __syncthreads();
    return warp_sum(lane < warps ? scratch[lane] : A(0));
}

// Every thread gets the sum of x [size], which one block adds up.
template <typename A> __device__ __forceinline__ A total_of(const A* x, int size, A* scratch) {
    A sum = 0;
    for (int i = threadIdx.x; i < size; i += blockDim.x) sum += x[i];
    return block_sum(sum, scratch);
}
