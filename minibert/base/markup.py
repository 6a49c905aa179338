"""Values in HTML, Markdown and plots: names and text come from anywhere, and must appear as they are written."""

import html
import json
import re
from collections.abc import Callable
from typing import Any

UNSAFE_IN_SCRIPTS = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}
UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]+")
INVALID = re.compile("[\0\ud800-\udfff]")  # not allowed in HTML, or in UTF-8
VARIABLE = re.compile(r"\{\{(\w+) (\w+)\}\}")


def fill(template: str, **values: Any) -> str:
    """Replace each {{kind name}} in a template by the value of that name, in one step, so that no value is searched.

    kind: "html" for text between tags and for attributes in double quotes, "json" for the content of a <script>.
    Raises KeyError for a name without a value or an unknown kind, ValueError for NaN or infinity in JSON.

    >>> fill("<b>{{html name}}</b>", name="{{html x}} <i>")
    '<b>{{html x}} &lt;i&gt;</b>'
    """
    return VARIABLE.sub(lambda found: ESCAPES[found[1]](values[found[2]]), template)


def in_html(value: object) -> str:
    """A value as text between tags, or as an attribute in double quotes."""
    return html.escape(INVALID.sub("\ufffd", str(value)))


def in_script(value: Any) -> str:
    r"""A value as JSON that can stand in a <script>, which neither `</script>` nor `<!--` in a string can end.

    >>> print(in_script("</script>"))
    "\u003c/script\u003e"
    """
    return json.dumps(value, allow_nan=False).translate(UNSAFE_IN_SCRIPTS)


ESCAPES: dict[str, Callable[[Any], str]] = {"html": in_html, "json": in_script}


def in_markdown(value: object) -> str:
    r"""A value as text on one line of Markdown, where it has no effect on what stands around it.

    >>> print(in_markdown("my_run"), in_markdown("<img> *a*"), in_markdown("1. [x](y)"))
    my_run &lt;img&gt; \*a\* 1\. \[x\](y)
    """
    text = html.escape(UNPRINTABLE.sub(" ", str(value)).strip(), quote=False)
    text = re.sub(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
    return re.sub(r"^(?=[#+-])|^(\d+)(?=[.)])", r"\1\\", text)


def in_plot(value: object) -> str:
    """A value as text of a matplotlib figure, which would take what stands between dollar signs for a formula."""
    return str(value).replace("$", r"\$")


def code_block(text: str) -> str:
    """Text as a block of code in Markdown, between more backticks than it has."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{fence}\n{text}\n{fence}"
