"""Turns and ratios; contenders that fail are left out; peers compute what minibert computes."""

import numpy as np
import pytest

from minibert.bench import contenders as turns_module
from minibert.bench import ours, peers
from minibert.bench.contenders import ContenderError, best_of, median_ratio, take_turns, worker_environment
from minibert.bench.measure import contenders_of, measure
from minibert.bench.report import summarise
from tests.bench.helpers import tiny_inference, tiny_training

needs_peers = pytest.mark.skipif(bool(peers.missing()), reason=f"not installed: {', '.join(peers.missing())}")


def test_ratios_are_taken_within_each_turn():
    # the machine was twice as slow in the second turn: in each turn we were three times as fast
    assert median_ratio([30, 15, 30], [10, 5, 10]) == 3
    assert median_ratio([4, 10, 6], [2, 2, 2]) == 3
    with pytest.raises(ValueError):
        median_ratio([1, 2], [1])


def test_the_best_of_a_family_has_the_highest_median():
    speeds = {"stock-eager": [1, 9, 2], "stock-sdpa": [3, 3, 3]}
    assert best_of(("stock-eager", "stock-sdpa"), speeds) == "stock-sdpa"
    assert best_of(("stock-eager", "stock-gone"), speeds) == "stock-eager"
    assert best_of(("tuned-eager",), speeds) is None


class Scripted:
    """A contender that answers what it is told to."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def ask(self, question):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_the_first_turn_warms_up_and_who_ends_early_is_left_out():
    left_out, told = {}, []
    playing = {"a": Scripted(1, 2, 3), "b": Scripted(1, ContenderError("out of memory"))}
    assert take_turns(playing, 2, left_out, told.append) == {"a": [2, 3]}
    assert left_out == {"b": "out of memory"}
    assert [line.split()[-1] for line in told] == ["a", "b", "a", "b", "a"]


def test_workers_are_told_their_threads_and_find_this_minibert(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    environment = worker_environment(3)
    assert {environment[name] for name in turns_module.THREAD_VARIABLES} == {"3"}
    assert environment["OPENBLAS_CORETYPE"] == "Haswell"


def test_a_report_of_made_up_turns():
    workload = tiny_training()  # 26 tokens in 2 steps
    tally = dict(calls=4, seconds=0.5, flops=2e9, elementwise=0.0, bytes=1e9)
    report = summarise(
        workload,
        "minibert-cpu",
        {},
        [{"sgemm": 10.0, "bandwidth": 5.0}] * 3,
        {
            "minibert-cpu": [{"seconds": [0.5, 0.5]}, {"seconds": [1.0, 1.0]}, {"seconds": [0.5, 0.5]}],
            "stock-eager": [{"seconds": [1.0, 1.0]}, {"seconds": [2.0, 2.0]}, {"seconds": [1.5, 1.5]}],
            "stock-sdpa": [{"seconds": [9.0, 9.0]}] * 3,
        },
        {"minibert-cpu": 100.0, "stock-eager": 200.0, "stock-sdpa": 300.0},
        [{"seconds": 1.2, "steps": 2, "ops": {"linear_forward": tally}}],
        {"stock-gone": "it is gone"},
        3,
    )
    mine = report["contenders"]["minibert-cpu"]
    assert (mine["per_second"], mine["ratio"], mine["peak_memory_mb"]) == (26.0, 1.0, 100.0)
    assert mine["step_ms"] == {"median": 500.0, "min": 500.0, "max": 1000.0}
    assert set(report["best"]) == {"stock"}
    assert (report["best"]["stock"]["contender"], report["best"]["stock"]["ratio"]) == ("stock-eager", 2.0)
    op = report["ops"]["linear_forward"]
    assert (op["calls"], op["ms"], op["product_gflop"]) == (2, 250.0, 1.0)
    assert (op["gflops"], op["share_of_sgemm"]) == (4.0, 0.4)
    # a turn's 2 GFLOP in 1 s, 2 s and 1 s, of 10 GFLOP/s
    assert (report["step"]["gflops"], report["step"]["share_of_sgemm"]) == (2.0, 0.2)
    assert report["step"]["between_ops_ms"] == pytest.approx(600 - 250)


@pytest.mark.slow
def test_a_contender_that_does_not_start_is_left_out_with_its_reason():
    report = measure(tiny_training(), ["minibert-reference", "stock-nonsense"], threads=1, repeats=1)
    assert list(report["contenders"]) == ["minibert-reference"]
    assert list(report["left_out"]) == ["stock-nonsense"]
    assert report["left_out"]["stock-nonsense"].startswith("ValueError: unknown contender 'stock-nonsense'")
    assert report["contenders"]["minibert-reference"]["peak_memory_mb"] > 10
    assert {"linear_forward", "attention_backward", "adamw"} <= set(report["ops"])
    assert 0 < report["step"]["share_of_sgemm"] < 1


def test_without_minibert_there_is_no_measurement():
    with pytest.raises(ContenderError, match="minibert-abacus did not run: ValueError: unknown backend 'abacus'"):
        measure(tiny_training(), ["minibert-abacus"], threads=1, repeats=1)


def test_peers_take_part_only_where_they_are_installed_and_wanted(monkeypatch):
    monkeypatch.setattr("minibert.bench.measure.missing", lambda: [])
    everybody = contenders_of("training", "cpu", peers=True)
    assert everybody == ["minibert-cpu", "stock-eager", "stock-sdpa", "tuned-eager", "tuned-sdpa", "tuned-compile"]
    assert contenders_of("training", "cpu", peers=False) == ["minibert-cpu"]
    monkeypatch.setattr("minibert.bench.measure.missing", lambda: ["torch"])
    assert contenders_of("inference", "cpu", peers=True) == ["minibert-cpu"]


def test_without_a_compiler_torch_compile_says_so(monkeypatch):
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="needs a C\\+\\+ compiler"):
        peers.contender(tiny_training(), "tuned-compile")


@pytest.mark.slow
@needs_peers
def test_stock_and_tuned_have_the_same_loss():
    workload = tiny_training()
    still = dict(workload.model, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    workload = type(workload)("training", "", still, workload.batches)
    import torch

    losses = []
    for name in ("stock-eager", "stock-sdpa", "tuned-eager", "tuned-sdpa"):
        torch.manual_seed(0)
        inputs, step = peers.contender(workload, name)
        losses.append([step(one).item() for one in inputs])
    np.testing.assert_allclose(losses[1:], losses[:1] * 3, rtol=1e-5)
    assert losses[0][1] < losses[0][0]  # it learns


@pytest.mark.slow
@needs_peers
def test_inference_contenders_give_a_vector_for_each_sentence():
    workload = tiny_inference()
    assert [len(batch.sequence_numbers) for batch in workload.batches] == [2, 2, 1]
    assert [list(batch.lengths) for batch in workload.sorted_batches] == [[3, 4], [5, 7], [9]]
    assert workload.count == 5
    inputs, step = ours.contender(workload, "reference")
    assert [step(one).shape for one in inputs] == [(2, 16), (2, 16), (1, 16)]
    inputs, step = peers.contender(workload, "sorted-sdpa")
    assert [tuple(step(one).shape) for one in inputs] == [(2, 16), (2, 16), (1, 16)]
    # padding plays no part in the mean
    padded = dict(inputs[0], attention_mask=inputs[0]["attention_mask"].clone())
    hidden = step(padded)
    padded["input_ids"] = padded["input_ids"].masked_fill(padded["attention_mask"] == 0, 33)
    np.testing.assert_allclose(step(padded), hidden, rtol=1e-5, atol=1e-6)
