"""Training speed: the progress bar on the terminal, and the tokens per second."""

import time

from minibert.base.progress import progress_bar


class StepBar:
    """A context manager: a progress bar over the steps, and a clock that counts only the time spent training."""

    def __init__(self, steps: int, first: int):
        """steps: the total number; first: the number of steps already taken."""
        self.bar = progress_bar(total=steps, initial=first, unit="step", leave=True, dynamic_ncols=True)
        self.restart_clock()

    def __enter__(self) -> "StepBar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def restart_clock(self) -> None:
        """Do not count the time since the last steps, which was spent saving or evaluating."""
        self.since = time.perf_counter()

    def speed(self, tokens: int) -> float:
        """The tokens per second, if `tokens` tokens were processed since the clock was started."""
        before, self.since = self.since, time.perf_counter()
        return tokens / (self.since - before)

    def took_step(self) -> None:
        self.bar.update()

    def show(self, figures: dict, speed: float) -> None:
        """Show the figures of the last step behind the bar."""
        shown = {"length": figures["length"], "loss": f"{figures['mlm_loss']:.3f}"}
        shown |= {"accuracy": f"{figures['mlm_accuracy']:.1%}", "tokens/s": f"{speed:,.0f}"}
        self.bar.set_postfix(shown, False)
