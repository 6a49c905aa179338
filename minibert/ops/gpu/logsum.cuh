// log(sum(exp(x))) of a row, without overflow, reading the row once ("online softmax", Milakov and Gimelshein 2018).

__device__ __forceinline__ float lowest(float) { return -3.4028234663852886e38f; }
__device__ __forceinline__ double lowest(double) { return -1.7976931348623157e308; }

// The numbers seen so far: their maximum, and the sum of exp(x - maximum).  When a higher number comes, the sum is
// rescaled to the new maximum, which starts as the lowest finite number to avoid -inf - -inf = NaN.
template <typename A> struct LogSum {
    A maximum = lowest(A(0)), sum = 0;

    __device__ __forceinline__ void add(A x) {
        if (x > maximum) {
            sum *= exponential(maximum - x);
            maximum = x;
        }
        sum += exponential(x - maximum);
    }
};

// Every thread of a one-dimensional block gets the log-sum of what all of them saw.  max_scratch, sum_scratch: shared
// memory, one element per warp, used for nothing else.
template <typename A>
__device__ __forceinline__ A block_log_sum(const LogSum<A>& mine, A* max_scratch, A* sum_scratch) {
    unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    A of_warp = warp_max(mine.maximum);
    A sum = warp_sum(mine.sum * exponential(mine.maximum - of_warp));
    if (lane == 0) {
        max_scratch[warp] = of_warp;
        sum_scratch[warp] = sum;
    }
    __syncthreads();
    A mine_now = lane < warps ? max_scratch[lane] : lowest(A(0));
    A maximum = warp_max(mine_now);
    sum = warp_sum(lane < warps ? sum_scratch[lane] * exponential(mine_now - maximum) : A(0));
    return maximum + logarithm(sum);
}
