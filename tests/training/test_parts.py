"""The small parts: schedule, evaluation, checkpoints, record, signals."""

import json
import platform
import signal

import numpy as np
import pytest

from minibert.checks.short_training import random_batch, small_config
from minibert.models import BertForPreTraining
from minibert.objectives import MaskedLmAndNextSentence, losses_of
from minibert.training.checkpoints import list_checkpoints, load_checkpoint, save_checkpoint
from minibert.training.evaluation import evaluate, perplexity
from minibert.training.interrupts import StopRequest
from minibert.training.memory import keep_freed_memory
from minibert.training.metrics import Metrics, averaged, plot_metrics, read_metrics
from minibert.training.optimizer import AdamW, AdamWSettings, learning_rate_at
from minibert.training.systems import SYSTEMS

from ..models.parity import shaken


def small_objective():
    return MaskedLmAndNextSentence(shaken(BertForPreTraining(small_config())))


def optimizer_of(model):
    return AdamW(model.parameters, AdamWSettings(beta2=0.98, bias_correction=False))


def test_the_rate_rises_then_falls_linearly():
    rates = [learning_rate_at(step, steps=100, peak=0.5, warmup=0.1) for step in range(100)]
    assert np.allclose(rates[:10], 0.05 * np.arange(1, 11))
    assert rates[10] == 0.5
    assert np.allclose(np.diff(rates[10:]), -0.5 / 90)
    assert rates[99] == pytest.approx(0.5 / 90)
    assert learning_rate_at(0, steps=1, peak=0.5, warmup=0.0) == 0.5


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_an_evaluation_does_not_depend_on_how_its_set_is_cut(parts):
    objective, batch = small_objective(), random_batch(small_config())
    whole, cut = evaluate(objective, [batch]), evaluate(objective, batch.split(parts))
    assert set(whole) == {"mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy"}
    for name in ("mlm_accuracy", "nsp_accuracy"):
        assert cut[name] == whole[name]
    for name in ("mlm_loss", "nsp_loss"):
        assert cut[name] == pytest.approx(whole[name], rel=1e-6)


def test_an_evaluation_has_no_dropout():
    objective, batch = small_objective(), random_batch(small_config())
    first = evaluate(objective, [batch])
    assert evaluate(objective, [batch]) == first
    with_dropout, _ = losses_of(objective, batch, (0, 1))
    assert abs(float(with_dropout.mlm) - first["mlm_loss"]) > 1e-4
    assert float(losses_of(objective, batch)[0].mlm) == first["mlm_loss"]


def test_a_guess_among_equals_has_the_loss_of_a_guess():
    """A model that knows nothing: log V nats, perplexity V."""
    objective = small_objective()
    objective.model.parameters.values.fill(0)
    result = evaluate(objective, [random_batch(small_config())])
    assert result["mlm_loss"] == pytest.approx(np.log(103), rel=1e-6)
    assert perplexity(result["mlm_loss"]) == pytest.approx(103, rel=1e-5)
    assert result["nsp_loss"] == pytest.approx(np.log(2), rel=1e-6)


def test_an_evaluation_counts_what_the_scores_say():
    """Against the logits, one by one; the biases make the accuracies of both targets differ from their complements."""
    objective, batch = small_objective(), random_batch(small_config())
    objective.model.parameters["cls.seq_relationship.bias"].value[...] = 9, 0
    objective.model.parameters["cls.predictions.bias"].value[batch.masked_labels[0]] = 99
    prepared = objective.prepare(batch)
    mlm, nsp, _ = objective.model.forward(prepared.inputs)
    result = evaluate(objective, batch.split(2))
    assert result["nsp_accuracy"] == np.mean(nsp.argmax(1) == batch.nsp_labels) == np.mean(batch.nsp_labels == 0)
    assert 0 < result["mlm_accuracy"] == np.mean(mlm.argmax(1) == batch.masked_labels) < 1
    shares = np.exp(nsp) / np.exp(nsp).sum(1, keepdims=True)
    right = shares[np.arange(len(nsp)), batch.nsp_labels]
    assert result["nsp_loss"] == pytest.approx(-np.log(right).mean(), rel=1e-5)


def test_an_evaluation_without_pairs_says_none():
    result = evaluate(small_objective(), [random_batch(small_config(), pairs=False)])
    assert result["nsp_loss"] is None and result["nsp_accuracy"] is None


class TestCheckpoints:
    def trained(self):
        model = shaken(BertForPreTraining(small_config()))
        optimizer = optimizer_of(model)
        for parameter in model.parameters.all.values():
            parameter.gradient[...] = 0.1
        optimizer.step(1, 1e-3)
        return model, optimizer

    def test_everything_comes_back(self, tmp_path):
        model, optimizer = self.trained()
        folder = save_checkpoint(tmp_path, 7, model, optimizer, keep=2)
        other = BertForPreTraining(small_config(), seed=5)
        others = optimizer_of(other)
        assert load_checkpoint(folder, other, others) == 7
        assert np.array_equal(other.parameters.values, model.parameters.values)
        assert np.array_equal(others.first_moment, optimizer.first_moment)
        assert np.array_equal(others.second_moment, optimizer.second_moment)

    def test_the_last_few_are_kept(self, tmp_path):
        model, optimizer = self.trained()
        for step in (1, 2, 30, 4):
            save_checkpoint(tmp_path, step, model, optimizer, keep=2)
        assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000004", "step-00000030"]
        save_checkpoint(tmp_path, 30, model, optimizer, keep=2)  # over one that is there
        assert len(list((tmp_path / "checkpoints").iterdir())) == 2

    @pytest.mark.parametrize("name", ["state.json", "model.safetensors", "optimizer.safetensors"])
    def test_a_missing_file_is_told(self, tmp_path, name):
        model, optimizer = self.trained()
        folder = save_checkpoint(tmp_path, 1, model, optimizer, keep=1)
        (folder / name).unlink()
        with pytest.raises(ValueError, match=f"damaged: {name}"):
            load_checkpoint(folder, model, optimizer)

    @pytest.mark.parametrize("change", [None, dict(step=70), dict(sha256={})])
    def test_a_state_that_was_not_written_so_is_told(self, tmp_path, change):
        model, optimizer = self.trained()
        folder = save_checkpoint(tmp_path, 7, model, optimizer, keep=1)
        state = json.loads((folder / "state.json").read_text())
        (folder / "state.json").write_text("{" if change is None else json.dumps({**state, **change}))
        with pytest.raises(ValueError, match="state.json"):
            load_checkpoint(folder, model, optimizer)

    def test_another_models_checkpoint_is_refused(self, tmp_path):
        folder = save_checkpoint(tmp_path, 1, *self.trained(), keep=1)
        other = BertForPreTraining(small_config(intermediate_size=57))
        with pytest.raises(ValueError, match="different model.*intermediate"):
            load_checkpoint(folder, other, optimizer_of(other))


class TestMetrics:
    def write(self, run, steps):
        metrics = Metrics(run, 0)
        for step in steps:
            values = dict(
                mlm_loss=5 / step, mlm_accuracy=0.1, nsp_loss=None, nsp_accuracy=None, length=8 if step < 3 else 16
            )
            metrics.write("train", step, **values)
        metrics.write("evaluation", steps[-1], mlm_loss=2.0, mlm_accuracy=0.2, nsp_loss=0.6, nsp_accuracy=0.7)

    def test_later_lines_are_dropped_on_resume(self, tmp_path):
        self.write(tmp_path, [1, 2, 3, 4])
        Metrics(tmp_path, 2)
        assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2]

    def test_a_line_cut_in_a_crash_is_left_out(self, tmp_path):
        self.write(tmp_path, [1])
        with open(tmp_path / "metrics.jsonl", "a") as file:
            file.write('{"kind": "tr')
        assert len(read_metrics(tmp_path)) == 2

    def test_the_plot_shows_what_was_recorded(self, tmp_path, monkeypatch):
        from matplotlib.figure import Figure

        self.write(tmp_path, [1, 2, 3, 4])
        figures, honest = [], Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), honest(self, *a, **k))[1])
        plot_metrics(tmp_path, "a title", SYSTEMS["bert"].targets, {"guess": 0.25})
        (figure,) = figures
        loss, nsp_loss, accuracy, nsp_accuracy = figure.axes
        assert figure.get_suptitle() == "a title"
        assert [list(line.get_ydata()) for line in loss.lines[:1]] == [[5, 2.5, 5 / 3, 1.25]]
        assert any(list(line.get_ydata()) == [20.0] for line in accuracy.lines)
        assert any(list(line.get_ydata()) == [25.0, 25.0] for line in accuracy.lines)
        for panel in figure.axes:
            assert panel.get_ylabel().endswith(("(nats)", "(%)"))
        assert accuracy.get_xlabel() == nsp_accuracy.get_xlabel() == "step"
        assert [text.get_text() for text in nsp_loss.texts] == [" length 16"]

    def test_curves_are_means_of_neighbours(self):
        assert averaged([1, 2, 3, 4, 5], [0.0, 4.0, 1.0, 1.0, 7.0], 2) == ([1.5, 3.5, 5], [2.0, 1.0, 7.0])
        assert averaged([], [], 1) == ([], [])


class TestStopRequest:
    def test_a_signal_is_noted_and_the_old_handlers_come_back(self):
        before = signal.getsignal(signal.SIGTERM)
        with StopRequest("go on") as stop:
            stop.urgent = False
            signal.raise_signal(signal.SIGTERM)
            assert stop.signal == signal.SIGTERM and stop.exit_code == 143
        assert signal.getsignal(signal.SIGTERM) is before

    def test_before_anything_needs_saving_it_stops_at_once(self):
        with pytest.raises(KeyboardInterrupt, match="go on") as caught, StopRequest("go on"):
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.exit_code == 143

    def test_a_second_ctrl_c_does_not_wait(self):
        with StopRequest("go on") as stop:
            stop.urgent = False
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives freed memory back at once")
def test_freed_memory_is_kept_where_the_c_library_is_glibc():
    assert keep_freed_memory()


def test_a_record_is_json_lines(tmp_path):
    Metrics(tmp_path, 0).write("train", 1, mlm_loss=0.5)
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"kind": "train", "step": 1, "mlm_loss": 0.5}
