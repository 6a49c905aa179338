"""ELMo: parity with PyTorch's LSTM, what each direction may see, its hidden states, and its files."""

import numpy as np
import pytest

from minibert.checks.short_training import small_config
from minibert.data.batch import Batch
from minibert.data.next_token import NextTokenBatch
from minibert.models import BertConfig, BertForPreTraining, Elmo, ElmoConfig
from minibert.objectives import BothDirections

from .parity import shaken

SEQUENCES = ([2, 7, 9, 30, 3], [2, 8, 3], [2, 40, 41, 42, 43, 44, 3])


def model_of(backend="reference", dtype="float64", **changes) -> Elmo:
    return shaken(Elmo(ElmoConfig(50, 8, **changes), backend, dtype=dtype, seed=2))


def windows(sequences=SEQUENCES) -> NextTokenBatch:
    tokens = Batch.of_sequences([np.array(ids, np.int32) for ids in sequences])
    return NextTokenBatch(tokens, sum(len(ids) - 2 for ids in sequences), windows=True)


def logits_of(model, batch) -> tuple[np.ndarray, np.ndarray]:
    forward, backward, _ = model.forward(model.prepare(batch.tokens, batch.predicted).inputs, keep_cache=False)
    return model.backend.numpy(forward), model.backend.numpy(backward)


def test_each_direction_sees_its_side_alone():
    model = model_of()
    changed = [list(ids) for ids in SEQUENCES]
    changed[2][3] = 17  # the third of the five tokens that this window predicts
    (forward, backward), (forward_then, backward_then) = (logits_of(model, windows(s)) for s in (SEQUENCES, changed))
    first = 4  # the rows of the last window's predictions
    same = [np.array_equal(a, b) for a, b in zip(forward[first:], forward_then[first:], strict=True)]
    assert same == [True, True, True, False, False]
    same = [np.array_equal(a, b) for a, b in zip(backward[first:], backward_then[first:], strict=True)]
    assert same == [False, False, True, True, True]
    assert np.array_equal(forward[:first], forward_then[:first])


def peer_of(torch, model):
    """The same weights in PyTorch, as two stacks of one-layer LSTMs; a function from one sequence to both logits."""
    tensors = {
        name: torch.tensor(model.backend.numpy(parameter.value).copy(), requires_grad=True)
        for name, parameter in model.parameters.all.items()
    }
    width = model.config.hidden_size

    def stack(direction, x):
        for number in range(model.config.num_hidden_layers):
            names = [f"{direction}.layer.{number}.{part}" for part in ("weight_input", "weight_hidden", "bias")]
            lstm = torch.nn.LSTM(width, width, dtype=torch.float64)
            ours = dict(
                zip(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0"), [tensors[name] for name in names], strict=True)
            )
            zero = torch.zeros(4 * width, dtype=torch.float64)
            y = torch.func.functional_call(lstm, ours | {"bias_hh_l0": zero}, (x,))[0]
            x = y if number == 0 else x + y
        return x

    def logits(ids):
        x = tensors["embeddings.weight"][ids]
        forward, backward = stack("forward", x), stack("backward", x.flip(0)).flip(0)
        table, bias = tensors["embeddings.weight"], tensors["decoder.bias"]
        return forward[:-2] @ table.T + bias, backward[2:] @ table.T + bias

    return tensors, logits


def test_losses_logits_and_all_gradients_equal_autograd(backend):
    torch = pytest.importorskip("torch", reason="parity needs the extra `peers`: PyTorch is not installed")
    model, batch = model_of(backend, num_hidden_layers=3), windows()
    tensors, peer = peer_of(torch, model)
    theirs = [peer(torch.tensor(ids)) for ids in SEQUENCES]
    forward, backward = (torch.cat(parts) for parts in zip(*theirs, strict=True))
    labels = torch.tensor(batch.labels.astype(np.int64))
    expected = [torch.nn.functional.cross_entropy(scores, labels) for scores in (forward, backward)]
    sum(expected).backward()

    objective = BothDirections(model)
    model.parameters.zero_gradients()
    losses, cache = objective.losses(objective.prepare(batch))
    objective.losses_backward(cache)
    for ours, their in zip((losses.forward, losses.backward), expected, strict=True):
        assert float(ours) == pytest.approx(their.item(), rel=1e-12)
    for ours, their in zip(logits_of(model, batch), (forward, backward), strict=True):
        assert np.abs(ours - their.detach().numpy()).max() < 1e-12
    for name, parameter in model.parameters.all.items():
        gradient, ours = tensors[name].grad.numpy(), backend.numpy(parameter.gradient)
        assert np.abs(ours - gradient).max() <= 1e-10 * max(np.abs(gradient).max(), 1e-3), name


def test_hidden_states_are_both_directions_side_by_side():
    model, batch = model_of(), windows()
    states = model.hidden_states(batch.tokens)
    assert [state.shape for state in states] == [(15, model.width)] * 3 and model.width == 16
    assert np.array_equal(states[0][:, :8], states[0][:, 8:])
    assert np.array_equal(states[0][:, :8], model.embedding.value[batch.tokens.token_ids])
    table, bias = model.embedding.value, model.bias.value
    forward, backward = logits_of(model, batch)
    assert np.abs(states[-1][batch.predicted - 1, :8] @ table.T + bias - forward).max() < 1e-12
    assert np.abs(states[-1][batch.predicted + 1, 8:] @ table.T + bias - backward).max() < 1e-12
    assert np.abs(model.next_logits(np.array(SEQUENCES[1][:1], np.int32)) - forward[3]).max() < 1e-12


@pytest.mark.parametrize("size", ["tiny", "mini", "small", "medium", "base"])
def test_a_size_has_about_as_many_parameters_as_berts(size):
    bert = BertConfig.preset(size, 8192).parameter_count()
    shape = ElmoConfig.preset(size, 8192)
    width, layers = shape.hidden_size, shape.num_hidden_layers
    assert 8192 * width + 8192 + layers * 2 * (8 * width * width + 4 * width) == pytest.approx(bert, rel=0.11)


def test_a_folder_is_loaded_as_what_it_is(tmp_path):
    model = model_of(dtype="float32")
    model.save_pretrained(tmp_path / "elmo")
    again = Elmo.from_pretrained(tmp_path / "elmo", "reference")
    assert again.config == model.config and again.initialised_afresh == ()
    for ours, theirs in zip(logits_of(again, windows()), logits_of(model, windows()), strict=True):
        assert np.array_equal(ours, theirs)
    with pytest.raises(ValueError, match="describes a model of type 'elmo'; expected 'bert'"):
        BertForPreTraining.from_pretrained(tmp_path / "elmo", "reference")
    BertForPreTraining(small_config(), "reference").save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="describes a model of type 'bert'; expected 'elmo'"):
        Elmo.from_pretrained(tmp_path / "bert", "reference")


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(vocab_size=0), "vocab_size is 0"),
        (dict(num_hidden_layers=True), "num_hidden_layers is True"),
        (dict(hidden_dropout_prob=1.0), "hidden_dropout_prob must be"),
        (dict(initializer_range=float("inf")), "initializer_range at least 0"),
    ],
)
def test_a_shape_that_is_none_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ElmoConfig(**{"vocab_size": 50, **changes})


def test_what_has_no_following_token_is_refused():
    model, batch = model_of(), windows()
    with pytest.raises(ValueError, match="needs windows"):
        BothDirections(model).prepare(NextTokenBatch.of(batch.tokens))
    with pytest.raises(ValueError, match="token id 50 is outside the model's table of 50"):
        model.prepare(Batch.of_sequences([np.array([2, 50, 3], np.int32)]))


def test_a_config_with_a_number_out_of_range_is_refused_with_its_path(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "elmo", "vocab_size": 20, "hidden_size": 0}')
    with pytest.raises(ValueError) as caught:
        ElmoConfig.load(tmp_path)
    assert str(caught.value) == f"{tmp_path / 'config.json'}: hidden_size is 0; expected an integer of at least 1"
