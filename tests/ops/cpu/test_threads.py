"""Threads: their number is an option, changes no bit, and NumPy gets its own back."""

import json
import os
import re
import subprocess
import sys
import textwrap
from importlib.util import find_spec

import numba
import numpy as np
import pytest

from minibert.base.cores import usable_cores
from minibert.checks.short_training import random_batch, small_config
from minibert.models import BertForPreTraining
from minibert.ops import load_backend
from minibert.ops.blas import find_blas
from minibert.ops.cpu.threading_layer import VARIABLE, load_openmp
from minibert.ops.table import PAIRS
from minibert.ops.threads import use_threads
from tests.models.parity import shaken
from tests.objectives import run_backward, run_losses


def in_a_process(program: str, **environment) -> str:
    """The output of a program in a Python process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, **environment},
        text=True, capture_output=True, check=True, timeout=300,
    ).stdout  # fmt: skip


@pytest.fixture
def own_threads():
    """What this test sets is put back."""
    before = numba.get_num_threads(), find_blas().threads()
    yield
    numba.set_num_threads(before[0])
    find_blas().threads(before[1])


STEPS = """
    import hashlib
    import numpy as np
    from minibert.models import BertForPreTraining
    from minibert.ops.threads import use_threads
    from minibert.training.optimizer import AdamW, AdamWSettings
    from tests.objectives import run_backward, run_losses
    from minibert.checks.short_training import random_batch, small_config
    use_threads(THREADS)
    config = small_config(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    model = BertForPreTraining(config, "cpu", dtype="DTYPE")
    batch = random_batch(config, lengths=(33, 1, 17, 30, 33, 8))
    optimizer = AdamW(model.parameters, AdamWSettings(beta2=0.98))
    for step in range(1, 11):
        model.parameters.zero_gradients()
        losses, cache = run_losses(model, batch, (1, step))
        run_backward(model, cache)
        optimizer.step(step, 1e-3)
        print(float(losses.total).hex())
    print(hashlib.sha256(model.parameters.values.tobytes()).hexdigest())
"""


def steps(threads: int, dtype: str) -> list[str]:
    program = STEPS.replace("THREADS", str(threads)).replace("DTYPE", dtype)
    return in_a_process(program, NUMBA_NUM_THREADS="4").split()


@pytest.mark.slow
def test_runs_with_the_same_number_of_threads_are_equal_bit_for_bit():
    assert steps(3, "float32") == steps(3, "float32")


@pytest.mark.thorough
def test_with_other_numbers_of_threads_only_the_products_of_the_blas_add_up_in_another_order():
    """A block of another size may be multiplied by another of its kernels: losses are the same but for rounding."""
    one = [float.fromhex(loss) for loss in steps(1, "float64")[:-1]]
    for threads in (2, 4):
        other = [float.fromhex(loss) for loss in steps(threads, "float64")[:-1]]
        assert other == pytest.approx(one, rel=1e-11)


SAME_BITS = """
    import numpy as np
    from minibert.checks import cases_of
    from minibert.ops import load_backend
    from minibert.ops.table import PAIRS
    from minibert.ops.threads import use_threads
    cpu, random = load_backend("cpu"), np.random.default_rng(0)
    x, weight, d_y = (random.standard_normal(shape) for shape in ((333, 40), (40,), (333, 40)))
    flat, many = random.standard_normal(100_003), []
    with_products = "linear", "attention"
    cases = [case for op in PAIRS if op not in with_products for case in cases_of(op, cpu)]
    results = {threads: [] for threads in (1, 2)}
    for threads, found in results.items():
        use_threads(threads)
        for case in cases:
            y, cache = case.forward(case.inputs)
            found.append((case.name, y, *case.backward(np.asarray(y) + 1, cache).values()))
        _, cache = cpu.layernorm_forward(x, weight, weight, 1e-12)
        found.append(("many rows", *cpu.layernorm_backward(d_y, cache), cpu.global_norm(flat)))
    for (name, *one), (_, *two) in zip(results[1], results[2], strict=True):
        same = all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
        print(name.replace(" ", "_"), "same" if same else "differs")
"""


@pytest.mark.slow
def test_ops_without_products_give_the_same_bits_with_one_thread_and_with_two():
    """Sums over rows are cut into chunks that do not depend on the threads."""
    words = in_a_process(SAME_BITS, NUMBA_NUM_THREADS="2").split()
    ops, verdicts = words[::2], words[1::2]
    assert {*ops} == {*PAIRS, "many_rows"} - {"linear", "attention"}
    assert [op for op, verdict in zip(ops, verdicts, strict=True) if verdict != "same"] == []


def test_the_blas_has_its_threads_back_after_a_kernel():
    blas = find_blas()
    if blas.threads() is None:
        pytest.skip("this BLAS does not tell its threads")
    before = blas.threads()
    cpu = load_backend("cpu")
    x = np.ones((64, 32), np.float32)
    try:
        for threads in (1, usable_cores()):
            blas.threads(threads)
            y, cache = cpu.linear_forward(x, np.ones((16, 32), np.float32), np.zeros(16, np.float32))
            cpu.linear_backward(y, cache)
            assert blas.threads() == threads
    finally:
        blas.threads(before)


def test_use_threads_sets_both_kinds(own_threads):
    use_threads(1)
    assert numba.get_num_threads() == 1 and find_blas().threads() in (1, None)
    use_threads(None)
    assert numba.get_num_threads() == 1


@pytest.mark.parametrize("count", [0, -1, 10_000])
def test_use_threads_refuses_what_cannot_be(count):
    with pytest.raises(ValueError, match=f"--threads is {count}; expected 1 to "):
        use_threads(count)


def test_two_models_at_once_in_one_process_do_not_mix_their_memory():
    """A model's cache stays what it was while another model computes."""
    config = small_config(hidden_size=96)
    one, other = (shaken(BertForPreTraining(config, "cpu"), seed) for seed in (1, 2))
    batch = random_batch(config, lengths=(33,) * 8)
    losses, cache = run_losses(one, batch, (1, 1))
    run_backward(one, cache)
    expected = one.parameters.gradients.copy()
    one.parameters.zero_gradients()
    losses, cache = run_losses(one, batch, (1, 1))
    other_losses, other_cache = run_losses(other, batch, (1, 1))
    run_backward(other, other_cache)
    run_backward(one, cache)
    assert np.array_equal(one.parameters.gradients, expected)


@pytest.mark.slow
def test_nothing_is_forked_after_threads_have_started(tmp_path):
    """Python tells every os.fork to an audit hook: tokenising in several processes after a kernel ran has none."""
    documents = [f"The state of union {i} is strong. It has {i} words." for i in range(90)]
    (tmp_path / "text.txt").write_text("\n\n".join(documents))
    program = """
        import json, sys
        forks = []
        sys.addaudithook(lambda event, arguments: forks.append(event) if event in ("os.fork", "os.forkpty") else None)
        if __name__ == "__main__":
            import numpy as np
            from minibert.data.corpus import read_corpus
            from minibert.data.tokenizing import tokenize_documents
            from minibert.ops import load_backend
            from minibert.text import Tokenizer, learn_vocabulary
            cpu = load_backend("cpu")
            cpu.gelu_forward(np.ones((4, 4), np.float32))
            documents = list(read_corpus(["FILE"]))
            tokenizer = Tokenizer(learn_vocabulary((d.text for d in documents), 60))
            count = len(list(tokenize_documents(documents, tokenizer, processes=2)))
            print(json.dumps([count, forks]))
    """
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program).replace("FILE", str(tmp_path / "text.txt")))
    count, forks = json.loads(subprocess.check_output([sys.executable, str(script)], text=True, timeout=120))
    assert count == 90 and forks == []


@pytest.mark.skipif(not find_spec("numba.np.ufunc.omppool"), reason="this Numba has no OpenMP layer")
def test_threads_sleep_while_they_wait_and_other_programs_are_left_alone():
    """OMP_DISPLAY_ENV makes an OpenMP library print what it has read; benchmarks/busy_cores.py measures the effect."""
    environment = {name: value for name, value in os.environ.items() if name not in (VARIABLE, "GOMP_SPINCOUNT")}
    program = f"import os, minibert.ops.cpu; print('inherited:', os.environ.get('{VARIABLE}'))"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**environment, "OMP_DISPLAY_ENV": "true"},
        text=True, capture_output=True, check=True, timeout=300,
    )  # fmt: skip
    assert re.search(r"OMP_WAIT_POLICY ?= ?'PASSIVE'", done.stdout + done.stderr)
    assert "inherited: None" in done.stdout


@pytest.mark.parametrize("given", ["ACTIVE", None])
def test_a_wait_policy_of_the_users_own_stays(monkeypatch, given):
    monkeypatch.delenv(VARIABLE, raising=False)
    if given:
        monkeypatch.setenv(VARIABLE, given)
    load_openmp()
    assert os.environ.get(VARIABLE) == given
