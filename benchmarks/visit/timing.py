"""GPU times: from events, and kernel by kernel from PyTorch's profiler, which sees CuPy's kernels too."""

import time
from collections import defaultdict
from contextlib import contextmanager
from statistics import median


def wait(xp) -> None:
    xp.cuda.get_current_stream().synchronize()


def by_events(xp, function, times: int, groups: int = 5) -> float:
    """Seconds of one call: the median over groups of `times` consecutive calls without waiting."""
    function()
    seconds = []
    for _ in range(groups):
        start, end = xp.cuda.Event(), xp.cuda.Event()
        start.record()
        for _ in range(times):
            function()
        end.record()
        end.synchronize()
        seconds.append(xp.cuda.get_elapsed_time(start, end) / 1e3 / times)
    return median(seconds)


def host_seconds(xp, function) -> float:
    """The time that the host takes to launch one call, without waiting for the device."""
    wait(xp)
    began = time.perf_counter()
    function()
    seconds = time.perf_counter() - began
    wait(xp)
    return seconds


def has_profiler() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


@contextmanager
def profiled(events: list):
    """Append (name, start, duration), both in µs, of each kernel and copy inside the block, in their order."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        yield
        torch.cuda.synchronize()
    found = []
    for event in profiler.events():
        if "CUDA" in str(event.device_type) and event.time_range.elapsed_us() > 0:
            found.append((event.name, event.time_range.start, event.time_range.elapsed_us()))
    events.extend(sorted(found, key=lambda event: event[1]))


def by_kernel(events) -> dict[str, dict]:
    """name -> calls, and µs: of the median call and of all calls."""
    durations = defaultdict(list)
    for name, _, duration in events:
        durations[name].append(duration)
    return {
        name: {"calls": len(d), "median_us": median(d), "total_us": sum(d)}
        for name, d in sorted(durations.items(), key=lambda item: -sum(item[1]))
    }


def busy(events) -> tuple[float, float]:
    """The time from the first kernel to the end of the last, and the time during which at least one ran, in µs."""
    if not events:
        return 0.0, 0.0
    end, total = events[0][1], 0.0
    for _, start, duration in events:
        total += max(0.0, start + duration - max(end, start))
        end = max(end, start + duration)
    return end - events[0][1], total


def draw_timeline(events, title: str, path) -> None:
    """The kernels of a step over time, with the most expensive kinds in colours of their own."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = list(by_kernel(events))[:9]
    colours = plt.get_cmap("tab10").colors
    figure, axes = plt.subplots(figsize=(12, 4.5), layout="constrained")
    first = events[0][1]
    for row, kind in enumerate([*kinds, "others"]):
        bars = [
            ((s - first) / 1e3, d / 1e3) for n, s, d in events if (n == kind or (row == len(kinds) and n not in kinds))
        ]
        axes.broken_barh(bars, (row - 0.4, 0.8), color=colours[row])
    axes.set_yticks(range(len(kinds) + 1), [kind[:48] for kind in kinds] + ["others"], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds")
    axes.set_title(title)
    figure.savefig(path, dpi=110)
