"""A real language model, made of the functions that you wrote.

It is a Llama: RMSNorm, grouped-query attention with rotated queries and keys, SwiGLU,
and the embedding table once more at the end. The code here only says in which order
the functions are called; `self.f` holds them by name, and `slots.py` chooses them.
"""

from typing import Any

import numpy as np

from capstone.model_file import Layer, ModelFile
from capstone.tokenizer import Tokenizer

BLOCK = 64  # positions by which the caches grow: each step copies them whole
CHUNK = 512  # tokens that are read at once: longer prompts come in pieces


class ContextFull(ValueError):
    """More tokens than the model was trained to read."""


class LanguageModel:
    """Reads ids and says what comes next; remembers what it has read."""

    def __init__(self, file: ModelFile, functions: Any) -> None:
        self.file, self.f = file, functions
        self.tokenizer = Tokenizer(file, functions)
        self.inv_freq = self.f.rope_frequencies(file.d_head, file.rope_base)
        self.forget()

    def forget(self) -> None:
        """Start with nothing read and empty caches."""
        self.ids: list[int] = []
        empty = np.zeros((1, self.file.n_kv_heads, 0, self.file.d_head), np.float32)
        self.cache_k = [empty] * len(self.file.layers)  # each (1, G, room, K)
        self.cache_v = [empty] * len(self.file.layers)

    def make_room(self, total: int) -> None:
        """Let the caches grow until `total` tokens fit, by whole blocks."""
        missing = total - self.cache_k[0].shape[2]
        if missing > 0:
            more = -(-missing // BLOCK) * BLOCK
            pad = ((0, 0), (0, 0), (0, more), (0, 0))
            self.cache_k = [np.pad(cache, pad) for cache in self.cache_k]
            self.cache_v = [np.pad(cache, pad) for cache in self.cache_v]

    def attention(self, x: np.ndarray, number: int, positions: np.ndarray) -> Any:
        """Let each token look at those before it, in the layer of this number."""
        file, layer = self.file, self.file.layers[number]
        n_heads, n_kv_heads = file.n_heads, file.n_kv_heads
        ends = np.array([n_heads, n_heads + n_kv_heads]) * file.d_head
        query, key, value = np.split(x @ layer.w_qkv, ends, axis=-1)
        query = self.f.split_heads(query, n_heads)  # (1, H, T, K)
        key = self.f.split_heads(key, n_kv_heads)  # (1, G, T, K)
        value = self.f.split_heads(value, n_kv_heads)  # (1, G, T, K)
        query = self.f.apply_rope(query, positions, self.inv_freq, "interleaved")
        key = self.f.apply_rope(key, positions, self.inv_freq, "interleaved")
        out, self.cache_k[number], self.cache_v[number] = self.f.decode_step(
            query, key, value, self.cache_k[number], self.cache_v[number], len(self.ids)
        )
        return self.f.merge_heads(out) @ layer.w_o  # (1, T, D)

    def feed_forward(self, x: np.ndarray, layer: Layer) -> np.ndarray:
        return self.f.swiglu(x, layer.w_gate, layer.w_up, layer.w_down)

    def read(self, ids: list[int]) -> np.ndarray:
        """Read on: the logits (T, V) for what follows each of these tokens."""
        x = self.read_hidden(ids)
        return self.f.tied_logits(x, self.file.table)[0]

    def read_hidden(self, ids: list[int]) -> np.ndarray:
        """Read on: what the last layer makes of each token, (1, T, D)."""
        eps = self.file.norm_eps
        total = len(self.ids) + len(ids)
        if total > self.file.context:
            raise ContextFull(
                f"{total:,} tokens do not fit into this model's context of "
                f"{self.file.context:,}."
            )
        self.make_room(total)
        positions = self.f.cache_positions(len(self.ids), len(ids))
        x = self.f.embed(np.array([ids]), self.file.table)  # (1, T, D)
        for number, layer in enumerate(self.file.layers):
            normed = self.f.rms_norm(x, layer.attention_norm, eps)
            x = x + self.attention(normed, number, positions)
            normed = self.f.rms_norm(x, layer.feed_forward_norm, eps)
            x = x + self.feed_forward(normed, layer)
        self.ids += ids
        return self.f.rms_norm(x, self.file.final_norm, eps)

    def next_logits(self, ids: list[int]) -> np.ndarray:
        """The logits (V,) for what follows `ids`; the beginning may be read already."""
        known = 0
        for old, new in zip(self.ids, ids[:-1], strict=False):
            if old != new:
                break
            known += 1
        self.ids = self.ids[:known]
        x = np.empty(0)
        for start in range(known, len(ids), CHUNK):
            x = self.read_hidden(ids[start : start + CHUNK])
        return self.f.tied_logits(x[:, -1:], self.file.table)[0, 0]
