"""Planted bugs: each makes one line of a kernel wrong, and the tests of agreement with the reference must see it.

They run in a copy of the project, where the kernels are compiled anew, ten seconds a bug: `pytest -m mutations`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHECKS = ("tests/ops/test_backends_agree.py", "tests/ops/test_dropout.py", "tests/ops/test_ops.py")

# file, the right line, the wrong line, which of the checks to run
BUGS = {
    "linear: one token is left out of d_weight": (
        "linear.py", "right - left, len(d_y), one", "right - left, len(d_y) - 1, one", "test_linear"),
    "linear: one token is left out of d_bias": (
        "linear.py", "for i in range(len(matrix)):", "for i in range(1, len(matrix)):", "test_linear"),
    "linear: what is given is overwritten": (
        "linear.py", "keep[1], d_weight_block", "one - one, d_weight_block", "are_added_to"),
    "layernorm: the path through the mean is forgotten": (
        "layernorm.py", " - through_mean", "", "test_add_layernorm"),
    "layernorm: the path through the variance is forgotten": (
        "layernorm.py", " - x_hat[j] * through_variance", "", "test_add_layernorm"),
    "layernorm: a chunk of rows too few is added up": (
        "compiler.py", "min((chunk + 1) * ROWS, len(x))", "min((chunk + 1) * ROWS - 1, len(x))", "test_add_layernorm"),
    "gelu: the density is forgotten": (
        "activations.py", "(cdf + x[i] * density)", "cdf", "test_activations"),
    "attention: the mean of a row's gradients is forgotten": (
        "attention.py", "(d_row[i] - mean[i])", "d_row[i]", "test_attention"),
    "attention: dropout is forgotten on the way to the scores": (
        "attention.py", "(dropped * d_row[i] - row[i] * mean[i])", "row[i] * (d_row[i] - mean[i])", "test_attention"),
    "attention: a query does not see itself": (
        "attention.py", "if k > layout.positions_q", "if k >= layout.positions_q", "test_attention"),
    "attention: a second block of queries overwrites the first one's d_key": (
        "attention.py", "        keep = one\n", "        keep = zero\n", "test_attention"),
    "attention: a sequence in which nobody asks leaves its d_key as it was": (
        "attention.py", "d_key[i, j], d_value[i, j] = 0, 0", "d_key[i, j], d_value[i, j] = 1, 1", "test_attention"),
    "dropout: the halves of a word are swapped": (
        "attention.py", "16 * (k % 2)", "16 * ((k + 1) % 2)", "TestAttentionDropout"),
    "dropout: nine rounds of Philox in the place of ten": (
        "random_bits.py", "range(ROUNDS)", "range(ROUNDS - 1)", "TestHiddenDropout"),
    "cross_entropy: one is not taken off at the label": (
        "losses.py", "d_row[label] -= scale", "d_row[label] -= 0", "test_cross_entropy"),
    "embedding: of equal ids only the last counts": (
        "embedding.py", "sums[j] += row[j]", "sums[j] = row[j]", "test_embedding"),
    "adamw: weights decay whether they should or not": (
        "optimizer.py", "weight_decay if decayed[i] else type(eps)(0)", "weight_decay", "TestAdamW"),
}  # fmt: skip


def run_checks(folder: Path, which: str) -> subprocess.CompletedProcess:
    """The checks in a copy of the project, on the CPU backend."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "MINIBERT_CACHE": str(folder / "cache")}
    program = (
        "from minibert.ops.cpu import warmup, compiler; (compiler.CACHE / warmup.DONE).touch()"  # only what is used
    )
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, check=True, timeout=60)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *CHECKS, "-k", f"{which} and cpu"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180)


@pytest.fixture
def copy(tmp_path):
    for name in ("minibert", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.mutations
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_seen(copy, bug):
    file, right, wrong, which = BUGS[bug]
    path = copy / "minibert" / "ops" / "cpu" / file
    text = path.read_text()
    assert text.count(right) == 1, "the line to spoil has changed; spoil it as it is now"
    path.write_text(text.replace(right, wrong))
    result = run_checks(copy, which)
    assert result.returncode == 1 and " failed" in result.stdout, result.stdout + result.stderr


@pytest.mark.mutations
def test_without_a_bug_they_pass(copy):
    result = run_checks(copy, "test_linear or test_add_layernorm")
    assert result.returncode == 0 and " passed" in result.stdout, result.stdout + result.stderr
