// What attention on tensor cores does with scores, forward and backward: see attention_tensor_cores.cu.
//
// A product leaves a warp's scores in fragments, which are stored in the warp's *scratch*, an area of shared memory
// with a row for each query, where every element has a known address.  There a lane takes sixteen neighbouring keys of
// one query, its *share*: 64 bytes of scores, whose dropout two calls of Philox decide.  The weights computed from
// them, in sixteen bits for the next product, overwrite the scores at the beginning of each row of scratch.

constexpr int SHARE = 16;

// A warp stores products [16, TILE] in its scratch, a row of SCRATCH numbers for each query: a query is a row of the
// products or, if they are transposed, a column.
template <int SCRATCH, bool TRANSPOSED>
__device__ __forceinline__ void put_products(float* scratch, const Sums (&products)[TILE / SIDE]) {
    __syncwarp();  // the previous contents of scratch have been read
#pragma unroll
    for (int c = 0; c < TILE / SIDE; c++)
        wmma::store_matrix_sync(scratch + c * SIDE * (TRANSPOSED ? SCRATCH : 1), products[c], SCRATCH,
                                TRANSPOSED ? wmma::mem_col_major : wmma::mem_row_major);
}

// A lane reads its share of the scores that its warp has just stored.
__device__ __forceinline__ void take_share(float (&share)[SHARE], const float* from) {
    __syncwarp();  // all parts of the fragments are in scratch
#pragma unroll
    for (int j = 0; j < SHARE; j += Vec<float>::size) {
        Vec<float> four = load(from + j);
#pragma unroll
        for (int i = 0; i < Vec<float>::size; i++) share[j + i] = four.at[i];
    }
}

// A lane writes its share in sixteen bits.
template <typename T> __device__ __forceinline__ void put_share(T* to, const float (&share)[SHARE]) {
    __syncwarp();  // all shares have been read, so they can be overwritten
#pragma unroll
    for (int j = 0; j < SHARE; j += Vec<T>::size) {
        Vec<T> eight;
#pragma unroll
        for (int i = 0; i < Vec<T>::size; i++) eight.at[i] = T(share[j + i]);
        store(to + j, eight);
    }
}

// Dropout for a share of which the query sees the first `seen` keys: bit j says whether key + j is kept.
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
