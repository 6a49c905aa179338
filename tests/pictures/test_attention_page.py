"""Names, text and vocabularies in pages, cards and pictures: they appear as they are written, and none of them runs."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minibert.base.markup import code_block, fill, in_html, in_markdown, in_script
from minibert.models.model_card import Score, card, metadata_of, score_table
from minibert.pictures.attention_page import PAGE, AttentionView, attention_page, plot_heads, policy_of
from minibert.tasks.plots import plot_confusion

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=2000"
).split()
RUN = "document.title='RAN'"
HOSTILE = [
    f"<img src=x onerror={RUN}>", f"</title><script>{RUN}</script>", f"<!--<script>{RUN}", "</script>", "<!--", "-->",
    f"\"><svg onload={RUN}>", f"' onload='{RUN}", "{{json data}}", "{{html title}}", "@TITLE@", "@DATA@", "&lt;b&gt;",
    "&", "\u2028\u2029", "a\0b", "\r\n", "\ud800", "𝄞", "]]>", "\\u003c", "\\", "${1}", "`", "//", "*/", "\\1",
    "</style>",
]  # fmt: skip
texts = st.one_of(st.sampled_from(HOSTILE), st.text(), st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join))


def page_of(tokens, title):
    return attention_page(tokens, np.full((2, 1, len(tokens), len(tokens)), 1 / len(tokens)), title)


class Reader(HTMLParser):
    """The elements of a page, the text of its title, and the content of its scripts."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts = [], {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, attributes))
        self.texts.setdefault(len(self.elements) - 1, "")

    def handle_data(self, data):
        if self.elements:
            self.texts[len(self.elements) - 1] += data

    def texts_of(self, tag):
        return [self.texts[number] for number, (name, _) in enumerate(self.elements) if name == tag]


PLAIN = Reader(page_of(["a"], "title"))


def as_read(text):
    """What a browser makes of characters that HTML does not have."""
    return re.sub("[\0\ud800-\udfff]", "\ufffd", text)


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4), texts)
@example(HOSTILE, "".join(HOSTILE))
def test_a_page_has_the_same_elements_whatever_it_shows(tokens, title):
    page = page_of(tokens, title)
    page.encode("utf-8")
    read = Reader(page)
    assert read.elements == PLAIN.elements
    for tag in ("title", "h1"):
        assert read.texts_of(tag)[0].removesuffix("\n") == as_read(title)
    data, script = read.texts_of("script")
    assert json.loads(data)["tokens"] == tokens and script.strip() == PLAIN.texts_of("script")[1].strip()
    assert not set("<>&\u2028\u2029") & set(data)


@settings(max_examples=100, deadline=None)
@given(texts, texts)
def test_so_has_a_notebooks_view(token, title):
    view = AttentionView([token, "b"], np.full((1, 1, 2, 2), 0.5), title)._repr_html_()
    read = Reader(view)
    assert [tag for tag, _ in read.elements] == ["div", "style", "iframe"]
    attributes = dict(read.elements[2][1])
    assert set(attributes) == {"sandbox", "srcdoc", "style", "title"} and attributes["sandbox"] == "allow-scripts"
    assert json.loads(Reader(attributes["srcdoc"]).texts_of("script")[0])["tokens"] == [token, "b"]


def test_a_value_is_never_searched_for_other_values():
    values = {"a": "{{html b}}", "b": "{{html a}}"}
    assert fill("{{html a}}|{{html b}}|{{json a}}", **values) == '{{html b}}|{{html a}}|"{{html b}}"'
    for template in ("{{html c}}", "{{javascript a}}"):
        with pytest.raises(KeyError):
            fill(template, **values)


@given(texts)
def test_escaping_can_be_undone(text):
    assert html.unescape(in_html(text)) == as_read(text)
    assert json.loads(in_script(text)) == text
    assert not set("<>\"'") & set(in_html(text))


def test_the_policy_allows_the_pages_own_script_and_style_only():
    (content,) = (
        dict(attributes)["content"] for tag, attributes in PLAIN.elements if tag == "meta" and len(attributes) == 2
    )
    assert content == policy_of(PAGE.read_text(encoding="utf-8"))
    assert content.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in content
    assert PLAIN.elements.index(("meta", [("http-equiv", "Content-Security-Policy"), ("content", content)])) < 5
    assert policy_of("<script>a</script><style>b</style>").count("sha256-") == 2


def test_probabilities_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        attention_page(["a"], np.full((1, 1, 1, 1), np.nan), "title")


# ------------------------------------------------------------------------------------------------------ in a browser


def in_browser(folder: Path, page: str) -> str:
    """What stands in a page once its scripts have run."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    command = [BROWSER, *QUIET, f"--user-data-dir={folder}", "--dump-dom", (folder / "page.html").as_uri() + "#token=1"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
@pytest.mark.slow
class TestInARealBrowser:
    def test_hostile_names_vocabulary_and_text(self, tmp_path):
        """They come from a model's folder, as they would from somebody else's."""
        from minibert.commands.attention_page import AttentionConfig, attention

        run = tmp_path / f"<img src=x onerror={RUN}>{{{{json data}}}}&lt;"
        shutil.copytree(Path(__file__).parents[2] / "lessons" / "model", run)
        lines = (run / "vocab.txt").read_text(encoding="utf-8").split("\n")
        hostile = {
            "state": f"<!--<script>{RUN}</script>",
            "union": f"</script><svg/onload={RUN}>",
            "strong": "\u2028'\"&",
        }
        changed = "\n".join(hostile.get(line, line) for line in lines)
        (run / "vocab.txt").write_text(changed, encoding="utf-8")
        settings = json.loads((run / "tokenizer_config.json").read_text(encoding="utf-8"))
        settings["extra_special_tokens"] = tokens = list(hostile.values())
        (run / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        attention(AttentionConfig(str(run), f"the {' '.join(tokens)} is <b onclick={RUN}>", out=tmp_path / "out.html"))
        page = (tmp_path / "out.html").read_text(encoding="utf-8")
        assert set(json.loads(Reader(page).texts_of("script")[0])["tokens"]) >= set(tokens)
        dom = in_browser(tmp_path, page)
        read = Reader(dom)
        assert "RAN" not in read.texts_of("title")[0].replace(RUN, "")
        assert read.texts_of("title")[0].strip() == f"Attention in {run.name}"
        assert not {tag for tag, _ in read.elements} & {"img", "b", "iframe"} and dom.count("<svg") == 1
        assert dom.count("<line ") > 0  # the page's own script has run

    def test_what_got_in_all_the_same_does_not_run(self, tmp_path):
        page = page_of(["a", "b"], "title")
        planted = f'<script>{RUN}</script><img src="x" onerror="{RUN}"><svg onload="{RUN}"></svg><a id="here">'
        outside = '<script src="data:text/javascript,document.title=%27RAN%27"></script>'
        planted = page.replace("<h1>", f"{planted}{outside}<h1>")
        assert "<title>title</title>" in in_browser(tmp_path, planted)
        unprotected = re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", planted)
        assert "<title>RAN</title>" in in_browser(tmp_path, unprotected)

    def test_a_notebooks_view_cannot_reach_the_notebook(self, tmp_path):
        view = AttentionView(
            ["a", "b"], np.full((1, 1, 2, 2), 0.5), f"</h1><script>parent.{RUN}</script>"
        )._repr_html_()
        dom = in_browser(tmp_path, f"<!DOCTYPE html><title>title</title><body>{view}</body>")
        assert "<title>title</title>" in dom
        inside = html.escape("<script>parent.document.title='RAN'</script>")
        unprotected = view.replace('srcdoc="', f'srcdoc="{inside}')
        assert "<title>title</title>" in in_browser(tmp_path, f"<!DOCTYPE html><title>title</title>{unprotected}")
        unprotected = unprotected.replace('sandbox="allow-scripts" ', "")
        assert "<title>RAN</title>" in in_browser(tmp_path, f"<!DOCTYPE html><title>title</title>{unprotected}")


# ------------------------------------------------------------------------------------------------------- model cards


IN_MARKDOWN = [
    "# a", "- a", "+ a", "1. a", "2) a", "> a", "    a", "***", "___", "---", "a_b_c", "_a_", "__a__", "*a*", "`a`",
    "``", "~~a~~", "[a](javascript:b)", "![a](b)", "[a]: b", "<a>", "&amp;", "a | b", "a\n\n# b", "a\n---\nb", "\\",
    "a\\\nb", "$x$", "<!-- a -->", "a\u2028b", "\tb", "`" * 5, "```\n# a\n```", "www", "a  b", ":", "[^1]", "[ ] a",
]  # fmt: skip
names = st.one_of(
    st.sampled_from(IN_MARKDOWN + HOSTILE), st.lists(st.sampled_from(IN_MARKDOWN), max_size=3).map("".join)
)


def shown(text: str) -> str:
    """A text as a page shows it: on one line, with single spaces."""
    return " ".join(re.sub("[\0-\x1f\x7f-\x9f\u2028\u2029]", " ", text).split())


def render(text: str) -> str:
    markdown_it = pytest.importorskip("markdown_it")
    return markdown_it.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


def plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub("<[^>]*>", "", markup)).replace("\ufffd", "").split())


@settings(max_examples=200, deadline=None)
@given(names)
@example("a_b")
def test_a_name_in_markdown_is_text(name):
    name = name.replace("\ud800", "?")
    markup = in_markdown(name)
    assert "\n" not in markup and "<" not in markup
    expected = shown(name).replace("\0", "")
    for template, before in (("{}, trained", ""), ("Labels: {}.", "Labels: "), ("# {}: b", "")):
        rendered = render(template.format(markup))
        tag = "h1" if template[0] == "#" else "p"
        assert re.sub("<[^/]*?>", "", rendered) == re.sub(f"<{tag}>", "", rendered), rendered
        assert plain(rendered) == shown(template.removeprefix("# ").format(expected)), before
    rendered = render(score_table([Score("accuracy", 0.5, name)]))
    assert rendered.count("<td>") == 2 and plain(rendered) == shown(f"{expected} 50.0%")


def test_names_that_need_no_escapes_have_none():
    for name in ("my_run-2: a (b), c.d/e 10% café", "google-bert/bert-base-uncased", "span f1"):
        assert in_markdown(name) == name


@settings(max_examples=60, deadline=None)
@given(names)
def test_code_stays_code(name):
    text = name.replace("\ud800", "?").replace("\0", "?").replace("\r\n", "\n")
    rendered = render(f"a\n\n{code_block(text)}\n\nb")
    assert re.sub("<code>.*?</code>", "", rendered, flags=re.DOTALL) == "<p>a</p>\n<pre></pre>\n<p>b</p>\n"


def test_a_whole_card_of_hostile_names():
    from minibert.tasks.config import FinetuneConfig
    from minibert.tasks.model_card import fine_tuning_card

    for name in IN_MARKDOWN + HOSTILE:
        name = name.replace("\0", "").replace("/", "").replace("\ud800", "") or "a"
        config = FinetuneConfig(run=f"runs/{name}", task="sst2", train=f"data/{name}.tsv")
        text = fine_tuning_card(name, config, (name, "b"), (9, 1), {name: 0.5}, f"minibert predict {name}")
        body = text.split("\n---\n", 1)[1]
        rendered = render(body.partition("\n\n# ")[2])
        assert re.findall("<h2>(.*?)</h2>", rendered) == ["Model", "Data", "Recipe", "Scores", "Use", "Licence"], name
        left = re.sub("<code>.*?</code>", "", rendered, flags=re.DOTALL)
        assert not re.search(r"<(?!/?(h2|p|pre|table|thead|tbody|tr|th|td|code)\b)", left), (name, left)


def test_a_title_is_one_line():
    text = card(
        "a\n# b\n", metadata_of("a", "fill-mask", {"name": "a", "type": "text"}, {"type": "a", "name": "a"}, []), {}
    )
    assert "\n# a # b\n" in text


# ---------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("name", ["$\\frac{$", "$5 to $10", "\\$", "$x^2$"])
def test_dollar_signs_in_pictures(tmp_path, name):
    figure = plot_heads([name, "b"], np.full((1, 1, 2, 2), 0.5))
    figure.savefig(tmp_path / "heads.svg")
    seen = [label._preprocess_math(label.get_text()) for label in figure.axes[0].get_xticklabels()]
    assert seen == [(name, False), ("b", False)]
    plot_confusion(tmp_path / "confusion.png", name, [name, "b"], [name, "b"], [name, "b"])
