"""Layouts are recognised in every script: wrapped lines, one sentence a line, one paragraph a line."""

import random

import pytest

from minibert.data.corpus import CorpusOptions, read_corpus
from minibert.data.findings import Findings
from minibert.data.layout import sentence_ends_of
from minibert.text import split_sentences

# words, what joins them, what ends a sentence, and what joins two sentences
SCRIPTS = {
    "English": ("The rain fell slowly over every roof and garden while people waited at home", " ", ".", " "),
    "lower case": ("the rain fell slowly over every roof and garden while people waited at home", " ", ".", " "),
    "lower case, no stops": ("the rain fell slowly over every roof and garden while people waited", " ", "", " "),
    "Russian": ("Дождь медленно падал на крыши и сады пока люди ждали дома", " ", ".", " "),
    "Hindi": ("बारिश धीरे धीरे छतों और बगीचों पर गिर रही थी लोग घर पर थे", " ", "।", " "),
    "Arabic": ("كان المطر يسقط ببطء على السطوح والحدائق والناس في البيت", " ", ".", " "),
    "Chinese": ("雨 慢慢 地 落 在 屋顶 和 花园 里 人们 在 家 等 着", "", "。", ""),
    "Japanese": ("雨 が ゆっくり と 屋根 に 降り 人々 は 家 で 待って いた", "", "。", ""),
    "Thai": ("ฝน ตก ช้า ช้า บน หลังคา และ สวน คน รอ อยู่ ที่ บ้าน", "", "", " "),
}


def sentences_of(script, count, generator):
    words, join, mark, _ = SCRIPTS[script]
    words = words.split()
    made = []
    for _ in range(count):
        chosen = [generator.choice(words[1:]) for _ in range(generator.randint(4, 12))]
        chosen[0] = words[0] if words[0][0].isupper() else chosen[0]
        made.append(join.join(chosen) + mark)
    return made


def wrapped(text, width=60):
    """Lines of at most `width` characters, broken at spaces, or anywhere in a text without spaces."""
    if " " not in text:
        return [text[i : i + width] for i in range(0, len(text), width)]
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def lay_out(script, layout, documents=12, seed=0):
    """The lines of a file, and the sentences of its documents."""
    generator, lines, sentences = random.Random(seed), [], []
    between = SCRIPTS[script][3]
    for _ in range(documents):
        mine = sentences_of(script, 9, generator)
        sentences.append(mine)
        if layout == "lines":
            lines += mine
        elif layout == "both":
            lines += [between.join(mine[i : i + 3]) for i in (0, 3, 6)]
        else:
            lines += wrapped(between.join(mine))
        lines.append("")
    return lines, sentences


# without marks, nothing shows where a sentence ends inside a line; Thai is not wrapped at spaces
LAYOUTS = [
    (script, layout, layout)
    for script in SCRIPTS
    for layout in ("lines", "both", "marks")
    if (layout == "lines" or SCRIPTS[script][2])
]


@pytest.mark.parametrize(
    "script, layout, expected", LAYOUTS, ids=[f"{script}-{layout}" for script, layout, _ in LAYOUTS]
)
@pytest.mark.parametrize("seed", range(3))
def test_the_layout_is_recognised_and_every_sentence_found(tmp_path, script, layout, expected, seed):
    lines, sentences = lay_out(script, layout, seed=seed)
    assert sentence_ends_of(lines) == expected
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    findings = Findings()
    documents = list(read_corpus([path], findings=findings))
    found = [split_sentences(document.text, document.ends) for document in documents]
    if layout == "marks":  # a line break within a sentence stays in it
        found = [["".join(sentence.split()) for sentence in document] for document in found]
        sentences = [["".join(sentence.split()) for sentence in document] for document in sentences]
    assert found == sentences
    assert findings.layouts == {("blank", expected): 1}


@pytest.mark.parametrize("script", ["English", "Chinese", "Thai"])
@pytest.mark.parametrize("layout", ["lines", "both"])
def test_one_file_without_blank_lines_has_a_document_a_line(tmp_path, script, layout):
    lines, sentences = lay_out(script, layout)
    lines = [line for line in lines if line]
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    if SCRIPTS[script][2] or layout == "lines":
        documents = list(read_corpus([path]))
        assert [document.text.strip() for document in documents] == lines
        found = [sentence for document in documents for sentence in split_sentences(document.text, document.ends)]
        assert found == [sentence for mine in sentences for sentence in mine]
    assert len(list(read_corpus([path, path]))) == 2  # two files: two documents


@pytest.mark.parametrize("layout", ["both", "marks"])
def test_documents_of_several_scripts_in_one_file(tmp_path, layout):
    """Each document is split by the marks of its own script."""
    lines, expected = [], []
    for seed, script in enumerate(["Chinese", "English", "Hindi", "lower case", "Japanese", "Russian"] * 3):
        added, sentences = lay_out(script, layout, documents=1, seed=seed)
        lines += added
        expected += sentences
    (tmp_path / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    documents = list(read_corpus([tmp_path / "text.txt"]))
    found = [split_sentences(document.text, document.ends) for document in documents]
    without_spaces = [[["".join(s.split()) for s in mine] for mine in both] for both in (found, expected)]
    assert without_spaces[0] == without_spaces[1]


@pytest.mark.parametrize("script", ["English", "Chinese"])
def test_many_small_files_in_paragraphs_are_a_document_each(tmp_path, script):
    for number in range(12):
        lines, _ = lay_out(script, "both", documents=3, seed=number)
        (tmp_path / f"{number:02}.txt").write_text("\n".join(lines), encoding="utf-8")
    findings = Findings()
    documents = list(read_corpus([tmp_path], findings=findings))
    assert [document.name for document in documents] == [f"{number:02}.txt" for number in range(12)]
    assert {len(split_sentences(document.text, document.ends)) for document in documents} == {27}
    assert findings.lines() == ["12 files: documents are whole files, sentences end at marks and at line ends"]


def test_many_small_files_of_the_releases_form_keep_their_blank_lines(tmp_path):
    for number in range(12):
        lines, _ = lay_out("English", "lines", documents=3, seed=number)
        (tmp_path / f"{number:02}.txt").write_text("\n".join(lines), encoding="utf-8")
    assert len(list(read_corpus([tmp_path]))) == 36


@pytest.mark.parametrize("documents, count", [("file", 1), ("line", 36), ("blank", 12), ("auto", 12)])
def test_documents_as_the_option_says(tmp_path, documents, count):
    lines, _ = lay_out("English", "both")
    path = tmp_path / "text.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    found = list(read_corpus([path], CorpusOptions(documents=documents)))
    assert len(found) == count
    assert {document.group for document in found} == {"text.txt"}
    assert [document.name for document in found] == (
        ["text.txt"] if documents == "file" else [f"text.txt#{i}" for i in range(count)]
    )


@pytest.mark.parametrize("sentences", ["marks", "lines", "both"])
def test_sentences_as_the_option_says(tmp_path, sentences):
    path = tmp_path / "text.txt"
    path.write_text("One. Two\nthree.\n\nFour.\nFive\n", encoding="utf-8")
    found = list(read_corpus([path], CorpusOptions(sentences=sentences)))
    expected = {
        "marks": [["One.", "Two\nthree."], ["Four.", "Five"]],
        "lines": [["One. Two", "three."], ["Four.", "Five"]],
        "both": [["One.", "Two", "three."], ["Four.", "Five"]],
    }
    assert [split_sentences(document.text, document.ends) for document in found] == expected[sentences]


def test_a_few_lines_are_left_as_they_are():
    assert sentence_ends_of(["One line.", "Another.", "A third."]) == "marks"
    assert sentence_ends_of([]) == sentence_ends_of(["", ""]) == "marks"


def test_lines_of_one_length_that_end_in_marks_are_sentences():
    assert sentence_ends_of(["雨慢慢落下。", "人们在家里。", "花园很安静。", "我们等晴天。"] * 3) == "lines"
    assert sentence_ends_of(["雨慢慢落下在", "人们在家里的", "花园很安静。", "我们等晴天的"] * 3) == "marks"


def test_lines_broken_at_clauses_are_not_sentences():
    lines = [
        "When it rains,",
        "we stay at home",
        "and read.",
        "",
        "On dry days",
        "we walk along the river,",
        "all of us.",
    ]
    assert sentence_ends_of(lines * 4) == "marks"
