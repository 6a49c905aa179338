"""minibert.nn.config and parameters: the numbers that are copied from papers."""

import math

import numpy as np
import pytest

from minibert.nn.config import PRESETS, read_config
from minibert.nn.parameters import sinusoids, truncated_normal


def test_sizes_are_those_of_the_papers():
    """Devlin et al. 2019, section 3, and Turc et al. 2019, table 1: (layers, hidden size, heads)."""
    assert PRESETS == {
        "tiny": (2, 128, 2), "mini": (4, 256, 4), "small": (4, 512, 8), "medium": (8, 512, 8), "base": (12, 768, 12),
        "large": (24, 1024, 16),
    }  # fmt: skip


@pytest.mark.parametrize("width", [6, 7])
def test_sinusoids_are_those_of_the_formula(width):
    """Vaswani et al. 2017, section 3.5, scaled so that the root mean square is std."""
    values = sinusoids(0.02)(None, (5, width))
    for position in range(5):
        for i in range(width):
            angle = position / 10000 ** ((i - i % 2) / width)
            expected = 0.02 * math.sqrt(2) * (math.cos(angle) if i % 2 else math.sin(angle))
            assert values[position, i] == pytest.approx(expected, abs=1e-15)


def test_a_truncated_normal_reaches_to_two_standard_deviations_and_no_further():
    values = truncated_normal(0.02)(np.random.default_rng(1), (200, 200))
    assert 0.0399 < values.max() <= 0.04 and -0.04 <= values.min() < -0.0399
    assert abs(values.mean()) < 0.0003
    assert values.std() == pytest.approx(0.02 * 0.8796, rel=0.01)  # of a normal distribution cut off at 2


def test_a_folder_of_sentence_transformers_with_the_model_inside_is_said(tmp_path):
    """As its first versions wrote it: modules.json, 0_Transformer/config.json, 1_Pooling/config.json."""
    with pytest.raises(FileNotFoundError, match="expected the folder of a BERT model"):
        read_config(tmp_path, "bert")
    for name in ("0_Transformer", "1_Pooling"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="give .*0_Transformer, the Transformer in it"):
        read_config(tmp_path, "bert")
