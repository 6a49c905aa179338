// Elementwise activations.
//
//   grid, block     any number of blocks of 256 threads: a grid-stride loop over all elements, 16 bytes at a time
//   bytes moved     each element is read once (backward: and its gradient) and written once: 4 (6) bytes in 16 bits

__device__ __forceinline__ float error_function(float x) { return erff(x); }
__device__ __forceinline__ double error_function(double x) { return erf(x); }

// The probability that a standard normal variable is below x.
template <typename A> __device__ __forceinline__ A normal_cdf(A x) {
    return A(0.5) * (A(1) + error_function(x * A(0.70710678118654752)));  // sqrt(1 / 2)
}

template <typename A> __device__ __forceinline__ A normal_density(A x) {
    return A(0.39894228040143268) * exponential(A(-0.5) * x * x);  // sqrt(1 / (2 * pi))
}

template <typename T> __global__ void gelu_forward(const T* x, T* y, long long size) {
    map(x, y, whole(size), [](long long, sum_t<T> x) { return x * normal_cdf(x); });
}

template <typename T> __global__ void gelu_backward(const T* d_y, const T* x, T* d_x, long long size) {
    map(d_y, x, d_x, whole(size), [](long long, sum_t<T> d_y, sum_t<T> x) {
        // y = x * cdf(x), and the derivative of cdf is the density
        return d_y * (normal_cdf(x) + x * normal_density(x));
    });
}

// 0.5 * (1 + tanh(u)) = 1 / (1 + exp(-2 * u)), which loses no precision where tanh is near -1;
// u = sqrt(2 / pi) * (x + 0.044715 * x**3)
template <typename A> __device__ __forceinline__ A gelu_share(A x) {
    A twice_u = A(1.5957691216057308) * (x + A(0.044715) * x * x * x);  // 2 * sqrt(2 / pi)
    return A(1) / (A(1) + exponential(-twice_u));
}

template <typename T> __global__ void gelu_tanh_forward(const T* x, T* y, long long size) {
    map(x, y, whole(size), [](long long, sum_t<T> x) { return x * gelu_share(x); });
}

template <typename T> __global__ void gelu_tanh_backward(const T* d_y, const T* x, T* d_x, long long size) {
    using A = sum_t<T>;
    map(d_y, x, d_x, whole(size), [](long long, A d_y, A x) {
        // y = x * share with share = 1 / (1 + exp(-2 * u)), whose derivative is share * (1 - share) times that of 2 * u
        A share = gelu_share(x);
        A d_twice_u = A(1.5957691216057308) * (A(1) + A(3 * 0.044715) * x * x);
        return d_y * (share + x * share * (A(1) - share) * d_twice_u);
    });
}

template <typename T> __global__ void tanh_forward(const T* x, T* y, long long size) {
    map(x, y, whole(size), [](long long, sum_t<T> x) { return hyperbolic_tangent(x); });
}

template <typename T> __global__ void tanh_backward(const T* d_y, const T* y, T* d_x, long long size) {
    // y = tanh(x), whose derivative is 1 - tanh(x)**2
    map(d_y, y, d_x, whole(size), [](long long, sum_t<T> d_y, sum_t<T> y) { return d_y * (sum_t<T>(1) - y * y); });
}
