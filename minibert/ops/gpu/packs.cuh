// Packs: neighbouring elements of a row that one thread reads and writes at once.
//
// Kernels that work column by column cannot split a row anywhere, as grid_stride.cuh does: all rows must start at a
// multiple of sixteen bytes.  So there are two instances of each: ALIGNED, for widths that are a multiple of a vector's
// size, with packs of sixteen bytes; and the other, for all widths, with packs of one element.

template <typename T, bool ALIGNED> constexpr int pack_size = ALIGNED ? Vec<T>::size : 1;

template <typename T, int N> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
    T at[N];
};

template <int N, typename T> __device__ __forceinline__ Pack<T, N> load_pack(const T* from) {
    return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <int N, typename T> __device__ __forceinline__ void store_pack(T* to, const Pack<T, N>& pack) {
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
}
