"""The progress bar of training, and the measurement of its speed in tokens per second."""

import time

from minibert.base.progress import progress_bar


class StepBar:
    """A context manager with a progress bar over the steps, and a clock that counts only the time spent training."""

    def __init__(self, steps: int, first: int):
        """steps: the total number of steps; first: the number of steps already taken."""
        self.bar = progress_bar(total=steps, initial=first, unit="step", leave=True, dynamic_ncols=True)
        self.restart_clock()

    def __enter__(self) -> "StepBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def restart_clock(self) -> None:
        """Restart the clock, so that the time just spent saving or evaluating is not counted."""
        self.since = time.perf_counter()

    def speed(self, tokens: int) -> float:
        """The tokens per second, given the tokens processed since the clock was started; also restarts the clock."""
        before, self.since = self.since, time.perf_counter()
        return tokens / (self.since - before)

    def took_step(self) -> None:
        self.bar.update()

    def show(self, figures: dict, key: str, speed: float) -> None:
        """Show the figures of the last step, of them those of the target `key`, and the speed, after the bar."""
        loss, accuracy = figures[f"{key}_loss"], figures[f"{key}_accuracy"]  # None if this loss is left out
        shown = {"length": figures["length"]}
        shown |= {} if loss is None else {"loss": f"{loss:.3f}"}
        shown |= {} if accuracy is None else {"accuracy": f"{accuracy:.1%}"}
        shown |= {"tokens/s": f"{speed:,.0f}"}
        self.bar.set_postfix(shown, False)
