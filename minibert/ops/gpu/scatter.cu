// Scatter-add: table[ids[i]] += rows[i] for every i, in an order that is always the same.
//
// Atomic additions would happen in any order, and a floating-point sum depends on its order.  So the positions i are
// sorted by id, and by i where ids are equal: then all rows of an id are neighbours, a *run*, and are added up
// one after the other.  A run may be long (a batch has only two segments), so the sorted positions are split into
// chunks of equal size, and each block adds up one chunk:
//
//     chunk       0        1        2        3
//     ids     3 3 3 5 | 5 5 7 7 | 7 7 7 7 | 7 9 9 9
//             ~~~~~           a run that lies in one chunk: its sum goes straight into the table
//                   - | ===     sums of parts of runs are stored: if the run began earlier, as the chunk's first,
//                         --- | ======= | =              otherwise as its second
//
// and a second kernel finishes the runs that extend beyond a chunk: a thread for each adds up its parts in order.
//
//                grid                       block                  bytes moved per element, in 16 bits
//   make_keys    count / 256                256                    few: once for each row
//   split_keys   count / 256                256
//   add_chunks   (chunks, packs / threads)  up to 128 threads      2 (rows), and 2 * 4 once for each row of the table
//   add_parts    (chunks, packs / threads)  up to 128 threads      few: once for each chunk

// key = id * count + position: all distinct, so that any sorting algorithm gives the same result.
__global__ void make_keys(const int* ids, long long* keys, int count) {
    int position = blockIdx.x * blockDim.x + threadIdx.x;
    if (position >= count) return;
    keys[position] = static_cast<long long>(ids[position]) * count + position;
}

// Splits the sorted keys again.
__global__ void split_keys(const long long* keys, int* ids, int* positions, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    ids[i] = static_cast<int>(keys[i] / count);
    positions[i] = static_cast<int>(keys[i] % count);
}

// The first column of a thread.
template <int N> __device__ __forceinline__ int column_of_thread() {
    return (blockIdx.y * blockDim.x + threadIdx.x) * N;
}

// Adds the sums of a thread's columns to its columns of the table.
template <typename To, typename A, int N>
__device__ __forceinline__ void add_to_table(To* to, const A (&sums)[N]) {
    Pack<To, N> pack = load_pack<N>(to);
#pragma unroll
    for (int k = 0; k < N; k++) pack.at[k] = To(A(pack.at[k]) + sums[k]);
    store_pack<N>(to, pack);
}

// ids, positions [count], sorted; parts [chunks, 2, width].
template <typename T, typename To, bool ALIGNED>
__global__ void add_chunks(const T* rows, const int* ids, const int* positions, To* table, sum_t<T>* parts, int count,
                           int width, int chunk) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    int column = column_of_thread<N>();
    if (column >= width) return;
    int begin = blockIdx.x * chunk, end = begin + chunk < count ? begin + chunk : count;
    bool began_earlier = begin > 0 && ids[begin - 1] == ids[begin];
    A* part = parts + static_cast<long long>(blockIdx.x) * 2 * width + column;
    Pack<A, N> sums = {};
    for (int i = begin; i < end; i++) {
        Pack<T, N> pack = load_pack<N>(rows + static_cast<long long>(positions[i]) * width + column);
#pragma unroll
        for (int k = 0; k < N; k++) sums.at[k] += A(pack.at[k]);
        bool run_ends = i + 1 == count || ids[i + 1] != ids[i];
        if (!run_ends && i + 1 < end) continue;
        if (began_earlier) {
            store_pack<N>(part, sums);
        } else if (run_ends) {
            add_to_table(table + static_cast<long long>(ids[i]) * width + column, sums.at);
        } else {
            store_pack<N>(part + width, sums);
        }
        began_earlier = false;
        sums = {};
    }
}

// If a run begins in a chunk and continues in the next one, the chunk's block adds up all parts of that run.
template <typename T, typename To, bool ALIGNED>
__global__ void add_parts(const int* ids, const sum_t<T>* parts, To* table, int count, int width, int chunk) {
    using A = sum_t<T>;
    constexpr int N = pack_size<T, ALIGNED>;
    int column = column_of_thread<N>();
    if (column >= width) return;
    int begin = blockIdx.x * chunk, next = begin + chunk;
    if (next >= count) return;
    int id = ids[next];
    if (ids[next - 1] != id) return;                  // no run continues
    if (begin > 0 && ids[begin - 1] == id) return;    // it began before this chunk
    const A* part = parts + static_cast<long long>(blockIdx.x) * 2 * width + column;
    Pack<A, N> sums = load_pack<N>(part + width);
    for (; next < count && ids[next] == id; next += chunk) {
        part += 2 * width;
        Pack<A, N> more = load_pack<N>(part);
#pragma unroll
        for (int k = 0; k < N; k++) sums.at[k] += more.at[k];
    }
    add_to_table(table + static_cast<long long>(id) * width + column, sums.at);
}
