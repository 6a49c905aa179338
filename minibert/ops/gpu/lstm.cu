// One time step of an LSTM, apart from its products, which cuBLAS computes.
//
//                        grid, block                                         bytes moved per cell, in 16 bits
//   lstm_step_forward    a thread for each cell of the step, blocks of 256   42 (gates twice, c_before, c, h)
//   lstm_step_backward   a thread for each cell of the step, blocks of 256   46 (gates, d_gates, c, c_before, d_h,
//                                                                                d_state, d_memory twice)
//
// A step has one row for each sequence that is long enough, and a row has `width` cells.  All tensors are those of the
// step's rows, [rows, width]; gates and d_gates are [rows, 4 * width]: input, forget, candidate and output gates.
// Gates and the cell state c are in sum_t<T>: rounding c to 16 bits in each step would lose small changes, as it would
// with the weights that an optimiser updates.

// The logistic function: where exp overflows to infinity, the result is zero, as it should be.
template <typename A> __device__ __forceinline__ A logistic(A x) { return A(1) / (A(1) + exponential(-x)); }

// gates: before, the sum of both products, without the bias; after, the activated gates.
template <typename T>
__global__ void lstm_step_forward(const T* bias, const sum_t<T>* c_before, sum_t<T>* gates, sum_t<T>* c, T* h,
                                  long long rows, int width) {
    using A = sum_t<T>;
    long long cell = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (cell >= rows * width) return;
    int column = cell % width;
    gates += cell / width * 4 * width + column;
    bias += column;
    A i = logistic(gates[0] + A(bias[0])), f = logistic(gates[width] + A(bias[width]));
    A g = hyperbolic_tangent(gates[2 * width] + A(bias[2 * width]));
    A o = logistic(gates[3 * width] + A(bias[3 * width]));
    A new_c = f * c_before[cell] + i * g;
    gates[0] = i;
    gates[width] = f;
    gates[2 * width] = g;
    gates[3 * width] = o;
    c[cell] = new_c;
    h[cell] = T(o * hyperbolic_tangent(new_c));
}

// d_state [continuing, width]: the gradient of h that comes from the next step, in which only the first rows continue.
// d_memory: before, the gradient of c that comes from the next step, for those rows; after, the gradient of c_before.
template <typename T>
__global__ void lstm_step_backward(const T* d_h, const sum_t<T>* d_state, const sum_t<T>* gates, const sum_t<T>* c,
                                   const sum_t<T>* c_before, sum_t<T>* d_memory, T* d_gates,
                                   long long continuing, long long rows, int width) {
    using A = sum_t<T>;
    long long cell = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (cell >= rows * width) return;
    long long gate = cell / width * 4 * width + cell % width;
    A i = gates[gate], f = gates[gate + width], g = gates[gate + 2 * width], o = gates[gate + 3 * width];
    A tanh_c = hyperbolic_tangent(c[cell]);
    // h = o * tanh(c)
    A d_h_all = A(d_h[cell]) + (cell < continuing * width ? d_state[cell] : A(0));
    A d_c = d_h_all * o * (A(1) - tanh_c * tanh_c) + (cell < continuing * width ? d_memory[cell] : A(0));
    // c = f * c_before + i * g; i, f, o are logistic functions, g is a tanh
    d_gates[gate] = T(d_c * g * i * (A(1) - i));
    d_gates[gate + width] = T(d_c * c_before[cell] * f * (A(1) - f));
    d_gates[gate + 2 * width] = T(d_c * i * (A(1) - g * g));
    d_gates[gate + 3 * width] = T(d_h_all * tanh_c * o * (A(1) - o));
    d_memory[cell] = d_c * f;
}
