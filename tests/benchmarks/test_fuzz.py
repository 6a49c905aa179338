"""The fuzzer of the readers in a short form: each answer is right, or a refusal in one line that names the file."""

import json
import logging
import struct
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("pyarrow")
pytest.importorskip("zstandard")

from benchmarks.fuzz.__main__ import Fuzzer, main
from benchmarks.fuzz.extremes import CASES, verdict
from benchmarks.fuzz.readers import READERS
from minibert.base.json_text import read_json
from minibert.base.processes import environment, python
from minibert.models import Bert, BertConfig
from minibert.models.huggingface import load, save
from minibert.tasks.task import Task
from minibert.text.files import read_vocabulary


def outcomes(folder, name, seed, inputs):
    logging.disable(logging.CRITICAL)
    try:
        fuzzer = Fuzzer(READERS[name], folder / "files", seed)
        found = [fuzzer.outcome(number) for number in range(inputs)]
    finally:
        logging.disable(logging.NOTSET)
    failed = {number: one for number, one in enumerate(found) if one[0] not in ("accepted", "refused")}
    assert not failed
    return Counter(kind for kind, _ in found)


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_is_read_rightly_or_refused_in_one_line(tmp_path, name):
    counts = outcomes(tmp_path, name, 0, 20)
    assert counts["accepted"] >= 4 and counts["refused"] >= 1


@pytest.mark.thorough
@pytest.mark.parametrize("name", READERS)
def test_a_third_of_many_changed_files_is_accepted_and_read_rightly(tmp_path, name):
    assert outcomes(tmp_path, name, 1, 1000)["accepted"] >= 1000 / 3


def test_the_fuzzer_reports_a_wrong_answer(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("minibert.text.files._read_text", lambda path: "a\nb\n")
    out = tmp_path / "report.json"
    monkeypatch.setattr("sys.argv", ["fuzz", "--reader", "vocab.txt", "--inputs", "20", "--out", str(out)])
    assert main() == 1
    row = json.loads(out.read_text())["readers"]["vocab.txt"]
    assert row["next"] == 20 and row["silent change"] > 0
    assert len(list((tmp_path / "report-failures").iterdir())) == len(row["failing"])


@pytest.mark.parametrize(
    "changes", [{"num_hidden_layers": 30_000}, {"intermediate_size": 10**12}, {"vocab_size": 10**15}]
)
def test_a_config_far_larger_than_its_weights_is_refused_before_it_is_allocated(tmp_path, changes):
    shape = dict(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    save(Bert(BertConfig(**shape, max_position_embeddings=4), "reference"), tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | changes))
    began = time.process_time()
    with pytest.raises(ValueError, match="describes a model of .* parameters"):
        load(Bert, tmp_path, "reference")
    assert time.process_time() - began < 2


def test_a_safetensors_header_of_2_to_the_63_bytes_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(ValueError, match="model.safetensors is damaged"):
        load(Bert, tmp_path, "reference")


def test_a_distilbert_that_does_not_say_its_layers_has_six_as_in_transformers(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "distilbert"}))
    assert BertConfig.load(tmp_path).num_hidden_layers == 6


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_act": ["gelu"]}, "hidden_act is"),
        ({"num_labels": 10**9, "architectures": ["BertForSequenceClassification"]}, "num_labels is 1000000000"),
        ({"id2label": {"0": {"a": 1}}}, "id2label has the name"),
        ({"id2label": ""}, "id2label is ''"),
        ({"hidden_size": None}, "hidden_size is null"),
        ({"initializer_range": 10**400}, "initializer_range is 1000"),
    ],
)
def test_values_of_a_config_are_named(tmp_path, values, message):
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=f"config.json: {message}"):
        BertConfig.load(tmp_path)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', "[" * 100_000, "1" * 5000, '{"a": "\\ud800"}', '{"a"'])
def test_json_that_python_takes_or_refuses_without_a_name_is_refused_with_it(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_json(path)
    assert type(caught.value) is ValueError and str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"labels": "abc"}, {"max_length": "64"}, {"n_best": 0}, {"pairs": 2}, {"name": []}, {"null_threshold": 10**400}],
)
def test_a_task_json_with_values_of_the_wrong_type_is_refused(tmp_path, change):
    Task("sentence", ("no", "yes")).save(tmp_path, {})
    assert Task.load(tmp_path) == Task("sentence", ("no", "yes"))
    values = json.loads((tmp_path / "task.json").read_text())
    (tmp_path / "task.json").write_text(json.dumps(values | change))
    with pytest.raises(ValueError, match="task.json is damaged"):
        Task.load(tmp_path)


def test_white_space_at_the_end_of_a_vocabulary_line_is_dropped_as_tokenizers_does(tmp_path):
    (tmp_path / "vocab.txt").write_text("a\u00a0\nb\u2028 \n\u3000\n", encoding="utf-8")
    assert read_vocabulary(tmp_path / "vocab.txt") == ["a", "b", "\u3000"]
    (tmp_path / "vocab.txt").write_text("a\n ", encoding="utf-8")  # a second token, "", for `tokenizers`
    with pytest.raises(ValueError, match="line 2 is empty"):
        read_vocabulary(tmp_path / "vocab.txt")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_an_extreme_file_is_measured_in_a_process_of_its_own(tmp_path):
    out = tmp_path / "extremes.json"
    names = "text: one word of 100 MB", "SQuAD: nested", "safetensors: a header of 2^63 bytes"
    command = python("benchmarks.fuzz.extremes", "--only", *names, "--scale", "0.01", "--out", str(out))
    assert subprocess.run(command, env=environment(), capture_output=True).returncode == 0
    report = json.loads(out.read_text())
    assert [report[name]["outcome"] for name in names] == ["read", "refused", "refused"]
    assert report[names[0]]["MB"] == 1.0
    case = next(case for case in CASES if case.name == names[0])
    assert verdict(case, {**report[names[0]], "grown": 60}, 0.01) == "too large"
    assert verdict(case, {**report[names[0]], "seconds": 3}, 0.01) == "too slow"
