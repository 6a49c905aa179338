"""Translates CUDA source to C++ that g++ and clang++ can compile.

Most of CUDA C++ is already C++, and most of the rest is defined in runtime/cuda_emulator.h.  The translation handles
the remainder:

    #include "header.cuh"                   is replaced by the header's text, so that the header is translated too
    __shared__ float tile[32][33];          becomes a reference to an array in the block's shared memory
    extern __shared__ float scratch[];      becomes a pointer to the block's dynamic shared memory
    __noinline__                            becomes __attribute__((noinline))
    __global__ void scale(...)              is entered in a table of kernels, appended to the source

Line numbers are preserved, so that errors refer to the user's file.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from minibert.emulator.errors import SourceError
from minibert.emulator.shared_memory import translate_declaration

COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"[^\n]*$', re.MULTILINE)
LINE = re.compile(r'^[ \t]*#[ \t]*line[ \t]+(\d+)(?:[ \t]+"([^"\n]+)")?', re.MULTILINE)
KERNEL = re.compile(r"__global__\s+(?:static\s+|inline\s+)*(?:__launch_bounds__\s*\([^)]*\)\s*)?void\s+"
                    r"(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")  # fmt: skip
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*", re.MULTILINE | re.DOTALL)
BRACE = re.compile(r"\bnamespace\s+([\w:]+)\s*\{|[{}]")
NOINLINE = re.compile(r"(?<!\(\()\b__noinline__\b")  # not the word in GCC's own __attribute__((__noinline__))
SHARED = re.compile(r"\b__shared__\b")


@dataclass(frozen=True)
class KernelName:
    name: str
    is_template: bool


@dataclass
class Source:
    """CUDA source in which each #include of the user's own headers has been replaced by the header.

    text: the source.  code: the same, with each character of comments, strings and preprocessor lines replaced by a
    space.
    """

    text: str
    code: str

    def line_of(self, position: int) -> str:
        """Return the location of a position in the text as "file:line", taking #line directives into account."""
        file, line, start = "kernel.cu", 1, 0
        for directive in LINE.finditer(self.text, 0, position):
            line, start = int(directive[1]), self.text.index("\n", directive.end()) + 1
            file = directive[2] or file
        return f"{file}:{line + self.text.count(chr(10), start, position)}"

    def error(self, position: int, message: str) -> SourceError:
        file, line = self.line_of(position).rsplit(":", 1)
        return SourceError(f"{file}:{line}: {message}", file=file, line=int(line))


def read_source(text: str, file: str = "kernel.cu", include: tuple = ()) -> Source:
    """Return the source with its headers inserted; they are searched for in the folders `include`."""
    text = expand(f'#line 1 "{file}"\n{text}\n', file, [Path(folder) for folder in include], set())
    return Source(text, blank(text))


def expand(text: str, file: str, folders: list[Path], seen: set[Path]) -> str:
    def header(match: re.Match) -> str:
        path = next((folder / match[1] for folder in folders if (folder / match[1]).is_file()), None)
        if path is None:
            return match[0]  # one of the emulator's own headers, or one that the compiler will report as missing
        after = text.count("\n", 0, match.start()) + 1  # the text begins with a #line directive
        if path in seen:
            return ""
        content = path.read_text(encoding="utf-8")
        if "#pragma once" in content:
            seen.add(path)
            content = content.replace("#pragma once", "", 1)
        inner = expand(f'#line 1 "{match[1]}"\n{content}', match[1], [path.parent, *folders], seen)
        return f'{inner}\n#line {after} "{file}"'

    return INCLUDE.sub(header, text)


def blank(text: str) -> str:
    """Replace comments, strings and preprocessor lines by spaces, so that all positions are preserved."""

    def spaces(match: re.Match) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    return DIRECTIVE.sub(spaces, COMMENT_OR_STRING.sub(spaces, text))


# ----------------------------------------------------------------------------------------------------- kernels


def find_kernels(source: Source) -> list[KernelName]:
    """Return the names of the __global__ functions of a source, in order."""
    kernels = {}
    for match in KERNEL.finditer(source.code):
        name = "::".join([*namespaces(source.code, match.start()), match[1]])
        kernels.setdefault(name, KernelName(name, "template" in beginning(source.code, match.start())))
    return list(kernels.values())


def namespaces(code: str, position: int) -> list[str]:
    """Return the names of the namespaces that enclose a position, outermost first."""
    braces = []  # for each open brace: the name of its namespace, or "" if it opens anything else
    for match in BRACE.finditer(code, 0, position):
        if match[0] == "}":
            braces = braces[:-1]
        else:
            braces.append(match[1] or "")
    return [name for name in braces if name]


def beginning(code: str, position: int) -> str:
    """Return the part of the statement that precedes `position`."""
    return code[max(code.rfind(mark, 0, position) for mark in ";{}") + 1 : position].strip()


# ------------------------------------------------------------------------------------------------- translation


def translate(source: Source, names: list[str]) -> str:
    """Translate the source to C++, followed by a table of the kernels in `names`.

    Raises SourceError, with file and line, if a `__shared__` declaration cannot be parsed.
    """
    check_macros(source)
    pieces, end = [], 0
    for match in SHARED.finditer(source.code):
        before = beginning(source.code, match.start())
        start = source.code.rindex(before, 0, match.start()) if before else match.start()
        stop = source.code.find(";", match.end())
        try:
            if stop < 0:
                raise ValueError("a __shared__ declaration must end with a semicolon")
            declaration = translate_declaration(before, source.code[match.end() : stop])
        except ValueError as error:
            raise source.error(match.start(), str(error)) from None
        pieces += [source.text[end:start], declaration, "\n" * source.code.count("\n", start, stop)]
        end = stop + 1
    return NOINLINE.sub("__attribute__((noinline))", "".join(pieces) + source.text[end:]) + kernel_table(names)


def check_macros(source: Source) -> None:
    without_comments = COMMENT_OR_STRING.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source.text)
    for directive in DIRECTIVE.finditer(without_comments):
        if SHARED.search(directive[0]):
            raise source.error(
                directive.start(), "__shared__ in a macro is not supported; write the declaration without the macro"
            )


def kernel_table(names: list[str]) -> str:
    """Return the C++ lines that define the table in which the launcher looks up kernels."""
    entries = " ".join(f'emulator::describe("{name}", &{name}),' for name in names)
    return f'\n#line 1 "table of kernels"\nEMULATOR_KERNELS({entries})\n'
