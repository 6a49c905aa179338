"""Translates `__shared__` declarations to C++: see runtime/shared_memory.h for what they become.

    [extern | volatile] __shared__ [__align__(n)] type name[size]..., name[size]...;

A declaration is parsed no further than necessary: its type and sizes go into a struct, where the compiler reads
them, whatever they are.
"""

import re

ALIGNMENT = re.compile(r"(?:__align__|alignas)\s*\([^)]*\)")
DECLARATOR = re.compile(r"([\s*]*)\b(\w+)\s*((?:\[.*\])?)\s*$")  # for `float *name[3][4]`, the part from the star on


def translate_declaration(before: str, declaration: str) -> str:
    """Translate one declaration, given what comes `before` __shared__ and what follows it up to the semicolon.

    Raises ValueError if it cannot be parsed.
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
    """A pointer to the dynamic shared memory of the block."""
    match = DECLARATOR.match(declarators[0])
    if len(declarators) > 1 or match is None or match[3].replace(" ", "") != "[]":
        raise ValueError("expected `extern __shared__ type name[];`, one name and empty brackets")
    pointer = f"{base}{match[1].strip()}*"
    return f"{pointer} const {match[2]} = reinterpret_cast<{pointer}>(emulator::dynamic_shared);"


def static_array(base: str, declarator: str) -> str:
    """A struct with the declaration as its only member, and a reference to that member."""
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
    """`Pair<A, B> a[4], b[f(2, 3)]` -> `Pair<A, B> a[4]`, `b[f(2, 3)]`: at commas outside of brackets."""
    plain, parts, start = outside_of_brackets(text), [], 0
    depth = 0  # of < and >, which act as brackets outside of sizes
    for index, character in enumerate(plain):
        depth += (character == "<") - (character == ">")
        if character == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]


def outside_of_brackets(text: str) -> str:
    """The text with [] and () and their contents replaced by dots."""
    while (shorter := re.sub(r"[\[(][^\[\]()]*[\])]", lambda match: "." * len(match[0]), text)) != text:
        text = shorter
    return text
