// CUDA's cooperative_groups.h: thread blocks and tiles of a warp.  Grids, clusters and coalesced groups are refused (see
// unsupported.py).
#pragma once
#include "reductions.h"

namespace cooperative_groups {

// Any of the groups below, as a function's parameter.  width: the threads of a tile, or 0 for the whole block.
class thread_group {
  public:
    unsigned thread_rank() const {
        return width_ == 0 ? emulator::thread_number() : emulator::lane_id() & (width_ - 1);
    }
    unsigned size() const { return width_ == 0 ? blockDim.x * blockDim.y * blockDim.z : width_; }
    unsigned num_threads() const { return size(); }
    void sync(emulator::Place place = EMULATOR_CALLER) const {
        if (width_ == 0) __syncthreads(place);
        else __syncwarp(mask(), place);
    }

  protected:
    explicit thread_group(unsigned width) : width_(width) {}
    unsigned mask() const {
        unsigned all = width_ == 32 ? 0xffffffffu : (1u << width_) - 1;
        return all << (emulator::lane_id() & ~(width_ - 1));
    }
    friend thread_group tiled_partition(const thread_group& parent, unsigned width, emulator::Place place);
    unsigned width_;
};

class thread_block : public thread_group {
  public:
    static dim3 group_index() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
    static dim3 thread_index() { return {threadIdx.x, threadIdx.y, threadIdx.z}; }
    static dim3 group_dim() { return blockDim; }
    static dim3 dim_threads() { return blockDim; }

  private:
    thread_block() : thread_group(0) {}
    friend thread_block this_thread_block();
};
inline thread_block this_thread_block() { return thread_block(); }

// Tiles are `WIDTH` neighbouring threads; the second template parameter, the parent's type, has no effect.
template <unsigned WIDTH, typename Parent = void> class thread_block_tile : public thread_group {
    static_assert(WIDTH > 0 && WIDTH <= 32 && (WIDTH & (WIDTH - 1)) == 0, "a tile has 1, 2, 4, 8, 16 or 32 threads");

  public:
    template <typename Other> thread_block_tile(const thread_block_tile<WIDTH, Other>&) : thread_group(WIDTH) {}
    unsigned meta_group_rank() const { return emulator::thread_number() / WIDTH; }
    unsigned meta_group_size() const { return (blockDim.x * blockDim.y * blockDim.z + WIDTH - 1) / WIDTH; }
    template <typename T> T shfl(T value, int source, emulator::Place place = EMULATOR_CALLER) const {
        return __shfl_sync(mask(), value, source, WIDTH, place);
    }
    template <typename T> T shfl_up(T value, unsigned distance, emulator::Place place = EMULATOR_CALLER) const {
        return __shfl_up_sync(mask(), value, distance, WIDTH, place);
    }
    template <typename T> T shfl_down(T value, unsigned distance, emulator::Place place = EMULATOR_CALLER) const {
        return __shfl_down_sync(mask(), value, distance, WIDTH, place);
    }
    template <typename T> T shfl_xor(T value, int lane_mask, emulator::Place place = EMULATOR_CALLER) const {
        return __shfl_xor_sync(mask(), value, lane_mask, WIDTH, place);
    }
    int any(int yes, emulator::Place place = EMULATOR_CALLER) const { return __any_sync(mask(), yes, place); }
    int all(int yes, emulator::Place place = EMULATOR_CALLER) const { return __all_sync(mask(), yes, place); }
    unsigned ballot(int yes, emulator::Place place = EMULATOR_CALLER) const {
        return of_tile(__ballot_sync(mask(), yes, place));
    }
    template <typename T> unsigned match_any(T value, emulator::Place place = EMULATOR_CALLER) const {
        return of_tile(__match_any_sync(mask(), value, place));
    }

  private:
    thread_block_tile() : thread_group(WIDTH) {}
    unsigned of_tile(unsigned lanes) const { return (lanes & mask()) >> (emulator::lane_id() & ~(WIDTH - 1)); }
    template <unsigned W, typename P> friend thread_block_tile<W, P> tiled_partition(const P& parent);
};

template <unsigned WIDTH, typename Parent> thread_block_tile<WIDTH, Parent> tiled_partition(const Parent& parent) {
    static_assert(std::is_base_of<thread_group, Parent>::value, "tiled_partition divides a block or a tile");
    (void)parent;
    return thread_block_tile<WIDTH, Parent>();
}
inline thread_group tiled_partition(const thread_group& parent, unsigned width,
                                    emulator::Place place = EMULATOR_CALLER) {
    if (width == 0 || width > 32 || (width & (width - 1)) != 0 || width > parent.size()) {
        emulator::fail(emulator::Kind::LAUNCH, place, "a tile of %u threads; expected 1, 2, 4, 8, 16 or 32, and no more "
                       "than its group has", width);
    }
    return thread_group(width);
}

template <typename Group> inline void sync(const Group& group, emulator::Place place = EMULATOR_CALLER) {
    group.sync(place);
}

}  // namespace cooperative_groups
