"""Translates `__shared__` declarations to C++; runtime/shared_memory.h shows the translated form.

    [extern | volatile] __shared__ [__align__(n)] type name[size]..., name[size]...;

Only the structure of a declaration is parsed: its type and sizes are copied unparsed into C++, for the compiler to
interpret.
"""

import re

ALIGNMENT = re.compile(r"(?:__align__|alignas)\s*\([^)]*\)")
DECLARATOR = re.compile(r"([\s*]*)\b(\w+)\s*((?:\[.*\])?)\s*$")  # matches `*name[3][4]` in `float *name[3][4]`


def translate_declaration(before: str, declaration: str) -> str:
    """Translate one declaration, given the text `before` __shared__ and the text after it, up to the semicolon.

    Raises ValueError if the declaration cannot be parsed.
    """
    before, declaration = " ".join(before.split()), " ".join(declaration.split())
    words = ALIGNMENT.sub("", before).split()
    if not set(words) <= {"extern", "static", "volatile"}:
        raise ValueError(f"a __shared__ declaration must begin a statement, but found {before!r} before it")
    if re.search(r"[={]", outside_of_brackets(declaration)):
        raise ValueError("shared memory cannot be initialised in its declaration; let the threads write it")
    alignment = " ".join(ALIGNMENT.findall(f"{before} {declaration}"))
    first, *others = split_at_commas(ALIGNMENT.sub("", declaration))
    match = DECLARATOR.search(first)
    base = first[: match.start()].strip() if match else ""
    if match is None or not base:
        raise ValueError(f"cannot read the declaration `__shared__ {declaration};`: expected a type and a name")
    base = f"volatile {base}" if "volatile" in words else base
    declarators = [match[0], *others]
    if "extern" in words:
        return dynamic_array(base, declarators)
    return " ".join(static_array(f"{alignment} {base}".strip(), declarator) for declarator in declarators)


def dynamic_array(base: str, declarators: list[str]) -> str:
    """Return the C++ declaration of a pointer to the block's dynamic shared memory."""
    match = DECLARATOR.match(declarators[0])
    if len(declarators) > 1 or match is None or match[3].replace(" ", "") != "[]":
        raise ValueError("expected `extern __shared__ type name[];`, one name and empty brackets")
    pointer = f"{base}{match[1].strip()}*"
    return f"{pointer} const {match[2]} = reinterpret_cast<{pointer}>(emulator::dynamic_shared);"


def static_array(base: str, declarator: str) -> str:
    """Return C++ that declares a struct with the array as its only member, and a reference to that member."""
    match = DECLARATOR.match(declarator)
    if match is None or "[]" in declarator.replace(" ", ""):
        raise ValueError(f"cannot read `{declarator.strip()}` in a __shared__ declaration: expected name[size]")
    name, struct = match[2], f"emulator_shared_{match[2]}"
    element = f"emulator::element_bytes<decltype({struct}::{name})>"
    return (
        f"struct {struct} {{ {base} {declarator.strip()}; }}; "
        f'auto& {name} = emulator::static_shared<{struct}>("{name}", {element}).{name};'
    )


def split_at_commas(text: str) -> list[str]:
    """Split at commas outside of brackets: `Pair<A, B> a[4], b[f(2, 3)]` -> `Pair<A, B> a[4]`, ` b[f(2, 3)]`."""
    plain, parts, start = outside_of_brackets(text), [], 0
    depth = 0  # of nested < and >, which are brackets when outside of [] and ()
    for index, character in enumerate(plain):
        depth += (character == "<") - (character == ">")
        if character == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def outside_of_brackets(text: str) -> str:
    """Replace all brackets [] and () and their contents by dots, preserving positions."""
    while (shorter := re.sub(r"[\[(][^\[\]()]*[\])]", lambda match: "." * len(match[0]), text)) != text:
        text = shorter
    return text
