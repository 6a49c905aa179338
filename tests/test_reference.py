"""The API reference: docstrings keep their lists and doctests, and every package has a page with all its modules."""

import pytest

pytest.importorskip("griffe")
pytest.importorskip("mkdocs")

from scripts.reference_docstrings import with_blocks  # noqa: E402
from scripts.reference_pages import PACKAGE, page  # noqa: E402


def test_lists_of_names_and_doctests_become_blocks():
    text = "What it does.\n\nheads    how many there are\n         in a layer\n\n>>> f(1)\n[1]\n\nRaises  nothing."
    assert with_blocks(text) == (
        "What it does.\n\n    heads    how many there are\n             in a layer\n\n    >>> f(1)\n    [1]\n\n"
        "    Raises  nothing."
    )
    assert with_blocks("One sentence.  Another one.") == "One sentence.  Another one."


def test_a_page_has_all_modules_of_its_package():
    text = page(PACKAGE / "nn")
    for path in (PACKAGE / "nn").glob("[a-z]*.py"):
        assert f"::: minibert.nn.{path.stem}\n" in text
    assert "::: minibert.nn\n    options:\n      members: false\n" in text
