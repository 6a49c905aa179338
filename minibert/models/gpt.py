"""GPT: BERT's Transformer with causal attention (no token attends to a later one) and a next-token head.

Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training".  The BERT paper compares
BERT with such a model in section 5.1, "LTR & No NSP".  As in that comparison, everything except the direction is
BERT's: vocabulary, sizes, post-norm layers, segment embeddings, and the masked-token head with its tied embeddings.
"""

import numpy as np

from minibert.base.arrays import Array, Cache, DropoutKey
from minibert.data.batch import Batch
from minibert.models.bert import BertBody, Model, check_ids
from minibert.models.heads import MaskedLMHead
from minibert.models.inputs import BodyInputs, Prepared, body_arrays, body_inputs, upload
from minibert.nn import Parameters, Sequences
from minibert.nn.kv_cache import KeyValueCache


class GptForCausalLM(Model):
    """A left-to-right language model: for each chosen token, the logits of the token that follows."""

    huggingface_class = "BertLMHeadModel"
    left_to_right = True

    def build(self, parameters: Parameters) -> None:
        self.bert = BertBody(parameters, self.config, "bert.", self.position_init, pooler=False)
        self.lm_head = MaskedLMHead(parameters, "cls.predictions", self.config, self.bert.embeddings.token)

    def prepare(
        self, tokens: Batch, rows: np.ndarray | None = None, *, targets: dict[str, np.ndarray] | None = None
    ) -> Prepared:
        """Copy a batch to the device.

        rows: [R] ascending indices of the tokens whose successors are predicted, None for all; targets: name -> int32
        array, uploaded with the rest.  Raises ValueError if an id is outside its table or the rows do not ascend.
        """
        self.bert.check(tokens)
        arrays, release = upload(self.backend, dict(targets or {}) | body_arrays(tokens, rows))
        return Prepared(body_inputs(arrays), {name: arrays[name] for name in targets or ()}, release)

    def forward(
        self, inputs: BodyInputs, dropout_key: DropoutKey | None = None, keep_cache: bool = True
    ) -> tuple[Array, Cache]:
        """Logits [R, V] of the tokens that follow the rows of `prepare`, and the cache.

        dropout_key: None in evaluation, (seed, step) in training; keep_cache: False if no backward pass follows.
        """
        hidden, bert_cache = self.bert.forward(inputs, dropout_key, keep_cache)  # [R, H]
        logits, head_cache = self.lm_head.forward(hidden)  # [R, V]
        return logits, (bert_cache, head_cache) if keep_cache else None

    def new_caches(self) -> list[KeyValueCache]:
        """Empty caches of keys and values, one for each layer, with room for as many tokens as there are positions."""
        shape = self.config.max_position_embeddings, self.config.hidden_size
        return [KeyValueCache(self.backend, *shape, self.parameters.dtype) for _ in self.bert.encoder.layers]

    def extend(self, token_ids: np.ndarray, caches: list[KeyValueCache]) -> Array:
        """Add tokens to the caches, and return the logits [V] of the token that follows them.

        token_ids: int32 [n] on the host, the tokens that follow those already in the caches.  Raises
        ValueError for an id outside the table, and for more tokens than the model has positions.
        """
        begun, count = caches[0].length, len(token_ids)
        check_ids("token id", token_ids, self.config.vocab_size)
        check_ids("position", np.array([begun + count - 1]), self.config.max_position_embeddings)
        start = np.array([0, begun + count])
        tokens = Sequences.of_batch(self.backend, start, [0])
        queries = Sequences.of_rows(self.backend, np.arange(begun, begun + count), start, [0])
        integers = np.asarray(token_ids, np.int32), np.zeros(count, np.int32)
        ids, segment_ids = self.backend.upload(integers).arrays
        x, _ = self.bert.embeddings.forward(ids, queries.positions, segment_ids)  # [n, H]
        hidden = self.bert.encoder.extend(x, tokens, queries, caches)  # [n, H]
        return self.lm_head.forward(hidden[count - 1 :])[0][0]

    def next_logits(self, token_ids: np.ndarray) -> Array:
        """The logits [V] of the token that follows token_ids, int32 [n] on the host."""
        return self.extend(token_ids, self.new_caches())

    def backward(self, d_logits: Array, cache: Cache) -> None:
        """Add to the gradients of all parameters; d_logits has shape [R, V]."""
        bert_cache, head_cache = cache
        self.bert.backward(self.lm_head.backward(d_logits, head_cache), bert_cache)
