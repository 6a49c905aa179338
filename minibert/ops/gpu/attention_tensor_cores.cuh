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
