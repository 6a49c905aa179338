// What the linear layer does beside its products, which are cuBLAS's.
//
//                grid, block                                              bytes moved per element, in 16 bits
//   add_bias     as many threads as packs in y, in blocks of 256          2 * 2 (y)
//   add_into     any number of blocks of 256: they walk over the array    2 + 2 * 4 (a product, a float32 gradient)

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

// sums [size] += x [size]: a gradient that is there already receives another.  In 16 bits, parameters' gradients are
// added up in float32; the sum of many 16-bit numbers would lose the small ones.  As many numbers at a time as make
// sixteen bytes of the sums.
template <typename T, typename To> __global__ void add_into(const T* x, To* sums, long long size) {
    using A = sum_t<T>;
    constexpr int N = Vec<To>::size;
    auto visit_vector = [&](long long i) {
        Pack<T, N> pack = load_pack<N>(x + i);
        Vec<To> part = load(sums + i);
#pragma unroll
        for (int k = 0; k < N; k++) part.at[k] = To(A(part.at[k]) + A(pack.at[k]));
        store(sums + i, part);
    };
    walk<To>(whole(size), visit_vector, [&](long long i) { sums[i] = To(A(sums[i]) + A(x[i])); });
}
