"""scripts/regenerate.py: what counts as a change, and that README shows what the programs print."""

import pytest

from scripts.derived_texts import ROOT, replace_block, table_of_commands, table_of_h100, transcript_of
from scripts.regenerate import DERIVED, code, fingerprint

PRINTED = """\
minibert: compiling the CPU kernels
run        runs/001 (new)
baseline   7.1%
step 10, held out: masked tokens 1%
    a [MASK] .
        b 2%, c 1%   (was: d)
step 20, held out: masked tokens 2%
    e [MASK] .
        f 3%, g 1%   (was: h)
step 30, held out: masked tokens 3%
    i [MASK] .
        j 4%, k 1%   (was: l)
    m [MASK] .
        n 5%, o 1%   (was: p)
result     20 tokens
             7.1%  baseline
try        minibert fill runs/001""".split("\n")


def test_docstrings_comments_and_annotations_are_no_change():
    before = 'def f(x):\n    "Old."\n    return x + 1\n'
    after = '"New."\n\n\ndef f(x: int) -> int:\n    """New."""\n    # why\n    return x + 1\n'
    assert code(before) == code(after)
    assert code(before) != code(before.replace("+ 1", "+ 2"))
    assert code('def f():\n    "Only text."') != code("def f():\n    return 1")


@pytest.mark.parametrize("name", DERIVED)
def test_everything_is_made_from_files_that_exist(name):
    assert DERIVED[name].minutes >= 0
    for pattern in DERIVED[name].inputs:
        assert any(ROOT.glob(pattern)), pattern
    assert len(fingerprint(DERIVED[name].inputs)) == 16


def test_a_transcript_with_some_evaluations():
    assert transcript_of(PRINTED, (10, 30)) == [*PRINTED[:6], "…", *PRINTED[9:]]
    assert transcript_of(PRINTED, (10, 20, 30)) == PRINTED


def test_a_brief_transcript_keeps_the_blank_that_the_model_is_surest_of():
    assert transcript_of(PRINTED, (10, 30), brief=True) == [
        PRINTED[1], PRINTED[3], "…", PRINTED[9], *PRINTED[12:14], "…", *PRINTED[14:]
    ]  # fmt: skip


def test_a_block_is_replaced_once_or_not_at_all(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("a\nfirst 1\nb\nlast 1\nc\n")
    replace_block(path, "first", "last", ["new"])
    assert path.read_text() == "a\nnew\nc\n"
    with pytest.raises(ValueError, match="0 lines begin with 'first'"):
        replace_block(path, "first", "last", ["new"])
    path.write_text("first\nb\n")
    with pytest.raises(ValueError, match="no line after 'first' begins with 'last'"):
        replace_block(path, "first", "last", ["new"])


def test_readme_has_the_tables_that_are_made_for_it():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\n".join(table_of_commands()) in readme
    assert "\n".join(table_of_h100((ROOT / "docs" / "gpu" / "h100.md").read_text(encoding="utf-8"))) in readme
