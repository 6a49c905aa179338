// Tensor cores: nvcuda::wmma of CUDA's mma.h, with which the 32 lanes of a warp together multiply small matrices.
//
//     D [M, N] = A [M, K] B [K, N] + C [M, N]        M, N, K: 16, 16, 16 or 32, 8, 16 or 8, 32, 16
//
// A and B are half or bfloat16, C and D are float (or half, with half).  A fragment is one lane's share of a matrix.
// Which elements a lane holds is unspecified: it differs between GPUs, and here they are scrambled, so that a
// kernel that relies on some order computes nonsense.  Fragments of the same type are scrambled alike, so that they can
// be added, scaled and copied element by element, as CUDA promises.
//
// Each operation is warp-wide.  The hardware's requirements are checked: all 32 lanes take part, with the same
// matrix; it begins at a multiple of 32 bytes; its row stride is a multiple of 16 bytes.  Loads and stores access
// memory in pieces of 16 bytes, eight lanes to eight rows, as the hardware's do, so that races, out-of-bounds accesses
// and bank conflicts are seen as for any other access.  As on a GPU they do not order memory: another lane sees what
// was stored only after __syncwarp() or __syncthreads().
#pragma once
#include "cuda_bf16.h"
#include "cuda_emulator.h"
#include "cuda_fp16.h"

// Check mode compiles kernels with -fsanitize=thread, which g++ and clang++ signal differently.
#define EMULATOR_CHECKED false
#if defined(__SANITIZE_THREAD__)
#undef EMULATOR_CHECKED
#define EMULATOR_CHECKED true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef EMULATOR_CHECKED
#define EMULATOR_CHECKED true
#endif
#endif

namespace emulator::tensor_cores {

// One lane's share of a matrix [ROWS, COLUMNS].  If 32 lanes have room for more elements than it has, some elements are
// held more than once.
template <int ROWS, int COLUMNS, typename T, int PER_LANE, unsigned SCRAMBLE> struct Share {
    using element_type = T;
    static constexpr int rows = ROWS, columns = COLUMNS, num_elements = PER_LANE;
    T x[PER_LANE];

    // Filled with NaN, so that a forgotten fill_fragment shows.
    Share() { std::memset(static_cast<void*>(x), POISON, sizeof x); }

    // Which element of the matrix, in row-major order, a lane holds at x[i].  Each step permutes the 2^n places.
    static unsigned element(unsigned lane, unsigned i) {
        constexpr unsigned PLACES = WARP_SIZE * PER_LANE;
        unsigned place = lane * PER_LANE + i;
        place = (place ^ place >> 4) * (2 * SCRAMBLE + 77) % PLACES;
        place = ((place ^ place >> 3) + SCRAMBLE) * 45 % PLACES;
        return place % (ROWS * COLUMNS);
    }
};

// ------------------------------------------------------------------------------ what the lanes of a warp share

// What lanes write for each other during one operation.  A warp has two rooms and uses them in turn: while the last
// lanes still read from one, the first may already be at the next operation and write to the other.
struct Room {
    const void* matrix;          // what lane 0 was given; all lanes must be given the same
    unsigned leading_dimension;
    unsigned arrived;            // lanes that have written their shares of A and B
    alignas(16) unsigned char tile[32 * 16 * sizeof(float)];  // a whole matrix, as it is laid out in memory
    float a[32 * 16], b[32 * 16], product[32 * 16];
};
struct Rooms {
    unsigned turns[WARP_SIZE];  // how many operations each lane has begun
    Room room[2];
};
static_assert(sizeof(Rooms) <= WARP_SCRATCH_BYTES, "a warp's rooms do not fit");

// A lane begins an operation; returns the room that it uses.
EMULATOR_UNCHECKED inline Room& enter(Place place) {
    unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    unsigned of_this_warp = threads - thread / WARP_SIZE * WARP_SIZE;
    if (of_this_warp < WARP_SIZE)
        fail(Kind::DIVERGENCE, place, "wmma needs a whole warp of 32 lanes, this one has %u threads of a block of %u",
             of_this_warp, threads);
    Rooms& rooms = *static_cast<Rooms*>(warp_scratch());
    return rooms.room[rooms.turns[lane_id()]++ % 2];
}

// The same for an operation on a matrix in memory.
EMULATOR_UNCHECKED inline Room& enter(const void* matrix, unsigned leading_dimension, unsigned bytes, Place place) {
    unsigned beyond = reinterpret_cast<uintptr_t>(matrix) % 32;
    if (beyond != 0)
        fail(Kind::MISALIGNED, place, "a matrix for wmma begins at a multiple of 32 bytes: this one, %u beyond one",
             beyond);
    if (leading_dimension * bytes % 16 != 0)
        fail(Kind::MISALIGNED, place, "the leading dimension of a matrix for wmma is a multiple of %u here, not %u",
             16 / bytes, leading_dimension);
    Room& room = enter(place);
    if (lane_id() == 0) {
        room.matrix = matrix;
        room.leading_dimension = leading_dimension;
    }
    return room;
}

// Waits for all lanes, and checks that they have the same matrix.
EMULATOR_UNCHECKED inline void meet(const Room& room, const void* matrix, unsigned leading_dimension, Place place) {
    warp_barrier(0xffffffffu, place, false);
    if (room.matrix != matrix)
        fail(Kind::DIVERGENCE, place, "the lanes of a warp name different matrices, this one %lld bytes after lane 0's",
             static_cast<long long>(reinterpret_cast<intptr_t>(matrix) - reinterpret_cast<intptr_t>(room.matrix)));
    if (room.leading_dimension != leading_dimension)
        fail(Kind::DIVERGENCE, place, "the lanes of a warp name different leading dimensions: %u, and in lane 0 %u",
             leading_dimension, room.leading_dimension);
}

// ------------------------------------------------------------------------------------------- load and store

// A matrix in memory consists of lines: its rows or, if column-major, its columns.  They are split into pieces of 16
// bytes, numbered across lines first.  Eight neighbouring lanes take eight neighbouring lines, and no lane takes the
// piece of its own number: its own write there would be in order even if it did not wait for the others.
using Piece = unsigned __int128;
template <typename Share>
constexpr unsigned pieces = Share::rows * Share::columns * sizeof(typename Share::element_type) / 16;

EMULATOR_UNCHECKED inline unsigned first_piece() {
    unsigned lane = lane_id();
    return (lane + 8) % 32 / 8 * 8 + (lane + 3) % 8;
}

// Where a piece is in a tile, whose lines are packed without gaps.
template <typename T> EMULATOR_UNCHECKED Piece* in_tile(Room& room, unsigned element) {
    return reinterpret_cast<Piece*>(room.tile + element * sizeof(T));
}

EMULATOR_UNCHECKED inline void put(Piece* to, Piece piece) { *to = piece; }
EMULATOR_UNCHECKED inline Piece take(const Piece* from) { return *from; }

// The position in the tile of the element that this lane holds at x[i].
template <typename Share> EMULATOR_UNCHECKED unsigned place_in_tile(unsigned i, bool by_rows) {
    unsigned element = Share::element(lane_id(), i);
    unsigned row = element / Share::columns, column = element % Share::columns;
    return by_rows ? element : column * Share::rows + row;
}

template <typename Share> EMULATOR_UNCHECKED void from_tile(Share& share, const Room& room, bool by_rows) {
    auto* tile = reinterpret_cast<const typename Share::element_type*>(room.tile);
    for (int i = 0; i < Share::num_elements; i++) share.x[i] = tile[place_in_tile<Share>(i, by_rows)];
}

template <typename Share> EMULATOR_UNCHECKED void to_tile(const Share& share, Room& room, bool by_rows) {
    auto* tile = reinterpret_cast<typename Share::element_type*>(room.tile);
    for (int i = 0; i < Share::num_elements; i++) tile[place_in_tile<Share>(i, by_rows)] = share.x[i];
}

// The line of each of these two functions that reads or writes the kernel's memory is checked.  It becomes part of the
// kernel itself (always inlined), so that errors are reported at the kernel's own line.

template <typename Share, typename T>
__forceinline__ void load(Share& share, const T* matrix, unsigned leading_dimension, bool by_rows, Place place) {
    Room& room = enter(matrix, leading_dimension, sizeof(T), place);
    const unsigned lines = by_rows ? Share::rows : Share::columns, length = by_rows ? Share::columns : Share::rows;
    for (unsigned piece = first_piece(); piece < pieces<Share>; piece += WARP_SIZE) {
        unsigned line = piece % lines, at = piece / lines * (16 / sizeof(T));
        auto* from = reinterpret_cast<const Piece*>(matrix + size_t(line) * leading_dimension + at);
        put(in_tile<T>(room, line * length + at), *from);
    }
    meet(room, matrix, leading_dimension, place);
    from_tile(share, room, by_rows);
}

template <typename Share, typename T>
__forceinline__ void store(const Share& share, T* matrix, unsigned leading_dimension, bool by_rows, Place place) {
    Room& room = enter(matrix, leading_dimension, sizeof(T), place);
    to_tile(share, room, by_rows);
    meet(room, matrix, leading_dimension, place);
    const unsigned lines = by_rows ? Share::rows : Share::columns, length = by_rows ? Share::columns : Share::rows;
    for (unsigned piece = first_piece(); piece < pieces<Share>; piece += WARP_SIZE) {
        unsigned line = piece % lines, at = piece / lines * (16 / sizeof(T));
        auto* to = reinterpret_cast<Piece*>(matrix + size_t(line) * leading_dimension + at);
        *to = take(in_tile<T>(room, line * length + at));
    }
}

// -------------------------------------------------------------------------------------------------- multiply

// Was this fragment neither filled nor loaded?
template <typename Share> EMULATOR_UNCHECKED bool is_empty(const Share& share) {
    unsigned char poison[sizeof share.x];
    std::memset(poison, POISON, sizeof poison);
    return std::memcmp(share.x, poison, sizeof poison) == 0;
}

template <typename A, typename B, typename C>
EMULATOR_UNCHECKED void demand_filled(const A& a, const B& b, const C& c, Place place) {
    if (is_empty(a) || is_empty(b) || is_empty(c))
        fail(Kind::UNINITIALISED, place, "fragment %s of this product was neither loaded nor filled",
             is_empty(a) ? "a" : is_empty(b) ? "b" : "c");
}

// product = a b, in float, which holds products of half and bfloat16 exactly; their sums are rounded.
template <int M, int N, int K> EMULATOR_UNCHECKED void multiply(Room& room) {
    for (int row = 0; row < M; row++) {
        float sums[N] = {};
        for (int k = 0; k < K; k++)
            for (int column = 0; column < N; column++) sums[column] += room.a[row * K + k] * room.b[k * N + column];
        std::memcpy(room.product + row * N, sums, sizeof sums);
    }
}

// d = a b + c.  All lanes write their shares of A and B; the last one to arrive multiplies.
template <int M, int N, int K, typename D, typename A, typename B, typename C>
EMULATOR_UNCHECKED void multiply_add(D& d, const A& a, const B& b, const C& c, Place place) {
    const unsigned lane = lane_id();
    Room& room = enter(place);
    for (int i = 0; i < A::num_elements; i++) room.a[A::element(lane, i)] = float(a.x[i]);
    for (int i = 0; i < B::num_elements; i++) room.b[B::element(lane, i)] = float(b.x[i]);
    if (++room.arrived == WARP_SIZE) {
        multiply<M, N, K>(room);
        room.arrived = 0;
    }
    warp_barrier(0xffffffffu, place, false);
    if constexpr (EMULATOR_CHECKED) demand_filled(a, b, c, place);
    for (int i = 0; i < D::num_elements; i++) d.x[i] = float(c.x[i]) + room.product[D::element(lane, i)];
}

}  // namespace emulator::tensor_cores

// ---------------------------------------------------------------------------------------------- CUDA's own names

namespace nvcuda::wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

// Uses, shapes and types other than these have no definition, and do not compile.
template <typename Use, int M, int N, int K, typename T, typename Layout = void> class fragment;

#define EMULATOR_FRAGMENTS(M, N, K)                                                                                   \
    EMULATOR_FRAGMENT(matrix_a, M, N, K, __half, row_major, M, K, 16, 1)                                              \
    EMULATOR_FRAGMENT(matrix_a, M, N, K, __half, col_major, M, K, 16, 2)                                              \
    EMULATOR_FRAGMENT(matrix_b, M, N, K, __half, row_major, K, N, 16, 3)                                              \
    EMULATOR_FRAGMENT(matrix_b, M, N, K, __half, col_major, K, N, 16, 4)                                              \
    EMULATOR_FRAGMENT(matrix_a, M, N, K, __nv_bfloat16, row_major, M, K, M * K / 32, 5)                               \
    EMULATOR_FRAGMENT(matrix_a, M, N, K, __nv_bfloat16, col_major, M, K, M * K / 32, 6)                               \
    EMULATOR_FRAGMENT(matrix_b, M, N, K, __nv_bfloat16, row_major, K, N, K * N / 32, 7)                               \
    EMULATOR_FRAGMENT(matrix_b, M, N, K, __nv_bfloat16, col_major, K, N, K * N / 32, 8)                               \
    EMULATOR_FRAGMENT(accumulator, M, N, K, __half, void, M, N, 8, 9)                                                 \
    EMULATOR_FRAGMENT(accumulator, M, N, K, float, void, M, N, 8, 10)
#define EMULATOR_FRAGMENT(Use, M, N, K, T, Layout, ROWS, COLUMNS, PER_LANE, SCRAMBLE)                                 \
    template <> class fragment<Use, M, N, K, T, Layout>                                                               \
        : public emulator::tensor_cores::Share<ROWS, COLUMNS, T, PER_LANE, SCRAMBLE> {};
EMULATOR_FRAGMENTS(16, 16, 16)
EMULATOR_FRAGMENTS(32, 8, 16)
EMULATOR_FRAGMENTS(8, 32, 16)
#undef EMULATOR_FRAGMENT
#undef EMULATOR_FRAGMENTS

// The value converts to the fragment's type: 0.0f fills a fragment of halves too.
template <int ROWS, int COLUMNS, typename T, int PER_LANE, unsigned SCRAMBLE>
inline void fill_fragment(emulator::tensor_cores::Share<ROWS, COLUMNS, T, PER_LANE, SCRAMBLE>& share,
                          const typename std::enable_if<true, T>::type& value) {
    for (T& element : share.x) element = value;
}

template <typename Use, int M, int N, int K, typename T, typename Layout>
__forceinline__ void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& to, const T* matrix,
                                      unsigned leading_dimension, emulator::Place place = EMULATOR_CALLER) {
    static_assert(!std::is_void<Layout>::value, "how an accumulator lies in memory must be said: mem_row_major, ...");
    emulator::tensor_cores::load(to, matrix, leading_dimension, std::is_same<Layout, row_major>::value, place);
}

template <int M, int N, int K, typename T>
__forceinline__ void load_matrix_sync(fragment<accumulator, M, N, K, T>& to, const T* matrix,
                                      unsigned leading_dimension, layout_t layout,
                                      emulator::Place place = EMULATOR_CALLER) {
    emulator::tensor_cores::load(to, matrix, leading_dimension, layout == mem_row_major, place);
}

template <int M, int N, int K, typename T>
__forceinline__ void store_matrix_sync(T* matrix, const fragment<accumulator, M, N, K, T>& from,
                                       unsigned leading_dimension, layout_t layout,
                                       emulator::Place place = EMULATOR_CALLER) {
    emulator::tensor_cores::store(from, matrix, leading_dimension, layout == mem_row_major, place);
}

// d = a b + c; d may be c
template <int M, int N, int K, typename T, typename LayoutA, typename LayoutB, typename D, typename C>
inline void mma_sync(fragment<accumulator, M, N, K, D>& d, const fragment<matrix_a, M, N, K, T, LayoutA>& a,
                     const fragment<matrix_b, M, N, K, T, LayoutB>& b, const fragment<accumulator, M, N, K, C>& c,
                     emulator::Place place = EMULATOR_CALLER) {
    constexpr bool in_float = std::is_same<C, float>::value && std::is_same<D, float>::value;
    static_assert(in_float || std::is_same<T, __half>::value, "products of bfloat16 are added up in float");
    emulator::tensor_cores::multiply_add<M, N, K>(d, a, b, c, place);
}

}  // namespace nvcuda::wmma
