// What the linear layer does apart from its products, which cuBLAS computes.
//
//                grid, block                                       bytes moved per element, in 16 bits
//   add_bias     as many threads as packs in y, in blocks of 256   2 * 2 (y)

// y [rows, width] += bias [width], in place.
template <typename T, bool ALIGNED> __global__ void add_bias(T* y, const T* bias, long long rows, int width) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    int packs = width / N;
    long long index = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (index >= rows * packs) return;
    Pack<T, N> pack = load_pack<N>(y + index * N), biases = load_pack<N>(bias + index % packs * N);
#pragma unroll
    for (int k = 0; k < N; k++) pack.at[k] = T(A(pack.at[k]) + A(biases.at[k]));
    store_pack<N>(y + index * N, pack);
}
