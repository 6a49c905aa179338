"""Links between documents lead somewhere, and docs/paper.md names what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [path for path in PAGES if "reference" not in path.parts]  # checked by mkdocs --strict


def anchors_of(path):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", file):
            continue
        found = (path.parent / file).resolve() if file else path
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors_of(found)):
            yield target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(path):
    assert list(dead_links(path)) == []


def test_a_dead_link_and_a_dead_anchor_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[a](#a-heading) [b](#another) [c](none.md) [d](https://example.org/x)\n")
    assert list(dead_links(page)) == ["#another", "none.md"]


def test_the_map_of_the_paper_names_what_the_files_have():
    text = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)` in \[[^]]*\]\(([^)]+)\)", text)
    assert len(named) >= 5
    for name, file in named:
        assert re.search(rf"^(class |def )?{name}\b", (ROOT / "docs" / file).read_text(encoding="utf-8"), re.M), name


def test_every_lesson_of_the_glossary_exists():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    numbers = {int(number) for found in re.findall(r"\((\d[\d, ]*)\) \|$", text, re.M) for number in found.split(",")}
    lessons = {int(path.name[:2]) for path in (ROOT / "lessons").glob("[0-9]*.ipynb")}
    assert {0, *numbers} <= lessons and len(numbers) >= 10
