import json, sys
ROOT="/tmp/mu/lessons/"
def cell(kind, id_, source, tags=None):
    c={"cell_type":kind,"id":id_,"metadata":({"tags":tags} if tags else {}),"source":source.strip("\n").splitlines(True)}
    if kind=="code": c.update(execution_count=None, outputs=[])
    return c
def insert(name, after, cells):
    path=f"{ROOT}{name}.ipynb"; nb=json.load(open(path))
    ids=[c["id"] for c in nb["cells"]]
    if cells[0]["id"] in ids: return
    i=ids.index(after)+1
    nb["cells"][i:i]=cells
    json.dump(nb,open(path,"w"),indent=1,ensure_ascii=False); open(path,"a").write("\n")
M,C="markdown","code"
insert("02-embeddings","02-04",[cell(M,"02-mine","""
**Your BERT.** From this lesson on, answers that `check` finds right are also collected, in a file of your own: linear layers, attention, the optimiser, one after the other. At the end of the course they are a *backend*, that is, all the functions that a BERT needs in order to be trained, and `minibert pretrain --backend mine` trains a BERT with them. An answer is taken if it needs nothing of this notebook but NumPy (as `np`) and other answers. `minibert lessons --mine` shows how much is yours.
""")])
insert("02-embeddings","02-16",[cell(M,"02-16a","""
### Exercise: the gradients of all three tables

Now the backward pass of `embed`, for all its tables at once.
"""),cell(C,"02-16b",'''
def embedding_backward(d_y, token_ids, position_ids, segment_ids, sizes):
    """d_y [N, H]; ids integers [N] each; sizes: the number of rows of each table.

    Returns d_token_weight, d_position_weight, d_segment_weight.
    """
    ...

check("embedding_backward", embedding_backward)
'''),cell(C,"02-16c",'hints("embedding_backward")')])
insert("04-attention","04-13",[cell(M,"04-13a","""
### Exercise: all heads of all sequences

Your `attend` handles one head of one sequence. Apply it to a batch: sequence b has the rows `cu_q[b]` to `cu_q[b + 1]` of the queries, and the rows `cu_k[b]` to `cu_k[b + 1]` of the keys and values. (The two differ in BERT's last layer, where only the tokens that a loss reads need a query.)
"""),cell(C,"04-13b",'''
def multi_head(query, key, value, heads, cu_q, cu_k):
    """query [Nq, H]; key, value [N, H]; cu_q, cu_k integers [B + 1]; head a has the features a * D to (a + 1) * D - 1.

    Returns context [Nq, H].
    """
    ...

check("multi_head", multi_head)
'''),cell(C,"04-13c",'hints("multi_head")')])
insert("05-encoder","05-16",[cell(M,"05-16a","""
## A whole layer

Now put the parts together. The next cell gives what you have written in lessons 3 and 4, in the package's versions (use your own, if you like).
"""),cell(C,"05-16b","""
from minibert.exercises.layer import EPS, gelu, layernorm, layernorm_forward, multi_head, multi_head_backward
from minibert.ops.reference import gelu_backward, gelu_forward, layernorm_backward, linear_backward
"""),cell(M,"05-16c","""
### Exercise: forward

The 16 arrays of a layer come in two tuples: `attention` is wq, bq, wk, bk, wv, bv, wo, bo, g1, h1, and `feed_forward` is w1, b1, w2, b2, g2, h2. A w is a weight matrix [out, in] and a b its bias; g and h are the weight and the bias of a layer norm. `layernorm(x, g, h)`, `gelu(x)` and `multi_head(query, key, value, heads, cu_seqlens, cu_seqlens)` are there to be used. (Dropout is left out.)
"""),cell(C,"05-16d",'''
def encoder_layer(x, attention, feed_forward, heads, cu_seqlens):
    """x [N, H]; attention: a tuple of 10 arrays; feed_forward: a tuple of 6.  Returns y [N, H]."""
    wq, bq, wk, bk, wv, bv, wo, bo, g1, h1 = attention
    w1, b1, w2, b2, g2, h2 = feed_forward
    ...

check("encoder_layer", encoder_layer)
'''),cell(C,"05-16e",'hints("encoder_layer")'),cell(M,"05-16f","""
### Exercise: backward

Sixteen gradients, and that of x. The functions of the imports: `y, cache = layernorm_forward(x, g, h, EPS)` and `d_x, d_g, d_h = layernorm_backward(d_y, cache)`; `y, cache = gelu_forward(x)` and `d_x = gelu_backward(d_y, cache)`; `d_x, d_w, d_b = linear_backward(d_y, (x, w))`; and `d_query, d_key, d_value = multi_head_backward(d_context, query, key, value, heads, cu_seqlens, cu_seqlens)`. Which arrays are used more than once in the forward pass?
"""),cell(C,"05-16g",'''
def encoder_layer_backward(d_y, x, attention, feed_forward, heads, cu_seqlens):
    """d_y [N, H]; the others as in encoder_layer.

    Returns d_x [N, H], a tuple of 10 gradients and a tuple of 6, in the order of attention and feed_forward.
    """
    ...

check("encoder_layer_backward", encoder_layer_backward)
'''),cell(C,"05-16h",'hints("encoder_layer_backward")')])
insert("07-pretraining","07-13",[cell(M,"07-13a","""
### Exercise: a whole step

A batch that does not fit into memory is computed in parts. Each part's loss is divided by the size of the whole batch, so losses and gradients of the parts add up to those of the batch. Your `clip` and `adamw_step` are there to be used.
"""),cell(C,"07-13b",'''
def training_step(weights, first, second, parts, loss_and_gradients, rate, max_norm):
    """weights, first, second: a list of arrays each, of equal shapes (the weights and their moments).

    loss_and_gradients(weights, part) returns the loss of a part and the list of its gradients.
    Matrices decay by 0.01 (adamw_step's `decay`); arrays with one axis, biases and layer norms, by 0.
    Returns the batch's loss, the new weights, the new first and the new second moments (lists).
    """
    ...

check("training_step", training_step)
'''),cell(C,"07-13c",'hints("training_step")')])
nb={"cells":[
cell(M,"13-00","""
# Your BERT

**Goals.** After this lesson you know whether a BERT made of your own functions is right, you have trained it, and it has filled a blank.

**You need:** the exercises of lessons 2 to 7. What is still missing is filled in with the package's functions, so you can come here at any time.

**Time:** 30 minutes.
"""),
cell(M,"13-01","""
## The question

A model is right if every number that it computes is right, and you have written some fifteen functions, each for itself. Do they make a BERT together?

## What there is

Answers that `check` found right are in a file, and its last line makes a backend of them. Around each answer there is an adapter (`minibert/exercises/own_bert.py`): it keeps the cache that the backward pass needs, cuts a batch into heads and sequences, or adds a gradient into an array that is given. The mathematics is yours. A training step counts the calls:
"""),
cell(C,"13-02","""
from minibert.exercises.own_bert import page

print(page())
""",["varies"]),
cell(M,"13-03","""
A part that is still the package's is listed with its lesson: do that exercise, and run the cell again. Your BERT is complete when a whole training step calls nothing of the package's.

## Is it right?

The same checks as for every backend: each element of each gradient is compared with a finite difference. In a terminal, `minibert gradcheck --backend mine` checks all ops.
"""),
cell(C,"13-04","""
from minibert.checks import cases_of, check_gradients
from minibert.exercises.own_bert import own_backend

mine = own_backend()
for op in ("embedding", "linear", "layernorm", "gelu", "attention", "cross_entropy"):
    results = [result for case in cases_of(op, mine) for result in check_gradients(case)]
    print(f"{op:14} {sum(result.passed for result in results):3} of {len(results):3} gradients are right,",
          f"largest error {max(result.error for result in results):.0e}")
""",["varies"]),
cell(M,"13-05","""
## Does it learn?

Six people live in a little world, each with a trade. The model reads sentences about them and fills blanks. Predict: which blanks can it fill, after two minutes, and which cannot be filled at all?
"""),
]}
print("ok")
