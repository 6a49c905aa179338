"""Pictures of attention: a plot with one matrix per head, an interactive web page, and a view for notebooks."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minibert.base.markup import fill, in_plot
from minibert.data.batch import Batch
from minibert.inference.attention_probabilities import attention_probabilities
from minibert.models.bert import Bert
from minibert.models.pretraining import BertForPreTraining
from minibert.pictures.style import SEQUENTIAL, figure, style
from minibert.text import Tokenizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_TOKENS = 128  # the maximum number of tokens in a picture


def look(model: Bert | BertForPreTraining, tokenizer: Tokenizer, text: str) -> tuple[list[str], np.ndarray]:
    """The tokens of a text, and the attention probabilities between all pairs of tokens, float64 [L, A, T, T].

    Raises ValueError if the text is too long for the model or for a picture.
    """
    encoding = tokenizer.encode(text)
    longest = min(model.config.max_position_embeddings, MOST_TOKENS)
    if len(encoding.ids) > longest:
        raise ValueError(f"the text has {len(encoding.ids)} tokens, but a picture shows at most {longest}; shorten it")
    batch = Batch.of_sequences([encoding.ids])
    layers = attention_probabilities(model, batch)
    return [tokenizer.vocabulary[i] for i in encoding.ids], np.array([sequences[0] for sequences in layers])


def plot_heads(tokens: list[str], probabilities: np.ndarray, title: str = "") -> "Figure":
    """Plot the attention matrix of every head in every layer; returns a matplotlib figure.

    probabilities: [L, A, T, T].
    """
    layers, heads = probabilities.shape[:2]
    made, axes = figure(
        layers, heads, width=min(1.2 + 3.1 * heads, 12), height=min(0.9 + 2.9 * layers, 12), squeeze=False
    )
    with style():
        for layer in range(layers):
            for head in range(heads):
                draw(axes[layer][head], tokens, probabilities[layer, head], f"layer {layer + 1}, head {head + 1}")
        made.suptitle(title or "Each row: where one token attends (dark: 0, yellow: 1)")
    return made


def draw(axes: "Axes", tokens: list[str], matrix: np.ndarray, title: str) -> None:
    """Draw the attention matrix of one head, with queries as rows and keys as columns."""
    axes.imshow(matrix, cmap=SEQUENTIAL, vmin=0, vmax=max(matrix.max(), 1e-9))
    axes.set_title(title)
    names = list(map(in_plot, tokens))
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.spines[:].set_visible(False)


PAGE = Path(__file__).with_name("attention.html")


def attention_page(tokens: list[str], probabilities: np.ndarray, title: str) -> str:
    """A self-contained HTML page that shows the attention of a chosen token in a chosen layer and head.

    probabilities: [L, A, T, T].  The page runs its own script and loads nothing, whatever tokens and title contain.
    Raises ValueError if a probability is NaN or infinite.
    """
    if not np.isfinite(probabilities).all():
        raise ValueError("the attention has probabilities that are NaN or infinite; the model's weights are damaged")
    data = {"tokens": tokens, "weights": np.round(probabilities, 3).tolist()}
    page = PAGE.read_text(encoding="utf-8")
    return fill(page, title=title, data=data, policy=policy_of(page))


def policy_of(page: str) -> str:
    """The content security policy that allows a page the script and the style it has itself, and nothing else."""
    parts = {name: re.search(rf"<{name}>(.*?)</{name}>", page, re.DOTALL) for name in ("script", "style")}
    hashes = {name: b64encode(sha256(part[1].encode()).digest()).decode() for name, part in parts.items() if part}
    allowed = [f"{name}-src 'sha256-{digest}'" for name, digest in hashes.items()]
    return "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"])


class AttentionView:
    """An interactive view of attention for notebooks; use `plot_heads` where only static pictures can be shown."""

    def __init__(self, tokens: list[str], probabilities: np.ndarray, title: str):
        self.page, self.height = attention_page(tokens, probabilities, title), 230 + 28 * len(tokens)
        self.text = (
            f"attention over {' '.join(tokens)}: {probabilities.shape[0]} layers of {probabilities.shape[1]} heads"
        )

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        # until its cells are run, a notebook shows no <iframe> and applies no <style>; only then is the text visible
        return fill(
            '<div class="not-run">{{html text}}. Run this cell to see them.</div>'
            "<style>.not-run {display: none}</style>"
            '<iframe sandbox="allow-scripts" srcdoc="{{html page}}" '
            'style="width:100%;height:{{html height}}px;border:0" title="attention"></iframe>',
            text=self.text,
            page=self.page,
            height=self.height,
        )
