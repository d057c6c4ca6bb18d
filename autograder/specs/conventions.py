"""Chapter 17: one mask in the languages of six APIs."""

import numpy as np
import torch
from torch.nn.attention.flex_attention import create_mask

from autograder.adapters import with_mask_mod
from autograder.exercise import Exercise, Probe
from solutions.conventions import convert_mask

NAMES = (
    "sdpa", "additive", "transformers_4d", "transformers_2d", "keras",
    "multihead_attention", "flex",
)  # fmt: skip
MHA = "multihead_attention"
FLOATS = "additive", "transformers_4d"
LOWEST = {t: float(np.finfo(t).min) for t in ("float16", "float32", "float64")}

convert = Exercise(
    convert_mask,
    points=5,
    axes=(None, None, None, "key"),  # of the other axes each target has its own
    adapter="with_mask_mod",
)


def said(keep, name, shape):
    """A mask in the words of one API."""
    return with_mask_mod(convert_mask, keep, "sdpa", name, shape=shape)


def mask_for(rng, shape, *, all_alike=False):
    """A mask with an empty row, and none that a swap of its axes leaves as it was."""
    batch, _, q_len, k_len = shape
    while True:
        keep = rng.random((batch, 1, 1 if all_alike else q_len, k_len)) < 0.6
        if not all_alike:
            keep[rng.integers(batch), 0, rng.integers(q_len)] = False
        keep = np.broadcast_to(keep, (batch, 1, q_len, k_len)).copy()
        firsts = keep[:1], keep[:, :, :1], keep[..., :1]
        alike = [np.array_equal(keep, np.broadcast_to(f, keep.shape)) for f in firsts]
        square = q_len == k_len and np.array_equal(keep, keep.swapaxes(-1, -2))
        if not square and alike == [False, all_alike, False]:
            return keep


@convert.probes
def _(rng):
    some = tuple(int(n) for n in rng.permutation([2, 3, 4, 5]))
    others = tuple(n % 4 + 2 for n in some)  # none of them the same
    square = (3, 3, 3, 3)

    def probe(shape, source, target, why):
        alike = "transformers_2d" in (source, target)
        keep = mask_for(rng, shape, all_alike=alike)
        return Probe(said(keep, source, shape), source, target, shape=shape, why=why)

    for shape in (some, others):
        for name in NAMES:
            yield probe(shape, "sdpa", name, f'"{name}" as the target')
        for name in NAMES[1:]:
            yield probe(shape, name, "sdpa", f'"{name}" as the source')
    for source in NAMES[1:]:
        for target in NAMES[1:]:
            shape = some if rng.random() < 0.5 else others
            yield probe(shape, source, target, 'pairs without "sdpa"')
    for name in NAMES:
        for pair in (("sdpa", name), (name, "sdpa")):
            yield probe(square, *pair, "sizes that are all the same")
    for pair in (("sdpa", MHA), (MHA, "sdpa")):
        yield probe((2, 1, 3, 4), *pair, "a single head")
    nothing = np.zeros((some[0], 1, *some[2:]), bool)
    for name in NAMES:
        yield Probe(nothing, "sdpa", name, shape=some, why="a mask that hides all")

    keep = mask_for(rng, some)
    bias = np.where(keep, 0, -np.inf)
    mixed = np.where(rng.random(keep.shape) < 0.5, bias, lowered(keep, "float32"))
    for mask, source, why in (
        (keep[:, 0].astype(int), "keras", "integers from Keras"),
        (bias, "additive", "a float mask in double precision"),
        (lowered(keep, "float64"), FLOATS[1], "a float mask in double precision"),
        (lowered(keep, "float16"), FLOATS[1], "a float mask in half precision"),
        (mixed.astype("float32"), FLOATS[0], "-inf and the lowest number in one mask"),
        (mixed.astype("float32"), FLOATS[1], "-inf and the lowest number in one mask"),
    ):
        yield Probe(mask, source, "sdpa", shape=some, why=why)

    def refused(mask, source, target, why, shape=some):
        return Probe(mask, source, target, shape=shape, why=why, refused=True)

    two, shape = "transformers_2d", (2, 3, 4, 4)
    causal = np.tri(4, dtype=bool)[None, None].repeat(2, axis=0)
    nearly = mask_for(rng, some, all_alike=True)
    nearly[-1, 0, -1, -1] ^= True
    yield refused(causal, "sdpa", two, "a causal mask in 2-D", shape)
    yield refused(said(causal, MHA, shape), MHA, two, "a causal mask in 2-D",
                  shape)  # fmt: skip
    yield refused(keep, "sdpa", two, "queries that differ in 2-D")
    yield refused(nearly, "sdpa", two, "one query that differs in 2-D")

    for name, target in ((MHA, "keras"), ("flex", "sdpa")):
        differing = said(keep, name, some).copy()
        differing.reshape(some)[-1, -1, -1, -1] ^= True
        yield refused(differing, name, target, "a mask that differs from head to head")

    alibi = -0.5 * np.arange(some[3]) + np.zeros(keep.shape)
    for mask, why in (
        (alibi, "a bias as ALiBi's"),
        (keep, "a float mask of ones and zeros"),
        (np.where(keep, 0, -1e9), "a float mask with -1e9 in it"),
    ):
        yield refused(mask.astype(np.float32), FLOATS[0], "sdpa", why)
        yield refused(mask.astype(np.float32), FLOATS[1], "keras", why)


def lowered(keep, dtype):
    """0 and the lowest number of a float type."""
    return np.where(keep, 0, LOWEST[dtype]).astype(dtype)


def place(index, target, shape):
    """Where a cell of an answer is, in words."""
    if target == "multihead_attention":
        row, *rest = index
        index = (row // shape[1], row % shape[1], *rest)
    names = {
        "transformers_2d": ("batch row", "key"),
        "keras": ("batch row", "query", "key"),
        "multihead_attention": ("batch row", "head", "query", "key"),
        "flex": ("batch row", "head", "query", "key"),
    }.get(target, ("batch row", None, "query", "key"))
    words = [f"{n} {i}" for n, i in zip(names, index, strict=True) if n]
    return ", ".join(words)


@convert.law
def _(answer, mask, source, target, *, shape):
    right = with_mask_mod(convert_mask, mask, source, target, shape=shape)
    if answer.shape != right.shape:
        return None
    index = tuple(np.argwhere(answer != right)[0])  # NaN differs from anything
    value, due = answer[index].item(), right[index].item()
    everything = np.ones((shape[0], 1, *shape[2:]), bool)
    allows = due == said(everything, target, shape)[index].item()
    return (
        f"At {place(index, target, shape)} the answer is {plain(value)}. The mask that "
        f"came in {'allows' if allows else 'forbids'} to attend there, which "
        f'"{target}" says by {plain(due)}.'
    )


def plain(value):
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@convert.family
def by_way_of_sdpa(mask, source, target, *, shape, read=None, write=None):
    """`read` and `write` hold, by name, what is done differently on the way in and out:
    read(mask, shape) gives a mask for "sdpa", write(keep, shape) takes one.
    """
    read, write = read or {}, write or {}
    if source in read:
        keep = read[source](mask, shape)
    else:
        keep = convert_mask(mask, source, "sdpa", shape=shape)
    if target in write:
        return write[target](keep, shape)
    return convert_mask(keep, "sdpa", target, shape=shape)


def changed(change, *names):
    """Read a changed mask in place of the one that came in."""
    return {
        name: lambda mask, shape, name=name: convert_mask(
            change(mask), name, "sdpa", shape=shape
        )
        for name in names
    }


def changes(change, *names):
    """Write what is right, and change it."""
    return {
        name: lambda keep, shape, name=name: change(
            convert_mask(keep, "sdpa", name, shape=shape)
        )
        for name in names
    }


def heads_first(mask, shape):
    batch, n_heads, *rest = shape
    return ~mask.reshape(n_heads, batch, *rest)[0][:, None]


def looked_up(table):
    return lambda b, h, q_idx, kv_idx: table[b, 0, q_idx, kv_idx]


def float_mask(fill):
    """A mistake in both of the float masks."""
    return {
        "additive": lambda keep, shape: fill(keep, -torch.inf),
        "transformers_4d": lambda keep, shape: fill(keep, LOWEST["float32"]),
    }


def from_float(keep_of):
    return dict.fromkeys(FLOATS, lambda mask, shape: keep_of(mask))


MHA_HINT = (
    "A causal mask for `nn.MultiheadAttention` is True above the diagonal. Print what "
    "you take from it and what you give to it."
)
convert.mistake(
    'For "multihead_attention" True is taken to mean that the query may attend.',
    hint=MHA_HINT,
    read=changed(torch.logical_not, MHA),
    write=changes(torch.logical_not, MHA),
)
convert.mistake(
    'A mask of "multihead_attention" is not inverted when it comes in.',
    hint=MHA_HINT,
    seen="rasbt/LLMs-from-scratch#1061",
    read=changed(torch.logical_not, MHA),
)
convert.mistake(
    'A mask for "multihead_attention" is not inverted when it goes out.',
    hint=MHA_HINT,
    write=changes(torch.logical_not, MHA),
)
convert.mistake(
    'For "multihead_attention" the heads come first: row B * h + b of the answer is '
    "the mask of batch row b.",
    hint="For 2 batch rows and 3 heads the six masks are 0 0 0 1 1 1, not 0 1 0 1 0 1. "
    "What does repeat do, and what repeat_interleave?",
    seen="line/lighthouse#77",
    write={MHA: lambda keep, shape: ~keep[:, 0].repeat(shape[1], 1, 1)},
)
convert.mistake(
    'The rows of a mask of "multihead_attention" are read as if the heads came first.',
    hint="The six masks of 2 batch rows and 3 heads are 0 0 0 1 1 1.",
    read={MHA: heads_first},
)
convert.mistake(
    'For "multihead_attention" there is one mask for each batch row; asked for is one '
    "for each head of each batch row.",
    hint="How long is the first axis of B * H masks?",
    write={MHA: lambda keep, shape: ~keep[:, 0]},
)
convert.mistake(
    "A mask that is not the same for all heads is taken to be that of head 0.",
    hint="What if one head says something else than the others? The task names what "
    "has to be refused.",
    read={
        MHA: lambda mask, shape: ~mask.reshape(shape)[:, :1],
        "flex": lambda mask, shape: mask(
            *torch.meshgrid(*map(torch.arange, shape), indexing="ij")
        )[:, :1],
    },
)
for words, row in (
    ("the last query stands for all of them", lambda keep: keep[:, 0, -1]),
    ("query 0 stands for all of them", lambda keep: keep[:, 0, 0]),
    ("a key counts as visible if some query sees it", lambda keep: keep[:, 0].any(1)),
    ("a key counts as hidden if some query does not see it",
     lambda keep: keep[:, 0].all(1)),
):  # fmt: skip
    convert.mistake(
        f'Where queries see different keys, "transformers_2d" is answered: {words}.',
        hint="A (B, S) mask says the same to all queries. What is left in it of a "
        "causal mask?",
        write={"transformers_2d": lambda keep, shape, row=row: row(keep).long()},
    )
convert.mistake(
    'For "transformers_2d" 1 marks the padding, as True does in `key_padding_mask`.',
    hint="A tokenizer's attention_mask is 1 on real tokens.",
    read=changed(lambda mask: 1 - mask, "transformers_2d"),
    write=changes(lambda mask: 1 - mask, "transformers_2d"),
)
convert.mistake(
    'The answer for "transformers_2d" is transposed: (S, B).',
    hint="The batch comes first, as in the tokens.",
    write=changes(torch.t, "transformers_2d"),
)
convert.mistake(
    'The zeros of "transformers_2d" hide queries, not keys.',
    hint="Padding must not be looked at. Which axis of the scores are the keys?",
    read={"transformers_2d": lambda mask, shape: (mask == 1)[:, None, :, None]},
)
convert.mistake(
    'The answer for "keras" still has an axis for the heads.',
    hint="The task names the shape for Keras.",
    write={"keras": lambda keep, shape: keep},
)
convert.mistake(
    "Float masks are read as if they were true or false: what is not 0 may be attended "
    "to.",
    hint="In a float mask 0 means that nothing is added to the score. What is bool(0)?",
    seen="huggingface/transformers#48818",
    read=from_float(torch.Tensor.bool),
)
convert.mistake(
    "In float masks that come in only -inf hides.",
    hint="Transformers' float masks never hold -inf: print one.",
    read=from_float(lambda mask: mask > -torch.inf),
)
convert.mistake(
    "In float masks that come in only what is as low as the lowest float32 hides.",
    hint="The lowest number of half precision is -65504. torch.finfo knows it for "
    "each dtype.",
    read=from_float(lambda mask: mask > LOWEST["float32"]),
)
convert.mistake(
    "In float masks that come in only 0 lets attend, and any other number hides.",
    hint="What would become of ALiBi's bias, or of a mask of ones and zeros? The task "
    "names what has to be refused.",
    read=from_float(lambda mask: mask == 0),
)
convert.mistake(
    "In float masks that come in any number lets attend but -inf and the lowest one.",
    hint="What would become of ALiBi's bias? The task names what has to be refused.",
    read=from_float(lambda mask: mask > torch.finfo(mask.dtype).min),
)
convert.mistake(
    "The float masks are 1 where the query may attend and 0 where it may not.",
    hint="They are added to the scores. What does adding 0 hide?",
    seen="pytorch/pytorch#21518",
    write=float_mask(lambda keep, low: keep.float()),
)
convert.mistake(
    "The float masks are 0 where the query may attend and 1 where it may not.",
    hint="They are added to the scores. By how much is a hidden key lowered?",
    write=float_mask(lambda keep, low: (~keep).float()),
)
convert.mistake(
    "The float masks are inverted: 0 where a key is hidden.",
    hint="0 added to a score changes nothing.",
    write=float_mask(lambda keep, low: torch.where(keep, low, 0.0)),
)
convert.mistake(
    'The mask for "additive" is made by a product with -inf: NaN where the query may '
    "attend.",
    hint="0 times infinity is no number: choose between the two, as in chapter 7.",
    write={"additive": lambda keep, shape: (1 - keep.float()) * -torch.inf},
)
convert.mistake(
    "What is hidden gets -1e9 in the float masks.",
    hint="Each of the two has a number of its own, and neither is this one.",
    write=float_mask(lambda keep, low: torch.where(keep, 0.0, -1e9)),
)
convert.mistake(
    'What is hidden gets -inf in the mask for "transformers_4d", too.',
    hint="A softmax that is written out makes NaN of an empty row of -inf. Which "
    "number does Transformers take instead?",
    write={"transformers_4d": lambda keep, shape: torch.where(keep, 0.0, -torch.inf)},
)
convert.mistake(
    'What is hidden gets the lowest number in the mask for "additive", too.',
    hint="Which of the two numbers does the task name there?",
    write={"additive": lambda keep, shape: torch.where(keep, 0.0, LOWEST["float32"])},
)
convert.mistake(
    'The function for "flex" is True where a key is hidden.',
    hint="FlexAttention computes a score where its mask_mod is True.",
    write={"flex": lambda keep, shape: looked_up(~keep)},
)
convert.mistake(
    'The function for "flex" takes the query for the key and the key for the query.',
    hint="In which order do the four indices come?",
    write={"flex": lambda keep, shape: looked_up(keep.mT)},
)
convert.mistake(
    'The function for "flex" gives all batch rows the mask of batch row 0.',
    hint="Of its four indices, which one is not used?",
    write={"flex": lambda keep, shape: looked_up(keep[:1].expand_as(keep))},
)


@convert.mistake(
    "Every batch row has the mask of batch row 0.",
    hint="Sequences of different lengths need different masks.",
)
def first_batch_row(mask, source, target, *, shape):
    keep = convert_mask(mask, source, "sdpa", shape=shape)
    return convert_mask(keep[:1].expand_as(keep), "sdpa", target, shape=shape)


@convert.mistake(
    "Queries and keys have changed places.",
    hint="L comes before S: a row of the mask belongs to a query.",
)
def transposed(mask, source, target, *, shape):
    keep = convert_mask(mask, source, "sdpa", shape=shape).mT
    batch, n_heads, q_len, k_len = shape
    return convert_mask(keep, "sdpa", target, shape=(batch, n_heads, k_len, q_len))


@convert.variant
def with_a_table_of_functions(mask, source, target, *, shape):
    b, h, q, k = shape
    floats = "additive", "transformers_4d"

    def read_float(m):
        low = torch.finfo(m.dtype).min
        if not torch.isin(m, torch.tensor([0.0, low, -torch.inf], dtype=m.dtype)).all():
            raise ValueError("no mask")
        return (m == 0).reshape(b, 1, q, k)

    def whole(m):
        if not torch.equal(m, m[:, [0]].expand_as(m)):
            raise ValueError("heads differ")
        return m[:, [0]]

    def two(m):
        if not torch.equal(m, m[:, :, [0]].expand_as(m)):
            raise ValueError("queries differ")
        return m[:, 0, 0].to(torch.int64)

    readers = {
        "sdpa": lambda m: m,
        "keras": lambda m: m.bool().unsqueeze(1),
        "transformers_2d": lambda m: m.bool().reshape(b, 1, 1, k).repeat(1, 1, q, 1),
        "multihead_attention": lambda m: whole(m.logical_not().reshape(b, h, q, k)),
        "flex": lambda m: whole(create_mask(m, b, h, q, k, device="cpu")),
        **dict.fromkeys(floats, read_float),
    }
    writers = {
        "sdpa": lambda m: m,
        "keras": lambda m: m.squeeze(1),
        "transformers_2d": two,
        "multihead_attention": lambda m: (
            m.logical_not().expand(b, h, q, k).reshape(b * h, q, k)
        ),
        "flex": lambda m: lambda i, _, j, n: m[i][0][j][n],
        "additive": lambda m: m.float().log(),
        "transformers_4d": lambda m: torch.zeros(m.shape).masked_fill(
            ~m, torch.finfo(torch.float32).min
        ),
    }
    return writers[target](readers[source](mask))


@convert.variant
def cell_by_cell(mask, source, target, *, shape):
    batch, n_heads, q_len, k_len = shape
    lowest = torch.finfo(torch.float32).min
    keep = torch.zeros(batch, n_heads, q_len, k_len, dtype=torch.bool)
    for b, h, q, k in np.ndindex(*shape):
        if source == "multihead_attention":
            keep[b, h, q, k] = not mask[b * n_heads + h, q, k]
        elif source == "flex":
            keep[b, h, q, k] = mask(*map(torch.tensor, (b, h, q, k)))
        elif source == "transformers_2d":
            keep[b, h, q, k] = mask[b, k] != 0
        elif source == "keras":
            keep[b, h, q, k] = mask[b, q, k] != 0
        elif source == "sdpa":
            keep[b, h, q, k] = mask[b, 0, q, k]
        elif mask[b, 0, q, k] == 0:
            keep[b, h, q, k] = True
        elif mask[b, 0, q, k] > torch.finfo(mask.dtype).min:
            raise ValueError(f"{mask[b, 0, q, k]} is neither yes nor no")
    for h in range(n_heads):
        if not torch.equal(keep[:, h], keep[:, 0]):
            raise ValueError(f"head {h} is not head 0")
    keep = keep[:, :1]
    if target == "sdpa":
        return keep
    if target == "keras":
        return keep.view(batch, q_len, k_len)
    if target == "multihead_attention":
        return torch.cat([~row.expand(n_heads, -1, -1) for row in keep[:, 0]])
    if target == "transformers_2d":
        if not all(torch.equal(keep[:, 0, q], keep[:, 0, 0]) for q in range(q_len)):
            raise ValueError("queries see different keys")
        return keep[:, 0, 0].int()
    if target == "flex":
        return lambda b, h, q, k: keep[b, h * 0, q, k]
    answer = torch.zeros(batch, 1, q_len, k_len)
    answer[~keep] = lowest if target == "transformers_4d" else float("-inf")
    return answer


@convert.variant
def by_way_of_a_float_mask(mask, source, target, *, shape):
    batch, n_heads, q_len, k_len = shape
    if source == "flex":
        index = [torch.arange(n) for n in shape]
        b, h, q, k = (i.view(-1, *[1] * (3 - n)) for n, i in enumerate(index))
        mask, source = ~mask(b, h, q, k).flatten(0, 1), "multihead_attention"
    if source == "multihead_attention":
        per_head = mask.view(shape)
        if (per_head.any(dim=1) != per_head.all(dim=1)).any():
            raise ValueError("heads differ")
        mask = per_head[:, :1].double() * -1e300
    elif source in ("keras", "sdpa", "transformers_2d"):
        rows = {"transformers_2d": 1}.get(source, q_len)
        mask = (mask.reshape(batch, 1, rows, k_len).double() - 1) * 1e300
        mask = mask.expand(-1, -1, q_len, -1)
    else:
        low = (mask == torch.finfo(mask.dtype).min) | mask.isneginf()
        if mask[~low].any():
            raise ValueError("a bias that is no mask")
        mask = low.double() * -1e300
    bias = torch.where(mask < -1, -torch.inf, 0.0).to(torch.float64)
    if target == "additive":
        return bias.float()
    if target == "transformers_4d":
        return bias.clamp(min=torch.finfo(torch.float32).min).float()
    keep = bias.exp() > 0.5
    if target == "flex":
        return lambda b, h, q_idx, kv_idx: bias[b, 0, q_idx, kv_idx] == 0
    if target == "transformers_2d":
        seen = keep[:, 0].sum(dim=1)
        if not ((seen == 0) | (seen == q_len)).all():
            raise ValueError("queries differ")
        return torch.min(keep[:, 0], dim=1).values.to(torch.int64)
    if target == "multihead_attention":
        return torch.stack([~keep[:, 0]] * n_heads, dim=1).flatten(0, 1)
    return keep[:, 0] if target == "keras" else keep


convert.equivalent(
    "keep = mask(*torch.meshgrid(*map(torch.arange, shape)))",
    why="torch.meshgrid's default is the order of a matrix's indices",
)
for line in (
    "return lambda b, h, q_idx, kv_idx: keep[b, -1, q_idx, kv_idx]",
    "return ~keep[:, -1].repeat_interleave(n_heads, dim=0)",
    "return keep[:, -1, 0].long()",
    "return keep[:, -1]",
):
    convert.equivalent(line, why="the first of one head is the last of one head")
for line in ("return keep[:, 0, 1].long()", "return keep[:, 0, -1].long()"):
    convert.equivalent(line, why="all queries have the same row by then")
