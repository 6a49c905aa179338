"""kill -9 at random moments: whatever was going on, the run goes on as if nothing had happened.

On the reference backend, whose processes start the quickest.  That a resumed run is the same run on the others is seen
in test_pretrain.py and test_gpu.py.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minibert.training import pretrain
from minibert.training.metrics import read_metrics

from .tiny import losses_of, tiny_config

ROOT = Path(__file__).parents[2]
KILLS = 10
PROGRAM = """
import sys, pathlib
from minibert.models import PRESETS
from minibert.training import pretrain
from tests.training.tiny import PRESET, tiny_config
PRESETS["tiny"] = PRESET
corpus, run = sys.argv[1:]
resume = pathlib.Path(run, "pretrain.json").exists()
pretrain(tiny_config(corpus, run, backend="reference", steps=150, save_every=10, eval_every=50, resume=resume))
"""


def start(corpus, run):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(corpus), str(run)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(corpus, run):
    process = start(corpus, run)
    _, complaint = process.communicate(timeout=300)
    assert process.returncode == 0, complaint.decode()


@pytest.mark.thorough
def test_ten_kills_change_no_loss_and_no_weight(tmp_path, corpus):
    whole, duration = tmp_path / "whole", 6.0  # seconds
    for run in (tmp_path / "first", whole):  # the first may have kernels to compile, or a busy machine
        began = time.perf_counter()
        finish(corpus, run)
        duration = min(duration, time.perf_counter() - began)

    generator, kills, runs = random.Random(0), 0, []
    while kills < KILLS:
        run = tmp_path / f"killed-{len(runs)}"
        runs.append(run)
        for _ in range(6):  # up to six kills a run, then it may finish
            process = start(corpus, run)
            time.sleep(duration * generator.uniform(0.05, 0.6))  # a resumed run has less to do
            process.send_signal(signal.SIGKILL)
            _, complaint = process.communicate()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL, complaint.decode()
            kills += 1
        else:
            finish(corpus, run)

    for run in runs:
        assert losses_of(read_metrics(run)) == losses_of(read_metrics(whole))
        assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
        assert not list(run.rglob(".*"))  # nothing half-written
    assert len(runs) < KILLS  # several kills hit one run


class Dead(BaseException):
    pass


@pytest.mark.thorough
def test_death_around_every_rename_changes_nothing(tmp_path, corpus, monkeypatch):
    """Files and folders come into being by renaming: die just before each of them, or just after it, then go on.

    Both for the first ones, one of the two for the others: after one rename is almost before the next.
    """
    whole = tmp_path / "whole"
    renames = count_renames(monkeypatch, whole, None, None, lambda: pretrain(tiny_config(corpus, whole)))
    assert renames > 15
    deaths = [(number, moment) for number in range(renames) for moment in ("before", "after")]
    for number, moment in deaths[:6] + deaths[6::3]:
        run = tmp_path / f"{moment}-{number}"
        with pytest.raises(Dead):
            count_renames(monkeypatch, run, number, moment, lambda run=run: pretrain(tiny_config(corpus, run)))
        resume = (run / "pretrain.json").exists()
        assert pretrain(tiny_config(corpus, run, resume=resume)) == 0
        assert losses_of(read_metrics(run)) == losses_of(read_metrics(whole)), number
        assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes(), number


def count_renames(monkeypatch, run, last, moment, action) -> int:
    """Run `action`, die at rename number `last` in the run's folder (None: never); returns how many there were.

    Renames elsewhere, such as those of a cache of compiled kernels, may happen once only.
    """
    count = 0

    def mortal(honest):
        def rename(*arguments):
            nonlocal count
            if not Path(arguments[1]).is_relative_to(run):
                return honest(*arguments)
            here, count = count, count + 1
            if here == last and moment == "before":
                raise Dead
            honest(*arguments)
            if here == last:
                raise Dead
            return None

        return rename

    with monkeypatch.context() as patch:
        for name in ("rename", "replace"):
            patch.setattr(os, name, mortal(getattr(os, name)))
        action()
    return count
