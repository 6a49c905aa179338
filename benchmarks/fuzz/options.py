"""The options that runs and fine-tuned models store: valid files, entry points and oracles."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.fuzz.reader import encoded


def pretraining() -> Any:
    from minibert.training.config import PretrainConfig

    return PretrainConfig(out="run", corpus=("a.txt",), learning_rate=0.002, steps=20, lengths=("8:0.5", "16:0.5"))


def fine_tuning() -> Any:
    from minibert.tasks.config import FinetuneConfig

    return FinetuneConfig(run="run", task="sentence", train="a.tsv", dev="b.tsv", out="model", learning_rate=0.001)


def option_bases() -> list[tuple[dict[str, bytes], str]]:
    import tempfile

    from minibert.tasks.config import OPTIONS as FINE_TUNING
    from minibert.training.config import OPTIONS as PRETRAINING

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for options, name in ((pretraining(), PRETRAINING), (fine_tuning(), FINE_TUNING)):
            options.save(folder)
            found.append(({name: (Path(folder) / name).read_bytes()}, name))
    return found


def read_options(folder: Path, file: str) -> Any:
    from minibert.tasks.config import FinetuneConfig
    from minibert.training.config import OPTIONS, PretrainConfig

    if file == OPTIONS:
        return encoded(asdict(PretrainConfig.load(folder)))
    return encoded({**asdict(fine_tuning()), **FinetuneConfig.stored(folder)})


def stored_options(folder: Path, file: str) -> Any:
    """The values as they stand in the file, and the defaults of those that are missing."""
    from minibert.training.config import OPTIONS, PretrainConfig

    values = json.loads((folder / file).read_text("utf-8"))
    values.pop("format", None)
    usual = asdict(PretrainConfig()) if file == OPTIONS else asdict(fine_tuning())
    if unknown := set(values) - set(usual):
        raise ValueError(unknown)
    if file == OPTIONS and "documents" not in values and values.get("corpus"):  # as the first versions wrote it
        usual |= {"documents": "auto" if values.get("document_per_file") else "blank"}
        values |= {"sentences": "marks"}
    return encoded({**usual, **values})
