"""The step and the loop by themselves: what a step computes, and what happens between two steps, in which order."""

import numpy as np
import pytest

from minibert.checks.short_training import random_batch, small_config
from minibert.models import BertForPreTraining
from minibert.objectives import MaskedLmAndNextSentence
from minibert.training.loop import Observer, Schedule, train
from minibert.training.optimizer import AdamW, AdamWSettings
from minibert.training.step import train_step


def objective_and_optimizer():
    objective = MaskedLmAndNextSentence(BertForPreTraining(small_config(), "reference", dtype="float64", seed=1))
    return objective, AdamW(objective.model.parameters, AdamWSettings(beta2=0.98))


@pytest.mark.parametrize("count", [1, 3])
def test_a_step_is_the_gradient_of_the_whole_batch_and_one_update(count):
    batch, steps = random_batch(small_config()), []
    for by_hand in (True, False):
        objective, optimizer = objective_and_optimizer()
        parameters = objective.model.parameters
        for number in (1, 2):  # the second finds the gradients of the first
            if by_hand:
                parameters.gradients[...] = 0
                losses, cache = objective.losses(objective.prepare(batch))
                objective.losses_backward(cache)
                norm, total = optimizer.step(number, 1e-3), losses.total
            else:
                parts = [objective.prepare(part) for part in batch.split(count)]
                losses, norm = train_step(objective, optimizer, parts, number, 1e-3, None)
                total = sum(part.total for part in losses)
            steps.append((float(total), float(norm), parameters.gradients.copy(), parameters.values.copy()))
    for ours, theirs in zip(steps[2:], steps[:2], strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)
    assert steps[0][0] > steps[1][0]


class Diary(Observer):
    """Writes down what it is told; reads every second step, evaluates after 3, saves after 4 or when stopping."""

    def __init__(self, ends_at=None):
        self.lines, self.ends_at = [], ends_at

    def reads_losses(self, step, waiting):
        return waiting == 2

    def read_losses(self, steps):
        self.lines.append(("read", *(step.number for step in steps)))

    def took_step(self, step):
        self.lines.append(("took", step))

    def evaluates(self, step):
        return step == 3

    def evaluate(self, step):
        self.lines.append(("evaluate", step))
        return step == self.ends_at

    def saves(self, step, stopping):
        return step == 4 or stopping

    def save(self, step):
        self.lines.append(("save", step))

    def out_of_memory(self, step, batch):
        return f"step {step}: {len(batch)} parts do not fit"


def run(diary, steps=5, first=0, stop_after=None):
    objective, optimizer = objective_and_optimizer()
    seen = []

    def batch(step):
        seen.append(step)
        return random_batch(small_config()).split(2)

    schedule = Schedule(steps, seed=0, batch=batch, learning_rate=lambda step: 1e-3 * (step + 1), first=first)
    taken = train(objective, optimizer, schedule, diary, lambda: len(diary.lines) >= (stop_after or 99))
    return taken, seen


def test_losses_are_read_before_a_model_is_measured_or_saved_and_measured_before_it_is_saved():
    diary = Diary()
    assert run(diary) == (5, [0, 1, 2, 3, 4])
    assert diary.lines == [
        ("took", 1),
        ("read", 1, 2), ("took", 2),
        ("read", 3), ("took", 3), ("evaluate", 3),
        ("read", 4), ("took", 4), ("save", 4),
        ("read", 5), ("took", 5),
    ]  # fmt: skip


def test_a_resumed_training_takes_the_steps_that_are_left():
    diary = Diary()
    assert run(diary, first=3) == (5, [3, 4])
    assert run(Diary(), first=5) == (5, [])


def test_it_ends_where_the_observer_says_so_or_is_asked_to_after_saving():
    diary = Diary(ends_at=3)
    assert run(diary)[0] == 3 and diary.lines[-1] == ("evaluate", 3)
    diary = Diary()
    assert run(diary, stop_after=1)[0] == 2
    assert diary.lines[-3:] == [("read", 1, 2), ("took", 2), ("save", 2)]


def test_what_does_not_fit_into_memory_is_told_by_the_observer(monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(MaskedLmAndNextSentence, "losses", full)
    with pytest.raises(MemoryError, match="step 0: 2 parts do not fit"):
        run(Diary())
