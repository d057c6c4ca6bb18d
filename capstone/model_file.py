"""What is in the model's file: sizes, weights as NumPy arrays, the vocabulary."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np


@dataclass(frozen=True)
class Layer:
    """The weights of one block; all multiply from the right."""

    attention_norm: np.ndarray  # (D,)
    w_qkv: np.ndarray  # (D, (H + 2 G) K): queries, keys and values side by side
    w_o: np.ndarray  # (D, D)
    feed_forward_norm: np.ndarray  # (D,)
    w_gate: np.ndarray  # (D, F)
    w_up: np.ndarray  # (D, F)
    w_down: np.ndarray  # (F, D)


@dataclass(frozen=True)
class ModelFile:
    """A decoder of the Llama family."""

    n_heads: int
    n_kv_heads: int
    d_head: int
    context: int  # the most tokens that it was trained to read
    rope_base: float
    norm_eps: float
    table: np.ndarray = field(repr=False)  # (V, D): embedding and output, tied
    layers: list[Layer] = field(repr=False)
    final_norm: np.ndarray = field(repr=False)  # (D,)
    vocabulary: list[str] = field(repr=False)
    merges: list[tuple[str, str]] = field(repr=False)
    special: list[str] = field(repr=False)  # tokens that no text is cut into
    end: str
    chat_template: str = field(repr=False)


def read(path: Path) -> ModelFile:
    """Read a GGUF file; its quantised weights become float32."""
    reader = gguf.GGUFReader(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def value(key: str) -> Any:
        return reader.fields[key].contents()

    def right(*names: str) -> np.ndarray:
        """Weights that multiply from the right: in the file they are (out, in)."""
        parts = [tensors[f"{name}.weight"] for name in names]
        arrays = [gguf.dequantize(part.data, part.tensor_type) for part in parts]
        return np.ascontiguousarray(np.concatenate(arrays).T)

    def layer(number: int) -> Layer:
        block = f"blk.{number}"
        return Layer(
            right(f"{block}.attn_norm"),
            right(f"{block}.attn_q", f"{block}.attn_k", f"{block}.attn_v"),
            right(f"{block}.attn_output"),
            right(f"{block}.ffn_norm"),
            right(f"{block}.ffn_gate"),
            right(f"{block}.ffn_up"),
            # With so few columns, it is faster as it lies in the file.
            np.asfortranarray(right(f"{block}.ffn_down")),
        )

    vocabulary = value("tokenizer.ggml.tokens")
    kinds = value("tokenizer.ggml.token_type")
    return ModelFile(
        n_heads=value("llama.attention.head_count"),
        n_kv_heads=value("llama.attention.head_count_kv"),
        d_head=value("llama.rope.dimension_count"),
        context=value("llama.context_length"),
        rope_base=value("llama.rope.freq_base"),
        norm_eps=value("llama.attention.layer_norm_rms_epsilon"),
        # Lying on its side, so that the transpose, the larger product, is fast.
        table=right("token_embd").T,
        layers=[layer(number) for number in range(value("llama.block_count"))],
        final_norm=right("output_norm"),
        vocabulary=vocabulary,
        merges=[tuple(pair.split(" ")) for pair in value("tokenizer.ggml.merges")],
        special=[
            token
            for token, kind in zip(vocabulary, kinds, strict=True)
            if kind == gguf.TokenType.CONTROL
        ],
        end=vocabulary[value("tokenizer.ggml.eos_token_id")],
        chat_template=value("tokenizer.chat_template"),
    )
