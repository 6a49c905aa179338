// The diagnosis when the threads of a block wait for each other in vain.
#pragma once
#include "failures.h"

namespace emulator {

// Threads that wait at the same place, or have all ended.
struct Group {
    const Thread* first;
    unsigned count;
};

inline bool same_group(const Thread& a, const Thread& b) {
    State state = states[a.number];
    if (state != states[b.number]) return false;
    if (state == State::FINISHED) return true;
    return same_place(a.place, b.place) && (state != State::AT_WARP_BARRIER || a.mask == b.mask);
}

constexpr unsigned MOST_GROUPS = 6;  // that are reported

inline unsigned find_groups(Group* groups, unsigned from, unsigned to) {
    unsigned count = 0;
    for (unsigned i = from; i < to; i++) {
        unsigned group = 0;
        while (group < count && !same_group(*groups[group].first, threads[i])) group++;
        if (group == MOST_GROUPS) continue;
        if (group == count) groups[count++] = {&threads[i], 0};
        groups[group].count++;
    }
    return count;
}

inline int describe_group(char* text, size_t room, const Group& group) {
    const Thread& thread = *group.first;
    uint3 index = thread.index;
    const char* threads_text = group.count == 1 ? "thread" : "threads";
    int length = snprintf(text, room, "; %u %s (first: %u, %u, %u) ", group.count, threads_text, index.x, index.y, index.z);
    text += length, room -= size_t(length);
    const char* verb = group.count == 1 ? "waits" : "wait";
    State state = states[thread.number];
    if (state == State::FINISHED) return length + snprintf(text, room, "ended");
    if (state == State::AT_BLOCK_BARRIER) {
        return length + snprintf(text, room, "%s for the block at %s:%d", verb, thread.place.file, thread.place.line);
    }
    return length + snprintf(text, room, "%s for lanes 0x%08x of the warp at %s:%d", verb, thread.mask,
                             thread.place.file, thread.place.line);
}

// If a warp waits in vain, only that warp is reported; otherwise the block is.
void explain_divergence() {
    unsigned from = 0, to = thread_count;
    bool in_warp = false;
    for (unsigned i = 0; i < thread_count && !in_warp; i++) {
        if (states[i] != State::AT_WARP_BARRIER) continue;
        in_warp = true;
        from = i - i % WARP_SIZE;
        to = from + WARP_SIZE < thread_count ? from + WARP_SIZE : thread_count;
    }
    Group groups[MOST_GROUPS];
    unsigned count = find_groups(groups, from, to);
    char text[900];
    int length = snprintf(text, sizeof text, "not all threads of the %s come to the same barrier", in_warp ? "warp" : "block");
    for (unsigned i = 0; i < count && size_t(length) + 250 < sizeof text; i++) {
        length += describe_group(text + length, sizeof text - size_t(length), groups[i]);
    }
    const Thread* waiting = nullptr;  // the first one; of the warp, if it is a warp that waits
    for (unsigned i = from; i < to && waiting == nullptr; i++) {
        State state = states[i];
        if (state == State::AT_WARP_BARRIER || (!in_warp && state == State::AT_BLOCK_BARRIER)) waiting = &threads[i];
    }
    fail_block(Kind::DIVERGENCE, waiting->place, "%s", text);
    report.has_thread = 1;
    report.thread[0] = waiting->index.x, report.thread[1] = waiting->index.y, report.thread[2] = waiting->index.z;
}

}  // namespace emulator
