"""Notebooks as students hand them in."""

import json

IMPORTS = "import numpy as np\n"
SOFTMAX = """def softmax(scores):
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
"""


def notebook(*sources, **changes):
    """The text of a notebook with these code cells, and a cell of text before each."""
    cells = []
    for source in sources:
        cells.append({"cell_type": "markdown", "metadata": {}, "source": ["Some text, check(1, 2)\n"]})
        lines = source.splitlines(keepends=True)
        code = {"cell_type": "code", "metadata": {}, "source": lines, "outputs": [], "execution_count": None}
        cells.append(code)
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5} | changes)
