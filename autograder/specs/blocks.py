"""Chapter 11: blocks."""

import math

import numpy as np

from autograder.exercise import Exercise, Probe
from autograder.laws import place
from solutions import blocks
from solutions.blocks import rms_norm

AXES = ("batch row", "position", "column")
# Quarters around 0 whose sum is 0. Around a level that is a power of 2 a mean is exact,
# and the squares are too long for the type that the level is made for.
AROUND = np.array([-4, -3, -2, -1, 1, 2, 3, 4]) / 4
LEVELS = {np.float64: 2.0**26, np.float32: 2.0**12}


def sizes(rng):
    """B, T and D: all different, at least 2, and D at least 5."""
    b, t = rng.permutation([2, 3, 4])[:2]
    return int(b), int(t), int(rng.integers(5, 8))


def quarters(rng, *shape, kind: type = np.float64):
    """Multiples of 1/4, around another mean for every token."""
    level = rng.integers(-3, 4, (*shape[:-1], 1))
    return (level + rng.integers(-8, 9, shape) / 4).astype(kind)


def factors(rng, d_model, kind: type = np.float64):
    """Weights or biases: none is 0 or 1, and no two neighbours are equal."""
    ranks = np.arange(d_model) + 5 + rng.integers(0, 9)
    signs = rng.choice([-1, 1], d_model)
    return (rng.permutation(ranks) * signs / 4 + 0.125).astype(kind)


def uneven(x):
    """Give every token one number that is large, so that none is constant."""
    return x + 3 * np.eye(x.shape[-1])[0]


def calls(rng, with_bias):
    """The probes of a norm: (x, weight, bias or nothing), why, and eps."""

    def call(x, why, **eps):
        d_model, kind = x.shape[-1], x.dtype.type
        weights = [factors(rng, d_model, kind) for _ in range(1 + with_bias)]
        return Probe(x, *weights, why=why, **eps)

    b, t, d = sizes(rng)
    # first: a mistake with eps, which mostly is next to nothing, shows here
    yield call(uneven(quarters(rng, b, t, d)), "a large eps", eps=0.5)
    yield call(uneven(quarters(rng, b, d)), "a large eps", eps=2.0)
    yield call(uneven(quarters(rng, b, t, d)), "several tokens")
    yield call(uneven(quarters(rng, t, d + 3, b + 3)), "several tokens")
    yield call(uneven(quarters(rng, d)), "a single token")
    n = int(rng.integers(4, 7))
    yield call(uneven(quarters(rng, n, n, n)), "all sizes equal")
    x = uneven(quarters(rng, t, d))
    yield call(x.astype(np.float32), "float32")
    yield call(uneven(quarters(rng, t, d)) / 1024, "numbers that are nearly 0")
    yield call(uneven(quarters(rng, t, d)) * 1000, "large numbers")

    x = uneven(quarters(rng, b, t, d))
    x[0, 1] = 0
    yield call(x, "a token of zeros")
    x = uneven(quarters(rng, b, t, d))
    x[-1, 0] = -2.5
    yield call(x, "a token whose numbers are all equal")
    for kind, level in LEVELS.items():
        x = level + rng.permuted(np.tile(AROUND, (t, 1)), axis=-1)
        yield call(x.astype(kind), "numbers that lie close together, far from 0")


layer = Exercise(blocks.layer_norm, points=2, axes=AXES)
layer.forbid(
    ".layer_norm", ".LayerNorm", ".rms_norm", ".RMSNorm",
    why="the norm is the exercise",
)  # fmt: skip


@layer.probes
def _(rng):
    yield from calls(rng, with_bias=True)


def of_token(index):
    """Name a token: 'batch row 0, position 1'."""
    where = place(layer, (*index, 0)).removesuffix("column 0").removesuffix(", ")
    return where or "the token"


@layer.law
def mean_and_variance(answer, x, weight, bias, eps=1e-5):
    """What weight and bias are taken off again has mean 0 and nearly variance 1."""
    if answer.shape != x.shape:
        return None
    plain = ((answer - bias) / weight).astype(float)
    means, variances = plain.mean(axis=-1), plain.var(axis=-1)
    before = x.astype(float).var(axis=-1)
    wanted = before / (before + eps)
    start = "Take `bias` off your answer and divide by `weight`: "
    for index in np.argwhere(np.abs(means) > 1e-3)[:1]:
        mean = means[tuple(index)]
        return (
            f"{start}the numbers of {of_token(index)} have the mean {mean:.4g}; it "
            "should be 0."
        )
    for index in np.argwhere(~np.isclose(variances, wanted, 1e-4, 1e-4))[:1]:
        i = tuple(index)
        return (
            f"{start}the numbers of {of_token(index)} have the variance "
            f"{variances[i]:.4g}; with an eps of {eps:g} it should be {wanted[i]:.4g}."
        )
    return None


# How both norms go wrong: where the numbers are taken from, how eps comes in, and
# what becomes of the weights.


def all_but_the_last(x):
    return tuple(range(x.ndim - 1))


def under_the_root(square, eps):
    return np.sqrt(square + eps)


@layer.family
def layer_family(
    x, weight, bias, eps=1e-5, *,
    axis=lambda x: -1,
    centre=True,
    spread=lambda x, axis: x.var(axis=axis, keepdims=True),
    divisor=under_the_root,
    affine=lambda x, weight, bias: x * weight + bias,
):  # fmt: skip
    along = axis(x)
    mean = x.mean(axis=along, keepdims=True)
    square = spread(x, along)
    return affine((x - mean if centre else x) / divisor(square, eps), weight, bias)


layer.mistake(
    "The variance is divided by D - 1; it should be the mean, divided by D.",
    hint="torch.std and torch.var divide by D - 1 unless told otherwise, and so does "
    "ddof=1 in NumPy. Here the D numbers are all there are, not a sample of more.",
    seen="harvardnlp/annotated-transformer#119",
    spread=lambda x, axis: x.var(axis=axis, keepdims=True, ddof=1),
)
layer.mistake(
    "`eps` is added to the standard deviation, outside of the root.",
    hint="In sqrt(v + eps) and in sqrt(v) + eps, what is the result where v is 0?",
    seen="hkproj/pytorch-transformer#31",
    divisor=lambda square, eps: np.sqrt(square) + eps,
)


@layer.mistake(
    "The variance is divided by D - 1, and `eps` is added outside of the root.",
    hint="(x - mean) / (std + eps) stands in many tutorials, with PyTorch's std. Put "
    "eps under the root, beside the variance, and make that a plain mean.",
    seen="hyunwoongko/transformer#7",
)
def as_in_tutorials(x, weight, bias, eps=1e-5):
    deviation = x.std(axis=-1, keepdims=True, ddof=1)
    return (x - x.mean(axis=-1, keepdims=True)) / (deviation + eps) * weight + bias


layer.mistake(
    "`eps` is not there at all: a token whose numbers are all equal is divided by 0.",
    hint="What is the variance of a token of zeros?",
    divisor=lambda square, eps: np.sqrt(square),
)
layer.mistake(
    "`eps` is the least that the standard deviation may be; it is not added.",
    hint="np.maximum(deviation, eps) keeps away from 0, too. But eps is to be added to "
    "every variance, also where it is large.",
    divisor=lambda square, eps: np.maximum(np.sqrt(square), eps),
)
layer.mistake(
    "It is divided by the variance, not by its root.",
    hint="If all numbers of a token become ten times as large, what becomes of the "
    "variance, and what should become of the answer?",
    divisor=lambda square, eps: square + eps,
)
layer.mistake(
    "The squares are added up, not averaged: the variance is D times too large.",
    hint="np.linalg.norm is the root of the sum of the squares. The variance is their "
    "mean.",
    spread=lambda x, axis: x.var(axis=axis, keepdims=True) * x.shape[-1],
)
layer.mistake(
    "It is multiplied by the root, not divided by it.",
    hint="torch.rsqrt is 1 / sqrt: it multiplies. NumPy's sqrt has to divide.",
    divisor=lambda square, eps: 1 / np.sqrt(square + eps),
)
layer.mistake(
    "The mean is not subtracted: the numbers are only divided.",
    hint="What is the mean of each token of your answer, before weight and bias?",
    centre=False,
)


@layer.mistake(
    "This is RMSNorm, and `bias` added: no mean is subtracted, and the mean square "
    "stands where the variance belongs.",
    hint="LayerNorm has two steps before the weights: shift to mean 0, then scale.",
)
def root_mean_square(x, weight, bias, eps=1e-5):
    return blocks.rms_norm(x, weight, eps) + bias


layer.mistake(
    "The mean is subtracted, but it is divided by the root mean square of what was "
    "there before.",
    hint="The variance is the mean square of the differences from the mean.",
    spread=lambda x, axis: (x**2).mean(axis=axis, keepdims=True),
)
layer.mistake(
    "The variance is computed as the mean of the squares minus the square of the mean. "
    "Far from 0 these are two huge numbers that are nearly equal.",
    hint="How many digits has a float, and how many of them are left when you subtract "
    "67108865 from 67108864.5? Subtract the mean first, then square.",
    seen="pytorch/pytorch#51102",
    spread=lambda x, axis: np.maximum(  # as programs do to avoid the root of -1
        (x**2).mean(axis=axis, keepdims=True) - x.mean(axis=axis, keepdims=True) ** 2, 0
    ),
)
layer.mistake(
    "Mean and variance are taken over the first axis, the batch.",
    hint="A token is normed by its own numbers alone. Along which axis do they lie?",
    axis=lambda x: 0,
)
layer.mistake(
    "Mean and variance are taken over all tokens, for each column: that is batch "
    "normalisation.",
    hint="The answer for a token must not change when another token does.",
    seen="Kyubyong/transformer#40",
    axis=all_but_the_last,
)
layer.mistake(
    "Mean and variance are taken over the positions, for each column.",
    hint="A token is normed by its own numbers alone. Along which axis do they lie?",
    axis=lambda x: -2,
)
layer.mistake(
    "Mean and variance are taken over positions and columns together: the tokens of a "
    "sequence share them.",
    hint="The answer for a token must not change when another token does.",
    axis=lambda x: (-2, -1),
)
layer.mistake(
    "Mean and variance are those of the whole array.",
    hint="Without axis=, NumPy's mean takes all there is. The answer for a token must "
    "not change when another token does.",
    axis=lambda x: tuple(range(x.ndim)),
)
layer.mistake(
    "`weight` and `bias` are not used.",
    hint="What comes after mean 0 and variance 1?",
    affine=lambda x, weight, bias: x,
)
layer.mistake(
    "`weight` is not used.",
    hint="Two things come after mean 0 and variance 1: a factor and a summand.",
    affine=lambda x, weight, bias: x + bias,
)
layer.mistake(
    "`bias` is not used.",
    hint="Two things come after mean 0 and variance 1: a factor and a summand.",
    affine=lambda x, weight, bias: x * weight,
)
layer.mistake(
    "`bias` is added before `weight` multiplies, so that it is multiplied as well.",
    hint="Which comes first, the factor or the summand?",
    affine=lambda x, weight, bias: (x + bias) * weight,
)
layer.mistake(
    "The factor is 1 + `weight`.",
    hint="Some libraries store a weight as its distance from 1. Here it is the factor "
    "itself.",
    affine=lambda x, weight, bias: x * (1 + weight) + bias,
)


@layer.variant
def by_numpys_variance(x, weight, bias, eps=1e-5):
    mean = np.mean(x, axis=-1, keepdims=True)
    variance = np.var(x, axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + eps) * weight + bias


@layer.variant
def by_standard_deviation(x, weight, bias, eps=1e-5):
    mean, std = x.mean(-1)[..., None], x.std(-1)[..., None]
    return bias + weight * (x - mean) * (std**2 + eps) ** -0.5


@layer.variant
def token_by_token(x, weight, bias, eps=1e-5):
    answer = np.empty_like(x)
    for index in np.ndindex(x.shape[:-1]):
        token = [float(number) for number in x[index]]
        mean = math.fsum(token) / len(token)
        variance = sum((number - mean) ** 2 for number in token) / len(token)
        root = math.sqrt(variance + eps)
        for i, number in enumerate(token):
            answer[(*index, i)] = (number - mean) / root * weight[i] + bias[i]
    return answer


@layer.variant
def by_einsum_in_double_precision(x, weight, bias, eps=1e-5):
    x = x.astype(np.float64)
    d_model = x.shape[-1]
    x = x - np.einsum("...d->...", x)[..., None] / d_model
    variance = np.einsum("...d,...d->...", x, x)[..., None] / d_model
    return x / np.sqrt(variance + eps) * weight + bias


@layer.variant
def by_rms_norm_of_what_is_left(x, weight, bias, eps=1e-5):
    centred = x - x.mean(axis=-1, keepdims=True)
    return rms_norm(centred, weight, eps) + bias


rms = Exercise(blocks.rms_norm, points=2, axes=AXES)
rms.forbid(
    ".rms_norm", ".RMSNorm", ".layer_norm", ".LayerNorm",
    why="the norm is the exercise",
)  # fmt: skip


@rms.probes
def _(rng):
    yield from calls(rng, with_bias=False)


@rms.law
def mean_square(answer, x, weight, eps=1e-5):
    """What weight is taken off again has nearly mean square 1."""
    if answer.shape != x.shape:
        return None
    squares = ((answer / weight).astype(float) ** 2).mean(axis=-1)
    before = (x.astype(float) ** 2).mean(axis=-1)
    wanted = before / (before + eps)
    for index in np.argwhere(~np.isclose(squares, wanted, 1e-4, 1e-4))[:1]:
        i = tuple(index)
        return (
            f"Divide your answer by `weight`: the numbers of {of_token(index)} have "
            f"the mean square {squares[i]:.4g}; with an eps of {eps:g} it should be "
            f"{wanted[i]:.4g}."
        )
    return None


@rms.family
def rms_family(
    x, weight, eps=1e-5, *,
    axis=lambda x: -1,
    centre=False,
    spread=lambda x, axis: (x**2).mean(axis=axis, keepdims=True),
    divisor=under_the_root,
    factor=lambda weight: weight,
):  # fmt: skip
    along = axis(x)
    square = spread(x, along)
    if centre:
        x = x - x.mean(axis=along, keepdims=True)
    return x / divisor(square, eps) * factor(weight)


@rms.mistake(
    "This is LayerNorm without a bias: the mean is subtracted first.",
    hint="RMSNorm only scales. What should it make of a token whose numbers are all "
    "2.5?",
    seen="mit-han-lab/omniserve#32",
)
def mean_subtracted(x, weight, eps=1e-5):
    return blocks.layer_norm(x, weight, np.zeros_like(weight), eps)


rms.mistake(
    "It is divided by the standard deviation, which is measured from the mean; the "
    "root mean square is measured from 0.",
    hint="np.var and np.std subtract the mean, even if you do not.",
    seen="keras-team/keras#21234",
    spread=lambda x, axis: x.var(axis=axis, keepdims=True),
)
rms.mistake(
    "The squares are added up, not averaged: a token gets length 1.",
    hint="np.linalg.norm is the root of the sum of the squares. How many numbers has a "
    "token?",
    spread=lambda x, axis: (x**2).sum(axis=axis, keepdims=True),
)
rms.mistake(
    "The sum of the squares is divided by D - 1, not by D.",
    hint="The mean square is a plain mean.",
    spread=lambda x, axis: (
        (x**2).sum(axis=axis, keepdims=True) / (x.shape[-1] - 1)
    ),
)  # fmt: skip
rms.mistake(
    "It is divided by the size of the mean, not by the root of the mean square.",
    hint="Read the name from the end: square, then mean, then root.",
    spread=lambda x, axis: x.mean(axis=axis, keepdims=True) ** 2,
)
rms.mistake(
    "It is divided by the mean of the absolute values.",
    hint="Read the name from the end: square, then mean, then root.",
    spread=lambda x, axis: np.abs(x).mean(axis=axis, keepdims=True) ** 2,
)
rms.mistake(
    "`eps` is added to the root mean square, outside of the root.",
    hint="In sqrt(m + eps) and in sqrt(m) + eps, what is the result where m is 0?",
    seen="allenai/OLMo#281",
    divisor=lambda square, eps: np.sqrt(square) + eps,
)
rms.mistake(
    "`eps` is not there at all: a token of zeros is divided by 0.",
    hint="What is the mean square of a token of zeros?",
    divisor=lambda square, eps: np.sqrt(square),
)
rms.mistake(
    "`eps` is the least that the root mean square may be; it is not added.",
    hint="np.maximum(root, eps) keeps away from 0, too. But eps is to be added to "
    "every mean square, also where it is large.",
    divisor=lambda square, eps: np.maximum(np.sqrt(square), eps),
)
rms.mistake(
    "It is divided by the mean square, not by its root.",
    hint="If all numbers of a token become ten times as large, what becomes of the "
    "mean square, and what should become of the answer?",
    divisor=lambda square, eps: square + eps,
)
rms.mistake(
    "It is multiplied by the root, not divided by it.",
    hint="torch.rsqrt is 1 / sqrt: it multiplies. NumPy's sqrt has to divide.",
    divisor=lambda square, eps: 1 / np.sqrt(square + eps),
)
rms.mistake(
    "The mean square is taken over the first axis, the batch.",
    hint="A token is normed by its own numbers alone. Along which axis do they lie?",
    axis=lambda x: 0,
)
rms.mistake(
    "The mean square is taken over all tokens, for each column.",
    hint="The answer for a token must not change when another token does.",
    axis=all_but_the_last,
)
rms.mistake(
    "The mean square is taken over the positions, for each column.",
    hint="A token is normed by its own numbers alone. Along which axis do they lie?",
    axis=lambda x: -2,
)
rms.mistake(
    "The mean square is taken over positions and columns together: the tokens of a "
    "sequence share it.",
    hint="The answer for a token must not change when another token does.",
    seen="bkitano/llama-from-scratch#4",
    axis=lambda x: (-2, -1),
)
rms.mistake(
    "The mean square is that of the whole array.",
    hint="Without axis=, NumPy's mean takes all there is. The answer for a token must "
    "not change when another token does.",
    axis=lambda x: tuple(range(x.ndim)),
)
rms.mistake(
    "`weight` is not used.",
    hint="What comes after root mean square 1?",
    factor=lambda weight: 1,
)
rms.mistake(
    "The factor is 1 + `weight`, as in Gemma.",
    hint="Gemma's files hold a weight as its distance from 1. Here it is the factor "
    "itself.",
    factor=lambda weight: 1 + weight,
)


@rms.mistake(
    "`weight` multiplies too early: it counts in the mean square.",
    hint="First norm the token as it is, then scale its numbers.",
)
def weight_first(x, weight, eps=1e-5):
    return blocks.rms_norm(x * weight, np.ones_like(weight), eps)


@rms.variant
def by_power(x, weight, eps=1e-5):
    return x * (np.mean(np.square(x), axis=-1, keepdims=True) + eps) ** -0.5 * weight


@rms.variant
def by_length(x, weight, eps=1e-5):
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return weight * x / np.sqrt(length**2 / x.shape[-1] + eps)


@rms.variant
def one_token_after_the_other(x, weight, eps=1e-5):
    rows = x.reshape(-1, x.shape[-1])
    normed = [row / math.sqrt(row @ row / len(row) + eps) * weight for row in rows]
    return np.array(normed).reshape(x.shape)


@rms.variant
def by_einsum(x, weight, eps=1e-5):
    x = x.astype(np.float64)
    squares = np.einsum("...d,...d->...", x, x) / len(weight)
    return np.einsum("...d,...,d->...d", x, 1 / np.sqrt(squares + eps), weight)


@rms.variant
def by_variance_and_mean(x, weight, eps=1e-5):
    square = x.var(axis=-1, keepdims=True) + x.mean(axis=-1, keepdims=True) ** 2
    return x / np.sqrt(square + eps) * weight


gaussian = Exercise(blocks.gelu, points=1, axes=("batch row", "position", "column"))
gaussian.forbid(".gelu", ".GELU", why="GELU is the exercise")

ROOT_2 = math.sqrt(2)
erf = np.vectorize(math.erf, otypes=[float])


def below(x):
    """The chance that a standard normal number lies below x."""
    return (1 + erf(x / ROOT_2)) / 2


def logistic(x):
    return 0.5 * (1 + np.tanh(x / 2))  # which never overflows


@gaussian.probes
def _(rng):
    b, t, d = (int(n) for n in rng.choice(range(2, 8), 3, replace=False))
    half_grid = np.arange(-16, 17) / 4
    yield Probe(rng.permutation(half_grid), why="numbers from -4 to 4")
    yield Probe(rng.integers(-16, 17, (b, t, d)) / 4, why="several tokens")
    yield Probe(rng.integers(-16, 17, (d, t)) / 4, why="several tokens")
    yield Probe(rng.integers(-12, 13, (d, d, d)) / 4, why="all sizes equal")
    x = rng.permutation(half_grid).astype(np.float32)
    yield Probe(x, why="float32")
    # the first answer is 0, and it must not decide what kind of numbers follow
    x = [-1000, *rng.permutation([-40, -9, -6, -0.75, 0.25, 6, 9, 40, 1000])]
    yield Probe(np.array(x), why="large numbers")
    yield Probe(rng.integers(1, 9, (t, b)) / 1024, why="numbers that are nearly 0")


@gaussian.reason
def _(index, x):
    return (
        f"{below(x[index]):.4g} of all standard normal numbers lie below {x[index]:g}"
    )


@gaussian.family
def gelu_family(x, *, share=below):
    return np.asarray(x * share(x), x.dtype)


def by_tanh(x):
    return (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


gaussian.mistake(
    "This is the approximation by tanh. It is off by at most 0.0005, and that is not "
    "the exact form.",
    hint="The tanh formula is a stand-in for erf. math.erf is in the standard library.",
    seen="Blaizzy/mlx-embeddings#81",
    share=by_tanh,
)
gaussian.mistake(
    "This is the approximation x times the logistic function of 1.702 x.",
    hint="That function only looks like the normal distribution. The exact form has "
    "erf in it.",
    share=lambda x: logistic(1.702 * x),
)
gaussian.mistake(
    "This is SiLU: x times the logistic function of x.",
    hint="GELU takes its share from the normal distribution, which rises more steeply.",
    share=logistic,
)


@gaussian.mistake(
    "This is ReLU: numbers below 0 become 0, and the others stay.",
    hint="GELU takes a share of every number, a small one of those below 0.",
)
def relu(x):
    return np.maximum(x, 0)


gaussian.mistake(
    "x is not divided by the square root of 2 before erf.",
    hint="erf belongs to a normal distribution of variance 1/2. Check: what share of "
    "the numbers should lie below 1?",
    share=lambda x: (1 + erf(x)) / 2,
)
gaussian.mistake(
    "x is divided by 2 before erf, not by the square root of 2.",
    hint="Which number, times itself, is 2?",
    share=lambda x: (1 + erf(x / 2)) / 2,
)
gaussian.mistake(
    "The 1 is missing: erf runs from -1 to 1, and a share runs from 0 to 1.",
    hint="What should become of a large negative number?",
    share=lambda x: erf(x / ROOT_2) / 2,
)
gaussian.mistake(
    "The half is missing: large numbers come out twice as large.",
    hint="1 + erf runs from 0 to 2. A share runs from 0 to 1.",
    share=lambda x: 1 + erf(x / ROOT_2),
)
gaussian.mistake(
    "Numbers are multiplied by the chance that a normal one lies above them.",
    hint="Should a large number pass or be held back?",
    share=lambda x: 1 - below(x),
)
gaussian.mistake(
    "Numbers are multiplied by the density of the normal distribution, not by the "
    "share that lies below them.",
    hint="What should become of a large positive number?",
    share=lambda x: np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
)


@gaussian.mistake(
    "This is the share itself: x is not multiplied by it.",
    hint="What should become of the number 6?",
)
def the_share_alone(x):
    return np.asarray(below(x), x.dtype)


@gaussian.mistake(
    "Numbers below 0 become 0. Above 0 it is right.",
    hint="Does GELU have a sharp corner?",
)
def cut_off(x):
    return np.maximum(blocks.gelu(x), 0)


@gaussian.mistake(
    "x is added to the share where it should be multiplied by it.",
    hint="A share of a number is a product.",
)
def x_added(x):
    return np.asarray(x + below(x), x.dtype)


@gaussian.variant
def with_the_complement(x):
    return 0.5 * x * np.vectorize(math.erfc)(-x / ROOT_2)


@gaussian.variant
def one_by_one(x):
    answer = np.zeros_like(x)
    for index, number in np.ndenumerate(x):
        answer[index] = number * 0.5 * (1 + math.erf(number / 2**0.5))
    return answer


@gaussian.variant
def by_a_list(x):
    shares = [0.5 + 0.5 * math.erf(v / ROOT_2) for v in x.ravel().tolist()]
    return x * np.array(shares).reshape(x.shape)


@gaussian.variant
def by_a_map(x):
    shares = np.fromiter(map(math.erf, (x / ROOT_2).flat), dtype=float)
    return x * (1 + shares.reshape(x.shape)) / 2


@gaussian.variant
def by_the_standard_librarys_distribution(x):
    from statistics import NormalDist

    return x * np.vectorize(NormalDist().cdf)(x)


gaussian.equivalent(
    "erf = np.vectorize(math.erf)",
    why="without otypes the answer is in double precision, and that is right, too",
)

gated = Exercise(blocks.swiglu, points=2, axes=("batch row", "position", "column"))
gated.forbid(".silu", ".SiLU", ".swish", ".swiglu", why="the gate is the exercise")


@gated.probes
def _(rng):
    def arrays(*shape, d_ff, kind: type = np.float64):
        d_model = shape[-1]
        x = rng.integers(-6, 7, shape) / 4
        weights = [
            rng.integers(-6, 7, (d_model, d_ff)) / 4,
            rng.integers(-6, 7, (d_model, d_ff)) / 4,
            rng.integers(-6, 7, (d_ff, d_model)) / 4,
        ]
        return [array.astype(kind) for array in (x, *weights)]

    b, t, d, f = (int(n) for n in rng.permutation([2, 3, 4, 5]))
    # up is 1 and w_down does nothing: the answer is the gates
    x, w_gate, w_up, _ = arrays(b, 6, d_ff=6)
    x[:, 0], w_up[:] = 1, 0
    w_up[0] = 1
    yield Probe(x, w_gate, w_up, np.eye(6), why="an answer that is the gates")
    yield Probe(*arrays(b, t, d, d_ff=f + 5), why="more numbers between than outside")
    yield Probe(*arrays(t, b, f + 5, d_ff=d), why="fewer numbers between than outside")
    yield Probe(*arrays(d, d_ff=f), why="a single token")
    n = int(rng.integers(3, 6))
    yield Probe(*arrays(n, n, n, d_ff=n), why="all sizes equal")
    x, w_gate, w_up, w_down = arrays(b, t, d, d_ff=f + 5, kind=np.float32)
    yield Probe(x, w_gate, w_up, w_down, why="float32")
    for kind, factor in ((np.float64, 4096), (np.float32, 512)):
        x, w_gate, w_up, w_down = arrays(t, d + 2, d_ff=f, kind=kind)
        x[:, 0] = 1
        w_gate[0] = rng.permutation([-1, 1, *rng.choice([-1, 1], f - 2)])
        w_gate[1:] /= 64
        w_gate *= factor
        yield Probe(x, w_gate, w_up, w_down, why="gates far from 0, of either sign")


@gated.law
def the_gates(answer, x, w_gate, w_up, w_down):
    """Where the other projection is 1 and w_down does nothing, the answer is gates."""
    ones = np.all(x @ w_up == 1) and np.array_equal(w_down, np.eye(len(w_down)))
    if not ones or answer.shape != x.shape:
        return None
    z = x @ w_gate
    right = z * logistic(z)
    if np.allclose(answer, right, atol=1e-5):
        return None
    worst = np.unravel_index(np.argmax(np.abs(answer - right)), z.shape)
    return (
        "In this call `x @ w_up` is 1 everywhere and `w_down` is the identity, so the "
        f"answer is the gates. Of z = {z[worst]:g} yours makes {answer[worst]:.4g}; it "
        f"should be {right[worst]:.4g}."
    )


def silu(z):
    return z * logistic(z)


@gated.family
def swiglu_family(
    x, w_gate, w_up, w_down, *,
    activation=silu,
    product=lambda activation, gate, up: activation(gate) * up,
    down=lambda hidden, w_down: hidden @ w_down,
):  # fmt: skip
    return down(product(activation, x @ w_gate, x @ w_up), w_down)


gated.mistake(
    "`w_gate` and `w_up` have changed places: SiLU is on the other projection.",
    hint="Which of the two projections goes through SiLU? Names and order differ from "
    "library to library; here the gate does.",
    seen="ml-explore/mlx-lm#767",
    product=lambda activation, gate, up: gate * activation(up),
)
gated.mistake(
    "SiLU is on the product of the two projections, not on the gate alone.",
    hint="Where does the bracket of SiLU close?",
    seen="Nijikadesu/breakdown-minimind#3",
    product=lambda activation, gate, up: activation(gate * up),
)
gated.mistake(
    "SiLU is on both projections.",
    hint="One projection stays as it is.",
    product=lambda activation, gate, up: activation(gate) * activation(up),
)
gated.mistake(
    "The gate and the other projection are added, not multiplied.",
    hint="A gate that is shut is 0. What should be left of the other projection then?",
    product=lambda activation, gate, up: activation(gate) + up,
)
gated.mistake(
    "The projection by `w_up` is missing: what passes is the gate alone.",
    hint="Three matrices, and each of them is needed once.",
    product=lambda activation, gate, up: activation(gate),
)
gated.mistake(
    "The gate is missing: what is projected down is `x @ w_up`.",
    hint="Three matrices, and each of them is needed once.",
    product=lambda activation, gate, up: up,
)
gated.mistake(
    "SiLU is on the projection by `w_up`, and the gate is missing.",
    hint="Three matrices, and each of them is needed once.",
    product=lambda activation, gate, up: activation(up),
)
gated.mistake(
    "The gate is the logistic function alone, not multiplied by z. (That is GLU.)",
    hint="SiLU of a large z is z. What is yours?",
    activation=logistic,
)
gated.mistake(
    "The gate has no activation: it is a plain product of two projections.",
    hint="What does SiLU make of a negative number?",
    activation=lambda z: z,
)
gated.mistake(
    "The gate goes through ReLU. (That is ReGLU.)",
    hint="SiLU has no corner: a small negative z keeps a little.",
    activation=lambda z: np.maximum(z, 0),
)
gated.mistake(
    "The gate goes through GELU. (That is GEGLU.)",
    hint="SiLU takes its share from the logistic function, 1 / (1 + exp(-z)).",
    activation=lambda z: z * below(z),
)
gated.mistake(
    "The gate goes through GELU in its approximation by tanh. (That is GEGLU.)",
    hint="SiLU takes its share from the logistic function, 1 / (1 + exp(-z)).",
    activation=lambda z: z * by_tanh(z),
)
gated.mistake(
    "The sign in exp is wrong: large positive gates are shut, and negative ones open.",
    hint="What should 1 / (1 + exp(-z)) be for a large z, 0 or 1?",
    activation=lambda z: z * logistic(-z),
)
gated.mistake(
    "The gate goes through tanh.",
    hint="SiLU of a large z is z. What is yours?",
    activation=np.tanh,
)
gated.mistake(
    "Large gates overflow: exp(z) / (1 + exp(z)) is inf / inf, which is NaN.",
    hint="exp(710) is infinite, and in float32 exp(89) is. Divide both sides of the "
    "fraction by exp(z): which exponential is left?",
    activation=lambda z: z * (np.exp(z) / (1 + np.exp(z))),
)
gated.mistake(
    "`w_down` is missing: the answer has F numbers for each token.",
    hint="What comes after the product has to have D numbers again.",
    down=lambda hidden, w_down: hidden,
)
gated.mistake(
    "`w_down` is transposed.",
    hint="Every weight multiplies from the right as it is: (..., F) times (F, D).",
    down=lambda hidden, w_down: hidden @ w_down.T,
)


@gated.mistake(
    "All three weights are transposed.",
    hint="PyTorch's nn.Linear keeps its weight as (d_out, d_in). Here it is (d_in, "
    "d_out), and nothing is to be transposed.",
)
def as_in_linear(x, w_gate, w_up, w_down):
    return swiglu_family(x, w_gate.T, w_up.T, w_down.T)


@gated.variant
def by_tanh_of_half(x, w_gate, w_up, w_down):
    z = x @ w_gate
    return (z * (1 + np.tanh(z / 2)) / 2 * (x @ w_up)) @ w_down


@gated.variant
def by_two_cases(x, w_gate, w_up, w_down):
    z = x @ w_gate
    small = np.exp(-np.abs(z))
    return (
        np.where(z >= 0, z / (1 + small), z * small / (1 + small)) * (x @ w_up) @ w_down
    )


@gated.variant
def as_it_is_written(x, w_gate, w_up, w_down):
    z = x @ w_gate
    return z * (1 / (1 + np.exp(-z))) * (x @ w_up) @ w_down


@gated.variant
def by_einsum_and_clip(x, w_gate, w_up, w_down):
    z, up = (np.einsum("...d,df->...f", x, w) for w in (w_gate, w_up))
    hidden = z / (1 + np.exp(-np.clip(z, -80, 80))) * up
    return np.einsum("...f,fd->...d", hidden, w_down)


@gated.variant
def in_one_product(x, w_gate, w_up, w_down):
    z, up = np.split(x @ np.concatenate([w_gate, w_up], axis=1), 2, axis=-1)
    with np.errstate(over="ignore"):
        return np.dot(z / (1 + np.exp(-z)) * up, w_down)


@gated.variant
def token_by_token_and_row_by_row(x, w_gate, w_up, w_down):
    def of_token(token):
        total = np.zeros(w_down.shape[1])
        for gate, up, down in zip(w_gate.T, w_up.T, w_down, strict=True):
            z = float(token @ gate)
            share = 1 / (1 + math.exp(-z)) if z > -700 else 0.0
            total += z * share * float(token @ up) * down
        return total

    return np.apply_along_axis(of_token, -1, x.astype(np.float64))


gated.equivalent(
    "with np.errstate():",
    why="NumPy then warns of the overflow, and the answer is the same",
)
