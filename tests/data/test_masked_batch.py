"""minibert.data.masked_batch: what there is to predict, from padded arrays and back."""

import numpy as np
import pytest

from minibert.data import masked_from_padded, masked_to_padded

IDS = np.array([[2, 7, 8, 3], [2, 9, 3, 0]])
MASK = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])
LABELS = np.array([[-100, 5, -100, -100], [-100, 6, 4, -100]])


@pytest.mark.parametrize("pairs", [None, [0, 1]])
@pytest.mark.parametrize("labels", [None, LABELS])
def test_the_counts_are_those_of_what_is_predicted(labels, pairs):
    batch = masked_from_padded(IDS, MASK, labels=labels, next_sentence_label=pairs)
    assert batch.mlm_count == (0 if labels is None else 3)
    assert batch.nsp_count == (0 if pairs is None else 2)
    assert batch.masked_positions.tolist() == ([] if labels is None else [1, 5, 6])
    assert batch.masked_labels.tolist() == ([] if labels is None else [5, 6, 4])
    back = masked_to_padded(batch)
    assert back["labels"].tolist() == (np.full_like(IDS, -100) if labels is None else LABELS).tolist()
    assert np.array_equal(back["input_ids"], IDS) and np.array_equal(back["attention_mask"], MASK)
    assert back.get("next_sentence_label", np.array([])).tolist() == (pairs or [])
