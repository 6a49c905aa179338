// Dropout, forward and backward alike: y = x * mask, where the mask is computed and never stored.
//
//   grid, block     as many threads as packs in the matrix, in blocks of 256
//   bytes moved     each element is read and written once: 4 bytes in 16 bits.  For packs of fewer than eight elements
//                   neighbouring threads compute the same random words; that is cheaper than uncoalesced access.

template <typename T, bool ALIGNED>
__global__ void dropout(const T* x, T* y, long long rows, int width, sum_t<T> scale, const int* sequences,
                        const int* positions, unsigned key0, unsigned key1, unsigned site, unsigned threshold) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    Drops drops = {sequences, positions, key0, key1, site, threshold};
    int packs = width / N;
    long long index = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (index >= rows * packs) return;
    long long row = index / packs, offset = index * N;
    Pack<T, N> pack = load_pack<N>(x + offset);
    A values[N];
#pragma unroll
    for (int k = 0; k < N; k++) values[k] = A(pack.at[k]);
    drop(values, drops, scale, row, static_cast<int>(index % packs) * N);
#pragma unroll
    for (int k = 0; k < N; k++) pack.at[k] = T(values[k]);
    store_pack<N>(y + offset, pack);
}
