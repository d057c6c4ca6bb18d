"""The functions of the course that the model is made of, given or a learner's own."""

import types
from collections.abc import Callable
from typing import Any

from autograder.course import ROOT

# By the chapter that asks for them. Each is a slot: another function can stand there.
SLOTS = {
    "embeddings": ("embed", "tied_logits"),
    "attention": ("softmax", "attention_scores", "scaled_dot_product_attention"),
    "masks": ("causal_mask",),
    "numerics": ("log_sum_exp",),
    "heads": ("split_heads", "merge_heads", "repeat_kv"),
    "relative_positions": ("rope_frequencies", "apply_rope"),
    "blocks": ("rms_norm", "swiglu"),
    "cache": ("update_cache", "cache_positions", "decode_step"),
    "sampling": (
        "apply_temperature", "top_k_filter", "top_p_filter", "min_p_filter",
        "perplexity",
    ),
    "language_model": ("merge_pairs", "chat_prompt"),
}  # fmt: skip

Functions = dict[str, Callable[..., Any]]


def given() -> list[dict[str, Any]]:
    """The modules of `solutions`, run anew: what is changed in them harms nobody."""
    spaces = []
    for stem in SLOTS:
        path = ROOT / "solutions" / f"{stem}.py"
        space: dict[str, Any] = {"__name__": f"solutions.{stem}"}
        exec(compile(path.read_text("utf-8"), path, "exec"), space)
        spaces.append(space)
    return spaces


def plug(own: Functions, spaces: list[dict[str, Any]] | None = None) -> Any:
    """All functions by name: one's own where there are some, the given ones elsewhere.

    They see each other: where the given `decode_step` calls `repeat_kv`, it calls the
    one that is chosen here. `spaces` are the namespaces that own functions live in.
    """
    modules = given()
    chosen: Functions = {}
    for space, names in zip(modules, SLOTS.values(), strict=True):
        chosen |= {name: space[name] for name in names}
    unknown = own.keys() - chosen.keys()
    if unknown:
        raise ValueError(f"no slot is called {', '.join(sorted(unknown))}")
    chosen |= own
    for space in [*modules, *(spaces or [])]:
        space.update({name: chosen[name] for name in chosen.keys() & space.keys()})
    return types.SimpleNamespace(**chosen)
