"""Translates kernel launches in the host's code, kernel<<<grid, block, shared, stream>>>(arguments...), to C++."""

import re

from minibert.emulator.source import Source, blank, translate

HOST = re.compile(r"\bcuda[A-Z]\w+")  # the functions and types of CUDA's runtime
OPEN, CLOSE = "<<<", ">>>"
KERNEL = re.compile(r"((?:\w+\s*::\s*)*\w+)\s*$")
PAIRS = {")": "(", "]": "[", "}": "{"}


def translate_with_host(source: Source, names: list[str]) -> str:
    """Translate a source that may also contain code for the host, such as a main() that launches kernels."""
    header = '#include "host.h"\n' if OPEN in source.code or HOST.search(source.code) else ""
    return header + translate(translate_launches(source), names)


def translate_launches(source: Source) -> Source:
    """Return the source with each launch replaced by a call of emulator::host::launch_kernel (runtime/host.h).

    Raises SourceError, with file and line, for a launch that cannot be parsed.
    """
    pieces, end = [], 0
    position = source.code.find(OPEN)
    while position >= 0:
        begin, name = kernel_before(source, position)
        close = find_outside(source.code, CLOSE, position + len(OPEN))
        opening = source.code.find("(", close) if close >= 0 else -1
        closing = find_outside(source.code, ")", opening + 1) if opening >= 0 else -1
        if closing < 0 or source.code[close + len(CLOSE) : opening].strip():
            raise source.error(position, "cannot read this launch; expected kernel<<<grid, block>>>(arguments)")
        sizes, arguments = source.text[position + len(OPEN) : close], source.text[opening + 1 : closing]
        shown = re.sub(r"\s+", "", name)
        call = f'emulator::host::launch_kernel(EMULATOR_CALLER, "{shown}", emulator::host::Configuration{{{sizes}}}, '
        call += f"[=](auto... emulator_arguments) {{ {name}(emulator_arguments...); }}"
        call += f", {arguments})" if source.code[opening + 1 : closing].strip() else f"{arguments})"
        lines = source.text.count("\n", begin, closing + 1) - call.count("\n")
        pieces += [source.text[end:begin], call, "\n" * lines]
        end = closing + 1
        position = source.code.find(OPEN, end)
    text = "".join(pieces) + source.text[end:]
    return Source(text, blank(text))


def kernel_before(source: Source, position: int) -> tuple[int, str]:
    """Return where the kernel's name, with its template arguments, begins before `<<<`, and the name."""
    code, begin = source.code, position
    before = code[:begin].rstrip()
    if before.endswith(">"):
        depth, begin = 0, len(before)
        while begin > 0:
            begin -= 1
            depth += {">": 1, "<": -1}.get(code[begin], 0)
            if depth == 0:
                break
    match = KERNEL.search(code[max(code.rfind(mark, 0, begin) for mark in ";{}(,") + 1 : begin])
    if match is None:
        raise source.error(position, "cannot read this launch; expected the name of a kernel before <<<")
    begin = begin - len(match[0])
    return begin, source.text[begin:position].strip()


def find_outside(code: str, wanted: str, position: int) -> int:
    """Return where `wanted` next occurs outside parentheses, brackets and braces; -1 if it does not."""
    depth = 0
    while position < len(code):
        if depth == 0 and code.startswith(wanted, position):
            return position
        depth += (code[position] in PAIRS.values()) - (code[position] in PAIRS)
        if depth < 0:
            return -1
        position += 1
    return -1
