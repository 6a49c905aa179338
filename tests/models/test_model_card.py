"""Model cards: what the hub reads of them, and what their author wrote stays."""

import dataclasses
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.commands.options import read_options
from minibert.models.model_card import GENERATED, Score, as_yaml, card, command_line, metadata_of, write_card
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.model_card import fine_tuning_card
from minibert.training.config import HOW_IT_WAS_CALLED, PRESETS, PretrainConfig
from minibert.training.model_card import is_default_corpus

yaml = pytest.importorskip("yaml")
hub = pytest.importorskip("huggingface_hub")

SCORES = [Score("accuracy", 0.41234, "masked tokens predicted correctly"), Score("cross_entropy", 3.5, "cross-entropy")]
DATA = {"name": "letters: a “test”", "type": "text", "language": "en"}


def metadata() -> dict:
    return metadata_of("first", "fill-mask", DATA, {"type": "fill-mask", "name": "masked tokens"}, SCORES)


def test_the_hub_reads_the_metadata_and_the_scores():
    data = hub.ModelCard(card("first", metadata(), {"Data": "Letters."})).data
    assert (data.language, data.license, data.library_name, data.pipeline_tag) == (
        "en",
        "unknown",
        "transformers",
        "fill-mask",
    )
    found = [(result.metric_type, result.metric_value, result.dataset_name) for result in data.eval_results]
    assert found == [("accuracy", 0.4123, DATA["name"]), ("cross_entropy", 3.5, DATA["name"])]


def test_before_the_first_evaluation_there_are_no_results():
    assert "model-index" not in metadata_of("first", "fill-mask", DATA, {"type": "fill-mask", "name": "x"}, [])


scalars = st.one_of(st.text(max_size=8), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.dictionaries(st.from_regex(r"[a-z][a-z_]{1,7}x", fullmatch=True), inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z_]{1,7}x", fullmatch=True), values, min_size=1, max_size=3))
def test_yaml_is_read_back_as_it_was(value):
    assert yaml.safe_load(as_yaml(value)) == value


def test_a_card_is_written_again_until_its_author_takes_it_over(tmp_path):
    write_card(tmp_path, card("first", metadata(), {"Data": "Letters."}))
    write_card(tmp_path, card("second", metadata(), {"Data": "Letters."}))
    path = tmp_path / "README.md"
    assert "# second\n" in path.read_text(encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace(GENERATED, "").replace("Letters", "My own words"))
    write_card(tmp_path, card("third", metadata(), {"Data": "Letters."}))
    assert "My own words" in path.read_text(encoding="utf-8") and "third" not in path.read_text(encoding="utf-8")


COMMANDS = [
    PretrainConfig(corpus=("a file.txt",), steps=7, lengths=("8:0.5", "16:0.5:0.4"), random_positions=False),
    PretrainConfig(whole_word=True, held_out=0.1, seed=3),
    PretrainConfig(preset="gpu-8", **PRESETS["gpu-8"] | {"steps": 5}),
    PretrainConfig(preset="paper", **PRESETS["paper"] | {"steps": 5}),
    PretrainConfig(from_="a model", learning_rate=2e-3, steps=5),
    PretrainConfig(from_="a model", steps=10_000),
]


@pytest.mark.parametrize("config", COMMANDS)
def test_the_command_of_a_card_starts_the_same_run(config):
    command = command_line("pretrain", config, config.left_out(), ("corpus",), HOW_IT_WAS_CALLED)
    program, subcommand, *words = shlex.split(command)
    assert (program, subcommand) == ("minibert", "pretrain")
    assert read_options(PretrainConfig, words, "minibert pretrain") == config


def test_the_card_of_a_fine_tuned_model_has_its_command_and_no_path_of_this_machine():
    config = FinetuneConfig(run="/home/me/runs/001", task="sst2", train="/data/train.tsv", seeds=2, output_init=0.02)
    text = fine_tuning_card(
        "001", config, ("negative", "positive"), (90, 10), {"span f1": 0.5, "pearson": 0.25}, "try it"
    )
    assert "/home" not in text and "/data" not in text
    (command,) = (line for line in text.splitlines() if line.startswith("minibert finetune "))
    read = read_options(FinetuneConfig, shlex.split(command)[2:], "minibert finetune")
    assert read == dataclasses.replace(config, run="001", train="train.tsv")
    assert "| span f1 | 50.0% |\n| pearson | 0.250 |" in text
    data = hub.ModelCard(text).data
    assert (data.base_model, data.pipeline_tag) == (None, "text-classification")
    assert [result.metric_type for result in data.eval_results] == ["span_f1", "pearson"]


def test_what_a_card_must_not_say(tmp_path, monkeypatch):
    """A folder called sotu is not the addresses; a local run is no base model; transformers reads no features."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sotu").mkdir()
    assert is_default_corpus(PretrainConfig()) and is_default_corpus(PretrainConfig(corpus=("sotu",)))
    assert not is_default_corpus(PretrainConfig(corpus=(str(tmp_path / "sotu"),)))
    config = FinetuneConfig(run="sotu", task="sst2", train="my train.tsv")
    text = fine_tuning_card("001", config, (), (1, 1), {}, "try it")
    assert "base_model" not in text and "--train 'my train.tsv'" in text and "library_name" in text
    text = fine_tuning_card("001", dataclasses.replace(config, run="a/b", frozen=True), (), (1, 1), {}, "try it", False)
    assert 'base_model: "a/b"' in text and "finetune a/b" in text and "library_name" not in text


def test_a_name_that_is_not_utf8_is_no_error(tmp_path):
    write_card(tmp_path, card("caf\udce9", metadata(), {"Data": "caf\udce9"}))
    assert "# caf?" in (tmp_path / "README.md").read_text(encoding="utf-8")
