"""Token shards that somebody has altered, with checksums computed again: refused before anything is mapped."""

import copy
import hashlib
import json
import os

import numpy as np
import pytest

from minibert.data import manifest as manifests
from minibert.data.manifest import MANIFEST, manifest_sha256
from minibert.data.shards import Shards
from tests.data.helpers import numbered_shards

LENGTHS = [[3, 4], [5], [1, 1, 2], [6, 2]]  # 4 documents, 8 sentences, 24 tokens
WRONG = [
    None,
    -1,
    0,
    1,
    1.5,
    24.0,
    True,
    "8",
    [],
    {},
    2**31,
    2**63,
    10**30,
    "|O",
    "O",
    "<u8",
    ">u2",
    "../x",
    float("nan"),
]


@pytest.fixture
def folder(tmp_path):
    shards, _ = numbered_shards(tmp_path / "shards", LENGTHS, shard_tokens=5)
    return shards.folder


def write(folder, manifest):
    manifest = {**manifest, "sha256": manifest_sha256(manifest)}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def read(folder):
    return json.loads((folder / MANIFEST).read_text())


def replace(folder, name, content):
    """Replace a file, and its size and checksum in the manifest."""
    (folder / name).write_bytes(content)
    manifest = read(folder)
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write(folder, manifest)


def refused(folder, words="", **options):
    with pytest.raises(ValueError) as error:
        Shards(folder, **options)
    text = str(error.value)
    assert "\n" not in text and str(folder) in text and words in text and text.endswith("write it again"), text


@pytest.fixture
def unmapped(monkeypatch):
    """Nothing may be mapped."""

    def fail(*_, **__):
        raise AssertionError("mapped")

    monkeypatch.setattr(np, "memmap", fail)


def test_the_example_is_sound(folder):
    assert len(Shards(folder).manifest["files"]) == 4 + 3
    write(folder, read(folder))
    assert [record["name"] for record in Shards(folder).records()] == [f"document {i}" for i in range(4)]


def leaves(value, path=()):
    if isinstance(value, dict):
        yield path
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path


def test_every_entry_with_every_wrong_value(folder, unmapped):
    """Refused, unless an entry is one that only the tokenizer is compared with."""
    original, count = read(folder), 0
    for path in leaves(original):
        if path in ((), ("sha256",)):
            continue
        for wrong in WRONG:
            manifest = copy.deepcopy(original)
            inner = manifest
            for key in path[:-1]:
                inner = inner[key]
            if inner[path[-1]] == wrong and type(inner[path[-1]]) is type(wrong):
                continue
            inner[path[-1]] = wrong
            write(folder, manifest)
            if path[0] == "vocabulary" and path != ("vocabulary",) and (path[1] != "size" or repr(wrong) == "1"):
                assert manifests.read_manifest(folder)
            else:
                refused(folder)
                count += 1
    assert count > 300


def test_every_entry_is_needed(folder, unmapped):
    original = read(folder)
    for path in leaves(original):
        if (
            path in ((), ("sha256",))
            or path[:1] == ("vocabulary",)
            and path not in (("vocabulary",), ("vocabulary", "size"))
        ):
            continue
        manifest = copy.deepcopy(original)
        inner = manifest
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]
        write(folder, manifest)
        refused(folder)


@pytest.mark.parametrize(
    "name",
    ["../tokens-00003.bin", "/etc/passwd", "tokens-../../x", "tokens-00003.bin/x", "tokens-0003.bin",
     "tokens-00004.bin", "tokens-٠٠٠٠٣.bin", "tokens-00003.bin\n", "tokens-", "",
     ".", "x" * 1000, "tokens-00003.bin\0"],
)  # fmt: skip
def test_other_names_are_refused(folder, unmapped, name):
    (folder.parent / "tokens-00003.bin").write_bytes(bytes(2))
    manifest = read(folder)
    manifest["files"][name] = {"bytes": 2, "sha256": hashlib.sha256(bytes(2)).hexdigest()}
    manifest["counts"]["tokens"] += 1
    write(folder, manifest)
    refused(folder, "is none of sentences.bin")


@pytest.mark.parametrize("name", ["tokens-00001.bin", "sentences.bin", "documents.jsonl"])
def test_links_out_of_the_folder_are_refused(folder, unmapped, name):
    os.rename(folder / name, folder.parent / "elsewhere")
    (folder / name).symlink_to(folder.parent / "elsewhere")
    refused(folder, f"{name} is a link to another folder")


def test_a_link_to_the_folder_itself_is_fine(folder):
    (folder.parent / "link").symlink_to(folder)
    assert Shards(folder.parent / "link").manifest["counts"]["tokens"] == 24


def test_what_is_no_file_is_missing(folder, unmapped):
    os.unlink(folder / "tokens-00000.bin")
    os.mkfifo(folder / "tokens-00000.bin")
    refused(folder, "tokens-00000.bin is missing")


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"{" + b" " * (1 << 24) + b"}", b'{"format": 1e999}', b"\xff", b"[]", b"1"]
)
def test_other_manifests_are_refused(folder, unmapped, content):
    (folder / MANIFEST).write_bytes(content)
    refused(folder, "is damaged or of another version")


INTS = dict(dtype="<i8")
ALTERED = {
    "sentences.bin": [0, 3, 7, 12, 13, 14, 16, 22, 24],
    "documents.bin": [0, 2, 3, 6, 8],
}


@pytest.mark.parametrize("name", ALTERED)
@pytest.mark.parametrize("at", range(9))
@pytest.mark.parametrize("value", [-1, 2**62, -(2**63), "next", "last"])
def test_addresses_out_of_order_are_refused(folder, name, at, value):
    starts = np.array(ALTERED[name], **INTS)
    assert (folder / name).read_bytes() == starts.tobytes()
    if at >= len(starts):
        return
    altered = starts.copy()
    altered[at] = {"next": starts[(at + 1) % len(starts)], "last": starts[at - 1]}.get(value, value)
    replace(folder, name, altered.tobytes())
    refused(folder, f"{name} does not ascend from 0 to {starts[-1]}")
    refused(folder, verify=False)


def test_a_document_in_two_files_is_refused(folder):
    """The files begin with the sentences 0, 2 and 3."""
    replace(folder, "documents.bin", np.array([0, 2, 3, 4, 8], **INTS).tobytes())
    assert len(Shards(folder).all()) == 4
    for first in (1, 2):
        replace(folder, "documents.bin", np.array([0, first, 6, 8], **INTS).tobytes())
        manifest = read(folder)
        manifest["counts"]["documents"] = 3
        manifest["files"]["hashes.bin"]["bytes"] = 48
        write(folder, manifest)
        os.truncate(folder / "hashes.bin", 48)
        refused(folder, "lies in two files", verify=False)


@pytest.mark.parametrize("at", [0, 4, 6])
def test_token_ids_beyond_the_vocabulary_are_refused(folder, monkeypatch, at):
    monkeypatch.setattr(manifests, "AT_A_TIME", 4)
    name = "tokens-00000.bin"
    ids = np.frombuffer((folder / name).read_bytes(), "<u2").copy()
    size = read(folder)["vocabulary"]["size"]
    for wrong in (size, 65535):
        ids[at] = wrong
        replace(folder, name, ids.tobytes())
        refused(folder, f"{name} has the token id {wrong}, but the vocabulary only {size} pieces")
    ids[at] = size - 1
    replace(folder, name, ids.tobytes())
    assert Shards(folder).read(at, at + 1) == [size - 1]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"1",
        b'{"name": "a"}',
        b'{"name": 1, "group": "b"}',
        b'{"name": "a", "group": null}',
        b"\xff",
        b"[" * 99999,
    ],
)
def test_records_that_are_none_are_refused(folder, line):
    lines = (folder / "documents.jsonl").read_bytes().splitlines()
    for number in (1, 4):
        replace(folder, "documents.jsonl", b"\n".join([*lines[: number - 1], line, *lines[number:], b""]))
        with pytest.raises(ValueError, match=f"documents.jsonl has in line {number} no document with name and group"):
            list(Shards(folder).records())


@pytest.mark.parametrize("count, words", [(3, "has 3 documents instead of 4"), (5, "in line 5 .* one too many")])
def test_another_number_of_records_is_refused(folder, count, words):
    lines = (folder / "documents.jsonl").read_bytes().splitlines() * 2
    replace(folder, "documents.jsonl", b"\n".join([*lines[:count], b""]))
    with pytest.raises(ValueError, match=words):
        Shards(folder).all().groups  # noqa: B018
