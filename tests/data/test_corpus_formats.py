"""The formats of corpus files: read as what they are, or refused in one line that names them."""

import bz2
import csv
import gzip
import io
import json
import lzma
import pickle
import random
import re
import sys
import tarfile
import types
import zlib

import pytest

from minibert.data.corpus import CorpusOptions, read_corpus
from minibert.data.findings import Findings
from minibert.tasks.readers import read_examples
from minibert.tasks.registry import task_info
from minibert.text import split_sentences

TEXTS = ["One rainy day. It was long.", 'She said "no", and left.\nThen it\tdried.', "猫坐在窗边。你好吗？"]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def table(delimiter, texts=TEXTS, column="text"):
    file = io.StringIO(newline="")
    rows = csv.writer(file, delimiter=delimiter)
    rows.writerow(["id", column, "year"])
    rows.writerows([f"n{i}", text, 1990 + i] for i, text in enumerate(texts))
    return file.getvalue()


def jsonl(texts=TEXTS, field="text"):
    return "".join(json.dumps({"id": f"n{i}", field: text, "year": 1990 + i}) + "\n" for i, text in enumerate(texts))


CONTENTS = {".jsonl": jsonl, ".ndjson": jsonl, ".csv": lambda *a: table(",", *a), ".tsv": lambda *a: table("\t", *a)}
COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def refused(sources, *words, options=None, error=ValueError):
    with pytest.raises(error) as caught:
        list(read_corpus(sources, options))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("ending", CONTENTS)
@pytest.mark.parametrize("field", [None, "body"])
def test_records_are_read(tmp_path, ending, compression, field):
    content = CONTENTS[ending](TEXTS, field or "text")
    path = write(tmp_path / f"a{ending}{compression}", COMPRESS[compression](content.encode()))
    documents = list(read_corpus([path], CorpusOptions(text_field=field)))
    assert [document.text for document in documents] == TEXTS
    assert [document.name for document in documents] == ["n0", "n1", "n2"]
    assert [int(document.metadata["year"]) for document in documents] == [1990, 1991, 1992]


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("ending", [".txt", ".md", ".TXT", ".text"])
def test_text_is_read(tmp_path, ending, compression):
    data = COMPRESS[compression]("\ufeffone\r\n\r\ntwo\r\n".encode())
    write(tmp_path / f"a{ending}{compression}", data)
    assert [document.text.strip() for document in read_corpus([tmp_path])] == ["one", "two"]


def test_a_wikipedia_dump_as_jsonl(tmp_path):
    articles = [
        {"id": str(12 + i), "revid": "7", "url": f"https://example.org/{i}", "title": f"Rain {i}", "text": text}
        for i, text in enumerate(["Rain\n\nRain is water. It falls.\nSnow falls, too.", "", "Dew\n\nDew is water."])
    ]
    path = write(tmp_path / "wiki.jsonl", "".join(json.dumps(article) + "\n" for article in articles))
    findings = Findings()
    documents = list(read_corpus([path], findings=findings))
    assert [document.name for document in documents] == ["12", "14"]
    assert documents[0].metadata["title"] == "Rain 0"
    assert findings.lines()[-1] == "1 record without text passed over"


def test_jsonl_under_another_name_and_on_standard_input(tmp_path, monkeypatch):
    path = write(tmp_path / "wiki_00", jsonl())
    assert [document.text for document in read_corpus([path])] == TEXTS
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(jsonl().encode())))
    findings = Findings()
    assert [document.text for document in read_corpus(["-"], findings=findings)] == TEXTS
    assert "the records of JSONL" in findings.lines()[0]
    refused([write(tmp_path / "wiki_01", jsonl(TEXTS, "body"))], "wiki_01, line 1: no text", "--text-field")
    (tmp_path / "folder").mkdir()
    path = write(tmp_path / "folder" / "wiki.txt", jsonl() + '{"text": 3}\n')
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}, line {len(TEXTS) + 1}: "):  # not only its name
        list(read_corpus([tmp_path / "folder"]))
    refused([write(tmp_path / "a.json", json.dumps([{"text": "one"}], indent=1))], "a.json does not have one", "jq")
    assert len(list(read_corpus([write(tmp_path / "b.json", jsonl())]))) == 3
    path = write(tmp_path / "a.txt", "{this is text}\n\n{and this}\n")
    assert len(list(read_corpus([path]))) == 2


def test_options_that_cannot_act_on_standard_input_are_refused(tmp_path, monkeypatch):
    def given(text):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    given(jsonl(TEXTS, "body"))
    assert len(list(read_corpus(["-"], CorpusOptions(text_field="body")))) == 3
    given("id,body\n1,text\n")
    refused(["-"], "--text-field body does not apply to standard input", options=CorpusOptions(text_field="body"))
    given(jsonl())
    refused(["-"], "--documents line does not apply to standard input", options=CorpusOptions(documents="line"))
    path = write(tmp_path / "stdin.txt", jsonl(TEXTS, "body"))  # as pretrain copies it
    assert len(list(read_corpus([path], CorpusOptions(text_field="body")))) == 3
    refused(["sotu"], "--text-field body does not apply to sotu", options=CorpusOptions(text_field="body"))


def test_hidden_and_unknown_files_are_passed_over_and_counted(tmp_path):
    write(tmp_path / "folder" / "a.txt", "one\n")
    for name in ("._a.txt", ".ipynb_checkpoints/a.txt", ".hidden.jsonl", "b/.c/d.txt"):
        write(tmp_path / "folder" / name, b"\0\1\2")
    for name in ("a.pdf", "b.pdf", "README"):
        write(tmp_path / "folder" / name, b"\0\1\2")
    findings = Findings()
    assert [document.text for document in read_corpus([tmp_path / "folder"], findings=findings)] == ["one\n"]
    assert findings.lines()[1] == "7 files passed over: 4 hidden, 2 with .pdf, 1 with no ending"
    write(tmp_path / "other" / "a.docx", b"PK")
    refused([tmp_path / "other"], "no .txt or .jsonl files", "1 with .docx", ".parquet", error=FileNotFoundError)
    assert len(list(read_corpus([write(tmp_path / ".mine.txt", "given by name\n")]))) == 1


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".csv", ".txt.gz"])
@pytest.mark.parametrize(
    "content, name, advice",
    [
        ("text\n".encode("utf-16"), "UTF-16", "iconv -f UTF-16"),
        (b"\xfe\xff" + "text\n".encode("utf-16-be"), "UTF-16", "iconv -f UTF-16"),
        ("text\n".encode("utf-32"), "UTF-32", "iconv -f UTF-32"),
        ("text, more text\n".encode("utf-16-le"), "UTF-16", "iconv -f UTF-16LE"),
        ("text, more text\n".encode("utf-16-be"), "UTF-16", "iconv -f UTF-16BE"),
        (gzip.compress(b"text"), "gzip", ".gz"),
        (bz2.compress(b"text"), "bzip2", ".bz2"),
        (lzma.compress(b"text"), "xz", ".xz"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "Zstandard", ".zst"),
        (b"PK\x03\x04\x14\x00", "zip", "unpack"),
        (b"PAR1\x15\x04", "parquet", ".parquet"),
        (b"%PDF-1.7\n%\xe2\xe3", "PDF", "pdftotext"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_utf8_text_is_named_at_once(tmp_path, ending, content, name, advice):
    path = write(tmp_path / f"a{ending}", gzip.compress(content) if ending.endswith("gz") else content)
    with pytest.raises(ValueError) as caught:
        read_corpus([path])  # before anything is read
    message = str(caught.value)
    assert str(path) in message and name in message and advice in message and "\n" not in message


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz"])
def test_damaged_compressed_data_is_refused(tmp_path, ending):
    whole = COMPRESS[ending](b"".join(f"{i * i * 7919}\n".encode() for i in range(20000)))
    refused([write(tmp_path / f"cut.txt{ending}", whole[: len(whole) // 2])], "cut.txt", "damaged or incomplete")
    refused([write(tmp_path / f"text.txt{ending}", b"no compressed data\n")], "text.txt", "damaged or incomplete")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.csv", "id,body\n1,x\n", ["a.csv", "no column 'text'", "'id', 'body'", "--text-field"]),
        ("a.csv", "id,text\n1,x,y\n", ["a.csv, line 2", "3 columns", "header has 2"]),
        ("a.csv", 'text\ngood\n"a" b\n', ["a.csv, line 3", "not a valid row"]),
        ("a.csv", 'text\ngood\n"no end\n', ["a.csv, line 3", "not a valid row"]),
        ("a.csv", "text\n\n \n", ["a.csv is empty"]),
        ("a.tsv", "id\ttext\n1\n", ["a.tsv, line 2", "1 columns"]),
        ("a.jsonl", '{"body": "x"}\n', ["a.jsonl, line 1", "no text", "'body'", "--text-field"]),
        ("a.jsonl", "[" * 100_000, ["a.jsonl, line 1"]),
    ],
)
def test_malformed_records_are_refused_with_file_and_line(tmp_path, name, content, words):
    refused([write(tmp_path / name, content)], *words)


def test_options_that_cannot_act_are_refused(tmp_path):
    text, records = write(tmp_path / "a.txt", "one\n"), write(tmp_path / "a.jsonl", jsonl())
    refused([text], "--text-field body does not apply", options=CorpusOptions(text_field="body"))
    refused([records], "--documents line does not apply", options=CorpusOptions(documents="line"))
    assert len(list(read_corpus([records], CorpusOptions(documents="blank")))) == 3  # what old runs are read as
    refused(["sotu"], "--documents file does not apply", options=CorpusOptions(documents="file"))
    assert len(list(read_corpus([text, records], CorpusOptions(documents="line", text_field="text")))) == 4


class ParquetFile:
    """What the reader uses of pyarrow.parquet.ParquetFile, on rows in memory."""

    rows = [{"id": i, "text": text, "length": 3} for i, text in enumerate([*TEXTS, None])]

    def __init__(self, path):
        names = list(self.rows[0])
        self.schema_arrow = types.SimpleNamespace(names=names)

    def iter_batches(self, batch_size, columns):
        for row in self.rows:
            yield types.SimpleNamespace(to_pylist=lambda row=row: [{name: row[name] for name in columns}])


@pytest.fixture
def pyarrow(monkeypatch):
    """pyarrow, or a stand-in if it is not installed."""
    package = types.ModuleType("pyarrow")
    package.parquet = types.ModuleType("pyarrow.parquet")
    package.parquet.ParquetFile, package.ArrowInvalid = ParquetFile, type("ArrowInvalid", (ValueError,), {})
    monkeypatch.setitem(sys.modules, "pyarrow", package)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", package.parquet)
    monkeypatch.setattr("minibert.data.formats.require", lambda *_: None)


def test_parquet(tmp_path, pyarrow):
    path = write(tmp_path / "a.parquet", b"PAR1")
    findings = Findings()
    documents = list(read_corpus([path], findings=findings))
    assert [document.text for document in documents] == TEXTS
    assert [document.name for document in documents] == ["0", "1", "2"]
    assert findings.without_text == 1
    refused([path], "a.parquet has no column 'body', only 'id', 'text'", options=CorpusOptions(text_field="body"))
    refused([path], "a.parquet, row 1", "int, not text", options=CorpusOptions(text_field="length"))


def test_real_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="parquet files need pyarrow")
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.table({"text": TEXTS, "year": [1, 2, 3]}), tmp_path / "a.parquet")
    documents = list(read_corpus([tmp_path / "a.parquet"]))
    assert [document.text for document in documents] == TEXTS
    assert documents[1].name == "a.parquet#2"
    refused([write(tmp_path / "b.parquet", b"no parquet")], "b.parquet is not a parquet file")


def test_zstandard(tmp_path):
    zstandard = pytest.importorskip("zstandard", reason=".zst files need zstandard")
    data = zstandard.compress(b"one\n\n") + zstandard.compress(b"two\n")  # two frames
    path = write(tmp_path / "a.txt.zst", data)
    assert [document.text for document in read_corpus([path])] == ["one\n", "two\n"]
    for size in (3, 10, len(data) - 1):  # the library itself stops without an error
        refused([write(tmp_path / "b.txt.zst", data[:size])], "b.txt.zst is damaged or incomplete")
    write(tmp_path / "a.jsonl.zst", zstandard.compress(jsonl().encode()))
    assert [document.text for document in read_corpus([tmp_path / "a.jsonl.zst"])] == TEXTS
    refused([write(tmp_path / "c.txt.zst", b"text\n")], "c.txt.zst", "damaged")


@pytest.mark.parametrize("name, package", [("a.txt.zst", "zstandard"), ("a.parquet", "pyarrow")])
def test_a_missing_library_is_named_at_once(tmp_path, monkeypatch, name, package):
    monkeypatch.setattr("minibert.base.progress.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=f"{name} needs {package}.*pip install {package}"):
        read_corpus([write(tmp_path / name, b"")])


def test_errors_of_damaged_data_are_only_those():
    """What is not damage passes through: a missing file stays a missing file."""
    from minibert.data.formats import guarded

    with pytest.raises(ValueError, match="a.gz is damaged"), guarded("a.gz"):
        raise zlib.error("bad data")
    with pytest.raises(FileNotFoundError), guarded("a.gz"):
        raise FileNotFoundError(2, "No such file", "a.gz")


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".csv", ".tsv", ".jsonl.gz", ".csv.bz2", ".txt.xz"])
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, ending):
    """Bytes changed, removed and inserted at random: no other error than a ValueError that names the file."""
    kind, _, compression = ending[1:].partition(".")
    content = CONTENTS.get(f".{kind}", lambda: "\n".join(TEXTS))()
    whole = COMPRESS[f".{compression}" if compression else ""](content.encode())
    generator, refusals = random.Random(ending), 0
    for _ in range(80):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 3)):
            at = generator.randrange(len(data))
            data[at : at + generator.choice([0, 1, 1, 5])] = generator.choice([b"", b'"', b"\0", b"\n", b"\xff", b"{["])
        path = write(tmp_path / f"a{ending}", bytes(data))
        try:
            list(read_corpus([path]))
        except ValueError as error:
            refusals += 1
            assert str(path) in str(error) and "\n" not in str(error), error
    assert refusals > 10


def tar_of(name):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.add(name, "a.txt")
    return made.getvalue()


OTHER_DATA = {  # what the message calls it: the data
    "a tar archive": tar_of(__file__),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c\0\4" + bytes(40),
    "a RAR archive": b"Rar!\x1a\x07\x01\0" + b"\x90" * 40,
    "a zip archive": b"PK\x03\x04" + bytes(40),
    "Word document of an older version": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\1" * 40,
    "an Arrow file": b"\xff\xff\xff\xff\x10\1\0\0\x10\0\0\0",
    "a Python pickle": pickle.dumps(["text"]),
    "a picture (PNG)": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "compressed with LZ4": b"\x04\x22\x4d\x18\x64\x40\xa7" + b"\0a" * 20,
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 9\n",
    "ISO-2022": "雨が降る。\n".encode("iso2022_jp"),
    "UTF-16 without a byte order mark": "text,label\n".encode("utf-16-le"),
}


@pytest.mark.parametrize("what", OTHER_DATA)
def test_archives_and_other_data_are_named_by_both_readers(tmp_path, what, monkeypatch):
    """No advice to convert a tar archive from UTF-16 or a pickle from Latin-1."""
    path = write(tmp_path / "a.csv", OTHER_DATA[what])
    if "pointer" in what:
        refused([write(tmp_path / "a.parquet", OTHER_DATA[what])], "a.parquet is a Git LFS pointer")
    inside = write(tmp_path / "a.csv.gz", gzip.compress(OTHER_DATA[what]))
    for read in (read_corpus, lambda paths: read_examples(task_info("sentence"), paths[0])):
        for name in (path, inside):
            with pytest.raises(ValueError) as caught:
                read([name])
            message = str(caught.value)
            assert str(name) in message and what in message and "LATIN1" not in message and "\n" not in message
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(OTHER_DATA[what])))
    with pytest.raises(ValueError, match=re.escape(what)):
        list(read_corpus(["-"]))


@pytest.mark.parametrize(
    "content, words",
    [
        ('<?xml version="1.0"?>\n<a/>\n', "it is XML"),
        ("\ufeff<mediawiki>\n<page>", "it is a dump of a wiki, since it begins with <mediawiki"),
        ('<doc id="1" title="A">\nA\n\nRain fell.\n</doc>\n', "run it with --json"),
        ("<!DOCTYPE html>\n<html>", "it is HTML"),
        ('[\n {\n  "text": "Rain fell."\n }\n]\n', "does not have one JSON object per line"),
        ('{\n "a b": [1]\n}\n', "does not have one JSON object per line"),
    ],
)
def test_markup_and_json_are_not_learnt_as_text(tmp_path, monkeypatch, content, words):
    for name in ("a.txt", "a.json.gz", "wiki_00"):
        data = content.encode()
        with pytest.raises(ValueError, match=re.escape(words)):
            list(read_corpus([write(tmp_path / name, gzip.compress(data) if name.endswith("gz") else data)]))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    with pytest.raises(ValueError, match=re.escape(words)):
        list(read_corpus(["-"]))


@pytest.mark.parametrize("text", ["[1] Rain fell.\n", "{a} <b> c\n", "Rain.\n<?xml\n", '"text": a\n'])
def test_text_with_brackets_is_text(tmp_path, text):
    assert [document.text for document in read_corpus([write(tmp_path / "a.txt", text)])] == [text]


def test_carriage_returns_alone_end_lines(tmp_path):
    """As in the tables that Excel on a Mac saves, and as task files are read."""
    lines = ["rain fell on the roof", "we were at home", "", "it was late", "so we went"]
    for ends in ("\n", "\r\n", "\r"):
        path = write(tmp_path / "a.txt", ends.join(lines * 3))
        found = [split_sentences(document.text, document.ends) for document in read_corpus([path])]
        assert found == [lines[:2], lines[3:] + lines[:2], lines[3:] + lines[:2], lines[3:]]
        table = write(tmp_path / "a.csv", ends.join(["id,text", "1,one", "2,two"]))
        assert [document.text for document in read_corpus([table])] == ["one", "two"]
    one = write(tmp_path / "b.txt", "one\rtwo\n")  # where there are line feeds, they end lines
    assert [document.text for document in read_corpus([one])] == ["one\rtwo\n"]


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.csv", "\ufeffid;text\r\n1;one\r\n", "only 'id;text' (separated by semicolons?); expected commas in a .csv"),
        ("a.tsv", "id,text\n1,one\n", "(separated by commas?)"),
        ("a.csv", "text,id,text\none,1,two\n", "has 2 columns 'text'; expected one"),
        ("a.csv", "group,text,group\n1,two,3\n", "has 2 columns 'group'; expected one"),
        ("a.jsonl", '{"text": ["one"]}\n', "but the field 'text' holds a list: choose another with --text-field"),
        ("a.jsonl", '[{"text": "one"}]\n', "line 1: no text; each line must be an object like"),
        ("a.tsv", 'id\ttext\n1\tone\n2\t"two\n3\tthree"\n', "line 3: a quote begins a field that goes on for 2 lines"),
    ],
)
def test_tables_of_another_form_are_named(tmp_path, name, content, words):
    refused([write(tmp_path / name, content)], words)


def test_fields_without_text_are_counted_and_spaces_around_names_are_not_part_of_them(tmp_path):
    findings = Findings()
    lines = '{"text": null}\n{"text": "one"}\n{"text": " "}\n'
    assert [d.text for d in read_corpus([write(tmp_path / "a.jsonl", lines)], findings=findings)] == ["one"]
    assert findings.lines()[-1] == "2 records without text passed over"
    assert [d.text for d in read_corpus([write(tmp_path / "a.csv", "id, text\n1,one\n")])] == ["one"]
    quoted = 'id\ttext\n1\t"one\n\ntwo, ""three"""\n'  # as pandas writes it
    assert [d.text for d in read_corpus([write(tmp_path / "a.tsv", quoted)])] == ['one\n\ntwo, "three"']
    (tmp_path / "saved").mkdir()
    write(tmp_path / "saved" / "data-00000-of-00001.arrow", b"\xff\xff\xff\xff")
    refused([tmp_path / "saved"], "1 with .arrow", "save Arrow data with to_parquet", error=FileNotFoundError)
