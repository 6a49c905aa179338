"""The table of readers: valid files, the changes that are made to them, the real entry point, and what is right.

A reader's oracle is the library that writes such files; where that refuses a file that minibert accepts, the value
before the change is right.
"""

from benchmarks.fuzz import mutators as m
from benchmarks.fuzz.data import (
    CONLL,
    JSONL,
    RECORDS,
    ROWS,
    SQUAD,
    TSV,
    conll_rows,
    csv_of,
    examples,
    inside,
    json_rows,
    json_texts,
    packed_corpora,
    pandas_texts,
    parquet_of,
    read_texts,
    record_corpora,
    squad_rows,
    table,
    table_corpora,
    table_texts,
    text_corpora,
    text_without_space,
)
from benchmarks.fuzz.models import (
    METRICS,
    PIECES,
    TASK,
    checkpoint_base,
    config_bases,
    index_bases,
    indexed_tensors,
    json_per_line,
    library_vocabulary,
    manifest_base,
    read_config,
    read_metrics,
    read_shards,
    read_state,
    read_task,
    read_tensors,
    read_tokenizer,
    read_vocabulary,
    signed,
    stored_task,
    tensor_bases,
    tokenizer_bases,
    torch_tensors,
    transformers_config,
    transformers_tokenizer,
)
from benchmarks.fuzz.options import option_bases, read_options, stored_options
from benchmarks.fuzz.reader import Reader, encoded, one

JSON = (m.json_changed, m.json_changed, m.json_changed, m.bytes_changed)
LINES = (m.lines_changed, m.bytes_changed)
TABULAR = (m.unchanged, m.line_ends)
READERS = {
    reader.name: reader
    for reader in (
        Reader(
            "vocab.txt",
            one("vocab.txt", "\n".join(PIECES).encode() + b"\n"),
            LINES,
            read_vocabulary,
            library_vocabulary,
            (m.unchanged,),
            True,
        ),
        Reader("tokenizer files", tokenizer_bases, JSON, read_tokenizer, transformers_tokenizer),
        Reader("config.json", config_bases, JSON, read_config, transformers_config),
        Reader(
            "safetensors",
            tensor_bases,
            (m.values_changed, m.header_changed, m.bytes_changed),
            read_tensors,
            torch_tensors,
            (m.unchanged,),
        ),
        Reader("index.json", index_bases, JSON, read_tensors, indexed_tensors),
        Reader(
            "manifest.json",
            lambda: [(manifest_base(), "manifest.json")],
            (*[signed(m.json_changed)] * 4, *JSON[2:]),
            read_shards,
        ),
        Reader("state.json", lambda: [(checkpoint_base(), "step-00000007/state.json")], JSON, read_state),
        Reader(
            "metrics.jsonl",
            one("metrics.jsonl", METRICS),
            (m.json_line, *LINES),
            read_metrics,
            json_per_line,
            (m.unchanged,),
        ),
        Reader("pretrain.json, finetune.json", option_bases, JSON, read_options, stored_options),
        Reader("task.json", one("task.json", encoded(TASK)), JSON, read_task, stored_task),
        Reader(
            "TSV", one("a.tsv", TSV), (m.field_changed(b"\t"), *LINES), examples("sentence"), table("\t"), TABULAR, True
        ),
        Reader(
            "CSV",
            one("a.csv", csv_of(ROWS)),
            (m.field_changed(b","), *LINES),
            examples("sentence"),
            table(","),
            TABULAR,
            True,
        ),
        Reader("JSONL", one("a.jsonl", JSONL), (m.json_line, *LINES), examples("sentence"), json_rows, TABULAR, True),
        Reader(
            "CoNLL",
            one("a.conll", CONLL),
            (m.field_changed(b" "), *LINES),
            examples("tokens"),
            conll_rows,
            TABULAR,
            True,
        ),
        Reader("SQuAD", one("a.json", encoded(SQUAD)), JSON, examples("squad"), squad_rows),
        Reader("text corpora", text_corpora, LINES, read_texts, text_without_space, TABULAR),
        Reader(
            "compressed corpora",
            packed_corpora,
            (m.bytes_changed, inside(m.lines_changed)),
            read_texts,
            text_without_space,
            (m.unchanged,),
        ),
        Reader("JSONL corpora", record_corpora, (m.json_line, *LINES), read_texts, json_texts, TABULAR),
        Reader(
            "table corpora", table_corpora, (m.field_changed(b","), *LINES), read_texts, table_texts, (m.unchanged,)
        ),
        Reader(
            "parquet corpora",
            lambda: [({"a.parquet": parquet_of(RECORDS)}, "a.parquet")],
            (m.bytes_changed,),
            read_texts,
            pandas_texts,
            (m.unchanged,),
        ),
    )
}
