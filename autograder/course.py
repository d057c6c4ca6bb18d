"""The plan of the course, and where its parts lie in a checkout."""

from pathlib import Path

# Chapters are numbered in this order. A stem is free until its files exist.
PLAN = {
    "Part I: What the decoder receives": (
        "shapes", "inputs", "embeddings", "positions",
    ),
    "Part II: Attention and its masks": (
        "attention", "masks", "numerics", "heads", "cross_attention",
    ),
    "Part III: A modern decoder": (
        "relative_positions", "blocks", "cache", "sampling", "language_model",
    ),
    "Part IV: Masks at scale": ("mask_zoo", "flash", "conventions"),
    "Part V: Training": (
        "training", "translation", "summarisation", "generator", "clinic",
    ),
}  # fmt: skip

STEMS = [stem for stems in PLAN.values() for stem in stems]

# The package's neighbours: there in a checkout, not in an installed wheel.
ROOT = Path(__file__).resolve().parent.parent


def chapter_of(stem: str) -> int:
    """Number of the chapter with this stem, from 1."""
    return STEMS.index(stem) + 1


def assignment_of(stem: str) -> str:
    """Name that a chapter's page, script and notebook share: masks -> 06_masks."""
    return f"{chapter_of(stem):02d}_{stem}"
