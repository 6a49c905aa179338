"""Write minibert/text/unicode_tables.py: the facts about characters that BERT's normaliser relies on.

    python scripts/make_unicode_tables.py            write the file
    python scripts/make_unicode_tables.py --check    exit with 1 if the file is not what would be written

The facts are queried from the `tokenizers` library, one code point at a time (20 seconds), because it is the
authority: its Rust tables come from three crates, each with a Unicode version of its own, and none of them is
the version of the running Python.  The file that is written is all that minibert needs at run time.
"""

import argparse
import sys
import textwrap
from pathlib import Path

import tokenizers
from tokenizers import normalizers, pre_tokenizers

TARGET = Path(__file__).resolve().parent.parent / "minibert" / "text" / "unicode_tables.py"
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]

HEADER = '''"""Tables of characters.  Written by scripts/make_unicode_tables.py: change that script, not this file.

Code points are hexadecimal; `first-last` is a range with both ends in it.  The tables state what version
{version} of the `tokenizers` library does, so that nothing depends on the Unicode version of the Python
that runs.  minibert.text.characters reads them.
"""
'''


def bert_normaliser(**steps):
    every_step = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**(every_step | steps))


def ranges(characters):
    """['a', 'b', 'c', 'x'] -> '61-63 78'."""
    found = []
    for code in sorted(map(ord, characters)):
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return " ".join(f"{first:X}" if first == last else f"{first:X}-{last:X}" for first, last in found)


def shifts(lower):
    """{'A': 'a', 'B': 'b', ...} -> '41-42+20 ...': runs of characters (all, or every second) with one distance."""
    runs = []  # [first, last, step, distance]
    for character in sorted(lower):
        code, distance = ord(character), ord(lower[character]) - ord(character)
        if runs:
            first, last, step, run_distance = runs[-1]
            gap = code - last
            if distance == run_distance and gap <= 2 and (first == last or gap == step):
                runs[-1][1:3] = code, gap
                continue
        runs.append([code, code, 1, distance])
    words = []
    for first, last, step, distance in runs:
        span = f"{first:X}" if first == last else f"{first:X}-{last:X}" + ("/2" if step == 2 else "")
        words.append(f"{span}{'+' if distance > 0 else '-'}{abs(distance):X}")
    return " ".join(words)


def combines(character, decompose):
    """Whether canonical ordering moves the character: it swaps with a mark of the lowest or the highest class."""
    overlay, iota_below = "\u0334", "\u0345"  # canonical combining classes 1 and 240
    return any(decompose(pair) == pair[::-1] for pair in (character + overlay, iota_below + character))


def beside_a_word():
    """A function: whether a character counts as part of a word for an added token marked single_word."""
    peer = tokenizers.Tokenizer(tokenizers.models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    peer.add_tokens([tokenizers.AddedToken("Q", single_word=True, normalized=False)])
    return lambda character: "Q" not in peer.encode(f"Q{character}").tokens


def gather():
    """name -> (its description, the table as text)."""
    clean = bert_normaliser(clean_text=True).normalize_str
    strip = bert_normaliser(strip_accents=True).normalize_str
    lowercase = bert_normaliser(lowercase=True).normalize_str
    spread = bert_normaliser(handle_chinese_chars=True).normalize_str
    decompose = normalizers.NFD().normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str

    lower = {c: lowercase(c) for c in CHARACTERS if lowercase(c) != c}
    several = {c: lower.pop(c) for c in list(lower) if len(lower[c]) > 1}
    if several != {"\u0130": "i\u0307"}:
        raise SystemExit(f"lower-casing to several characters: expected only U+0130, got {several}")
    touches_word = beside_a_word()
    decomposed = [c for c in CHARACTERS if decompose(c) != c]
    composed = set(decomposed)
    nonspacing = [c for c in CHARACTERS if c not in composed and strip(c) == ""]
    combining = [c for c in CHARACTERS if c not in composed and combines(c, decompose)]
    return {
        "REMOVED": (
            "Dropped by the clean-up: control, format and private-use characters, NUL and U+FFFD.",
            ranges(c for c in CHARACTERS if clean(f"a{c}b") == "ab"),
        ),
        "WHITESPACE": (
            "Turned into a plain space by the clean-up.",
            ranges(c for c in CHARACTERS if clean(f"a{c}b") == "a b"),
        ),
        "CHINESE": (
            "CJK ideographs, each of which becomes a word of its own.",
            ranges(c for c in CHARACTERS if spread(c) != c),
        ),
        "PUNCTUATION": (
            "Split off as a word of its own by the pre-tokeniser.",
            ranges(c for c in CHARACTERS if [word for word, _ in split(f"a{c}b")] == ["a", c, "b"]),
        ),
        "DECOMPOSED": ("Changed by canonical decomposition (NFD).", ranges(decomposed)),
        "NONSPACING": ("Nonspacing marks, dropped when accents are stripped.", ranges(nonspacing)),
        "COMBINING": ("Have a canonical combining class other than 0.", ranges(combining)),
        "COMBINING_BUT_KEPT": (
            "COMBINING less NONSPACING: these alone show the order of marks when accents are stripped.",
            ranges(set(combining) - set(nonspacing)),
        ),
        "WORD": (
            "Letters, digits and marks: beside one of these, an added token marked single_word is not matched.",
            ranges(c for c in CHARACTERS if touches_word(c)),
        ),
        "LOWER": (
            "Lower-casing, one character to one: `41-5A+20` adds 20 to each, `100-12E/2+1` to every second.\n"
            "# U+0130 alone becomes two characters, and no character looks at its neighbours.",
            shifts(lower),
        ),
    }


def render():
    parts = [HEADER.format(version=tokenizers.__version__)]
    for name, (comment, table) in gather().items():
        lines = textwrap.wrap(table, 108)
        body = f'"{lines[0]}"' if len(lines) == 1 else '"""\n' + "\n".join(lines) + '\n"""'
        parts.append(f"\n# {comment}\n{name} = {body}\n")
    return "".join(parts)


def tables(source):
    """The file without its header, which names the version of tokenizers."""
    return source.partition('"""\n\n')[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 on any difference")
    check = parser.parse_args().check
    text = render()
    if not check:
        TARGET.write_text(text, encoding="utf-8")
    elif tables(TARGET.read_text(encoding="utf-8")) != tables(text):
        sys.exit(f"{TARGET} differs from what tokenizers says: run this script without --check")


if __name__ == "__main__":
    main()
