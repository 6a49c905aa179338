// Attention over a ragged batch: which rows a block owns, and which keys a query sees.  All versions share this file.
//
// The host does not know the sequences' lengths (they are on the device, and reading them would stall it).  So the
// grid has as many blocks as there could be tiles: rows / SIZE + sequences.  Sequence b owns the blocks starting at
// cu_seqlens[b] / SIZE + b, up to those of the next one: always enough, and at most one too many.

// Which rows of which sequence a block owns.
struct Owned { int sequence, first, rows; };

// Finds them, with all rows split sequence by sequence into tiles of SIZE.  A surplus block gets none.
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

// The most keys that any query of a block sees.  Each warp checks all queries, so that all warps get the same result.
__device__ __forceinline__ int most_keys_seen(int first, int end, int keys, const int* positions_q, int causal) {
    int most = 0;
    for (int query = first + threadIdx.x % WARP; query < end; query += WARP)
        most = max(most, keys_seen(query, end, keys, positions_q, causal));
    return warp_max(most);
}

// Where in a tensor [rows, heads * width] a row of a head begins.
__device__ __forceinline__ long long offset_of(int row, int head, int heads, int width) {
    return (static_cast<long long>(row) * heads + head) * width;
}
