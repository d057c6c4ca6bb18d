"""Norms, GELU, SwiGLU, blocks and the decoder against PyTorch and Transformers."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from telling import assert_quick, assert_told, told
from torch import nn
from torch.testing import assert_close
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM
from transformers.models.gpt2.modeling_gpt2 import GPT2Block
from transformers.models.llama.modeling_llama import (
    LlamaDecoderLayer,
    LlamaRotaryEmbedding,
)

from solutions.blocks import (
    decoder,
    gelu,
    gpt2_block,
    layer_norm,
    llama_block,
    rms_norm,
    swiglu,
)
from solutions.masks import causal_mask
from solutions.relative_positions import rope_frequencies

few = settings(derandomize=True, max_examples=30, deadline=None)
both_widths = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
some_numbers = st.floats(-100, 100, width=32)
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def random(*shape, dtype=torch.float64, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    return numbers.to(dtype)


def assert_as_torch(actual, expected):
    """Equal within torch.testing's tolerances, and of the same dtype."""
    assert_close(torch.from_numpy(actual), expected.detach())


# The norms


@both_widths
@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 8), (2, 3, 4, 5)])
@pytest.mark.parametrize("eps", [1e-5, 1e-12, 0.3])
def test_layer_norm_is_pytorchs(shape, eps, dtype):
    norm = nn.LayerNorm(shape[-1], eps=eps, dtype=dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = random(*shape, dtype=dtype, scale=3) + 1
    weights = norm.weight.detach().numpy(), norm.bias.detach().numpy()
    assert_as_torch(layer_norm(x.numpy(), *weights, eps), norm(x))


@both_widths
@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 8), (2, 3, 4, 5)])
@pytest.mark.parametrize("eps", [1e-5, 1e-12, 0.3])
def test_rms_norm_is_pytorchs(shape, eps, dtype):
    norm = nn.RMSNorm(shape[-1], eps=eps, dtype=dtype)
    nn.init.normal_(norm.weight)
    x = random(*shape, dtype=dtype, scale=3) + 1
    weight = norm.weight.detach().numpy()
    assert_as_torch(rms_norm(x.numpy(), weight, eps), norm(x))


def test_the_default_eps_is_that_of_nn_layer_norm():
    x = random(3, 7, scale=1e-3)
    ones, zeros = np.ones(7), np.zeros(7)
    assert_as_torch(layer_norm(x.numpy(), ones, zeros), F.layer_norm(x, (7,)))
    assert_as_torch(rms_norm(x.numpy(), ones), F.rms_norm(x, (7,), eps=1e-5))


def test_layer_norm_is_the_papers_formula_number_by_number():
    x = random(4, 5, scale=3).numpy()
    weight, bias = random(2, 5, seed=1).numpy()
    for token, normed in zip(x, layer_norm(x, weight, bias), strict=True):
        mean = math.fsum(token) / 5
        sigma = math.sqrt(math.fsum((a - mean) ** 2 for a in token) / 5 + 1e-5)
        expected = [
            g / sigma * (a - mean) + b
            for a, g, b in zip(token, weight, bias, strict=True)
        ]
        np.testing.assert_allclose(normed, expected)


tokens_with_spread = arrays(
    np.float64, (3, 5), elements=st.integers(-50, 50), unique=True
)


@few
@given(x=tokens_with_spread, factor=st.floats(0.5, 1000), shift=st.floats(-1e3, 1e3))
def test_layer_norm_forgets_the_scale_and_the_mean_of_a_token(x, factor, shift):
    weight, bias = np.arange(1.0, 6), np.arange(5.0)
    expected = layer_norm(x, weight, bias, eps=0)
    actual = layer_norm(factor * x + shift, weight, bias, eps=0)
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-7)


@few
@given(x=tokens_with_spread, factor=st.floats(0.5, 1000))
def test_rms_norm_forgets_the_scale_and_keeps_the_direction(x, factor):
    weight = np.ones(5)
    normed = rms_norm(x, weight, eps=0)
    np.testing.assert_allclose(rms_norm(factor * x, weight, eps=0), normed)
    np.testing.assert_allclose((normed**2).mean(axis=-1), 1)
    np.testing.assert_array_equal(np.sign(normed), np.sign(x))


@few
@given(x=tokens_with_spread)
def test_on_numbers_of_mean_0_both_norms_are_the_same(x):
    x = x - x.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(
        rms_norm(x, np.ones(5)), layer_norm(x, np.ones(5), np.zeros(5)), atol=1e-9
    )


NORMS = {
    "layer_norm": lambda x: layer_norm(x, np.ones(6), np.zeros(6)),
    "rms_norm": lambda x: rms_norm(x, np.ones(6)),
}


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_no_token_depends_on_another(norm):
    x = random(2, 3, 6).numpy()
    changed = x.copy()
    changed[1, 2] += random(6, seed=1).numpy()
    moved = (norm(changed) != norm(x)).any(axis=-1)
    np.testing.assert_array_equal(np.argwhere(moved), [[1, 2]])


def test_a_token_of_equal_numbers_becomes_the_bias():
    bias = np.array([1.0, -2, 3])
    for level in (0.0, 2.5, -1e6):
        actual = layer_norm(np.full((2, 3), level), np.full(3, 7.0), bias)
        np.testing.assert_array_equal(actual, [bias, bias])
    np.testing.assert_array_equal(rms_norm(np.zeros((2, 3)), np.ones(3)), 0)


def test_far_from_0_no_digits_are_lost():
    """The first example of pytorch/pytorch#51102, in single precision."""
    row = random(5, 4, dtype=torch.float32).numpy() + np.float32(2000)
    exact = layer_norm(row.astype(np.float64), np.ones(4), np.zeros(4))
    weights = np.ones(4, np.float32), np.zeros(4, np.float32)
    actual = layer_norm(row, *weights)
    # what is left is the rounding of the mean, half a unit in the last place of 2000
    np.testing.assert_allclose(actual, exact, atol=2e-3)


# The activations


@both_widths
def test_gelu_is_pytorchs(dtype):
    x = torch.cat([random(300, scale=3), torch.linspace(-40, 40, 161)]).to(dtype)
    assert_as_torch(gelu(x.numpy()), F.gelu(x))


def test_gelu_is_not_its_approximation():
    x = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    apart = np.abs(gelu(x.numpy()) - F.gelu(x, approximate="tanh").numpy())
    assert 4e-4 < apart.max() < 5e-4


@few
@given(x=arrays(np.float64, shapes, elements=some_numbers))
def test_gelu_minus_its_mirror_image_is_the_number_itself(x):
    np.testing.assert_allclose(gelu(x) - gelu(-x), x, atol=1e-12)
    assert gelu(x).shape == x.shape


def test_gelu_of_nothing_is_nothing():
    assert gelu(np.zeros((0, 3), np.float32)).dtype == np.float32


@both_widths
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("d_ff", [3, 8])
def test_swiglu_is_pytorchs_silu_between_three_products(shape, d_ff, dtype):
    x = random(*shape, dtype=dtype)
    w_gate, w_up = random(2, 5, d_ff, dtype=dtype, seed=1)
    w_down = random(d_ff, 5, dtype=dtype, seed=2)
    expected = (F.silu(x @ w_gate) * (x @ w_up)) @ w_down
    weights = (w.numpy() for w in (w_gate, w_up, w_down))
    assert_as_torch(swiglu(x.numpy(), *weights), expected)


@pytest.mark.filterwarnings("error")
@both_widths
def test_no_gate_is_too_large(dtype):
    z = torch.tensor([[-1e4, -800, -100, -89, 0, 89, 100, 800, 1e4]], dtype=dtype)
    one = np.eye(9, dtype=z.numpy().dtype)
    up = np.concatenate([one, one * 0])  # picks what stands in front
    x = np.concatenate([np.ones_like(z), z], axis=1)
    gate = np.concatenate([one * 0, one])
    actual = swiglu(x, gate, up, np.concatenate([one, one * 0], axis=1))
    assert_as_torch(actual[:, :9], F.silu(z))


@few
@given(data=st.data())
def test_a_gate_that_is_shut_lets_nothing_pass(data):
    x = data.draw(arrays(np.float64, (3, 4), elements=some_numbers))
    w_up = data.draw(arrays(np.float64, (4, 5), elements=some_numbers))
    w_down = data.draw(arrays(np.float64, (5, 4), elements=some_numbers))
    np.testing.assert_array_equal(swiglu(x, np.zeros((4, 5)), w_up, w_down), 0)


@both_widths
def test_every_answer_has_the_dtype_of_its_inputs(dtype):
    x = random(2, 3, 4, dtype=dtype).numpy()
    weight, bias = random(2, 4, dtype=dtype).numpy()
    w_gate, w_up = random(2, 4, 7, dtype=dtype).numpy()
    w_down = random(7, 4, dtype=dtype).numpy()
    for answer in (
        layer_norm(x, weight, bias),
        rms_norm(x, weight),
        gelu(x),
        swiglu(x, w_gate, w_up, w_down),
    ):
        assert answer.dtype == x.dtype


def test_no_argument_is_modified():
    x, weight, bias = random(3, 4).numpy(), np.ones(4), np.ones(4)
    w_gate, w_up, w_down = random(3, 4, 4).numpy()
    arguments = (x, weight, bias, w_gate, w_up, w_down)
    before = [array.copy() for array in arguments]
    layer_norm(x, weight, bias)
    rms_norm(x, weight)
    gelu(x)
    swiglu(x, w_gate, w_up, w_down)
    for array, copy in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(array, copy)


# The blocks and the decoder, with weights copied from Transformers


def randomised(module, seed=0):
    """Fresh random weights, norms and biases too: none is left at 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        numbers = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
        weight.data = (numbers / 3 + (weight.ndim == 1)).to(weight.dtype)
    return module


def state_of(module, prefix=""):
    return {
        name.removeprefix(prefix): value.numpy()
        for name, value in module.state_dict().items()
        if name.startswith(prefix)
    }


@both_widths
def test_gpt2_block_is_that_of_transformers(dtype):
    config = GPT2Config(
        n_embd=15, n_head=3, n_inner=22, activation_function="gelu",
        attn_implementation="eager",
    )  # fmt: skip
    block = randomised(GPT2Block(config, layer_idx=0).to(dtype).eval())
    state = state_of(block)
    weights = {
        "norm_1": state["ln_1.weight"],
        "norm_1_bias": state["ln_1.bias"],
        "w_o": state["attn.c_proj.weight"],
        "b_o": state["attn.c_proj.bias"],
        "norm_2": state["ln_2.weight"],
        "norm_2_bias": state["ln_2.bias"],
        "w_1": state["mlp.c_fc.weight"],
        "b_1": state["mlp.c_fc.bias"],
        "w_2": state["mlp.c_proj.weight"],
        "b_2": state["mlp.c_proj.bias"],
    }
    # Conv1D keeps its weights as ours, (d_in, d_out)
    w_qkv = np.split(state["attn.c_attn.weight"], 3, axis=1)
    b_qkv = np.split(state["attn.c_attn.bias"], 3)
    for name, w, b in zip("qkv", w_qkv, b_qkv, strict=True):
        weights |= {f"w_{name}": w, f"b_{name}": b}
    x = random(2, 7, 15, dtype=dtype)
    past = causal_mask(7, 7)
    hidden = torch.from_numpy(np.where(past, 0, -np.inf)).to(dtype)[None, None]
    expected = block(x, attention_mask=hidden)
    assert_as_torch(gpt2_block(x.numpy(), weights, n_heads=3, attn_mask=past), expected)


def llama_config(**changes):
    return LlamaConfig(
        **{
            "hidden_size": 18, "num_attention_heads": 6, "num_key_value_heads": 2,
            "head_dim": 4, "intermediate_size": 27, "vocab_size": 31,
            "num_hidden_layers": 3, "rms_norm_eps": 1e-3,
            "tie_word_embeddings": True, "attn_implementation": "sdpa",
        } | changes
    )  # fmt: skip


def llama_weights(state):
    """The weights of one layer by our names, transposed: nn.Linear has (out, in)."""
    names = {
        "w_q": "self_attn.q_proj", "w_k": "self_attn.k_proj",
        "w_v": "self_attn.v_proj", "w_o": "self_attn.o_proj",
        "w_gate": "mlp.gate_proj", "w_up": "mlp.up_proj", "w_down": "mlp.down_proj",
        "norm_1": "input_layernorm", "norm_2": "post_attention_layernorm",
    }  # fmt: skip
    return {ours: state[f"{name}.weight"].T for ours, name in names.items()}


def in_full_precision(module, eps):
    """PyTorch's RMSNorm for that of Llama, which always is in single precision."""
    for name, child in module.named_children():
        if type(child).__name__ == "LlamaRMSNorm":
            norm = nn.RMSNorm(child.weight.shape, eps=eps, dtype=child.weight.dtype)
            norm.weight = child.weight
            setattr(module, name, norm)
        else:
            in_full_precision(child, eps)
    return module


def test_llamas_own_norm_is_ours_in_single_precision():
    layer = randomised(LlamaDecoderLayer(llama_config(), layer_idx=0))
    norm = layer.input_layernorm
    x = random(2, 5, 18, dtype=torch.float32)
    actual = rms_norm(x.numpy(), norm.weight.detach().numpy(), eps=1e-3)
    assert_as_torch(actual, norm(x))


@both_widths
def test_llama_block_is_that_of_transformers(dtype):
    config = llama_config()
    layer = randomised(LlamaDecoderLayer(config, layer_idx=0).to(dtype).eval())
    layer = in_full_precision(layer, eps=1e-3)
    x = random(2, 7, 18, dtype=dtype)
    past = causal_mask(7, 7)
    may_attend = torch.from_numpy(past)[None, None]
    angles = np.arange(7)[:, None] * rope_frequencies(4)
    angles = torch.from_numpy(np.concatenate([angles, angles], axis=1)).to(dtype)
    rotation = angles.cos()[None], angles.sin()[None]
    expected = layer(x, attention_mask=may_attend, position_embeddings=rotation)
    actual = llama_block(
        x.numpy(), llama_weights(state_of(layer)), n_heads=6, n_kv_heads=2,
        inv_freq=rope_frequencies(4), attn_mask=past, eps=1e-3,
    )  # fmt: skip
    assert_as_torch(actual, expected)


def test_the_rotation_in_that_test_is_the_one_of_transformers():
    rotary = LlamaRotaryEmbedding(llama_config())
    x = random(1, 7, 18, dtype=torch.float32)
    cos, _ = rotary(x, torch.arange(7)[None])
    angles = np.arange(7)[:, None] * rope_frequencies(4)
    assert_close(cos[0, :, :2].double().numpy(), np.cos(angles), rtol=1e-5, atol=1e-5)


def small_llama(dtype, **changes):
    """Transformers' model, and the arguments that make `decoder` the same."""
    model = randomised(LlamaForCausalLM(llama_config(**changes)).eval().to(dtype))
    model.tie_weights()
    state = state_of(model, "model.")
    layers = [state_of(layer) for layer in model.model.layers]
    arguments = {
        "table": state["embed_tokens.weight"],
        "blocks": [llama_weights(layer) for layer in layers],
        "norm": state["norm.weight"],
        "n_heads": 6,
        "n_kv_heads": 2,
        "inv_freq": rope_frequencies(4),
        "eps": 1e-3,
    }
    return model, arguments


def test_decoder_is_a_whole_llama_of_transformers():
    model, arguments = small_llama(torch.float32)
    tokens = np.random.default_rng(0).integers(0, 31, (2, 7))
    with torch.no_grad():
        expected = model(torch.from_numpy(tokens)).logits
    assert_as_torch(decoder(tokens, **arguments), expected)


def test_no_logit_of_the_decoder_depends_on_a_later_token():
    _, arguments = small_llama(torch.float64)
    tokens = np.random.default_rng(0).integers(0, 31, (2, 7))
    logits = decoder(tokens, **arguments)
    for t in range(7):
        changed = tokens.copy()
        changed[:, t] = (changed[:, t] + 1) % 31
        moved = (decoder(changed, **arguments) != logits).any(axis=(0, 2))
        np.testing.assert_array_equal(moved, np.arange(7) >= t)


def test_the_layout_of_the_rotation_matters():
    _, arguments = small_llama(torch.float64)
    tokens = np.random.default_rng(0).integers(0, 31, (2, 7))
    half = decoder(tokens, **arguments)
    other = decoder(tokens, **arguments, layout="interleaved")
    assert not np.allclose(half[:, 1:], other[:, 1:])
    np.testing.assert_allclose(half[:, 0], other[:, 0])  # position 0 is not turned


# What learners are told of mistakes that are in no list

LAYER = """
def layer_norm(x, weight, bias, eps=1e-5):
    mean = x.mean(axis=-1, keepdims=True)
    variance = x.var(axis=-1, keepdims=True)
"""
GATE = """
def swiglu(x, w_gate, w_up, w_down):
    z = x @ w_gate
"""
TELLING = {
    "no axis is kept": (
        """
        def layer_norm(x, weight, bias, eps=1e-5):
            centred = x - x.mean(axis=-1)
            return centred / np.sqrt(x.var(axis=-1) + eps) * weight + bias
        """,
        "right for a single token. And for a large eps it stops with ValueError",
    ),
    "with D - 1, and no weight": (
        """
        def layer_norm(x, weight, bias, eps=1e-5):
            centred = x - x.mean(axis=-1, keepdims=True)
            return centred / np.sqrt(x.var(-1, keepdims=True, ddof=1) + eps) + bias
        """,
        "Two things at once would explain it. The variance is divided by D - 1; it "
        "should be the mean, divided by D. And: `weight` is not used",
    ),
    "an eps of its own": (
        LAYER + "    return (x - mean) / np.sqrt(variance + 1e-6) * weight + bias",
        "have the variance 1; with an eps of 0.5 it should be",
    ),
    "between least and most": (
        """
        def layer_norm(x, weight, bias, eps=1e-5):
            least = x.min(axis=-1, keepdims=True)
            most = x.max(axis=-1, keepdims=True)
            return (x - least) / (most - least + eps) * weight + bias
        """,
        "Take `bias` off your answer and divide by `weight`: the numbers of batch row "
        "0, position 0 have the mean",
    ),
    "the first token's mean": (
        LAYER + "    first = mean[..., :1, :] if x.ndim > 1 else mean\n"
        "    return (x - first) / np.sqrt(variance + eps) * weight + bias",
        "the numbers of batch row 0, position 1 have the mean",
    ),
    "in place": (
        """
        def layer_norm(x, weight, bias, eps=1e-5):
            x -= x.mean(axis=-1, keepdims=True)
            x /= np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
            return x * weight + bias
        """,
        "Your function changes `x`, which belongs to its caller. What it gives back is "
        "right.",
    ),
    "as in PyTorch": (
        "def layer_norm(x, weight, bias, eps=1e-5): return x.var(-1, unbiased=False)",
        "NumPy says axis, keepdims and ddof",
    ),
    "D - 1, and eps outside": (
        """
        def rms_norm(x, weight, eps=1e-5):
            squares = (x**2).sum(axis=-1, keepdims=True)
            return x / (np.sqrt(squares / (x.shape[-1] - 1)) + eps) * weight
        """,
        "The sum of the squares is divided by D - 1, not by D. And: `eps` is added to "
        "the root mean square, outside of the root",
    ),
    "the length, and once more": (
        """
        def rms_norm(x, weight, eps=1e-5):
            length = np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), eps)
            return x / length * x.shape[-1] ** -0.5 * weight
        """,
        "have the mean square 0.04; with an eps of",
    ),
    "the largest": (
        """
        def rms_norm(x, weight, eps=1e-5):
            return x / (np.abs(x).max(axis=-1, keepdims=True) + eps) * weight
        """,
        "Divide your answer by `weight`: the numbers of batch row 0, position 0 have",
    ),
    "a function of PyTorch's": (
        """
        def rms_norm(x, weight, eps=1e-5):
            return x * np.rsqrt((x**2).mean(axis=-1, keepdims=True) + eps) * weight
        """,
        "NumPy has no function of this name",
    ),
    "the tanh formula without its cube": (
        """
        def gelu(x):
            return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * x))
        """,
        "0.00135 of all standard normal numbers lie below -3",
    ),
    "a polynomial for erf": (
        """
        def gelu(x):
            z = np.abs(x) / 2**0.5
            t = 1 / (1 + 0.3275911 * z)
            steps = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)
            rest = sum(a * t ** (i + 1) for i, a in enumerate(steps))
            return 0.5 * x * (1 + np.sign(x) * (1 - rest * np.exp(-z * z)))
        """,
        "close, but not equal",
    ),
    "a list that begins with an integer": (
        """
        def gelu(x):
            def one(v):
                return v * 0.5 * (1 + math.erf(v / 2**0.5)) if v > -8 else 0
            return np.vectorize(one)(x)
        """,
        "Your function gives back an array of int64; asked for is an array of float64",
    ),
    "the sizes without their signs": (
        """
        def gelu(x):
            return np.abs(x) * 0.5 * (1 + np.vectorize(math.erf)(x / 2**0.5))
        """,
        "Every number has lost its sign",
    ),
    "a library's": (
        "import torch\n"
        "def gelu(x): return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()",
        "Write it without `.gelu`",
    ),
    "the wrong projection, through ReLU": (
        GATE + "    return (z * np.maximum(x @ w_up, 0)) @ w_down",
        "`w_gate` and `w_up` have changed places: SiLU is on the other projection. "
        "And: the gate goes through ReLU",
    ),
    "the logistic function of 1.702 z": (
        GATE + "    return (z / (1 + np.exp(-1.702 * z)) * (x @ w_up)) @ w_down",
        "the answer is the gates. Of z = 1.75 yours makes 1.665; it should be 1.491",
    ),
    "the residual added": (
        GATE + "    return x + (z / (1 + np.exp(-z)) * (x @ w_up)) @ w_down",
        "Of z = 1.375 yours makes -0.4025",
    ),
    "gates cut at 20": (
        GATE + "    z = np.clip(z, -20, 20)\n"
        "    return (z / (1 + np.exp(-z)) * (x @ w_up)) @ w_down",
        "Wrong for gates far from 0, of either sign; right for",
    ),
    "brackets": (
        GATE + "    return z / (1 + np.exp(-z)) * (x @ w_up @ w_down)",
        "right for an answer that is the gates. And for more numbers between than "
        "outside it stops with ValueError",
    ),
    "a gate of the gate": (
        GATE + "    return (z / (1 + np.exp(-z)) * z) @ w_down",
        "`w_gate` is used where `w_up` belongs",
    ),
}


@pytest.mark.parametrize("case", TELLING)
def test_a_mistake_that_is_in_no_list_is_still_told(case):
    source, sentence = TELLING[case]
    assert_told(told(source, math=math), sentence)


RIGHT = {
    "axes from the other end": """
        def layer_norm(x, weight, bias, eps=1e-5):
            x = np.moveaxis(x, -1, 0)
            x = (x - x.mean(0)) / np.sqrt(x.var(0) + eps)
            return np.moveaxis(x, 0, -1) * weight + bias
        """,
    "Welford's algorithm": """
        def layer_norm(x, weight, bias, eps=1e-5):
            mean, total = np.zeros((2, *x.shape[:-1]))
            for n in range(x.shape[-1]):
                step = x[..., n] - mean
                mean = mean + step / (n + 1)
                total = total + step * (x[..., n] - mean)
            variance = total / x.shape[-1]
            normed = (x - mean[..., None]) / np.sqrt(variance + eps)[..., None]
            return normed * weight + bias
        """,
    "a row at a time": """
        def layer_norm(x, weight, bias, eps=1e-5):
            def norm(row):
                return (row - np.mean(row)) / (np.var(row) + eps) ** 0.5
            return weight * np.apply_along_axis(norm, -1, x) + bias
        """,
    "the length over the root of D": """
        def rms_norm(x, weight, eps=1e-5):
            squares = np.sum(x * x, axis=-1, keepdims=True)
            size = np.hypot(np.sqrt(squares / x.shape[-1]), eps**0.5)
            return np.divide(x, size) * weight
        """,
    "dots of a token with itself": """
        def rms_norm(x, weight, eps=1e-5):
            squares = np.matmul(x[..., None, :], x[..., :, None])[..., 0]
            return weight * (x * np.reciprocal(np.sqrt(squares / len(weight) + eps)))
        """,
    "half of erfc": """
        def gelu(x):
            def one(v):
                return v * math.erfc(-v / math.sqrt(2)) / 2
            return np.array(list(map(one, x.flat))).reshape(x.shape)
        """,
    "ufuncs": """
        def gelu(x):
            erf = np.frompyfunc(math.erf, 1, 1)
            return (0.5 * x * (1.0 + erf(x * 0.5**0.5))).astype(np.float64)
        """,
    "logaddexp": GATE + "    silu = z * np.exp(-np.logaddexp(0, -z))\n"
        "    return np.matmul(silu * np.matmul(x, w_up), w_down)",
    "two branches": GATE + "    e = np.exp(-np.abs(z))\n"
        "    share = np.where(z > 0, 1, e) / (1 + e)\n"
        "    return np.einsum('...f,fd->...d', z * share * (x @ w_up), w_down)",
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_a_right_answer_in_another_style_is_right(case):
    verdict = told(RIGHT[case], math=math)
    assert verdict.verdict == "right", verdict.message


def test_checking_is_quick_even_where_nothing_explains_the_answer():
    for name, parameters in {
        "layer_norm": "x, weight, bias, eps=1e-5",
        "rms_norm": "x, weight, eps=1e-5",
        "gelu": "x",
        "swiglu": "x, w_gate, w_up, w_down",
    }.items():
        source = f"""
        def {name}({parameters}):
            return np.random.default_rng(0).normal(size=x.shape)
        """
        assert_quick(source)
