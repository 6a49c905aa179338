"""The results in docs/experiments: pages show what the cells say, and cells are those that the experiments ask for."""

import json

import pytest

from minibert.commands.experiment import ExperimentConfig, planned, speeds_of
from minibert.experiments.catalogue import EXPERIMENTS
from minibert.experiments.cells import Store
from tests.test_packages import ROOT

RESULTS = ROOT / "docs" / "experiments"
CONFIG = ExperimentConfig(out=str(RESULTS), tables=True)


def test_the_settings_are_the_defaults():
    stored = json.loads((RESULTS / "experiment.json").read_text(encoding="utf-8"))
    assert {name: stored[name] for name in ("steps", "seeds", "tasks", "gpu")} == {
        "steps": CONFIG.steps, "seeds": CONFIG.seeds, "tasks": list(CONFIG.tasks), "gpu": False
    }  # fmt: skip


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_page_shows_what_the_cells_say(name):
    """If this fails: python -m scripts.regenerate experiments"""
    experiment, text = EXPERIMENTS[name], ""
    if experiment.table:
        text = planned(experiment.table, Store(RESULTS / "cells"), CONFIG)[1].markdown()
    if experiment.speeds and (speeds := speeds_of(name, experiment.speeds, CONFIG, RESULTS)):
        text += ("\nSpeeds:\n\n" if experiment.table else "") + experiment.speeds.markdown(speeds)
    assert (RESULTS / f"{name}.md").read_text(encoding="utf-8") == text
    assert text.strip() in (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    assert (RESULTS / f"{name}.png").exists()


def test_every_cell_belongs_to_an_experiment():
    """A result of other options than today's would be kept for nothing."""
    store, asked_for = Store(RESULTS / "cells"), set()
    for experiment in EXPERIMENTS.values():
        if experiment.table:
            asked_for |= set(planned(experiment.table, store, CONFIG)[0].requested)
    assert {path.stem for path in (RESULTS / "cells").iterdir()} <= asked_for
