// Sums over the columns of a matrix: biases' gradients, and the second stage of other sums.
//
//   grid            (columns / 32 packs, slabs of rows)
//   block           (32, SLICES)
//   bytes moved     each element is read once: 2 bytes in 16 bits

// out [slabs, width] = the sums of x [rows, width] over the rows of each slab; added to out if `add` is set.
template <typename T, bool ALIGNED>
__global__ void column_sums(const T* x, sum_t<T>* out, long long rows, int width, int slab, int add) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    __shared__ A scratch[scratch_size<N>];
    long long begin = static_cast<long long>(blockIdx.y) * slab, end = begin + slab < rows ? begin + slab : rows;
    int column = first_column_of_thread<N>(blockIdx.x);
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
    int first = first_column_of_block<N>(blockIdx.x);
    out += static_cast<long long>(blockIdx.y) * width + first;
    for (unsigned i = threadIdx.y * WARP + threadIdx.x; i < WARP * N; i += WARP * SLICES) {
        if (first + static_cast<int>(i) >= width) break;
        out[i] = sum_of_slices<N>(scratch, i) + (add ? out[i] : A(0));
    }
}
