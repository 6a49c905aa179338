"""Training steps per second, side by side with the PyTorch model that a user would pick instead.

    python benchmarks/pretraining_step.py --size tiny --repeats 5

Every contender trains the same model on the same real batches from the default corpus (sentence pairs of up to 128
tokens, dropout 0.1, AdamW, clipping) in a process of its own; the processes take turns, A B C A B C, so that a drift of
the machine's speed hits all of them. What is printed are medians over the turns and ratios within each turn.

    minibert-BACKEND   minibert on that backend
    stock              transformers' BertForPreTraining as its users train it: padded batches, logits of all positions
    tuned              the same with the MLM head on the masked positions only, as a careful user would write it
"""

import argparse
import json
import os
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 4  # in one turn
LEARNING_RATE, WEIGHT_DECAY, BETAS, EPS, CLIP = 1e-4, 0.01, (0.9, 0.98), 1e-6, 1.0


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "batches.pickle"
        config, tokens = make_batches(options, path)
        workers = {name: Worker(name, path, options.threads) for name in options.contenders}
        turns = {name: [] for name in workers}
        for turn in range(options.repeats + 1):
            for name, worker in workers.items():
                seconds = worker.turn()
                if turn:  # the first turn warms up
                    turns[name].append(tokens / seconds)
        memory = {name: worker.finish() for name, worker in workers.items()}
    first = next(iter(turns))
    print(
        f"{options.size}, vocabulary {config['vocab_size']:,}, batches of {options.batch} sequences of up to "
        f"{options.length} tokens,\n{options.threads} threads, {options.repeats} turns of {STEPS} steps; "
        "real tokens per second, padding not counted\n"
    )
    print(f"{'':20} {'tokens/s':>9} {'min':>8} {'max':>8}   {first + ' over it':>24}   {'peak memory':>11}")
    report = {}
    for name, speeds in turns.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(turns[first], speeds, strict=True))
        median = statistics.median(speeds)
        slowest, fastest, peak = min(speeds), max(speeds), memory[name]
        print(f"{name:20} {median:9,.0f} {slowest:8,.0f} {fastest:8,.0f}   {ratio:23.2f}x   {peak:8,.0f} MB")
        report[name] = dict(tokens_per_second=median, ratio=ratio, peak_memory_mb=memory[name])
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contenders", nargs="+", default=["minibert-reference", "stock", "tuned"])
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=16, help="sequences in a batch")
    parser.add_argument("--length", type=int, default=128, help="tokens of the longest sequences")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=5, help="turns that count")
    parser.add_argument("--json", help="write the figures to this file too")
    return parser.parse_args()


def make_batches(options, path):
    """Write STEPS real batches and the model's config; returns the config and the number of real tokens."""
    from minibert.data.corpus import DEFAULT_CORPUS, read_corpus
    from minibert.data.pretraining import LengthPhase, PretrainingData
    from minibert.data.shards import write_shards
    from minibert.models import BertConfig
    from minibert.text import Tokenizer, learn_vocabulary

    documents = list(read_corpus([DEFAULT_CORPUS]))
    vocabulary = learn_vocabulary((document.text for document in documents), options.vocab_size)
    vocabulary += [f"[unused{i}]" for i in range(options.vocab_size - len(vocabulary))]  # the corpus gives fewer
    tokenizer = Tokenizer(vocabulary)
    shards = write_shards(documents, tokenizer, path.parent / "shards", processes=1)
    phases = [LengthPhase(options.length, 1.0)]
    data = PretrainingData(shards.all(), tokenizer, phases, STEPS, 0, options.batch * options.length)
    batches = [data.batch(step) for step in range(STEPS)]
    dropout = dict(hidden_dropout_prob=options.dropout, attention_probs_dropout_prob=options.dropout)
    config = vars(BertConfig.preset(options.size, len(tokenizer), **dropout))
    path.write_bytes(pickle.dumps((config, batches)))
    return config, sum(len(batch.token_ids) for batch in batches)


class Worker:
    """A contender in its own process: one line in, one turn done, its seconds out."""

    def __init__(self, name, path, threads):
        count = str(threads)
        environment = {**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        command = [sys.executable, __file__, "--worker", name, str(path), count]
        self.process = subprocess.Popen(
            command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.read()  # it is ready

    def read(self) -> float:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender ended early, with exit code {self.process.wait()}")
        return float(line)

    def turn(self) -> float:
        self.process.stdin.write("turn\n")
        self.process.stdin.flush()
        return self.read()

    def finish(self) -> float:
        """End it; returns its peak memory in MB."""
        self.process.stdin.close()
        return self.read()


def work(name, path, threads):
    """The worker's side."""
    config, batches = pickle.loads(Path(path).read_bytes())
    kind, _, backend = name.partition("-")
    step = minibert_steps(config, backend) if kind == "minibert" else pytorch_steps(config, name, int(threads))
    print(0.0, flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        for number, batch in enumerate(batches):
            step(number, batch)
        print(time.perf_counter() - began, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


def minibert_steps(config, backend):
    from minibert.models import BertConfig, BertForPreTraining
    from minibert.training.memory import keep_freed_memory
    from minibert.training.optimizer import AdamW

    keep_freed_memory()
    model = BertForPreTraining(BertConfig(**config), backend)
    beta1, beta2 = BETAS
    optimizer = AdamW(
        model.parameters,
        beta1=beta1,
        beta2=beta2,
        eps=EPS,
        weight_decay=WEIGHT_DECAY,
        bias_correction=True,
        max_norm=CLIP,
    )

    def step(number, batch):
        model.parameters.zero_gradients()
        losses, cache = model.losses(batch, dropout_key=(0, number))
        model.losses_backward(cache)
        optimizer.step(number + 1, LEARNING_RATE)
        return float(losses.total)

    return step


def pytorch_steps(config, name, threads):
    import torch
    import transformers

    from minibert.data.batch import to_padded

    torch.set_num_threads(threads)
    model = transformers.BertForPreTraining(
        transformers.BertConfig(**config),
    ).train()  # attention: its default, sdpa
    weights, others = [], []
    for parameter_name, parameter in model.named_parameters():
        (others if "bias" in parameter_name or "LayerNorm" in parameter_name else weights).append(parameter)
    groups = [dict(params=weights, weight_decay=WEIGHT_DECAY), dict(params=others, weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPS)

    def stock_loss(inputs):
        return model(**inputs).loss

    def tuned_loss(inputs):
        labels, follows = inputs.pop("labels"), inputs.pop("next_sentence_label")
        hidden, pooled = model.bert(**inputs, return_dict=False)[:2]
        masked = labels != -100
        logits = model.cls.predictions(hidden[masked])
        cross_entropy = torch.nn.functional.cross_entropy
        return cross_entropy(logits, labels[masked]) + cross_entropy(model.cls.seq_relationship(pooled), follows)

    loss_of = {"stock": stock_loss, "tuned": tuned_loss}[name]

    def step(_number, batch):
        loss = loss_of({key: torch.from_numpy(value) for key, value in to_padded(batch).items()})
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
    else:
        main()
