// Gathering rows and averaging them.
//
//                         grid                             block           bytes moved per element, in 16 bits
//   gather_rows           packs in y / 256                 256             2 * 2 (x, y)
//   mean_pool_forward     (sequences, columns / 32 packs)  (32, SLICES)    2 (x)
//   mean_pool_backward    (sequences, columns / 32 packs)  (32, SLICES)    2 (d_x)

// y[i] = x[chosen[i]]
template <typename T, bool ALIGNED>
__global__ void gather_rows(const T* x, const int* chosen, T* y, long long rows, int width) {
    constexpr int N = pack_size<T, ALIGNED>;
    int packs = width / N;
    long long index = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (index >= rows * packs) return;
    long long row = index / packs, column = index % packs * N;
    store_pack<N>(y + row * width + column, load_pack<N>(x + static_cast<long long>(chosen[row]) * width + column));
}

// y[b] = the mean of rows cu_seqlens[b] .. cu_seqlens[b + 1] of x; NaN for a sequence without rows.
template <typename T, bool ALIGNED>
__global__ void mean_pool_forward(const T* x, const int* cu_seqlens, T* y, int width) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    __shared__ A scratch[scratch_size<N>];
    long long begin = cu_seqlens[blockIdx.x], end = cu_seqlens[blockIdx.x + 1];
    int column = first_column_of_thread<N>(blockIdx.y);
    A sums[N] = {};
    if (column < width) {
        for (long long row = begin + threadIdx.y; row < end; row += SLICES) {
            Pack<T, N> pack = load_pack<N>(x + row * width + column);
#pragma unroll
            for (int k = 0; k < N; k++) sums[k] += A(pack.at[k]);
        }
    }
    put_sums(scratch, sums);
    __syncthreads();
    int first = first_column_of_block<N>(blockIdx.y);
    y += static_cast<long long>(blockIdx.x) * width + first;
    for (unsigned i = threadIdx.y * WARP + threadIdx.x; i < WARP * N; i += WARP * SLICES) {
        if (first + static_cast<int>(i) >= width) break;
        y[i] = T(sum_of_slices<N>(scratch, i) / A(end - begin));
    }
}

// Every token of a sequence receives an equal share of its gradient.
template <typename T, bool ALIGNED>
__global__ void mean_pool_backward(const T* d_y, const int* cu_seqlens, T* d_x, int width) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    long long begin = cu_seqlens[blockIdx.x], end = cu_seqlens[blockIdx.x + 1];
    int column = first_column_of_thread<N>(blockIdx.y);
    if (column >= width) return;
    Pack<T, N> pack = load_pack<N>(d_y + static_cast<long long>(blockIdx.x) * width + column);
#pragma unroll
    for (int k = 0; k < N; k++) pack.at[k] = T(A(pack.at[k]) / A(end - begin));
    for (long long row = begin + threadIdx.y; row < end; row += SLICES) store_pack<N>(d_x + row * width + column, pack);
}
