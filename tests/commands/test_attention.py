"""`minibert attention`: a page that says the truth, in a real browser too."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minibert import Bert, BertConfig, Tokenizer
from minibert.data import Batch
from minibert.inference.attention_probabilities import attention_probabilities
from minibert.pictures.attention_page import AttentionView, attention_page, look, plot_heads

COURSE = Path(__file__).parents[2] / "lessons" / "model"
TEXT = "the state of the union is strong"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=2000"
).split()


def minibert(*arguments):
    return subprocess.run([sys.executable, "-m", "minibert", *arguments], capture_output=True, text=True, timeout=120)


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


class TestProbabilities:
    def test_they_give_the_context_that_the_op_gives(self):
        """probabilities @ value, head by head, is what attention_forward returns."""
        config = BertConfig(
            vocab_size=30, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=24,
            max_position_embeddings=16,
        )  # fmt: skip
        model = Bert(config, "reference", dtype="float64", seed=1)
        batch = Batch.of_sequences([np.arange(5, 12), [3], [9, 9, 4]])
        layers = attention_probabilities(model, batch)
        for layer, x, sequences in zip(model.body.encoder.layers, model.hidden_states(batch), layers, strict=False):
            q, k, v = (getattr(layer.attention, name).forward(x)[0] for name in ("query", "key", "value"))
            positions = np.concatenate([np.arange(n) for n in batch.lengths])
            context, _ = model.backend.attention_forward(q, k, v, 3, batch.cu_seqlens, batch.cu_seqlens, positions)
            for begin, end, probabilities in zip(batch.cu_seqlens, batch.cu_seqlens[1:], sequences, strict=False):
                values = v[begin:end].reshape(end - begin, 3, 4).transpose(1, 0, 2)
                mine = (probabilities @ values).transpose(1, 0, 2).reshape(end - begin, 12)
                assert np.allclose(mine, context[begin:end], rtol=0, atol=1e-12)
                assert np.allclose(probabilities.sum(axis=2), 1)

    def test_too_long_a_text_is_told(self):
        model, tokenizer = Bert.from_pretrained(COURSE), Tokenizer.load(COURSE)
        with pytest.raises(ValueError, match="a picture shows at most 128"):
            look(model, tokenizer, "union " * 200)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("attention") / "page.html"
    result = minibert("attention", str(COURSE), TEXT, "--out", str(path))
    assert result.returncode == 0, result.stderr
    return path


def test_the_page_holds_everything_and_asks_for_nothing_from_elsewhere(page):
    text = page.read_text(encoding="utf-8")
    data = data_of(text)
    assert data["tokens"] == ["[CLS]", *TEXT.split(), "[SEP]"]
    weights = np.array(data["weights"])
    assert weights.shape == (2, 2, 9, 9) and np.allclose(weights.sum(axis=3), 1, atol=0.01)
    assert not re.search(r'(src|href)="|@import|url\(', text)


def test_nothing_in_a_text_can_end_the_script():
    page = attention_page(["</script><b>", "x"], np.full((1, 1, 2, 2), 0.5), "<title> & more")
    assert page.count("</script>") == page.count("<script") == 2 and "&lt;title&gt; &amp; more" in page


def test_a_notebook_shows_it_and_a_terminal_says_what_it_is():
    view = AttentionView(["a", "b"], np.full((1, 2, 2, 2), 0.5), "title")
    assert '<iframe sandbox="allow-scripts" srcdoc=' in view._repr_html_() and "1 layers of 2 heads" in repr(view)


def test_a_notebook_that_has_not_run_says_so():
    """It shows neither <style> nor <iframe>; what is left is a line of text."""
    html = AttentionView(["a", "b"], np.full((1, 2, 2, 2), 0.5), "title")._repr_html_()
    left = re.sub(r"<(style|iframe).*?</\1>", "", html, flags=re.DOTALL)
    assert re.search(r">attention over a b: 1 layers of 2 heads\. Run this cell to see them\.</div>$", left)


@pytest.mark.slow
def test_a_figure_of_all_heads():
    figure = plot_heads(["a", "b", "c"], np.full((2, 3, 3, 3), 1 / 3))
    assert [axes.get_title() for axes in figure.axes][:2] == ["layer 1, head 1", "layer 1, head 2"]


def in_browser(folder, address: str) -> tuple[str, str]:
    """What stands in the page once its scripts have run: all of it, and the sentence under the picture."""
    command = [BROWSER, *QUIET, f"--user-data-dir={folder}", "--dump-dom", address]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    return dom, re.search(r'<p id="told"[^>]*>([^<]*)</p>', dom)[1]


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.slow
class TestInARealBrowser:
    def test_it_shows_the_lines_of_a_token(self, page, tmp_path):
        dom, told = in_browser(tmp_path, page.as_uri() + "#layer=1&head=1&token=2")
        data = data_of(page.read_text(encoding="utf-8"))
        shares = np.array(data["weights"])[0, 0, 2]
        assert told.startswith(f"state looks at: {data['tokens'][shares.argmax()]} {round(100 * shares.max())} %")
        assert dom.count("<line ") == (shares >= 0.01).sum()
        assert len(re.findall(r"<option", dom)) == 2 + 2 + 1  # layers, heads, and their mean

    def test_pointing_and_choosing_change_it(self, page, tmp_path):
        """A hand of its own: a script behind the page's chooses a layer and all heads, and moves the pointer."""
        hand = """<script>
        layer.selectedIndex = 1; head.selectedIndex = 2; head.dispatchEvent(new Event("change"));
        asks.children[5].dispatchEvent(new MouseEvent("mouseenter"));
        </script></body>"""
        text = page.read_text(encoding="utf-8")
        text, policies = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        assert policies == 1  # with it, only the page's own script runs
        moved = tmp_path / "moved.html"
        moved.write_text(text.replace("</body>", hand), encoding="utf-8")
        dom, told = in_browser(tmp_path, moved.as_uri())
        data = data_of(text)
        shares = np.array(data["weights"])[1].mean(axis=0)[5]
        assert told.startswith(f"{data['tokens'][5]} looks at: {data['tokens'][shares.argmax()]} ")
        assert dom.count("<line ") == (shares >= 0.01).sum()

        left = moved.read_text(encoding="utf-8").replace("</script></body>", "asks.onmouseleave();</script></body>")
        moved.write_text(left, encoding="utf-8")
        dom, told = in_browser(tmp_path, moved.as_uri())
        assert told == "" and dom.count("<line ") == (np.array(data["weights"])[1].mean(axis=0) >= 0.01).sum()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nowhere", "text"], "nowhere"),
        ([str(COURSE), "  "], "TEXT is empty"),
        ([str(COURSE), "text", "--out", "nowhere/page.html"], "the folder nowhere does not exist"),
        ([str(COURSE), "union " * 300], "shorten it"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = minibert("attention", *arguments)
    lines = [line for line in result.stderr.splitlines() if "compiling the CPU kernels" not in line]
    assert result.returncode == 2 and len(lines) == 1 and words in lines[0]
    assert list(tmp_path.iterdir()) == []
