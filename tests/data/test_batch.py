"""Batch and MaskedBatch: splitting, validation, and the way from and to padded batches."""

import dataclasses

import numpy as np
import pytest

from minibert.data import Batch, MaskedBatch, from_padded, masked_from_padded, masked_to_padded, to_padded


def example(pairs=True):
    lengths = [5, 3, 4, 2]
    generator = np.random.default_rng(0)
    total = sum(lengths)
    tokens = Batch(
        token_ids=generator.integers(5, 50, total).astype(np.int32),
        segment_ids=generator.integers(0, 2, total).astype(np.int32),
        position_ids=np.concatenate([np.arange(n) for n in lengths]).astype(np.int32),
        cu_seqlens=np.cumsum([0, *lengths]).astype(np.int32),
        sequence_numbers=np.arange(10, 14),
    )
    return MaskedBatch(
        tokens,
        masked_positions=np.array([1, 3, 6, 13], np.int32),
        masked_labels=np.array([7, 8, 9, 10], np.int32),
        nsp_labels=np.array([0, 1, 1, 0], np.int32) if pairs else None,
        mlm_count=40,
        nsp_count=9 if pairs else 0,
    )


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
@pytest.mark.parametrize("pairs", [True, False])
def test_split_and_join_gives_the_batch_back(parts, pairs):
    batch = example(pairs)
    pieces = batch.split(parts)
    assert len(pieces) == parts
    for name in ("token_ids", "segment_ids", "position_ids", "sequence_numbers", "lengths"):
        joined = np.concatenate([getattr(piece.tokens, name) for piece in pieces])
        assert np.array_equal(joined, getattr(batch.tokens, name)), name
    assert np.array_equal(np.concatenate([piece.masked_labels for piece in pieces]), batch.masked_labels)
    starts = np.cumsum([0] + [len(piece.tokens.token_ids) for piece in pieces])
    masked = [piece.masked_positions + start for piece, start in zip(pieces, starts, strict=False)]
    assert np.array_equal(np.concatenate(masked), batch.masked_positions)
    assert all((piece.mlm_count, piece.nsp_count) == (40, batch.nsp_count) for piece in pieces)
    if pairs:
        assert np.array_equal(np.concatenate([piece.nsp_labels for piece in pieces]), batch.nsp_labels)
    else:
        assert all(piece.nsp_labels is None for piece in pieces)


def test_a_part_without_masked_tokens():
    part = example().take(2, 3)
    assert len(part.masked_positions) == len(part.masked_labels) == 0
    assert part.tokens.sequence_numbers.tolist() == [12] and part.tokens.cu_seqlens.tolist() == [0, 4]


def test_cls_positions_and_original_ids():
    batch = example()
    assert batch.tokens.cls_positions.tolist() == [0, 5, 8, 12]
    changed = np.flatnonzero(batch.original_ids != batch.tokens.token_ids)
    assert set(changed) <= set(batch.masked_positions)
    assert np.array_equal(batch.original_ids[batch.masked_positions], batch.masked_labels)


@pytest.mark.parametrize("first, last", [(2, 2), (-1, 2), (0, 5), (3, 1)])
def test_impossible_parts_are_refused(first, last):
    with pytest.raises(ValueError, match="cannot take sequences"):
        example().take(first, last)


@pytest.mark.parametrize("parts", [0, 5])
def test_impossible_splits_are_refused(parts):
    with pytest.raises(ValueError, match="4 sequences"):
        example().split(parts)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"token_ids": np.zeros(14, np.int64)}, "token_ids must be int32"),
        ({"segment_ids": np.zeros(13, np.int32)}, r"segment_ids must be int32 of shape \[14\]"),
        ({"sequence_numbers": np.zeros(4, np.int32)}, "sequence_numbers must be int64"),
        ({"cu_seqlens": np.array([0, 5, 5, 12, 14], np.int32)}, "must rise from 0"),
        ({"cu_seqlens": np.array([0, 5, 8, 12, 13], np.int32)}, "must rise from 0"),
        ({"masked_positions": np.array([1, 3, 3, 13], np.int32)}, "ascending indices below 14"),
        ({"masked_positions": np.array([1, 3, 6, 14], np.int32)}, "ascending indices below 14"),
        ({"masked_labels": np.zeros(3, np.int32)}, "masked_labels must be"),
        ({"nsp_labels": np.zeros(3, np.int32)}, "nsp_labels must be"),
    ],
)
def test_inconsistent_batches_are_refused(change, message):
    (name,) = change
    batch = example()
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(batch if hasattr(batch, name) else batch.tokens, **change)


def test_sequences_are_laid_end_to_end():
    batch = Batch.of_sequences([[5, 6, 7], [8]], [[0, 0, 1], [0]], first=4)
    assert batch.token_ids.tolist() == [5, 6, 7, 8] and batch.segment_ids.tolist() == [0, 0, 1, 0]
    assert batch.position_ids.tolist() == [0, 1, 2, 0] and batch.cu_seqlens.tolist() == [0, 3, 4]
    assert batch.sequence_numbers.tolist() == [4, 5]
    assert Batch.of_sequences([np.array([9])]).segment_ids.tolist() == [0]


def test_from_padded_drops_padding_wherever_it_stands():
    ids = np.array([[0, 0, 2, 9, 3], [2, 8, 3, 0, 0], [2, 0, 7, 6, 3]])
    mask = np.array([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 1, 1]])
    labels = np.full(ids.shape, -100)
    labels[0, 3] = 11
    labels[1, 4] = 12  # on padding: nothing to predict there
    batch = masked_from_padded(ids, mask, labels=labels, next_sentence_label=[[0], [1], [1]])
    for tokens in (batch.tokens, from_padded(ids, mask)):
        assert tokens.token_ids.tolist() == [2, 9, 3, 2, 8, 3, 2, 7, 6, 3]
        assert tokens.position_ids.tolist() == [2, 3, 4, 0, 1, 2, 0, 2, 3, 4]
        assert tokens.cu_seqlens.tolist() == [0, 3, 6, 10]
    assert batch.masked_positions.tolist() == [1] and batch.masked_labels.tolist() == [11]
    assert batch.nsp_labels.tolist() == [0, 1, 1]
    assert (batch.mlm_count, batch.nsp_count) == (1, 3)


def test_to_padded_and_back():
    tokens = dataclasses.replace(example().tokens, sequence_numbers=np.arange(4))
    batch = dataclasses.replace(example(), tokens=tokens, mlm_count=4, nsp_count=4)
    padded = masked_to_padded(batch)
    assert padded["input_ids"].shape == (4, 5)
    padded.pop("position_ids")
    again = masked_from_padded(**padded)
    for field in dataclasses.fields(Batch):
        assert np.array_equal(getattr(again.tokens, field.name), getattr(tokens, field.name)), field.name
    for field in dataclasses.fields(MaskedBatch)[1:]:
        assert np.array_equal(getattr(again, field.name), getattr(batch, field.name)), field.name
    for name in ("attention_mask", "token_type_ids"):
        assert np.array_equal(to_padded(tokens)[name], padded[name])
    assert to_padded(tokens, pad_id=3)["input_ids"][3].tolist()[2:] == [3, 3, 3]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input_ids": [1, 2]}, r"shape \[sequences, length\], got \[2\]"),
        ({"input_ids": [[1, 2]], "attention_mask": [[1, 1, 0]]}, "attention_mask has shape"),
        ({"input_ids": [[1, 2]], "attention_mask": [[1, 2]]}, "only 0"),
        ({"input_ids": [[1, 2], [3, 4]], "attention_mask": [[1, 1], [0, 0]]}, "at least one token"),
        ({"input_ids": [[1, 2]], "next_sentence_label": [0, 1]}, "nsp_labels must be"),
    ],
)
def test_bad_padded_batches_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        masked_from_padded(**arguments)
