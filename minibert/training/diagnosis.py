"""Is this loss normal?  A run beside a reference run of the same recipe, in words.

Each rule looks for one shape of a curve, says what it sees, and what usually causes it.  The sources of the rules are
minibert's own runs (docs/pretraining.md) and lesson 7.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

CLOSE = 0.15  # nats: runs of one recipe with different seeds differ by less (docs/pretraining.md)
CLOSE_SCORE = 0.03  # scores of one recipe with different seeds differ by less (docs/fine-tuning.md)
FLAT = 0.05  # nats: a loss that falls by less over a fifth of the run does not learn
RISE = 0.5  # nats above its lowest point
CHANCE, ABOVE_CHANCE = math.log(2), 0.03  # the loss of guessing next sentences, and how far below it is learning
PARTS = 20  # a curve is judged by the means of this many parts


@dataclass(frozen=True)
class Curve:
    """A figure over the steps."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    def until(self, step: int) -> "Curve":
        kept = [(s, v) for s, v in zip(self.steps, self.values, strict=True) if s <= step]
        return Curve(tuple(s for s, _ in kept), tuple(v for _, v in kept))

    def parts(self) -> list[float]:
        """The means of consecutive parts of the curve, at most PARTS."""
        width = max(len(self.values) // PARTS, 1)
        starts = range(0, len(self.values) - width + 1, width)
        return [mean(self.values[begin : begin + width]) for begin in starts]

    @property
    def last(self) -> float:
        """The mean over the last part."""
        return self.parts()[-1]


@dataclass(frozen=True)
class Run:
    """What is compared of a run.

    training, held_out   figure -> Curve
    loss                 the name of the loss that is judged first
    diverged             the step at which the loss became NaN or infinite, or None
    score                the name of the held-out score of a fine-tuning; None in pre-training
    """

    training: dict[str, Curve]
    held_out: dict[str, Curve]
    loss: str
    diverged: int | None = None
    score: str | None = None

    @property
    def step(self) -> int:
        return self.training[self.loss].steps[-1]


@dataclass(frozen=True)
class Finding:
    """Something to say about a run: whether it is fine, what is seen, and what usually causes it."""

    fine: bool
    seen: str
    cause: str = ""


def diagnose(run: Run, reference: Run) -> list[Finding]:
    """What there is to say about a run, the most serious first; always at least one finding."""
    rules = PRETRAINING if run.score is None else FINE_TUNING
    found = [finding for rule in rules for finding in rule(run, reference)]
    return found or [on_track(run, reference)]


def on_track(run: Run, reference: Run) -> Finding:
    mine, theirs = run.training[run.loss].last, reference.training[run.loss].until(run.step).last
    if mine < theirs - CLOSE:
        return Finding(True, f"ahead of the reference: {mine:.2f} nats at step {run.step:,}, beside {theirs:.2f}")
    if (scores := last_scores(run, reference)) is not None:
        return Finding(True, f"on track: {run.score} {scores[0]:.1%}, beside {scores[1]:.1%} in the reference")
    return Finding(True, f"on track: {mine:.2f} nats at step {run.step:,}, beside {theirs:.2f} in the reference")


def diverged(run: Run, _reference: Run) -> Iterator[Finding]:
    if run.diverged is not None:
        yield Finding(
            False,
            f"the loss became NaN or infinite at step {run.diverged:,}",
            "usually a learning rate that is too high, or a warm-up that is too short",
        )


def rose(run: Run, _reference: Run) -> Iterator[Finding]:
    parts = run.training[run.loss].parts()
    lowest = min(parts)
    if parts[-1] > lowest + RISE and len(parts) >= 3:
        yield Finding(
            False,
            f"the loss has risen to {parts[-1]:.2f} nats from {lowest:.2f}",
            "usually a learning rate that is too high; lower it, or make the warm-up longer",
        )


def stuck(run: Run, reference: Run) -> Iterator[Finding]:
    """A loss that has stopped falling far above the reference: the plateau of word frequencies."""
    parts, theirs = run.training[run.loss].parts(), reference.training[run.loss].until(run.step).last
    recent = parts[-max(len(parts) // 5, 2) :]
    if (
        len(parts) >= 5
        and parts[-1] > theirs + 2 * CLOSE
        and recent[0] - recent[-1] < FLAT
        and parts[-1] <= min(parts) + RISE
    ):
        yield Finding(
            False,
            f"the loss has stopped falling at {parts[-1]:.2f} nats; the reference was at {theirs:.2f} at this step",
            "at about 6 nats the model knows the frequencies of words and nothing about their order: begin with short "
            "sequences (--lengths), start the positions as sinusoids (--position-init), raise --learning-rate, or wait",
        )


def behind(run: Run, reference: Run) -> Iterator[Finding]:
    mine, theirs = run.training[run.loss].last, reference.training[run.loss].until(run.step).last
    others = [*stuck(run, reference), *rose(run, reference), *diverged(run, reference)]
    if mine > theirs + CLOSE and not others:
        yield Finding(
            False,
            f"behind the reference: {mine:.2f} nats at step {run.step:,}, beside {theirs:.2f}",
            "usually a learning rate that is too low, smaller batches, a longer warm-up, or other text",
        )


def overfitted(run: Run, reference: Run) -> Iterator[Finding]:
    """Held-out text is predicted ever worse, while the training text is predicted ever better."""
    curve = run.held_out.get(run.loss)
    values = curve.values if curve else ()
    if len(values) >= 3 and values[-1] > min(values) + CLOSE and run.training[run.loss].last < values[-1] - 2 * CLOSE:
        yield Finding(
            False,
            f"the loss on held-out text has risen to {values[-1]:.2f} nats from {min(values):.2f}",
            "the model learns the text by heart: use more text, fewer steps, a smaller model or --dropout 0.1",
        )


def pairs_not_learnt(run: Run, reference: Run) -> Iterator[Finding]:
    """Next sentences are still guessed where the reference has learnt to tell them."""
    name = "nsp_loss"
    if name not in run.training or name not in reference.training or not run.training[name].steps:
        return
    theirs = reference.training[name].until(run.training[name].steps[-1])
    if not theirs.steps:
        return
    mine = run.training[name].last
    if theirs.last < CHANCE - 3 * ABOVE_CHANCE and mine > CHANCE - ABOVE_CHANCE:
        yield Finding(
            False,
            f"next sentences are still guessed: {mine:.2f} nats, beside {theirs.last:.2f} in the reference",
            "pairs are only in phases of length --nsp-from or more, and are learnt late; check that sentences of a "
            "document belong together",
        )


def last_scores(run: Run, reference: Run) -> tuple[float, float] | None:
    """The run's last held-out score, and the reference's at that step; None without scores that can be compared."""
    name = run.score or ""
    if name not in run.held_out or name not in reference.held_out:
        return None
    mine, theirs = run.held_out[name], reference.held_out[name]
    before = theirs.until(mine.steps[-1]).values or theirs.values[:1]
    return mine.values[-1], before[-1]


def score_behind(run: Run, reference: Run) -> Iterator[Finding]:
    """A task is solved worse than in the reference, with or without a loss that is behind."""
    scores = last_scores(run, reference)
    if scores is None or scores[0] >= scores[1] - CLOSE_SCORE:
        return
    mine, theirs = run.training[run.loss].last, reference.training[run.loss].until(run.step).last
    seen = f"{run.score} {scores[0]:.1%}, beside {scores[1]:.1%} in the reference"
    if mine > theirs + CLOSE / 2:
        yield Finding(
            False,
            f"{seen}; the training loss is behind too, {mine:.2f} nats beside {theirs:.2f}",
            "usually a learning rate that is too low or far too high, fewer steps, or less pre-training",
        )
    else:
        yield Finding(
            False,
            f"{seen}, while the training loss is not behind, {mine:.2f} nats beside {theirs:.2f}",
            "the examples are learnt by heart: use more examples or fewer epochs, or check that training and dev "
            "examples are of one kind",
        )


PRETRAINING: Sequence[Callable[[Run, Run], Iterator[Finding]]] = (
    diverged,
    rose,
    overfitted,
    stuck,
    behind,
    pairs_not_learnt,
)
FINE_TUNING = rose, score_behind
