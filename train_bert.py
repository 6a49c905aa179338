"""BERT in one file: text to tokens to loss, every gradient by hand, and a training loop.  It needs only NumPy.

    python train_bert.py                    # trains on small invented stories, 16 s on two cores
    python train_bert.py --check            # checks every gradient against finite differences

Read it from top to bottom.  Each function comes as a pair, x_forward and x_backward: the forward pass returns its
result and a cache, the backward pass takes the gradient of the result (d_y) and the cache, and returns the gradients of
the inputs.  Shapes are in brackets, in these letters:

    B sequences in a batch   T tokens of the longest one   H hidden size   A heads   D = H / A
    F feed-forward size      V vocabulary size             M masked tokens in the batch

Batches are padded to T, attention works on one head of one sequence at a time, and there is no dropout: that is the
easiest BERT to read.  The package `minibert` next to this file computes the same numbers, without padding, for whole
batches, on three backends; each docstring below says where.  (A test holds both to the same losses, to 1e-10.)

Sources: Devlin et al. 2018 (BERT, arXiv 1810.04805); Vaswani et al. 2017 (the Transformer).
"""

import argparse
import math
import re
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNK, CLS, SEP, MASK = range(5)
erf = np.vectorize(math.erf, otypes=[float])
BLANKS = [  # to fill at the end of training
    ("anna is a [MASK] and works at the forge.", "in spring she makes horseshoes there."),
    ("in winter he [MASK] fish there.", "the king likes the fish of paul the fisher."),
]


@dataclass(frozen=True)
class Config:
    """The shape of a model.  In minibert: nn/config.py, BertConfig."""

    vocabulary: int
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    inner: int = 128
    positions: int = 32
    eps: float = 1e-12


# ------------------------------------------------------------------------------------------------- text and batches


def stories(count=400, seed=0):
    """Invented documents of three sentences.  A story's words belong together, so both tasks can be learnt from them.

    In minibert: data/corpus.py, read_corpus reads real text instead.
    """
    random = np.random.default_rng(seed)
    jobs = {
        "baker": ("bakery", "bakes", "bread"),
        "fisher": ("harbour", "catches", "fish"),
        "farmer": ("field", "grows", "corn"),
        "smith": ("forge", "makes", "horseshoes"),
        "weaver": ("workshop", "weaves", "cloth"),
        "shepherd": ("hill", "keeps", "sheep"),
    }
    people = {"anna": "she", "clara": "she", "ruth": "she", "paul": "he", "david": "he", "thomas": "he"}
    times = ["every morning", "every evening", "in spring", "in winter"]
    towns = ["the village", "the town", "the whole valley", "the king"]
    documents = []
    for _ in range(count):
        job, (place, verb, thing) = list(jobs.items())[random.integers(len(jobs))]
        name, pronoun = list(people.items())[random.integers(len(people))]
        when, town = random.choice(times), random.choice(towns)
        first, second = f"{name} is a {job} and works at the {place}.", f"{when} {pronoun} {verb} {thing} there."
        documents.append([first, second, f"{town} likes the {thing} of {name} the {job}."])
    return documents


def split_words(text):
    """Lower-case words and punctuation marks.  In minibert: text/normalisation.py, normalise."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def learn_vocabulary(documents, least=5):
    """The special tokens, every character at the start of a word and inside one, and all frequent words.

    A simplification: real WordPiece also learns pieces between a character and a word.
    In minibert: text/vocabulary.py, learn_vocabulary.
    """
    words = Counter(word for sentences in documents for sentence in sentences for word in split_words(sentence))
    characters = sorted({character for word in words for character in word})
    frequent = sorted(word for word, count in words.items() if count >= least and len(word) > 1)
    return SPECIAL + characters + [f"##{character}" for character in characters] + frequent


def encode(text, ids):
    """Token ids of a text: each word is split, from the left, into the longest pieces in the vocabulary.

    ids: piece -> id.  In minibert: text/tokenizer.py, encode.
    """
    tokens = []
    for word in split_words(text):
        start, pieces = 0, []
        while start < len(word):
            prefix = "##" if start else ""
            stops = range(len(word), start, -1)
            stop = next((stop for stop in stops if prefix + word[start:stop] in ids), None)
            if stop is None:  # a character that the vocabulary lacks
                pieces = [UNK]
                break
            pieces.append(ids[prefix + word[start:stop]])
            start = stop
        tokens += pieces
    return tokens


@dataclass
class Batch:
    """A padded batch.  In minibert: data/batch.py, Batch is one flat run of tokens without padding."""

    token_ids: np.ndarray  # int [B, T], some of them replaced by [MASK]
    segment_ids: np.ndarray  # int [B, T], 0 in the first sentence, 1 in the second
    visible: np.ndarray  # bool [B, T], False on padding
    masked: tuple  # (int [M], int [M]): sequence and position of each token to predict
    labels: np.ndarray  # int [M], the original ids of those tokens
    is_random: np.ndarray  # int [B], 1 if the second sentence does not follow the first


def make_batch(documents, count, config, random):
    """Sentence pairs, half of them true neighbours (paper, section 3.1, task 2).

    documents: lists of sentences, each a list of token ids.
    In minibert: data/pairs.py, Pairs and data/pretraining.py, PretrainingData.
    """
    pairs, is_random = [], np.arange(count) % 2
    for other in is_random:
        document = documents[random.integers(len(documents))]
        place = random.integers(len(document) - 1)
        first, second = document[place : place + 2]
        if other:
            elsewhere = documents[random.integers(len(documents))]
            second = elsewhere[random.integers(len(elsewhere))]
        space = config.positions - 3  # for tokens of the two sentences
        first = first[: max(space // 2, space - len(second))]
        pairs.append((first, second[: space - len(first)]))
    token_ids, segment_ids = pad(pairs)
    hidden_ids, masked, labels = mask_tokens(token_ids, config.vocabulary, random)
    return Batch(hidden_ids, segment_ids, token_ids != PAD, masked, labels, is_random)


def pad(pairs):
    """[CLS] first [SEP] second [SEP] [PAD] ...: token ids and segment ids, int [B, T].

    In minibert: data/batch.py, to_padded.
    """
    rows = [[CLS, *first, SEP, *second, SEP] for first, second in pairs]
    token_ids = np.full((len(rows), max(map(len, rows))), PAD)
    segment_ids = np.zeros_like(token_ids)
    for number, (row, (first, _)) in enumerate(zip(rows, pairs, strict=True)):
        token_ids[number, : len(row)] = row
        segment_ids[number, len(first) + 2 : len(row)] = 1
    return token_ids, segment_ids


def mask_tokens(token_ids, vocabulary, random):
    """Choose 15 % of the tokens; of these 80 % become [MASK], 10 % a random token, 10 % stay (paper, section 3.1).

    Returns the ids that the model sees, the positions of the chosen tokens, and their original ids.
    In minibert: data/masking.py, mask_tokens.
    """
    candidates = token_ids >= len(SPECIAL)  # [B, T]
    chosen = candidates & (random.random(token_ids.shape) < 0.15)
    if not chosen.any():
        chosen[tuple(np.argwhere(candidates)[0])] = True
    masked = np.nonzero(chosen)
    labels = token_ids[masked]  # [M]
    dice = random.random(len(labels))
    others = random.integers(len(SPECIAL), vocabulary, len(labels))
    hidden_ids = token_ids.copy()
    hidden_ids[masked] = np.where(dice < 0.8, MASK, np.where(dice < 0.9, others, labels))
    return hidden_ids, masked, labels


def new_parameters(config, random):
    """name -> array, under the names that Hugging Face's `transformers` uses; a narrow model has a std above 0.02.

    In minibert: nn/parameters.py, Parameters keeps all of them in one flat buffer.
    """
    width, std = config.hidden, config.hidden**-0.5
    parameters = {}

    def linear(name, outputs, inputs):
        parameters[f"{name}.weight"] = random.normal(0, std, (outputs, inputs))
        parameters[f"{name}.bias"] = np.zeros(outputs)

    def layernorm(name):
        parameters[f"{name}.weight"], parameters[f"{name}.bias"] = np.ones(width), np.zeros(width)

    for name, rows in ("word", config.vocabulary), ("position", config.positions), ("token_type", 2):
        parameters[f"bert.embeddings.{name}_embeddings.weight"] = random.normal(0, std, (rows, width))
    layernorm("bert.embeddings.LayerNorm")
    for number in range(config.layers):
        layer = f"bert.encoder.layer.{number}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            linear(f"{layer}.attention.{name}", width, width)
        layernorm(f"{layer}.attention.output.LayerNorm")
        linear(f"{layer}.intermediate.dense", config.inner, width)
        linear(f"{layer}.output.dense", width, config.inner)
        layernorm(f"{layer}.output.LayerNorm")
    linear("bert.pooler.dense", width, width)
    linear("cls.predictions.transform.dense", width, width)
    layernorm("cls.predictions.transform.LayerNorm")
    parameters["cls.predictions.bias"] = np.zeros(config.vocabulary)  # its matrix is the word embeddings
    linear("cls.seq_relationship", 2, width)
    return parameters


# -------------------------------------------------------------------------------------------------- the small layers


def linear_forward(x, parameters, name):
    """y = x @ weight.T + bias.  x [..., in] -> y [..., out].  In minibert: ops/reference/linear.py, linear_forward."""
    y = x @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"]
    return y, (x, parameters[f"{name}.weight"], name)


def linear_backward(d_y, cache, gradients):
    """d_y [..., out] -> d_x [..., in]; adds to the gradients of weight and bias.

    In minibert: ops/reference/linear.py, linear_backward.
    """
    x, weight, name = cache
    rows_x, rows_d_y = x.reshape(-1, x.shape[-1]), d_y.reshape(-1, d_y.shape[-1])  # [rows, in], [rows, out]
    # y = x @ weight.T + bias
    gradients[f"{name}.weight"] += rows_d_y.T @ rows_x
    gradients[f"{name}.bias"] += rows_d_y.sum(axis=0)
    return d_y @ weight


def layernorm_forward(x, parameters, name, eps):
    """Each row gets mean 0 and variance 1, then is scaled and shifted.  x [..., H] -> y [..., H].

    In minibert: ops/reference/layernorm.py, layernorm_forward.
    """
    mean = x.mean(axis=-1, keepdims=True)  # [..., 1]
    rstd = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + eps)  # [..., 1]
    x_hat = (x - mean) * rstd  # [..., H]
    return x_hat * parameters[f"{name}.weight"] + parameters[f"{name}.bias"], (x_hat, rstd, parameters, name)


def layernorm_backward(d_y, cache, gradients):
    """d_y [..., H] -> d_x [..., H].  In minibert: ops/reference/layernorm.py, layernorm_backward."""
    x_hat, rstd, parameters, name = cache
    before = tuple(range(d_y.ndim - 1))  # all axes but the last
    # y = x_hat * weight + bias
    gradients[f"{name}.weight"] += (d_y * x_hat).sum(axis=before)
    gradients[f"{name}.bias"] += d_y.sum(axis=before)
    d_x_hat = d_y * parameters[f"{name}.weight"]
    # x_hat = (x - mean) * rstd: x reaches x_hat directly, through the mean, and through the variance
    through_mean = d_x_hat.mean(axis=-1, keepdims=True)
    through_variance = x_hat * (d_x_hat * x_hat).mean(axis=-1, keepdims=True)
    return rstd * (d_x_hat - through_mean - through_variance)


def gelu_forward(x):
    """x times the probability that a standard normal variable is below x (Hendrycks and Gimpel 2016).

    In minibert: ops/reference/activations.py, gelu_forward.
    """
    cdf = 0.5 * (1 + erf(x / math.sqrt(2)))
    return x * cdf, (x, cdf)


def gelu_backward(d_y, cache):
    """In minibert: ops/reference/activations.py, gelu_backward."""
    x, cdf = cache
    # y = x * cdf, and the derivative of cdf is the density of the normal distribution
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return d_y * (cdf + x * density)


def softmax(x):
    """Softmax along the last axis; the maximum is subtracted first, so that exp cannot overflow."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def one_head_forward(q, k, v, visible):
    """Each token takes a weighted mean of all tokens' values; the weights come from queries and keys.

    q, k, v [T, D], one head of one sequence; visible bool [T], False on padding -> context [T, D].
    In minibert: ops/reference/attention.py, plain_attention_forward.  Source: Vaswani et al. 2017, eq. 1.
    """
    scores = q @ k.T / math.sqrt(q.shape[1])  # [T, T], rows are queries, columns are keys
    scores[:, ~visible] = -np.inf
    weights = softmax(scores)  # [T, T]
    return weights @ v, (q, k, v, weights)


def one_head_backward(d_context, cache):
    """d_context [T, D] -> d_q, d_k, d_v [T, D].  In minibert: ops/reference/attention.py, plain_attention_backward."""
    q, k, v, weights = cache
    # context = weights @ v
    d_v = weights.T @ d_context
    d_weights = d_context @ v.T  # [T, T]
    # weights = softmax(scores): a row's gradient, minus its mean under the row's own weights
    d_scores = weights * (d_weights - (weights * d_weights).sum(axis=1, keepdims=True))  # [T, T]
    # scores = q @ k.T / sqrt(D)
    d_scores /= math.sqrt(q.shape[1])
    return d_scores @ k, d_scores.T @ q, d_v


def attention_forward(x, visible, parameters, name, heads):
    """Self-attention: project to queries, keys and values, attend in each head, project back.  x, y [B, T, H].

    In minibert: nn/transformer.py, SelfAttention.
    """
    q, q_cache = linear_forward(x, parameters, f"{name}.self.query")  # [B, T, H]
    k, k_cache = linear_forward(x, parameters, f"{name}.self.key")
    v, v_cache = linear_forward(x, parameters, f"{name}.self.value")
    context, width, head_caches = np.empty_like(q), q.shape[2] // heads, {}
    for sequence, head in np.ndindex(len(x), heads):
        here = sequence, slice(None), slice(head * width, (head + 1) * width)  # [T, D] of q, k, v
        context[here], head_caches[sequence, head] = one_head_forward(q[here], k[here], v[here], visible[sequence])
    y, output_cache = linear_forward(context, parameters, f"{name}.output.dense")  # [B, T, H]
    return y, (q_cache, k_cache, v_cache, head_caches, output_cache, width)


def attention_backward(d_y, cache, gradients):
    """d_y [B, T, H] -> d_x [B, T, H].  In minibert: nn/transformer.py, SelfAttention."""
    q_cache, k_cache, v_cache, head_caches, output_cache, width = cache
    d_context = linear_backward(d_y, output_cache, gradients)  # [B, T, H]
    d_q, d_k, d_v = (np.empty_like(d_context) for _ in range(3))
    for (sequence, head), head_cache in head_caches.items():
        here = sequence, slice(None), slice(head * width, (head + 1) * width)
        d_q[here], d_k[here], d_v[here] = one_head_backward(d_context[here], head_cache)
    # x reaches y through queries, keys and values: three gradients add up
    parts = (d_q, q_cache), (d_k, k_cache), (d_v, v_cache)
    return sum(linear_backward(d_part, part_cache, gradients) for d_part, part_cache in parts)


# -------------------------------------------------------------------------------------------------------- the encoder


def layer_forward(x, visible, parameters, name, config):
    """One Transformer layer: attention, then a feed-forward network, each followed by LayerNorm(input + output).

    x [B, T, H] -> y [B, T, H].  In minibert: nn/transformer.py, EncoderLayer.
    """
    attended, attention_cache = attention_forward(x, visible, parameters, f"{name}.attention", config.heads)
    middle, middle_cache = layernorm_forward(x + attended, parameters, f"{name}.attention.output.LayerNorm", config.eps)
    up, up_cache = linear_forward(middle, parameters, f"{name}.intermediate.dense")  # [B, T, F]
    activated, gelu_cache = gelu_forward(up)  # [B, T, F]
    down, down_cache = linear_forward(activated, parameters, f"{name}.output.dense")  # [B, T, H]
    y, y_cache = layernorm_forward(middle + down, parameters, f"{name}.output.LayerNorm", config.eps)
    return y, (attention_cache, middle_cache, up_cache, gelu_cache, down_cache, y_cache)


def layer_backward(d_y, cache, gradients):
    """d_y [B, T, H] -> d_x [B, T, H].  In minibert: nn/transformer.py, EncoderLayer."""
    attention_cache, middle_cache, up_cache, gelu_cache, down_cache, y_cache = cache
    d_sum = layernorm_backward(d_y, y_cache, gradients)  # of middle + down
    d_activated = linear_backward(d_sum, down_cache, gradients)
    d_up = gelu_backward(d_activated, gelu_cache)
    d_middle = d_sum + linear_backward(d_up, up_cache, gradients)
    d_sum = layernorm_backward(d_middle, middle_cache, gradients)  # of x + attended
    return d_sum + attention_backward(d_sum, attention_cache, gradients)


def encoder_forward(batch, parameters, config):
    """Embeddings, then all layers: hidden [B, T, H].  In minibert: models/bert.py, BertBody."""
    tables = [f"bert.embeddings.{name}_embeddings.weight" for name in ("word", "position", "token_type")]
    positions = np.broadcast_to(np.arange(batch.token_ids.shape[1]), batch.token_ids.shape)
    rows = batch.token_ids, positions, batch.segment_ids  # of each table, [B, T]
    summed = sum(parameters[table][ids] for table, ids in zip(tables, rows, strict=True))  # [B, T, H]
    x, norm_cache = layernorm_forward(summed, parameters, "bert.embeddings.LayerNorm", config.eps)
    layer_caches = []
    for number in range(config.layers):
        x, cache = layer_forward(x, batch.visible, parameters, f"bert.encoder.layer.{number}", config)
        layer_caches.append(cache)
    return x, (tables, rows, norm_cache, layer_caches)


def encoder_backward(d_hidden, cache, gradients):
    """d_hidden [B, T, H]; adds to all gradients.  In minibert: models/bert.py, BertBody."""
    tables, rows, norm_cache, layer_caches = cache
    for layer_cache in reversed(layer_caches):
        d_hidden = layer_backward(d_hidden, layer_cache, gradients)
    d_summed = layernorm_backward(d_hidden, norm_cache, gradients)
    for table, ids in zip(tables, rows, strict=True):
        np.add.at(gradients[table], ids, d_summed)  # a row that was looked up twice gets both gradients


# --------------------------------------------------------------------------------------------------- heads and losses


def cross_entropy_forward(logits, labels):
    """The mean of -log p(label).  logits [M, V], labels int [M].

    In minibert: ops/reference/losses.py, cross_entropy_forward.
    """
    probabilities = softmax(logits)  # [M, V]
    rows = np.arange(len(labels))
    return -np.log(probabilities[rows, labels]).mean(), (probabilities, labels)


def cross_entropy_backward(cache):
    """-> d_logits [M, V].  In minibert: ops/reference/losses.py, cross_entropy_backward."""
    probabilities, labels = cache
    d_logits = probabilities.copy()  # the softmax, minus one at the label
    d_logits[np.arange(len(labels)), labels] -= 1
    return d_logits / len(labels)


def masked_lm_forward(hidden, parameters, config):
    """Scores for every piece of the vocabulary: transform, then compare with the word embeddings.

    hidden [M, H], of the masked tokens -> logits [M, V].  In minibert: models/heads.py, MaskedLMHead.
    """
    dense, dense_cache = linear_forward(hidden, parameters, "cls.predictions.transform.dense")
    activated, gelu_cache = gelu_forward(dense)
    normed, norm_cache = layernorm_forward(activated, parameters, "cls.predictions.transform.LayerNorm", config.eps)
    table = parameters["bert.embeddings.word_embeddings.weight"]  # [V, H]
    return normed @ table.T + parameters["cls.predictions.bias"], (dense_cache, gelu_cache, norm_cache, normed, table)


def masked_lm_backward(d_logits, cache, gradients):
    """d_logits [M, V] -> d_hidden [M, H].  In minibert: models/heads.py, MaskedLMHead."""
    dense_cache, gelu_cache, norm_cache, normed, table = cache
    # logits = normed @ table.T + bias; the table also gets a gradient where tokens are looked up
    gradients["bert.embeddings.word_embeddings.weight"] += d_logits.T @ normed
    gradients["cls.predictions.bias"] += d_logits.sum(axis=0)
    d_activated = layernorm_backward(d_logits @ table, norm_cache, gradients)
    return linear_backward(gelu_backward(d_activated, gelu_cache), dense_cache, gradients)


def next_sentence_forward(first, parameters):
    """Does the second sentence follow?  first [B, H], the output at [CLS] -> logits [B, 2]: it does, it is random.

    In minibert: models/heads.py, NextSentenceHead and models/bert.py, pool.
    """
    dense, dense_cache = linear_forward(first, parameters, "bert.pooler.dense")
    pooled = np.tanh(dense)  # [B, H]
    logits, head_cache = linear_forward(pooled, parameters, "cls.seq_relationship")
    return logits, (dense_cache, pooled, head_cache)


def next_sentence_backward(d_logits, cache, gradients):
    """d_logits [B, 2] -> d_first [B, H].  In minibert: models/heads.py, NextSentenceHead."""
    dense_cache, pooled, head_cache = cache
    d_pooled = linear_backward(d_logits, head_cache, gradients)
    # pooled = tanh(dense)
    return linear_backward(d_pooled * (1 - pooled * pooled), dense_cache, gradients)


def losses_and_gradients(batch, parameters, config):
    """Both losses of a batch, both accuracies, and the gradient of the losses' sum for every parameter.

    In minibert: models/pretraining.py, BertForPreTraining.
    """
    hidden, encoder_cache = encoder_forward(batch, parameters, config)  # [B, T, H]
    mlm_logits, mlm_head_cache = masked_lm_forward(hidden[batch.masked], parameters, config)  # [M, V]
    nsp_logits, nsp_head_cache = next_sentence_forward(hidden[:, 0], parameters)  # [B, 2]
    mlm, mlm_cache = cross_entropy_forward(mlm_logits, batch.labels)
    nsp, nsp_cache = cross_entropy_forward(nsp_logits, batch.is_random)

    gradients = {name: np.zeros_like(value) for name, value in parameters.items()}
    d_hidden = np.zeros_like(hidden)  # only the masked tokens and [CLS] reach a loss
    d_hidden[batch.masked] += masked_lm_backward(cross_entropy_backward(mlm_cache), mlm_head_cache, gradients)
    d_hidden[:, 0] += next_sentence_backward(cross_entropy_backward(nsp_cache), nsp_head_cache, gradients)
    encoder_backward(d_hidden, encoder_cache, gradients)
    mlm_accuracy = (mlm_logits.argmax(axis=1) == batch.labels).mean()
    nsp_accuracy = (nsp_logits.argmax(axis=1) == batch.is_random).mean()
    return dict(mlm_loss=mlm, nsp_loss=nsp, mlm_accuracy=mlm_accuracy, nsp_accuracy=nsp_accuracy), gradients


# ----------------------------------------------------------------------------------------------------------- learning


def learning_rate_at(step, steps, peak, warmup=0.1):
    """Rises linearly over the first share of the steps, then falls linearly to 0 (paper, appendix A.2).

    In minibert: training/optimizer.py, learning_rate_at.
    """
    rising = max(int(steps * warmup), 1)
    return peak * min((step + 1) / rising, (steps - step) / max(steps - rising, 1))


def adamw_step(parameters, gradients, moments, rate, beta1=0.9, beta2=0.98, eps=1e-6, decay=0.01, clip=1.0):
    """Adam with decoupled weight decay, after clipping the gradient's norm; changes parameters and moments.

    As in BERT's release the moments are not corrected for their start at zero, and biases and layer norms do not decay.
    In minibert: ops/reference/optimizer.py, adamw.  Source: Loshchilov and Hutter 2019.
    """
    norm = math.sqrt(sum((gradient * gradient).sum() for gradient in gradients.values()))
    scale = min(1.0, clip / norm)
    for name, value in parameters.items():
        first, second = moments.setdefault(name, (np.zeros_like(value), np.zeros_like(value)))
        gradient = gradients[name] * scale
        first += (1 - beta1) * (gradient - first)
        second += (1 - beta2) * (gradient * gradient - second)
        update = first / (np.sqrt(second) + eps)
        if not name.endswith(".bias") and "LayerNorm" not in name:
            update = update + decay * value
        value -= rate * update


def train(documents, config, steps=600, sequences=16, peak=3e-3, seed=0):
    """The loop.  documents: lists of sentences, each a list of token ids.  Returns the trained parameters.

    In minibert: training/pretraining.py, pretrain.
    """
    random, began, recent = np.random.default_rng(seed), time.perf_counter(), []
    parameters, moments = new_parameters(config, random), {}
    for step in range(steps):
        batch = make_batch(documents, sequences, config, random)
        figures, gradients = losses_and_gradients(batch, parameters, config)
        adamw_step(parameters, gradients, moments, learning_rate_at(step, steps, peak))
        recent.append(figures)
        if (step + 1) % 50 == 0 or step == 0:
            mean = {name: np.mean([each[name] for each in recent]) for name in figures}
            print(f"step {step + 1:4}, {time.perf_counter() - began:3.0f} s:", end="  ")
            print(f"masked tokens {mean['mlm_loss']:.3f} nats, {mean['mlm_accuracy']:4.0%} correct", end=";  ")
            print(f"next sentence {mean['nsp_loss']:.3f} nats, {mean['nsp_accuracy']:4.0%} correct")
            recent = []
    return parameters


def fill(first, second, parameters, config, vocabulary):
    """The three most probable pieces for each [MASK] of two sentences.  In minibert: inference/fill.py, fill_mask."""
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    pair = []
    for text in (first, second):
        parts = [encode(part, ids) for part in text.split("[MASK]")]
        pair.append(sum(([MASK, *part] for part in parts[1:]), parts[0]))
    token_ids, segment_ids = pad([pair])  # [1, T]
    blanks, nothing = np.nonzero(token_ids == MASK), np.zeros(0, int)
    batch = Batch(token_ids, segment_ids, token_ids != PAD, blanks, nothing, nothing)
    hidden, _ = encoder_forward(batch, parameters, config)
    probabilities = softmax(masked_lm_forward(hidden[blanks], parameters, config)[0])  # [M, V]
    return [[(vocabulary[piece], row[piece]) for piece in np.argsort(-row)[:3]] for row in probabilities]


def check_gradients(seed=0):
    """Every element of every gradient against central differences: the largest difference, relative to its tensor's
    largest element, for each parameter.  In minibert: checks/gradients.py, check_gradients."""
    random = np.random.default_rng(seed)
    config = Config(vocabulary=11, hidden=4, layers=2, heads=2, inner=6, positions=9)
    documents = [[list(random.integers(5, 11, random.integers(1, 4))) for _ in range(4)] for _ in range(6)]
    batch = make_batch(documents, 4, config, random)
    parameters = new_parameters(config, random)
    for value in parameters.values():
        value += random.normal(0, 0.1, value.shape)  # biases and layer norms, too

    def total():
        figures, _ = losses_and_gradients(batch, parameters, config)
        return figures["mlm_loss"] + figures["nsp_loss"]

    _, gradients = losses_and_gradients(batch, parameters, config)
    largest, errors, step = max(np.abs(gradient).max() for gradient in gradients.values()), {}, 1e-5
    for name, value in parameters.items():
        numeric = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            kept = value[place]
            value[place] = kept + step
            above = total()
            value[place] = kept - step
            numeric[place] = (above - total()) / (2 * step)
            value[place] = kept
        scale = max(np.abs(numeric).max(), 1e-3 * largest)  # the key biases have gradients of exactly zero
        errors[name] = np.abs(gradients[name] - numeric).max() / scale
    return errors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--check", action="store_true", help="check the gradients instead of training")
    options = parser.parse_args()
    if options.check:
        for name, error in check_gradients().items():
            print(f"{'pass' if error < 1e-7 else 'FAIL'}  {error:.1e}  {name}")
        return
    documents = stories()
    vocabulary = learn_vocabulary(documents)
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    encoded = [[encode(sentence, ids) for sentence in document] for document in documents]
    config = Config(len(vocabulary))
    print(f"{len(documents)} documents, {len(vocabulary)} pieces, {config.layers} layers, {config.hidden} wide")
    parameters = train(encoded, config, options.steps)
    for first, second in BLANKS:
        (guesses,) = fill(first, second, parameters, config, vocabulary)
        print(f"{first} {second}   {', '.join(f'{piece} {share:.0%}' for piece, share in guesses)}")


if __name__ == "__main__":
    main()
