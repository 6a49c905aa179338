"""Changes to files, one at a time: of bytes, of JSON, of lines and fields; and changes that must not matter.

Each function takes a random generator and the content, and returns the changed content.
"""

import json
import random
import struct
from collections.abc import Callable
from typing import Any

Mutator = Callable[[random.Random, bytes], bytes]

NUMBERS = [0, 1, 2, 3, -1, 0.5, 1.0, 1e308, 1e999, float("nan"), 2**31, 2**63, 2**64, -(2**63), 10**30, 30000]
VALUES = [None, True, False, "", " ", "x", "0", "1", "\ud800", "é", "\u2028", "a\nb", "\0", [], [[]], ["x"], [None], {}]
VALUES += [{"x": 1}, {"": None}, {"text": "x"}, {"content": "x"}, "../x", "/etc/passwd", "nan", "٣", "²"]
BYTES = [b"\0", b"\xff", b"\n", b"\r", b"\t", b" ", b'"', b",", b"{", b"}", b"[", b"]", b"\\", b"-", b"#", b"1", b"e"]
BYTES += [
    "\u2028".encode(),
    "\u00a0".encode(),
    "\ufeff".encode(),
    b"\xc3",
    b"\xed\xa0\x80",
    b"\x0b",
    b"\x0c",
    b"\x1c",
    b"\x85",
]


def bytes_changed(random_of: random.Random, data: bytes) -> bytes:
    """Flip, insert, delete, duplicate or cut bytes at a random offset."""
    at, width = random_of.randrange(len(data) + 1), random_of.choice([1, 1, 1, 2, 8, 64])
    before, here, after = data[:at], data[at : at + width], data[at + width :]
    action = random_of.randrange(6)
    if action == 0 and here:
        return before + bytes([here[0] ^ (1 << random_of.randrange(8))]) + here[1:] + after
    if action == 1:
        return before + random_of.choice(BYTES) + here + after
    if action == 2:
        return before + after
    if action == 3:
        return before + here * random_of.choice([2, 2, 3, 50]) + after
    if action == 4:
        return before
    return before + random_of.choice(BYTES) + here[1:] + after


def nodes_of(value: Any) -> list[tuple[Any, Any]]:
    """The (container, key) of every node of a JSON document but its root."""
    found, waiting = [], [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found


def other_value(random_of: random.Random, value: Any) -> Any:
    """Another value: near the present one, of another type, or extreme."""
    action = random_of.randrange(8)
    if action < 3 and isinstance(value, bool):
        return random_of.choice([not value, int(value), str(value)])
    if action < 3 and isinstance(value, int | float):
        return random_of.choice([value + 1, value - 1, -value, value * 2, float(value), str(value)])
    if action < 3 and isinstance(value, str):
        return random_of.choice(
            [value + "x", value[:-1], value.upper(), " " + value, value * 2, value + "\u00a0", [value]]
        )
    if action == 3:
        return random_of.choice(NUMBERS)
    if action == 4:
        return [value] if random_of.random() < 0.5 else {"x": value}
    if action == 5 and random_of.random() < 0.1:
        return "x" * 100_000
    return random_of.choice(VALUES)


def json_value(random_of: random.Random, document: Any) -> Any:
    """The document with one node changed: another value or key, deleted, repeated, or one added.  It is changed."""
    nodes = nodes_of(document)
    if not nodes or random_of.random() < 0.02:
        return other_value(random_of, document)
    holder, key = random_of.choice(nodes)
    action = random_of.random()
    if action < 0.12:
        del holder[key]
    elif action < 0.24 and isinstance(holder, dict):
        holder[random_of.choice([f"{key}x", str(key).upper(), "", "x"])] = (
            holder.pop(key) if random_of.random() < 0.5 else holder[key]
        )
    elif action < 0.24:
        holder.insert(key, holder[key])
    else:
        holder[key] = other_value(random_of, holder[key])
    return document


def as_json(random_of: random.Random, document: Any) -> bytes:
    return json.dumps(document, indent=random_of.choice([None, None, 1]), ensure_ascii=random_of.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    )


def json_changed(random_of: random.Random, data: bytes) -> bytes:
    """One node of a JSON document is changed; seldom, in its text: a repeated key, deep nesting, a long number."""
    document = json.loads(data)
    if random_of.random() > 0.06:
        return as_json(random_of, json_value(random_of, document))
    nodes = nodes_of(document)
    if not nodes:
        return data
    holder, key = random_of.choice(nodes)
    kept, holder[key] = holder[key], "\ue000"
    text = as_json(random_of, document).decode("utf-8", "surrogatepass")
    spliced = random_of.choice(
        ["[" * 100_000, '{"x":' * 2000 + "1" + "}" * 2000, "1" * 5000, "1e400", "-Infinity", "9" * 400]
    )
    if random_of.random() < 0.4 and isinstance(holder, dict):
        spliced = f"{json.dumps(kept)}, {json.dumps(key)}: {json.dumps(other_value(random_of, kept))}"
    mark = '"\ue000"' if "\ue000" in text else '"\\ue000"'
    return text.replace(mark, spliced).encode("utf-8", "surrogatepass")


def json_rewritten(random_of: random.Random, data: bytes) -> bytes:
    """The same JSON document, written differently: white space, escapes, the order of keys."""
    document = json.loads(data)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, shuffled(inner)) for key, inner in value.items()]
            random_of.shuffle(items)
            return dict(items)
        return [shuffled(inner) for inner in value] if isinstance(value, list) else value

    text = json.dumps(
        shuffled(document),
        indent=random_of.choice([None, 0, 1, 4]),
        ensure_ascii=random_of.random() < 0.5,
        separators=random_of.choice([None, (",", ":"), (" , ", " : ")]),
    )
    return (
        random_of.choice(["", "", " \n", "\r\n\t"]).encode() + text.encode() + random_of.choice([b"", b"\n", b" \r\n"])
    )


def json_line(random_of: random.Random, data: bytes) -> bytes:
    """One line of a JSONL file, changed as a JSON document."""
    lines = data.decode().split("\n")
    full = [number for number, line in enumerate(lines) if line.strip()]
    at = random_of.choice(full)
    try:
        lines[at] = json_changed(random_of, lines[at].encode()).decode("utf-8", "surrogatepass").replace("\n", " ")
    except ValueError:
        return bytes_changed(random_of, data)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def lines_changed(random_of: random.Random, data: bytes) -> bytes:
    """One line is cut, deleted, repeated, swapped, or joined to the next one; or one blank line is added."""
    lines = data.split(b"\n")
    at = random_of.randrange(len(lines))
    line = lines[at]
    cut = random_of.randrange(len(line) + 1)
    lines[at : at + 1] = random_of.choice(
        [
            [line[:cut]],
            [line[cut:]],
            [],
            [line, line],
            [line, b""],
            [line[:cut], line[cut:]],
            [line + b" "],
            [b"x", line],
        ]
    )
    if random_of.random() < 0.1:
        random_of.shuffle(lines)
    return b"\n".join(lines)


def field_changed(separator: bytes) -> Mutator:
    """A mutator: one field of a table is changed, deleted, repeated or quoted."""

    def change(random_of: random.Random, data: bytes) -> bytes:
        lines = data.split(b"\n")
        at = random_of.randrange(len(lines))
        fields = lines[at].split(separator)
        column = random_of.randrange(len(fields))
        field = fields[column]
        new = random_of.choice(
            [b"", b" ", b"x", b"nan", b"1", b"1.0", b"-1", b"1e999", b'"', b'"x"', b'"a ""b"" c"', b"\xc2\xa0"]
        )
        new = random_of.choice([new, field + new, b'"' + field + b'"', field.upper(), b" " + field, field + b"\r"])
        fields[column : column + 1] = random_of.choice([[new], [new], [new], [], [field, new]])
        lines[at] = separator.join(fields)
        return b"\n".join(lines)

    return change


def line_ends(random_of: random.Random, data: bytes) -> bytes:
    """The same lines, with the line ends of Windows, or without the last, or with a byte-order mark."""
    return random_of.choice(
        [
            data.replace(b"\n", b"\r\n"),
            data.removesuffix(b"\n"),
            b"\xef\xbb\xbf" + data,
            data.rstrip(b"\n") + b"\n",
            data,
        ]
    )


def unchanged(random_of: random.Random, data: bytes) -> bytes:
    return data


def header_changed(random_of: random.Random, data: bytes) -> bytes:
    """A safetensors file with its header changed: the length, one node of the JSON, or its white space."""
    size = int.from_bytes(data[:8], "little")
    if random_of.random() < 0.2:
        length = random_of.choice([0, 1, size - 1, size + 1, size + 8, len(data), 2**31, 2**63, 2**64 - 1])
        return struct.pack("<Q", length) + data[8:]
    header = json_changed(random_of, data[8 : 8 + size])
    header += b" " * (-len(header) % 8) if random_of.random() < 0.7 else b""
    return struct.pack("<Q", len(header)) + header + data[8 + size :]


def values_changed(random_of: random.Random, data: bytes) -> bytes:
    """A safetensors file with one byte of its tensors changed."""
    at = random_of.randrange(8 + int.from_bytes(data[:8], "little"), len(data))
    return data[:at] + bytes([random_of.randrange(256)]) + data[at + 1 :]
