"""The command: python -m benchmarks.mutation --help."""

import argparse
import os
import random
import sys
import time
from itertools import zip_longest
from pathlib import Path

from filelock import FileLock, Timeout

from . import coverage_map
from .coverage_map import LIMIT, CoverageMap, measure
from .report import FOUND, report, table
from .running import Test, batches, overdue, start, verdict
from .sample import ROOMS, mutants_of_room, sample
from .state import State
from .workspace import ROOT, Process, Workspace, default_folder

STATE = ROOT / "docs" / "reliability" / "mutation.jsonl"
POLL = 0.03  # seconds
WHOLE_SUITE = 3600  # seconds for a survivor
QUICK = 10  # seconds: what took longer is not replayed


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mutation", description="Automatic mutation of minibert."
    )
    add = parser.add_argument
    add("--rooms", nargs="+", default=["all"], metavar="ROOM", help=f"all, or of {', '.join(ROOMS)}")
    add("--sample", type=int, default=60, help="mutants a room")
    add("--seed", type=int, default=1)
    add("--minutes", type=float, default=float("inf"), help="stop after about this time; the next call goes on")
    add("--state", type=Path, default=STATE, help="one line a mutant")
    add("--folder", type=Path, default=default_folder(), help="for the copy of the tree, the map and compiled kernels")
    add("--jobs", type=int, default=len(_cores()), help="processes at once, each on a core of its own")
    add("--limit", type=float, default=60, help="seconds for the tests that execute a mutant's line")
    add("--map", action="store_true", help="only measure which test executes which line, where that is not known yet")
    add("--tests", nargs="+", default=[], metavar="FILE", help="with --map: only these test files")
    add("--keep-map", action="store_true", help="use the map as it is, with pieces that are missing or out of date")
    add("--touching-only", action="store_true", help="leave the whole suite for later")
    add("--retry", action="store_true", help="try survivors again: tests were added")
    add(
        "--replay",
        type=int,
        metavar="N",
        help="try N mutants a room that a daily test caught before, on that test alone",
    )
    add("--verify", action="store_true", help="run the tests that caught something on the code as it is: all must pass")
    add("--report", type=Path, metavar="FILE", help="only write the report")
    options = parser.parse_args(arguments)
    options.rooms = list(ROOMS) if options.rooms == ["all"] else options.rooms
    if unknown := [room for room in options.rooms if room not in ROOMS]:
        parser.error(f"--rooms {unknown[0]}; expected all, or of {', '.join(ROOMS)}")
    return options


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]


class Pool:
    """Runs jobs side by side, one a core, until they are done or the time is up."""

    def __init__(self, jobs: int, until: float):
        self.slots: dict[int, tuple] = dict.fromkeys(range(jobs), ())
        self.until = until

    def run(self, jobs: list, begin, watch, end) -> bool:
        """begin(job, core) -> Process; watch(job, process) -> why it is to be killed, or None; end(job, process, why).

        Returns whether all jobs were done.
        """
        waiting, cores = list(reversed(jobs)), _cores()
        while waiting and time.monotonic() < self.until or any(self.slots.values()):
            for slot, running in self.slots.items():
                if running:
                    job, process = running
                    why = None
                    if not process.poll():
                        why = watch(job, process)
                        if not why:
                            continue
                        process.kill()
                    self.slots[slot] = ()
                    end(job, process, why)
                    process.clean()
                if waiting and time.monotonic() < self.until:
                    job = waiting.pop()
                    self.slots[slot] = job, begin(job, cores[slot % len(cores)])
            time.sleep(POLL)
        return not waiting


def build_map(workspace: Workspace, pool: Pool, options) -> None:
    known = CoverageMap(workspace)
    files = [*known.missing(), *known.stale()]
    if options.tests:
        files = [file for file in files if file.startswith(tuple(options.tests))]

    def end(file: str, process: Process, why) -> None:
        found = coverage_map.path_of(workspace, file).exists() and process.code == 0
        seconds = time.monotonic() - process.began
        print(f"map {file}: {seconds:.0f} s" + ("" if found else f", failed:\n{process.output()[-2000:]}"), flush=True)

    print(f"map: {len(files)} test files to measure", flush=True)
    pool.run(
        files,
        lambda file, core: measure(workspace, file, core),
        lambda file, process: "too long" if time.monotonic() - process.began > LIMIT else None,
        end,
    )


def try_mutants(workspace: Workspace, pool: Pool, options) -> bool:
    """Both stages: the tests that execute a mutant's line, then for survivors the whole suite."""
    known, state = CoverageMap(workspace), State(options.state)
    print(f"map: {len(known.pieces)} test files, {len(known.missing())} missing, {len(known.stale())} out of date")
    samples = []
    for room in options.rooms:
        mutants = mutants_of_room(workspace.tree, room)
        samples.append([(mutant, room) for mutant in sample(mutants, options.sample, options.seed)])
        state.add(options.seed, room, [mutant for mutant, _ in samples[-1]], {mutant.id for mutant in mutants})
    turns = zip_longest(*samples)  # one of each room in turn, so that a run cut short has tried all
    chosen = {one[0].id: one for turn in turns for one in turn if one}
    state.save()
    usual = {test.name: test.seconds for file in known.pieces for test in known.tests(file)}
    slow = {test.name: test.slow for file in known.pieces for test in known.tests(file)}

    def stage(suite: bool, wanted) -> bool:
        def begin(key: str, core) -> Process:
            mutant, room = chosen[key]
            tests: list[Test] = known.suite(mutant) if suite else known.touching(mutant)
            near = f"tests/{'ops' if room == 'ops/reference' else room}/"
            return start(workspace, mutant, batches(tests, near), core, WHOLE_SUITE if suite else options.limit)

        def end(key: str, process: Process, why) -> None:
            mutant, _ = chosen[key]
            found = verdict(process, why)
            if found["status"] in FOUND:
                found["daily"] = not slow.get(found["by"], False)
            elif not found["ran"]:
                found["status"] = "not covered"
            finished = found.pop("finished", True)
            if found["status"] not in FOUND:
                found["suite"] = suite and finished and not known.missing()
            seconds = round(time.monotonic() - process.began, 1)
            state.set(options.seed, mutant, **found, seconds=seconds)
            where = f"{mutant.file}:{mutant.line} {mutant.operator}"
            print(f"{found['status']:11} {seconds:5.1f} s {where}: {found.get('by', '')}", flush=True)

        jobs = [key for key in chosen if wanted(state.records[options.seed, key])]
        return pool.run(jobs, begin, lambda key, process: overdue(process, usual), end)

    def survived(record: dict) -> bool:
        return record["status"] not in (*FOUND, "pending")

    done = stage(False, lambda record: record["status"] == "pending" or options.retry and survived(record))
    if done and not options.touching_only:
        done = stage(True, lambda record: survived(record) and not record.get("suite"))
    print("\n".join(table(list(state.records.values()), options.seed)))
    return done


def verify(workspace: Workspace, pool: Pool, options) -> bool:
    """Run every test that caught a mutant on the code as it is; what fails there has caught nothing."""
    known, state = CoverageMap(workspace), State(options.state)
    names = {one["by"] for one in state.records.values() if one["status"] == "caught"}
    tests = [test for file in known.pieces for test in known.tests(file) if test.name in names]
    usual = {test.name: test.seconds for test in tests}
    failed: set[str] = set()

    def end(batch, process: Process, why) -> None:
        failed.update(event["test"] for event in process.events if event["kind"] == "failed")
        failed.update([why] if why else [])

    pool.run(
        batches(tests, "tests/"),
        lambda batch, core: start(workspace, None, [batch], core, WHOLE_SUITE),
        lambda batch, process: overdue(process, usual),
        end,
    )
    for record in state.records.values():
        if record.get("by") in failed:
            record["status"] = "pending"
    state.save()
    print(f"{len(tests)} tests have caught something; without a mutant {len(failed)} of them fail: {sorted(failed)}")
    return not failed


def replay(workspace: Workspace, pool: Pool, options) -> bool:
    """Some mutants of the state, each on the test that caught it; whether every one is caught again."""
    state, jobs = State(options.state), []
    for room in options.rooms:
        mutants = {mutant.id: mutant for mutant in mutants_of_room(workspace.tree, room)}
        known = [
            (mutants[one["id"]], one)
            for one in state.records.values()
            if one["room"] == room and one["status"] == "caught" and one["daily"] and one["id"] in mutants
            if one["seconds"] < QUICK and "::" in one["by"] and (workspace.tree / one["by"].partition("::")[0]).exists()
        ]
        jobs += random.Random(f"{options.seed} {room}").sample(known, min(options.replay, len(known)))
    caught = []

    def end(job, process: Process, why) -> None:
        mutant, record = job
        found = verdict(process, why)
        caught.append(found["status"] == "caught")
        print(f"{found['status']}: {mutant.file}:{mutant.line} {mutant.operator}: {record['by']}", flush=True)

    done = pool.run(
        jobs,
        lambda job, core: start(workspace, job[0], [[Test(job[1]["by"], 0, False)]], core, options.limit),
        lambda job, process: overdue(process, dict.fromkeys([job[1]["by"]], QUICK)),
        end,
    )
    print(f"caught again: {sum(caught)} of {len(jobs)}")
    return done and bool(jobs) and all(caught)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.report:
        options.report.write_text(report(list(State(options.state).records.values())), encoding="utf-8")
        return 0
    pool = Pool(options.jobs, time.monotonic() + 60 * options.minutes)
    workspace = Workspace(options.folder)
    options.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(options.folder / "lock", timeout=0):
            return work(workspace, pool, options)
    except Timeout:
        print(f"{options.folder} is in use by another run; wait for it, or choose another --folder", file=sys.stderr)
        return 2


def work(workspace: Workspace, pool: Pool, options) -> int:
    workspace.refresh()
    workspace.import_heavy()
    if options.replay:
        return 0 if replay(workspace, pool, options) else 1
    if options.verify:
        return 0 if verify(workspace, pool, options) else 1
    if options.map or not options.keep_map:
        build_map(workspace, pool, options)
    if not options.map:
        done = try_mutants(workspace, pool, options)
        print("done" if done else "not done: call it again to go on")
    return 0


if __name__ == "__main__":
    sys.exit(main())
