// What attention on tensor cores does with scores, forward and backward: see attention_tensor_cores.cu.
//
// A warp's scores leave a product as fragments and pass through a *room* of its own in shared memory, a row for each
// query, where elements have places.  There a lane takes sixteen neighbouring keys of one query, its *share*: 64 bytes
// of scores, and two calls of Philox settle their dropout.  What becomes of them, in sixteen bits for the next product,
// takes the scores' place, at the beginning of each row of the room.

constexpr int SHARE = 16;

// A warp stores products [16, TILE] in its room, rows ROOM apart: by queries, whose rows they have, or by columns, if
// they are transposed and each column is a query.
template <int ROOM, bool TRANSPOSED>
__device__ __forceinline__ void put_products(float* room, const Sums (&products)[TILE / SIDE]) {
    __syncwarp();  // what the room held was read
#pragma unroll
    for (int c = 0; c < TILE / SIDE; c++)
        wmma::store_matrix_sync(room + c * SIDE * (TRANSPOSED ? ROOM : 1), products[c], ROOM,
                                TRANSPOSED ? wmma::mem_col_major : wmma::mem_row_major);
}

// A lane reads its share of the scores that its warp has just stored.
__device__ __forceinline__ void take_share(float (&share)[SHARE], const float* from) {
    __syncwarp();  // all parts of the fragments are in the room
#pragma unroll
    for (int j = 0; j < SHARE; j += Vec<float>::size) {
        Vec<float> four = load(from + j);
#pragma unroll
        for (int i = 0; i < Vec<float>::size; i++) share[j + i] = four.at[i];
    }
}

// A lane writes its share in sixteen bits.
template <typename T> __device__ __forceinline__ void put_share(T* to, const float (&share)[SHARE]) {
    __syncwarp();  // all shares are read, and can be overwritten
#pragma unroll
    for (int j = 0; j < SHARE; j += Vec<T>::size) {
        Vec<T> eight;
#pragma unroll
        for (int i = 0; i < Vec<T>::size; i++) eight.at[i] = T(share[j + i]);
        store(to + j, eight);
    }
}

// Dropout of a share whose first `seen` keys the query sees: bit j tells whether key + j is kept.
__device__ __forceinline__ unsigned keys_kept(const Drops& drops, int sequence, int query, int key, int seen) {
    if (drops.threshold == 0 || seen <= 0) return 0xffffu;
    unsigned bits = 0;
#pragma unroll
    for (int j = 0; j < SHARE; j += DECISIONS) {
        Words words = philox((key + j) / DECISIONS, drops.positions[query], drops.sequences[sequence], drops.site,
                             drops.key0, drops.key1);
#pragma unroll
        for (int i = 0; i < DECISIONS; i++) bits |= unsigned(kept(words, i, drops.threshold)) << (j + i);
    }
    return bits;
}
// Which rows of which sequence a block owns.
struct Owned { int sequence, first, rows; };

// Of all rows, cut sequence by sequence into tiles of SIZE.  Sequence b has blocks cu_seqlens[b] / SIZE + b and on.
template <int SIZE> __device__ __forceinline__ Owned find_rows(const int* cu_seqlens, int sequences) {
    int low = 0, high = sequences - 1, block = blockIdx.x;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (cu_seqlens[middle] / SIZE + middle <= block) low = middle; else high = middle - 1;
    }
    int first = cu_seqlens[low] + (block - cu_seqlens[low] / SIZE - low) * SIZE;
    return {low, first, min(SIZE, cu_seqlens[low + 1] - first)};
}

// How many keys a query sees, the first ones of its sequence; none if there is no such query.
__device__ __forceinline__ int keys_seen(int query, int end, int keys, const int* positions_q, int causal) {
    if (query >= end) return 0;
    return causal ? min(keys, positions_q[query] + 1) : keys;
}

// How many keys any query of a block sees.  Each warp asks for all of them, so that all warps get the same.
__device__ __forceinline__ int most_keys_seen(int first, int end, int keys, const int* positions_q, int causal) {
    int most = 0;
    for (int query = first + threadIdx.x % WARP; query < end; query += WARP)
        most = max(most, keys_seen(query, end, keys, positions_q, causal));
    return warp_max(most);
}

// Where in a tensor [rows, heads * width] a row of a head begins.
__device__ __forceinline__ long long place(int row, int head, int heads, int width) {
    return (static_cast<long long>(row) * heads + head) * width;
}
