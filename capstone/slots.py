"""The functions of the course that the model is made of, given or a learner's own."""

import contextlib
import functools
import io
import linecache
import os
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autograder import live, notebooks
from autograder.answers import COLLECTING
from autograder.course import ROOT, assignment_of, chapter_of

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


# A learner's own functions


@dataclass(frozen=True)
class Slot:
    """Whose function stands in a slot, and what `check` says of a learner's."""

    name: str
    chapter: int
    is_own: bool
    note: str = ""


def from_work(folder: Path, own: Functions | None = None) -> tuple[Any, list[Slot]]:
    """The functions of the notebooks in a folder; given ones where there is none.

    Those in `own` come first. An answer that is wrong is used all the same: one hears
    what it does to the model.
    """
    found: Functions = {}
    spaces, slots = [], []
    for stem, names in SLOTS.items():
        space, stopped = run_notebook(folder / f"{assignment_of(stem)}.ipynb")
        space |= {name: own[name] for name in names if own and name in own}
        spaces.append(space)
        for name in names:
            is_own, note = judged(name, space, stopped)
            slots.append(Slot(name, chapter_of(stem), is_own, note))
            if is_own:
                found[name] = in_float32(space[name])
    return plug(found, spaces), slots


def run_notebook(path: Path) -> tuple[dict[str, Any], str]:
    """The names that a notebook's cells define, and why there are none, if so."""
    space: dict[str, Any] = {"__name__": path.stem}
    if not path.exists():
        return space, f"there is no {path.name}"
    try:
        content = notebooks.load(path)
    except notebooks.UnreadableNotebook as error:
        return space, f"{path.name}: {error}"
    stopped = ""
    with collecting(), contextlib.redirect_stdout(io.StringIO()):
        for number, cell in enumerate(content["cells"], start=1):
            if cell["cell_type"] == "code":
                source, name = (
                    notebooks.source_of(cell),
                    f"<{path.name}, cell {number}>",
                )
                linecache.cache[name] = (
                    len(source),
                    None,
                    source.splitlines(True),
                    name,
                )
                try:
                    exec(compile(source, name, "exec"), space)
                except (
                    Exception,
                    SystemExit,
                ) as error:  # what other cells define is there
                    kind = type(error).__name__
                    stopped = stopped or f"cell {number} stops with {kind}"
    return space, stopped


@contextlib.contextmanager
def collecting() -> Iterator[None]:
    """Let `check` be silent for a while, and no picture open a window."""
    before = dict(os.environ)
    os.environ |= {COLLECTING: "1", "MPLBACKEND": "Agg"}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def judged(name: str, space: dict[str, Any], stopped: str) -> tuple[bool, str]:
    """Whether a notebook's function can be used, and what is to be said of it."""
    function = space.get(name)
    if not callable(function):
        return False, stopped or "it is not defined"
    verdict = live.verdict_on(function)
    if verdict.verdict in ("unsolved", "raised", "imported", "missing"):
        return False, verdict.message
    return True, "" if verdict.verdict == "right" else verdict.message


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose answers in float64 are narrowed where its input was float32.

    That costs nothing, and saves the model from calculating in float64 from there on.
    """

    def narrowed(answer: Any) -> Any:
        if isinstance(answer, tuple):
            return tuple(map(narrowed, answer))
        wide = isinstance(answer, np.ndarray) and answer.dtype == np.float64
        return answer.astype(np.float32) if wide else answer

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        answer = function(*args, **kwargs)
        first = args[0] if args else None
        single = isinstance(first, np.ndarray) and first.dtype == np.float32
        return narrowed(answer) if single else answer

    return call
