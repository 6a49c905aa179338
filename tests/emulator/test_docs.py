"""The examples of docs/emulator.md do what the page says."""

import doctest
from pathlib import Path

import pytest

from minibert import emulator

PAGE = Path(__file__).parents[2] / "docs" / "emulator.md"


@pytest.mark.skipif(emulator.compiler_status() is not None, reason=str(emulator.compiler_status()))
def test_examples():
    result = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 10 and result.failed == 0
