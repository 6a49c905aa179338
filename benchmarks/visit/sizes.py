"""All sizes: real ones for a GPU, or tiny ones that the emulator can handle."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    rehearsal: bool = False
    """on the emulator: what is slow there is left out"""
    tokens: int = 32768
    """N: rows of the ops"""
    width: int = 768
    inner: int = 3072
    heads: int = 12
    vocabularies: tuple[int, ...] = (30522, 30528)
    lengths: tuple[int, ...] = (128, 512)
    """of full sequences"""
    parameters: int = 110_000_000
    model: str = "base"
    workloads: tuple[tuple[int, int], ...] = ((256, 128), (64, 512))
    """sequences and length of a step"""
    steps: int = 20
    warm_up: int = 3
    repeats: int = 20
    """of a timed call"""
    side: int = 8192
    copied: int = 1 << 31
    """bytes"""
    processes: int = 16
    training_steps: int = 20
    pretrain: tuple[str, int, int] = ("base", 100, 32768)
    """size, steps, tokens of a step"""
    small_models: tuple[str, ...] = ("tiny", "mini")

    @property
    def masked(self) -> int:
        return round(0.15 * self.tokens)


REAL = Sizes()
TINY = Sizes(
    rehearsal=True,
    tokens=70,
    width=64,
    inner=96,
    heads=2,
    vocabularies=(211, 216),
    lengths=(7, 35),
    parameters=1003,
    model="tiny",
    workloads=((2, 16),),
    steps=2,
    warm_up=1,
    repeats=2,
    side=64,
    copied=1 << 16,
    processes=2,
    training_steps=2,
    pretrain=("tiny", 2, 128),
    small_models=("tiny",),
)
