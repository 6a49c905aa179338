"""Project 2, runs 7 to 9: the peak rate, weight decay, masks again."""

from collections.abc import Callable, Iterator

import numpy as np

from minibert.exercises import broken
from minibert.exercises.broken import PROJECT
from minibert.exercises.exercise import Exercise, Mistake, Try, add

# ----------------------------------------------------------------------------------------------------- run 7


def peak_rate(
    sequences: int,
    length: int,
    accumulate: int,
    base_rate: float = 1e-4,
    base_sequences: int = 256,
    base_length: int = 512,
) -> float:
    """The peak learning rate for a batch of another size, by the linear scaling rule.

    The rate is in proportion to the number of tokens for which a step adds up gradients.
    A step has `accumulate` parts of `sequences` sequences, each of `length` tokens.
    base_rate is the one for base_sequences of base_length tokens, here the paper's.
    """
    batch = sequences * length * accumulate
    times = batch / (base_sequences * base_length)
    return base_rate * times


add(
    Exercise(
        "run_7",
        PROJECT,
        "run 7: the loss becomes NaN in 16 bits",
        peak_rate,
        lambda: [
            Try("the paper's batch in two parts", (128, 512, 2, 1e-4, 256, 512)),
            Try("32 sequences of 128 tokens, in 4 parts", (32, 128, 4, 5e-4, 64, 256)),
            Try("a large batch", (1024, 64, 16, 1e-3, 256, 128)),
            Try("another base", (8, 32, 1, 0.5, 16, 64)),
            Try("the paper's base", (32, 128, 1)),
        ],
        outputs=("the rate",),
        mistakes=(
            Mistake(
                "You only limit the rate, so it no longer depends on the batch as the rule says.  Why is it too high?",
                lambda s, n, a, rate=1e-4, bs=256, bl=512: min(broken.peak_rate(s, n, a, rate, bs, bl), rate),
            ),
            Mistake(
                "You count sequences.  Compare tokens: sequences of 64 tokens hold less than sequences of 512.",
                lambda s, n, a, rate=1e-4, bs=256, bl=512: rate * s * a / bs,
            ),
            Mistake(
                "A step adds up the gradients of `accumulate` parts, so all of their tokens count.",
                lambda s, n, a, rate=1e-4, bs=256, bl=512: rate * s * n / (bs * bl),
            ),
            Mistake(
                "That is the square root of the ratio; the linear rule, which this function promises, is the ratio.",
                lambda s, n, a, rate=1e-4, bs=256, bl=512: rate * np.sqrt(s * n * a / (bs * bl)),
            ),
            Mistake(
                "The square root makes the rate lower, but what is below the root still compares tokens with "
                "sequences.",
                lambda s, n, a, rate=1e-4, bs=256, bl=512: rate * np.sqrt(s * n * a / bs),
            ),
            Mistake(
                "512 is right for the paper's base only: use base_length.",
                lambda s, n, a, rate=1e-4, bs=256, bl=512: broken.peak_rate(s, n, a, rate, bs, bl) / 512,
            ),
        ),
        hints=(
            "An overflow now and then is normal, and halves the loss scale.  Here every step overflows, whatever the "
            "scale, so it is the forward pass that overflows: the weights are too large.  With the same rate, 32 bits "
            "do not overflow, but the loss is far above ln 24.",
            "Print peak_rate(256, 512, 1), the paper's own batch.  It should be the paper's rate, 1e-4.",
            "Which unit does `batch` have, and which one base_sequences?",
        ),
        note=(
            "In the package, the peak is an option, --learning-rate, and the loss scale is LossScale in "
            "minibert/training/optimizer.py; tests/ops/gpu/test_training.py has steps that overflow."
        ),
        broken=broken.peak_rate,
    )
)


# ----------------------------------------------------------------------------------------------------- run 8


def weight_decays(shapes: dict, decay: float) -> dict:
    """The weight decay of each parameter: name -> number.

    shapes: name -> shape, such as "encoder.layer.0.output.LayerNorm.weight" -> (128,);
    names differ from model to model.  Biases and layer norms do not decay: they have one axis.
    """
    decays = {}
    for name, shape in shapes.items():
        decays[name] = decay if len(shape) > 1 else 0.0
    return decays


def decays_by(exempt: Callable) -> Callable:
    return lambda shapes, decay: {name: 0.0 if exempt(name, shape) else decay for name, shape in shapes.items()}


def decay_tries() -> Iterator[Try]:
    layer = {"attention.self.query.weight": (8, 8), "attention.self.query.bias": (8,), "output.dense.weight": (8, 16)}
    layer |= {"output.dense.bias": (8,), "output.LayerNorm.weight": (8,), "output.LayerNorm.bias": (8,)}
    ours = {"bert.embeddings.word_embeddings.weight": (40, 8), "bert.embeddings.LayerNorm.weight": (8,)}
    ours |= {f"bert.encoder.layer.{k}.{name}": shape for k in range(2) for name, shape in layer.items()}
    yield Try("the names of BERT", (ours | {"cls.predictions.bias": (40,)}, 0.01))
    others = {"wte.weight": (40, 8), "ln_1.weight": (8,), "ln_1.bias": (8,), "mlp.weight": (8, 32), "norm.gamma": (8,)}
    yield Try("a model that names its layer norms otherwise", (others | {"relative_bias.weight": (32, 4)}, 0.1))
    yield Try("bare names", ({"bias": (4,), "LayerNorm.weight": (4,), "weight": (4, 4)}, 0.5))


add(
    Exercise(
        "run_8",
        PROJECT,
        "run 8: the loss shows nothing",
        weight_decays,
        decay_tries,
        outputs=("the decays",),
        mistakes=(
            Mistake(
                "Biases are exempt now, but the weights of layer norms still decay: towards 0, which switches a layer "
                "off.",
                decays_by(lambda name, shape: name.endswith("bias")),
            ),
            Mistake(
                "Layer norms are exempt now, but the biases of other layers still decay.",
                decays_by(lambda name, shape: "LayerNorm" in name),
            ),
            Mistake(
                "That is right for these names only.  Other models call their layer norms ln_1 or norm, and a matrix "
                "may be called relative_bias: decide by the shape.",
                decays_by(lambda name, shape: "bias" in name or "LayerNorm.weight" in name),
            ),
            Mistake(
                "That is right for these names only.  Other models call their layer norms ln_1 or norm: decide by the "
                "shape.",
                decays_by(lambda name, shape: name.endswith(("bias", "LayerNorm.weight"))),
            ),
            Mistake(
                "Embeddings are matrices, and decay like others.",
                decays_by(lambda name, shape: len(shape) == 1 or "embeddings" in name),
            ),
            Mistake("Now nothing decays; matrices should.", decays_by(lambda name, shape: True)),
        ),
        hints=(
            "Data, masks, loss and rate are the same in both runs, and the losses cross.  What shrinks is the "
            "weight of every layer norm, whatever its gradient: something pulls it towards 0.",
            'Which names are in no_decay?  Is "encoder.layer.0.output.LayerNorm.weight" one of them?',
            "What all biases and layer norms have in common, and no matrix, is in their shapes.",
        ),
        note=(
            "In the package, each Parameter says whether it is decayed; "
            "test_weights_decay_and_biases_and_layer_norms_do_not (tests/tasks/test_finetune_parts.py) looks at all."
        ),
        broken=broken.weight_decays,
    )
)


# ----------------------------------------------------------------------------------------------------- run 9


def masked_epoch(
    token_ids: np.ndarray, epoch: int, seed: int, mask_id: int, first_id: int, vocab_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All sequences in the order of an epoch, masked; the same for the same seed and epoch.

    token_ids [S, T]; ordinary pieces have the ids first_id to vocab_size - 1.
    Returns hidden_ids [S, T], is_masked bool [S, T], labels [S, T].
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(token_ids))

    random = np.random.default_rng((seed, epoch, 1))
    is_masked = random.random(token_ids.shape) < 0.15
    action = random.random(token_ids.shape)
    random_ids = random.integers(first_id, vocab_size, token_ids.shape)
    replaced = np.where(action < 0.8, mask_id, np.where(action < 0.9, random_ids, token_ids))
    hidden_ids = np.where(is_masked, replaced, token_ids)

    return hidden_ids[order], is_masked[order], token_ids[order]


EPOCHS = 0, 1, 2, 10  # that are compared, from the first one on


class OfMasks:
    """What all right functions have in common, as answers to questions: 1 for yes, 0 for no."""

    def __init__(self, function: Callable) -> None:
        self.function = function

    def __call__(self, token_ids: np.ndarray, epoch: int, seed: int, *ids: int) -> tuple | None:
        first = self.function(token_ids, epoch, seed, *ids)
        if first is None or first is Ellipsis:
            return None
        mask_id, first_id, vocab_size = ids
        found = [self.checked(token_ids, epoch + k, seed, *ids) for k in EPOCHS]
        hidden, masked, labels = map(np.concatenate, zip(*found, strict=True))
        seen, kept = hidden[masked], (hidden == labels)[masked]
        random = seen[(seen != mask_id) & ~kept]
        there = random.min(initial=vocab_size) >= first_id and (first_id + 2 * vocab_size) / 3 < random.max(initial=0)
        there &= random.max(initial=0) < vocab_size
        epochs = [self.both_orders(token_ids, one) for one in found]
        seeds = [self.both_orders(token_ids, self.checked(token_ids, epoch, seed + k, *ids)) for k in range(1, 4)]
        return (
            int(all(np.array_equal(one[2][row_order(token_ids, one[2])], token_ids) for one in found)),
            int(np.array_equal(hidden[~masked], labels[~masked])),
            int(abs(masked.mean() - 0.15) < 0.02),
            int(abs((seen == mask_id).mean() - 0.8) < 0.05 and abs(kept.mean() - 0.1) < 0.04 and there),
            int(all(map(np.array_equal, first, found[0]))),
            int(not related([rows for rows, _ in epochs[:2]])),
            int(not related([rows for rows, _ in epochs])),
            int(not related([slots for _, slots in epochs])),
            int(not any(related([epochs[0][k], *(one[k] for one in seeds)]) for k in (0, 1))),
            int(not any(related([a[k], b[k]]) for a, b in zip(seeds, epochs[1:], strict=False) for k in (0, 1))),
            int(found[0][1].mean(axis=0).max() < 0.5),
        )

    def checked(self, token_ids: np.ndarray, *others: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three arrays of a call, the second one as bool.  Raises ValueError if they are something else."""
        hidden, masked, labels = (np.asarray(array) for array in self.function(token_ids, *others))
        if not hidden.shape == masked.shape == labels.shape == token_ids.shape:
            raise ValueError(f"expected three arrays with the shape {list(token_ids.shape)}")
        return hidden, masked.astype(bool), labels

    def both_orders(self, token_ids: np.ndarray, found: tuple) -> tuple[np.ndarray, np.ndarray]:
        """What is masked, with the rows as they are in token_ids, and as they are in the epoch."""
        return found[1][row_order(token_ids, found[2])], found[1]


def row_order(token_ids: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rows of `labels` in the order of token_ids, whose rows are all different."""
    return np.lexsort(labels.T)[np.argsort(np.lexsort(token_ids.T))]


def related(masks: list[np.ndarray]) -> bool:
    """Whether two of the masks share more positions than chance would have it."""
    flat = np.array([mask.reshape(-1) for mask in masks], np.float32)
    shared = flat @ flat.T / np.maximum(flat.sum(axis=1), 1)
    return bool((shared - np.eye(len(flat)) * shared > 0.5).any())


def epochs_with(key: Callable, one_row: bool = False, by_slot: bool = False) -> OfMasks:
    """masked_epoch with another key of the masks, (seed, epoch) -> key; by_slot: drawn for slots, not for rows."""

    def wrong(token_ids, epoch, seed, mask_id, first_id, vocab_size):
        order = np.random.default_rng((seed, epoch)).permutation(len(token_ids))
        random, back = np.random.default_rng(key(seed, epoch)), np.argsort(order)
        is_masked = random.random(token_ids.shape) < 0.15
        if by_slot:
            is_masked = is_masked[back]
        if one_row:
            is_masked = np.broadcast_to(np.arange(token_ids.shape[1]) % 7 == random.integers(7), token_ids.shape)
        action, random_ids = random.random(token_ids.shape), random.integers(first_id, vocab_size, token_ids.shape)
        replaced = np.where(action < 0.8, mask_id, np.where(action < 0.9, random_ids, token_ids))
        return np.where(is_masked, replaced, token_ids)[order], is_masked[order], token_ids[order]

    return OfMasks(wrong)


def epoch_tries() -> Iterator[Try]:
    r = np.random.default_rng(91)
    yield Try("150 sequences of 12 tokens", (r.integers(5, 50, (150, 12)), 0, 0, 4, 5, 50))
    yield Try("another epoch, seed and vocabulary", (r.integers(9, 80, (160, 12)), 3, 5, 7, 9, 80))


add(
    Exercise(
        "run_9",
        PROJECT,
        "run 9: a perfect loss, in training only",
        OfMasks(masked_epoch),
        epoch_tries,
        outputs=(
            "the answer (1: yes) to whether all sequences are there",
            "the answer (1: yes) to whether other tokens are left as they are",
            "the answer (1: yes) to whether 15 % are masked",
            "the answer (1: yes) to whether 80 % of these are [MASK], and 10 % random",
            "the answer (1: yes) to whether the same seed and epoch give the same masks",
            "the answer (1: yes) to whether an epoch has other masks than the one before",
            "the answer (1: yes) to whether each epoch has masks of its own",
            "the answer (1: yes) to whether the slots of an epoch have new masks",
            "the answer (1: yes) to whether each seed has masks of its own",
            "the answer (1: yes) to whether (seed 1, epoch 0) and (seed 0, epoch 1) have different masks",
            "the answer (1: yes) to whether sequences are masked at different positions",
        ),
        mistakes=(
            Mistake(
                "Masks are new in each epoch now, but nobody can repeat a run, or resume it: the generator needs a "
                "seed, which depends on `seed` and `epoch`.",
                epochs_with(lambda seed, epoch: None),
            ),
            Mistake(
                "With seed + epoch, seed 0 has in epoch 1 the masks that seed 1 has in epoch 0, so runs with different "
                "seeds are not independent.  Give default_rng both numbers.",
                epochs_with(lambda seed, epoch: seed + epoch),
            ),
            Mistake(
                "The masks are still drawn once, for the slots of an epoch; only the sequences in them change.",
                epochs_with(lambda seed, epoch: seed, by_slot=True),
            ),
            Mistake(
                "With seed + epoch, seed 0 has in epoch 1 the masks that seed 1 has in epoch 0, so runs with different "
                "seeds are not independent.  Give default_rng both numbers.",
                epochs_with(lambda seed, epoch: seed + epoch, by_slot=True),
            ),
            Mistake("The masks no longer depend on the seed.", epochs_with(lambda seed, epoch: epoch, by_slot=True)),
            Mistake("The masks no longer depend on the seed.", epochs_with(lambda seed, epoch: epoch)),
            Mistake(
                "The masks come back after some epochs.  (Google's release has ten copies with different masks; here, "
                "each epoch is to have its own.)",
                epochs_with(lambda seed, epoch: (seed, epoch % 10, 1)),
            ),
            Mistake(
                "All sequences of an epoch are masked at the same positions.",
                epochs_with(lambda seed, epoch: (seed, epoch, 1), one_row=True),
            ),
        ),
        hints=(
            "The training loss goes to 0, which no model can reach in this language, and the held-out loss rises: the "
            "model knows the answers by heart.  The text is as small in the healthy run, which learns less by heart, "
            "so it is not the text alone that the model has seen too often.",
            "Call the function for two epochs, and compare what is masked in the same sequence.",
            "The order has a generator for each (seed, epoch).  Which one do the masks have?",
        ),
        note=(
            "In the package, masks are a function of seed, step and sequence; "
            "test_masks_are_fresh_for_each_step_seed_sequence_and_stream is in tests/data/test_masking.py."
        ),
        wrap=OfMasks,
        shown=masked_epoch,
        broken=OfMasks(broken.masked_epoch),
    )
)
