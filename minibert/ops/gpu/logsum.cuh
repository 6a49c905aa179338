// log(sum(exp(x))) of a row, without overflow, reading the row once ("online softmax", Milakov and Gimelshein 2018).

__device__ __forceinline__ float lowest(float) { return -3.4028234663852886e38f; }
__device__ __forceinline__ double lowest(double) { return -1.7976931348623157e308; }

// The numbers seen so far: their maximum, and the sum of exp(x - maximum).  When a higher number comes, the sum is
// scaled to the new maximum.  It begins with the lowest number, not with minus infinity, since infinity less itself is
// no number.
template <typename A> struct LogSum {
    A highest = lowest(A(0)), sum = 0;

    __device__ __forceinline__ void add(A x) {
        if (x > highest) {
            sum *= exponential(highest - x);
            highest = x;
        }
        sum += exponential(x - highest);
    }
};

// Every thread of a block of one dimension gets the log-sum of what all of them saw.  The rooms: shared memory for a
// number of each warp, used by nothing else.
template <typename A>
__device__ __forceinline__ A block_log_sum(const LogSum<A>& mine, A* highest_room, A* sum_room) {
    unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    A of_warp = warp_max(mine.highest);
    A sum = warp_sum(mine.sum * exponential(mine.highest - of_warp));
    if (lane == 0) {
        highest_room[warp] = of_warp;
        sum_room[warp] = sum;
    }
    __syncthreads();
    A mine_now = lane < warps ? highest_room[lane] : lowest(A(0));
    A highest = warp_max(mine_now);
    sum = warp_sum(lane < warps ? sum_room[lane] * exponential(mine_now - highest) : A(0));
    return highest + logarithm(sum);
}
