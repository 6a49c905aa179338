"""The library, its checks and its benchmarks need NumPy, Numba and regex; what a command needs besides, it says."""

import subprocess
import sys

import pytest

REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""
FOR_COMMANDS = ("tqdm", "safetensors", "matplotlib", "filelock")
PEERS = ("torch", "transformers", "tokenizers", "ml_dtypes")


def run(code: str, *refused: str, folder=None) -> subprocess.CompletedProcess:
    """Run Python code in a process that cannot import some packages."""
    text = REFUSE.format(refused=set(refused)) + code
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=folder)


MODULES = (
    "minibert",
    "minibert.bench.ours",
    "minibert.bench.throughput",
    "minibert.checks",
    "minibert.checks.short_training",
    "minibert.commands.gradcheck",
    "minibert.commands.selftest",
    "minibert.data",
    "minibert.models",
    "minibert.nn",
    "minibert.ops",
    "minibert.tasks.finetune",
    "minibert.training",
    "minibert.training.pretraining",
)


def test_no_module_needs_a_package_of_the_command_line():
    done = run(f"import {', '.join(MODULES)}", *FOR_COMMANDS, *PEERS)
    assert done.returncode == 0, done.stderr


def test_gradients_are_checked_and_a_model_trained_without_them():
    code = """
from minibert.checks import cases_of, check_gradients
from minibert.checks.short_training import training_losses
from minibert.ops import load_backend
backend = load_backend("reference")
assert all(result.passed for case in cases_of("layernorm", backend) for result in check_gradients(case))
losses = training_losses(backend, "float32", 4)
assert losses[-1] < losses[0], losses
"""
    done = run(code, *FOR_COMMANDS, *PEERS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["safetensors", "matplotlib", "tqdm", "filelock"])
@pytest.mark.parametrize("command", ["pretrain", "finetune nowhere --task sotu-era"])
def test_a_command_says_what_it_needs_before_it_writes_anything(tmp_path, package, command):
    code = f"""
import sys
sys.modules[{package!r}] = None  # as if it were not installed
from minibert.cli import main
sys.exit(main({command.split()!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    name = command.split()[0]
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"minibert: error: {name} needs {package}, which is not installed: pip install {package}\n"
    assert list(tmp_path.iterdir()) == []
