// Which thread runs when, and barriers.
//
// A block's threads run one after the other, each until it waits at a barrier or ends.  The scheduler stays with a warp
// as long as one of its lanes can run, then moves to the next warp.  When no thread can run, all must have ended or
// wait at the same barrier of the block; anything else is a bug in the kernel, and is reported as such.
#pragma once
#include "fibers.h"

namespace emulator {

// What the lanes of a warp do once all have arrived.
enum class Together : uint8_t { WAIT, EXCHANGE, VOTE, COMPARE };

struct Thread {
    Fiber fiber;
    uint3 index;
    unsigned number;       // in the block, counted x first
    bool orders_memory;    // for the warp barrier that it waits at
    Together together;     // likewise: the purpose
    unsigned mask;         // likewise: the lanes it waits for
    unsigned source;       // EXCHANGE: the lane whose bits it wants
    uint64_t gives, gets;  // its bits, and those that it receives
    Place place;           // where it waits
    unsigned warp_phase;   // memory-ordering barriers of its warp that it has passed
};

static Thread threads[MOST_THREADS];
static State states[MOST_THREADS];              // of each thread; kept separately, since all are scanned often
static unsigned waiting_in_warp[MOST_WARPS];    // lanes that wait at a barrier of the warp
static unsigned waiting_in_block;               // threads that wait at a barrier of the block
static Place block_place;                       // where the first of them waits
static bool elsewhere;                          // whether another one waits at a different place
static unsigned votes[2];           // threads that voted yes at a barrier, in odd and even phases of the block
static unsigned vain_atomics;       // that changed nothing, since one last did or a thread yielded
static bool gave_way;
static unsigned fruitless_rounds;   // in which threads only tried atomics in vain

inline void fail_block(Kind kind, Place place, const char* text, ...);
void explain_divergence();
inline uint64_t result_for(const Thread& thread, const Thread* warp, unsigned mask);
void phase_ends();  // at a barrier of the block, and at its end; for check mode

// A random number generator (xorshift): the same on every machine for the same seed.
static uint64_t random_state;
inline unsigned random_below(unsigned limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return unsigned(random_state >> 32) % limit;
}

inline void fill_order(unsigned* numbers, unsigned count) {
    for (unsigned i = 0; i < count; i++) numbers[i] = launch->order == Order::REVERSE ? count - 1 - i : i;
    if (launch->order != Order::RANDOM) return;
    for (unsigned i = count; i > 1; i--) {
        unsigned other = random_below(i), held = numbers[i - 1];
        numbers[i - 1] = numbers[other], numbers[other] = held;
    }
}

// ---------------------------------------------------------------------------------------------------- one thread

void run_thread() {
    launch->kernel->call(*launch->kernel, launch->arguments);
    states[current->number] = State::FINISHED;
    switch_to_scheduler(current->fiber);
    __builtin_trap();  // a finished thread is never resumed
}

inline void resume(Thread& thread) {
    State& state = states[thread.number];
    if (state == State::NEW) start(thread.fiber);
    state = State::READY;
    current = &thread;
    threadIdx = thread.index;
    switch_to(thread.fiber);
    current = nullptr;
    if (state != State::FINISHED) return;
    finish(thread.fiber);
    fruitless_rounds = 0;
}

inline void wait(State state, Place place) {
    states[current->number] = state;
    current->place = place;
    switch_to_scheduler(current->fiber);
}

// ------------------------------------------------------------------------------------------------------ barriers

inline bool same_place(Place a, Place b) {
    return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

void block_barrier(Place place) {
    if (waiting_in_block++ == 0) block_place = place;
    else if (!same_place(place, block_place)) elsewhere = true;
    wait(State::AT_BLOCK_BARRIER, place);
}

unsigned block_vote(bool yes, Place place) {
    unsigned& count = votes[phase % 2];
    count += yes;
    block_barrier(place);
    return count;
}

inline void wait_for_warp(unsigned mask, Place place, Together together) {
    unsigned lane = current->number % WARP_SIZE;
    if ((mask >> lane & 1) == 0) fail(Kind::DIVERGENCE, place, "lane %u is not in its own mask 0x%08x", lane, mask);
    current->mask = mask;
    current->together = together;
    waiting_in_warp[current->number / WARP_SIZE]++;
    wait(State::AT_WARP_BARRIER, place);
}

void warp_barrier(unsigned mask, Place place, bool orders_memory) {
    current->orders_memory = orders_memory;
    wait_for_warp(mask, place, Together::WAIT);
}

// The lanes that a block has in a warp, as a mask.
inline unsigned lanes_of_warp(unsigned warp) {
    unsigned count = thread_count - warp * WARP_SIZE;
    return count >= WARP_SIZE ? 0xffffffffu : (1u << count) - 1;
}

// Whether all lanes that `thread` waits for have arrived.  Lanes that the block does not have are not waited for.
inline bool warp_is_complete(const Thread& thread, unsigned warp, unsigned mask) {
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
        unsigned number = warp * WARP_SIZE + unsigned(__builtin_ctz(lanes));
        const Thread& other = threads[number];
        if (states[number] != State::AT_WARP_BARRIER || other.mask != thread.mask) return false;
        if (!same_place(other.place, thread.place)) return false;
    }
    return true;
}

// The lanes exchange their data now, before any of them resumes: see warp_operations.h.  After a barrier that
// orders memory, each of its lanes has a phase greater than any of them had before.
inline void release_lanes(Thread* warp, unsigned mask, Together together, bool orders_memory) {
    unsigned last_phase = 0;
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) {
        Thread& thread = warp[__builtin_ctz(lanes)];
        states[thread.number] = State::READY;
        if (together != Together::WAIT) thread.gets = result_for(thread, warp, mask);
        if (thread.warp_phase > last_phase) last_phase = thread.warp_phase;
    }
    if (together != Together::WAIT || !orders_memory) return;
    for (unsigned lanes = mask; lanes != 0; lanes &= lanes - 1) warp[__builtin_ctz(lanes)].warp_phase = last_phase + 1;
}

inline bool release_warp(unsigned warp) {
    if (waiting_in_warp[warp] == 0) return false;
    bool released = false;
    unsigned all = lanes_of_warp(warp), done = 0;
    for (unsigned lane = 0; lane < WARP_SIZE && (all >> lane & 1); lane++) {
        const Thread& thread = threads[warp * WARP_SIZE + lane];
        if (states[thread.number] != State::AT_WARP_BARRIER || (done >> lane & 1)) continue;
        unsigned mask = thread.mask & all;
        if (!warp_is_complete(thread, warp, mask)) continue;
        release_lanes(threads + warp * WARP_SIZE, mask, thread.together, thread.orders_memory);
        fruitless_rounds = 0;
        waiting_in_warp[warp] -= unsigned(__builtin_popcount(mask));
        done |= mask;
        released = true;
    }
    return released;
}

inline void nobody_waits_in_block() {
    waiting_in_block = 0;
    elsewhere = false;
}

inline void release_block() {
    phase_ends();
    nobody_waits_in_block();
    for (unsigned i = 0; i < thread_count; i++) states[i] = State::READY;
    phase++;
    votes[phase % 2] = 0;
}

// ----------------------------------------------------------------------------------------------- warps and blocks

// Runs the lanes of a warp that can run.  Returns whether there were any.
inline bool run_lanes(unsigned warp) {
    unsigned order[WARP_SIZE], first = warp * WARP_SIZE;
    unsigned count = thread_count - first < WARP_SIZE ? thread_count - first : WARP_SIZE;
    fill_order(order, count);
    bool any = false;
    for (unsigned i = 0; i < count && !stopped; i++) {
        State state = states[first + order[i]];
        if (state != State::NEW && state != State::READY) continue;
        resume(threads[first + order[i]]);
        any = true;
    }
    return any;
}

// In random order, warps take turns after each warp barrier; otherwise each runs as far as it can.
inline bool run_warp(unsigned warp) {
    bool any = false;
    do {
        if (!run_lanes(warp)) break;
        any = true;
    } while (release_warp(warp) && launch->order != Order::RANDOM && !gave_way && !stopped);
    return any;
}

inline void begin_block() {
    phase = 0;
    votes[0] = votes[1] = 0;
    vain_atomics = fruitless_rounds = 0;
    nobody_waits_in_block();
    for (unsigned warp = 0; warp < warp_count; warp++) waiting_in_warp[warp] = 0;
    for (unsigned i = 0; i < thread_count; i++) {
        Thread& thread = threads[i];
        thread.number = i;
        thread.index = thread_index(i);
        states[i] = State::NEW;
        thread.warp_phase = 0;
    }
}

constexpr unsigned PATIENCE = 1'000;

inline void give_up_on_atomics() {
    if (++fruitless_rounds < PATIENCE) return;
    fail_block(Kind::ENDLESS, {nullptr, 0}, "the threads of a block try atomic operations for ever: does one wait for "
               "a thread of another block, or for a lock that is not given back?");
}

inline void run_block() {
    unsigned order[MOST_WARPS];
    while (!stopped) {
        bool any = false;
        gave_way = false;
        fill_order(order, warp_count);
        for (unsigned i = 0; i < warp_count && !stopped; i++) any |= run_warp(order[i]);
        if (stopped) return;
        if (any) {
            if (gave_way) give_up_on_atomics();
            continue;
        }
        if (waiting_in_block == thread_count && !elsewhere) {
            fruitless_rounds = 0;
            release_block();
            continue;
        }
        unsigned finished = 0;
        for (unsigned i = 0; i < thread_count; i++) finished += states[i] == State::FINISHED;
        if (finished < thread_count) explain_divergence();
        else phase_ends();
        return;
    }
}

}  // namespace emulator
