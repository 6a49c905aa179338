"""Task files as they are distributed, and mistakes in them: told with file and line."""

import json

import pytest

from minibert.tasks.examples import Answer, ChoiceExample, SentenceExample, SpanExample, WordsExample
from minibert.tasks.readers import read_examples
from minibert.tasks.registry import TASKS, OwnColumns, task_info

SQUAD = {
    "data": [
        {
            "title": "Cats",
            "paragraphs": [
                {
                    "context": "The cat sat on the mat.",
                    "qas": [
                        {"id": "1", "question": "Who sat?", "answers": [{"text": "The cat", "answer_start": 0}]},
                        {"id": "2", "question": "Who ran?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ]
}
GOOD = {  # task: (file name, content, its first example)
    "sst2": ("a.tsv", 'sentence\tlabel\nso "good\t1\n', SentenceExample('so "good', None, "positive")),
    "cola": ("a.tsv", "gj04\t0\t*\tThey talked us.\n", SentenceExample("They talked us.", None, "unacceptable")),
    "mrpc": (
        "a.tsv",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\tone\ttwo\r\n",
        SentenceExample("one", "two", "paraphrase"),
    ),
    "stsb": (
        "a.tsv",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        "0\tg\tf\ty\to\ts\ts\tone\ttwo\t3.8\n",
        SentenceExample("one", "two", 3.8),
    ),
    "qqp": (
        "a.tsv",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\twhy?\thow?\t0\n",
        SentenceExample("why?", "how?", "different"),
    ),
    "mnli": (
        "a.tsv",
        "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tone\ttwo\tneutral\tentailment\n",
        SentenceExample("one", "two", "entailment"),
    ),
    "qnli": (
        "a.tsv",
        "index\tquestion\tsentence\tlabel\n0\twhy?\tso\tnot_entailment\n",
        SentenceExample("why?", "so", "not_entailment"),
    ),
    "rte": (
        "a.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\tone\ttwo\tentailment\n",
        SentenceExample("one", "two", "entailment"),
    ),
    "sick": (
        "a.txt",
        "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n1\tone\ttwo\t4.5\tNEUTRAL\n",
        SentenceExample("one", "two", "NEUTRAL"),
    ),
    "sick-relatedness": (
        "a.txt",
        "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n1\tone\ttwo\t4.5\tNEUTRAL\n",
        SentenceExample("one", "two", 4.5),
    ),
    "conll": (
        "a.txt",
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\nPeter NNP B-NP B-PER\n",
        WordsExample(("EU", "rejects"), ("B-ORG", "O")),
    ),
    "wnut": ("a.conll", "in\tO\nSoho\tB-location\n\n", WordsExample(("in", "Soho"), ("O", "B-location"))),
    "squad": (
        "a.json",
        json.dumps(SQUAD),
        SpanExample("1", "Who sat?", "The cat sat on the mat.", (Answer("The cat", 0),)),
    ),
    "swag": (
        "a.csv",
        ",video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,label\n"
        '0,v,1,s,"She sits, then",She,gold,sings.,runs.,1\n',
        ChoiceExample("She sits, then", ("She sings.", "She runs."), 1),
    ),
    "sentence": ("a.csv", 'text,label\n"one, two",x\n', SentenceExample("one, two", None, "x")),
    "regression": ("a.jsonl", '{"text": "one", "label": 2}\n', SentenceExample("one", None, 2.0)),
    "tokens": (
        "a.jsonl",
        '{"words": ["so", "it"], "labels": ["O", "X"]}\n',
        WordsExample(("so", "it"), ("O", "X")),
    ),
    "span": (
        "a.jsonl",
        '{"id": "q", "question": "who?", "context": "a cat", "answers": [{"text": "cat", "start": 2}]}\n',
        SpanExample("q", "who?", "a cat", (Answer("cat", 2),)),
    ),
    "choice": (
        "a.jsonl",
        '{"text": "one", "endings": ["x", "y"], "label": 0}\n',
        ChoiceExample("one", ("x", "y"), 0),
    ),
}


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("task", GOOD)
def test_files_as_they_are_distributed(tmp_path, task):
    name, content, first = GOOD[task]
    examples = read_examples(task_info(task), write(tmp_path, name, content))
    assert examples[0] == first


def test_every_task_with_a_file_is_read_above():
    assert {task for task in TASKS if not task.startswith("sotu-")} - set(GOOD) == {"squad2"}


def test_sentences_of_words_are_parted_by_empty_lines(tmp_path):
    examples = read_examples(task_info("conll"), write(tmp_path, "a.txt", GOOD["conll"][1]))
    assert [example.words for example in examples] == [("EU", "rejects"), ("Peter",)]


def test_a_question_without_an_answer(tmp_path):
    examples = read_examples(task_info("squad2"), write(tmp_path, "a.json", json.dumps(SQUAD)))
    assert examples[1].answers == ()


def test_columns_of_your_own(tmp_path):
    columns = OwnColumns("question", "reply", "kind")
    path = write(tmp_path, "a.tsv", 'kind\tquestion\treply\nfine\tis "it"?\tyes\n')
    assert read_examples(task_info("sentence"), path, columns) == [SentenceExample('is "it"?', "yes", "fine")]


def test_without_labels_for_prediction(tmp_path):
    path = write(tmp_path, "a.tsv", "index\tsentence\n0\tso good\n")
    assert read_examples(task_info("sst2"), path, labelled=False) == [SentenceExample("so good")]
    path = write(tmp_path, "a.conll", "in\nSoho\n")
    assert read_examples(task_info("wnut"), path, labelled=False) == [WordsExample(("in", "Soho"))]


BAD = [
    ("sst2", "a.tsv", "", "a.tsv is empty"),
    ("sst2", "a.tsv", "sentence\tlabel\n", "a.tsv contains no examples"),
    ("sst2", "a.tsv", "sentence\tlabel\nso\t1\nso\tgood\t1\n", "a.tsv, line 3: 3 columns; expected 2"),
    ("sst2", "a.tsv", "text\tlabel\nso\t1\n", "line 1: no column 'sentence'; the columns are text, label"),
    ("sst2", "a.tsv", "sentence\tlabel\nso\tgood\n", "line 2: the label is 'good'; expected 0 or 1"),
    ("sst2", "a.tsv", "sentence\tlabel\nso\t\n", "line 2: the label is missing"),
    ("sst2", "a.tsv", "sentence\tlabel\n \t1\n", "line 2: the text is ' '; expected some words"),
    ("sst2", "a.tsv", b"sentence\tlabel\nso\xff\t1\n", "is not UTF-8: byte 0xff at offset 17"),
    ("cola", "a.tsv", "gj04\t0\n", "line 1: 2 columns; expected at least 4"),
    ("stsb", "a.jsonl", '{"sentence1": "a", "sentence2": "b", "score": "much"}', "the label is 'much'"),
    ("regression", "a.csv", "text,label\na,1\nb,good\n", "line 3: the label is 'good'; expected a number"),
    ("conll", "a.txt", "EU\tB-ORG\nthe\n", "line 2: 1 columns; expected 2"),
    ("conll", "a.txt", "EU\n", "line 1: the word 'EU' has no tag"),
    ("conll", "a.txt", "EU\tB-\n", "line 1: the tag 'B-' has no entity type"),
    ("tokens", "a.jsonl", '{"words": ["a", "b"], "labels": ["O"]}', "line 1: 2 words and 1 labels"),
    ("tokens", "a.jsonl", '{"labels": ["O"]}', "line 1: 'words' or 'tokens' is missing; the line has labels"),
    ("tokens", "a.jsonl", '{"words": ["a"], "labels": [["O"]]}', 'line 1: the label is ["O"]; expected a string'),
    ("tokens", "a.jsonl", '{"words": ["a", "b"], "labels": ["O", 0]}', "the label 0 is a number, but"),
    (
        "sentence",
        "a.jsonl",
        '{"text": "a", "label": "1"}\n{"text": "b", "label": 1}\n',
        "line 2: the label 1 is a number, but the label before it is a string",
    ),
    (
        "sentence",
        "a.jsonl",
        '{"text": "a", "label": true}\n{"text": "b", "label": "x"}\n',
        "line 2: the label \"x\" is a string, but the label before it is a boolean",
    ),
    ("sentence", "a.jsonl", '{"text": "a", "label": {"b": 1}}', "line 1: the label is {"),
    ("tokens", "a.jsonl", "{\n", "line 1: not valid JSON"),
    ("tokens", "a.jsonl", "[1]\n", "line 1: [1]; expected a JSON object"),
    ("squad", "a.json", "{}", 'is not a SQuAD file'),
    ("squad", "a.json", "x", "line 1: not valid JSON"),
    ("squad", "a.json", json.dumps(SQUAD).replace('"answer_start": 0', '"answer_start": 4'), "the answer occurs at 0"),
    ("squad", "a.json", json.dumps(SQUAD).replace('"text": "The cat"', '"text": "A dog"'), "does not occur"),
    ("squad", "a.json", json.dumps(SQUAD).replace("true", "false"), "question 2: no answer"),
    ("span", "a.jsonl", '{"question": "q", "context": "a cat", "answers": [{"text": "cat", "start": 1}]}', "at 2"),
    ("swag", "a.csv", "sent1,sent2,label\na,b,0\n", "line 1: no column 'endings' or 'ending'; the"),
    ("swag", "a.csv", "sent1,sent2,ending0,ending1,label\na,b,c,d,2\n", "line 2: the label is '2'; expected"),
    ("choice", "a.jsonl", '{"text": "a", "endings": ["x"], "label": 0}', "are 1 of them; expected a list of 2"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "name", "content", "words"), BAD)
def test_mistakes_are_reported_with_their_location(tmp_path, task, name, content, words):
    path = write(tmp_path, name, content)
    with pytest.raises(ValueError) as caught:
        read_examples(task_info(task), path)
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_examples(task_info("sst2"), tmp_path / "none.tsv")
    with pytest.raises(ValueError, match="unknown task 'sst3'; choose one of sst2"):
        task_info("sst3")


def test_examples_know_where_they_were_read(tmp_path):
    """So that a mistake that only the whole task can see, such as a label that is not in training, is told with it."""
    files = {
        ("sentence", "a.csv"): ("text,label\nx,good\n\ny,bad\n", ["line 2", "line 4"]),
        ("conll", "a.conll"): ("a O\nb O\n\n\nc O\n", ["sentence from line 1", "sentence from line 5"]),
        ("tokens", "a.jsonl"): ('\n{"words": ["a"], "labels": ["O"]}\n', ["line 2"]),
    }
    for (task, name), (text, positions) in files.items():
        (tmp_path / name).write_text(text)
        examples = read_examples(task_info(task), tmp_path / name)
        assert [example.where for example in examples] == [f"{tmp_path / name}, {position}" for position in positions]
