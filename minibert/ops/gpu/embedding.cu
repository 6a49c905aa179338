// The input of BERT: for each token the sum of three rows, one from each of three tables.
//
//   grid, block     as many threads as packs in y, in blocks of 256
//   bytes moved     4 * 2 per element of y in 16 bits: three rows are read, one is written.  The positions' and the
//                   segments' rows come from the cache, and so do those of frequent tokens.

template <typename T, bool ALIGNED>
__global__ void look_up(const int* tokens, const int* positions, const int* segments, const T* token_weight,
                        const T* position_weight, const T* segment_weight, T* y, long long rows, int width) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    int packs = width / N;
    long long index = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (index >= rows * packs) return;
    long long row = index / packs, column = index % packs * N;
    Pack<T, N> token = load_pack<N>(token_weight + static_cast<long long>(tokens[row]) * width + column);
    Pack<T, N> position = load_pack<N>(position_weight + static_cast<long long>(positions[row]) * width + column);
    Pack<T, N> segment = load_pack<N>(segment_weight + static_cast<long long>(segments[row]) * width + column);
#pragma unroll
    for (int k = 0; k < N; k++) token.at[k] = T(A(token.at[k]) + A(position.at[k]) + A(segment.at[k]));
    store_pack<N>(y + row * width + column, token);
}
