"""Fine-tuning and encoding compared with transformers and PyTorch, in turns: times, and with --train scores too.

    python benchmarks/finetuning.py MODEL                                        # times, on sentences of the corpus
    python benchmarks/finetuning.py MODEL --task sst2 --train train.tsv --dev-examples 2000 --seeds 3

MODEL is a folder such as MiniLM-L6 (scripts/fetch_test_weights.py fetches it).  Both sides see the same examples in the
same batches, with the same rates, dropout, clipping and AdamW; for scores, both start from the same output layer.  The
peer pads each batch to its longest sequence, as its data collator does; *sorted* has batches of sentences of similar
length, on both sides.  Let nothing else run.
"""

import argparse
import itertools
import sys
import time
from dataclasses import replace
from statistics import median

import numpy as np

from minibert.data.corpus import read_corpus
from minibert.inference.encode import encode
from minibert.models import Bert
from minibert.objectives import TaskObjective
from minibert.ops.threads import use_threads
from minibert.tasks.config import FinetuneConfig
from minibert.tasks.features import task_batch
from minibert.tasks.finetune import FineTuning, batch_of
from minibert.tasks.task import scores_by_name
from minibert.text import Tokenizer
from minibert.text.sentences import split_sentences
from minibert.training.finetuning import fine_tune, order_of, steps_of
from minibert.training.memory import keep_freed_memory
from minibert.training.optimizer import AdamW, AdamWSettings, learning_rate_at
from minibert.training.step import prepared, train_step

BATCH, LABELS, RATE = 32, ("no", "yes"), 5e-5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--sentences", type=int, default=960)
    parser.add_argument("--turns", type=int, default=5, help="medians over so many turns of each contender")
    parser.add_argument("--task", help="compare scores on this task too (sentences, words or spans)")
    parser.add_argument("--train")
    parser.add_argument("--dev")
    parser.add_argument("--dev-examples", type=int)
    parser.add_argument("--train-examples", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=BATCH, help="of --task")
    parser.add_argument("--learning-rate", type=float, default=RATE, help="of --task")
    parser.add_argument("--output-init", type=float, help="of --task")
    parser.add_argument("--threads", type=int, help="of both sides; by default all cores")
    options = parser.parse_args()
    keep_freed_memory()
    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    use_threads(options.threads)
    if options.task:
        compare_scores(options)
    else:
        compare_times(options)
    return 0


# ------------------------------------------------------------------------------------------------ times


def compare_times(options) -> None:
    texts, tokenizer = sentences(options.sentences, options.model)
    ids = [np.asarray(tokenizer.encode(text).ids, np.int64) for text in texts]
    by_length = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    as_they_come = list(range(len(ids)))
    print(f"{len(ids)} sentences, {sum(map(len, ids)):,} tokens, batches of {BATCH}; padding {padding(ids):.0%}")
    contenders = {
        "train: minibert": our_training(options.model, ids, as_they_come),
        "train: transformers": peer_training(options.model, ids, as_they_come),
        "train: minibert, sorted": our_training(options.model, ids, by_length),
        "train: transformers, sorted": peer_training(options.model, ids, by_length),
        "encode: minibert": our_encoding(options.model, texts),
        "encode: transformers": peer_encoding(options.model, ids, as_they_come),
        "encode: transformers, sorted": peer_encoding(options.model, ids, by_length),
    }
    seconds = {name: [] for name in contenders}
    for turn in range(options.turns + 1):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - began)
    for name, times in seconds.items():
        ours = seconds[f"{name.split(':')[0]}: minibert"]
        ratios = [other / own for own, other in zip(ours, times, strict=True)]
        print(f"{name:30}{len(ids) / median(times):8.1f} sentences/s   minibert is {median(ratios):.2f} times as fast")


def sentences(count: int, model: str) -> tuple[list[str], Tokenizer]:
    """Sentences of 5 to 60 tokens from the default corpus, from all periods, in a random order."""
    tokenizer = Tokenizer.load(model)
    found = [s for document in list(read_corpus(["sotu"]))[::20] for s in split_sentences(document.text)]
    order = np.random.default_rng(0).permutation(len(found))
    chosen = []
    for number in order:
        if 5 <= len(tokenizer.encode(found[number]).ids) <= 60:
            chosen.append(" ".join(found[number].split()))
        if len(chosen) == count:
            break
    return chosen, tokenizer


def padding(ids) -> float:
    """The share of padding in unsorted batches."""
    capacities = [len(part) * max(map(len, part)) for part in parts(ids)]
    return 1 - sum(map(len, ids)) / sum(capacities)


def parts(items):
    return [items[begin : begin + BATCH] for begin in range(0, len(items), BATCH)]


def our_training(folder, ids, order):
    from minibert.models import BertForSequenceClassification
    from minibert.tasks.features import Feature

    model = BertForSequenceClassification.from_pretrained(folder, labels=LABELS, report=lambda line: None)
    objective, counter = TaskObjective(model), itertools.count(1)
    optimizer = AdamW(model.parameters, AdamWSettings(eps=1e-8))
    first = np.zeros(1, np.int32)
    features = [
        Feature(((ids[n].astype(np.int32), np.zeros(len(ids[n]), np.int32)),), first, np.array([n % 2], np.int32), n)
        for n in order
    ]

    def run():
        for part in parts(features):
            number, batch = next(counter), prepared(objective, [task_batch(part)])
            (loss,), _ = train_step(objective, optimizer, batch, number, RATE, (0, number - 1))
        return float(loss.total)

    return run


def padded(ids):
    import torch

    longest = max(map(len, ids))
    tokens, mask = np.zeros((len(ids), longest), np.int64), np.zeros((len(ids), longest), np.int64)
    for row, sequence in enumerate(ids):
        tokens[row, : len(sequence)], mask[row, : len(sequence)] = sequence, 1
    return torch.from_numpy(tokens), torch.from_numpy(mask)


def peer_training(folder, ids, order):
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)

    def run():
        for part in parts(order):
            tokens, mask = padded([ids[n] for n in part])
            labels = torch.tensor([n % 2 for n in part])
            loss = model(input_ids=tokens, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return float(loss.detach())

    return run


def our_encoding(folder, texts):
    model, tokenizer = Bert.from_pretrained(folder), Tokenizer.load(folder)
    return lambda: encode(model, tokenizer, texts, normalise=True)


def peer_encoding(folder, ids, order):
    """Without the time for tokenising, which minibert's side includes."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()

    def run():
        with torch.no_grad():
            for part in parts(order):
                tokens, mask = padded([ids[n] for n in part])
                hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
                mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
                torch.nn.functional.normalize(mean)

    return run


# ------------------------------------------------------------------------------------------------ scores


def compare_scores(options) -> None:
    """The same task, batches and seeds on both sides; a line for each seed, then means and deviations."""
    names = "task train dev dev_examples train_examples epochs batch_size learning_rate output_init".split()
    config = FinetuneConfig(run=options.model, **{name: getattr(options, name) for name in names})
    tuning = FineTuning(config)
    # with one thread, process time is measured, which excludes other programs
    clock = time.process_time if options.threads == 1 else time.perf_counter
    results = {"minibert": [], "transformers": []}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        recipe = replace(tuning.recipe, seed=seed)
        for name, learn in (("minibert", learn_here), ("transformers", learn_there)):
            began = clock()
            score = learn(tuning, recipe)
            results[name].append((score, clock() - began))
            print(f"seed {seed}  {name:13}{score:8.2%}{results[name][-1][1]:9.1f} s", flush=True)
    for name, values in results.items():
        scores, seconds = np.array(values).T
        spread = scores.std(ddof=1) if len(scores) > 1 else 0.0
        print(f"{name:13}{scores.mean():8.2%} ± {spread:.2%}, median {np.median(seconds):.0f} s")
    ratios = [theirs[1] / ours[1] for ours, theirs in zip(results["minibert"], results["transformers"], strict=True)]
    print(f"minibert is {median(ratios):.2f} times as fast")


def score(tuning: FineTuning, logits) -> float:
    predictions = tuning.codec.decode(tuning.dev, tuning.dev_features, logits)
    return next(iter(scores_by_name(tuning.task, tuning.codec, tuning.dev, predictions).values()))


def learn_here(tuning: FineTuning, recipe) -> float:
    from minibert.tasks.task import scores_of

    model = tuning.model_of(recipe.seed)

    def evaluate():
        return {"score": score(tuning, scores_of(model, tuning.dev_features))}

    history = fine_tune(TaskObjective(model), tuning.train_features, batch_of, evaluate, recipe)
    return history.evaluations[-1][2]["score"]


def learn_there(tuning: FineTuning, recipe) -> float:
    """The peer's training loop; returns its score after the last epoch."""
    import torch
    import transformers

    torch.manual_seed(recipe.seed)
    kind = tuning.task.model_class.__name__
    size = {"num_labels": len(tuning.task.labels)} if tuning.task.labels else {}
    model = getattr(transformers, kind).from_pretrained(tuning.source, **size)
    ours = tuning.model_of(recipe.seed)  # its output layer is a fresh one, whose bias is 0 on both sides
    with torch.no_grad():
        getattr(model, ours.output).weight.copy_(torch.from_numpy(ours.head.weight.value))
    decayed = [p for name, p in model.named_parameters() if p.ndim > 1]
    others = [p for name, p in model.named_parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, eps=1e-8)
    features, step = tuning.train_features, 0
    steps = steps_of(len(features), recipe)
    for epoch in range(recipe.epochs):
        model.train()
        order = order_of(len(features), recipe.seed, epoch)
        for begin in range(0, len(order), recipe.batch_size):
            part = [features[n] for n in order[begin : begin + recipe.batch_size]]
            rate = learning_rate_at(step, steps=steps, peak=recipe.learning_rate, warmup=recipe.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = model(**peer_inputs(part, labels=True)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    model.eval()
    logits = []
    with torch.no_grad():
        for begin in range(0, len(tuning.dev_features), recipe.batch_size):
            part = tuning.dev_features[begin : begin + recipe.batch_size]
            output = model(**peer_inputs(part, labels=False))
            if "Question" in kind:
                whole = torch.stack([output.start_logits, output.end_logits], dim=-1)
            else:
                whole = output.logits
            for row, feature in zip(whole.numpy(), part, strict=True):
                logits.append(row[feature.rows] if row.ndim == 2 else row[None])
    return score(tuning, logits)


def peer_inputs(features, labels: bool) -> dict:
    """Features, of one sequence each, as a padded batch with labels."""
    import torch

    sequences = [feature.sequences[0] for feature in features]
    tokens, mask = padded([ids for ids, _ in sequences])
    segments = padded([segments for _, segments in sequences])[0]
    inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": segments}
    if not labels:
        return inputs
    if features[0].labels.ndim == 2:
        spans = torch.from_numpy(np.concatenate([feature.labels for feature in features]).astype(np.int64))
        return inputs | {"start_positions": spans[:, 0], "end_positions": spans[:, 1]}
    if len(features[0].rows) == 1 and all(len(feature.rows) == 1 for feature in features):
        values = torch.from_numpy(np.concatenate([feature.labels for feature in features]))
        return inputs | {"labels": values if values.is_floating_point() else values.long()}
    grid = torch.full(tokens.shape, -100)
    for row, feature in enumerate(features):
        grid[row, feature.rows] = torch.from_numpy(feature.labels.astype(np.int64))
    return inputs | {"labels": grid}


if __name__ == "__main__":
    sys.exit(main())
