"""`minibert gradcheck`: the table, and the exit code when a gradient is wrong."""

import re

import minibert.ops.reference as reference
from minibert import cli
from minibert.checks import CASES


def test_right_gradients_give_a_table_and_0(capsys):
    assert cli.main(["gradcheck", "tanh", "layernorm", "--backend", "reference"]) == 0
    heading, *rows, _, summary = capsys.readouterr().out.splitlines()
    assert heading.split() == ["op", "argument", "shape", "largest", "relative", "error", "result"]
    assert {row.split()[0] for row in rows} == {"tanh", "layernorm"}
    assert all(re.fullmatch(r"\w+ +\w+ +N=.*\] +\d\.\de[-+]\d\d +pass", row) for row in rows)
    assert len({row.index("N=") for row in rows} | {heading.index("shape")}) == 1  # one column
    assert summary.startswith(f"{len(rows)} of {len(rows)} gradients pass on the reference backend")


def test_a_planted_bug_fails_and_gives_1(capsys, monkeypatch):
    backward = reference.layernorm_backward

    def slightly_wrong(d_y, cache):
        d_x, d_weight, d_bias = backward(d_y, cache)
        return d_x, d_weight * (1 + 1e-5), d_bias

    monkeypatch.setattr(reference, "layernorm_backward", slightly_wrong)
    assert cli.main(["gradcheck", "layernorm", "tanh", "--backend", "reference"]) == 1
    rows = capsys.readouterr().out.splitlines()[1:-2]
    wrong = {tuple(row.split()[:2]) for row in rows if row.endswith("FAIL")}
    assert wrong == {("layernorm", "weight")}


def test_unknown_ops_and_backends_are_told_in_one_line(capsys):
    assert cli.main(["gradcheck", "layernom"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("minibert: error: unknown gradient check 'layernom'; choose from ")
    assert all(name in err for name in CASES) and err.count("\n") == 1
    assert cli.main(["gradcheck", "--backend", "abacus"]) == 2
    assert "--backend is 'abacus'; expected one of reference, cpu, gpu" in capsys.readouterr().err
