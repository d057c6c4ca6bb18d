"""Chapter 14: what stands around a real language model."""

import itertools

from autograder.exercise import Exercise, Probe
from solutions import language_model

merge = Exercise(
    language_model.merge_pairs, points=3, axes=("piece",), adapter="with_ranks"
)


def learned(rng, words, count):
    """Pairs of neighbours with their ranks, as byte-pair encoding learns them.

    A pair has a higher rank than those that its parts were joined out of. In the dict
    they stand in another order than that of their ranks.
    """
    words = [list(word) for word in words]
    pairs = []
    while len(pairs) < count:
        found = sorted({pair for word in words for pair in itertools.pairwise(word)})
        if not found:
            break
        pair = found[int(rng.integers(len(found)))]
        pairs.append(pair)
        words = [language_model.merge_pairs(word, {pair: 0}) for word in words]
    return shuffled(rng, [(*pair, rank) for rank, pair in enumerate(pairs)])


def shuffled(rng, items):
    return [items[int(i)] for i in rng.permutation(len(items))]


@merge.probes
def _(rng):
    a, b, c, d, e = (str(letter) for letter in rng.permutation(list("bdfkmrstvz"))[:5])
    low, middle, high = (int(n) for n in rng.permutation(90)[:3] + 3)
    low, middle, high = sorted((low, middle, high))
    yield Probe(
        [a, b, c],
        [(a, b, high), (b, c, low)],
        why="a pair on the right that has the lower rank",
    )
    yield Probe(
        [a, b, e, a, b, d, a, b],
        [(a, b, low)],
        why="a pair that stands at several places",
    )
    for count in (3, 6, 7):
        yield Probe(
            [d] + [a] * count + [b],
            shuffled(rng, [(a, a, low), (a, b, middle), (a + a, a + a, high)]),
            why="a row of equal symbols",
        )
    yield Probe(
        [e, a, b, c, d],
        shuffled(rng, [(a, b, low), (a + b, c, middle), (a + b + c, d, high)]),
        why="joined pairs that are joined further",
    )
    yield Probe(
        [a, b, c, d],
        [(a, b, low), (b, c, middle), (a, b + c, high)],
        why="two ways to the same text, of which one has a rank",
    )
    yield Probe(
        [c, a, b, d],
        [(a, b, 0), (c, a, low), (b, d, middle)],
        why="rank 0",
    )
    yield Probe(
        [c, d, e, a, c, d, b, a, c, e, a, c],
        [(c, d, low), (a, c, high), (a, c + d, high + 1)],
        why="a frequent pair with a high rank",
    )
    for length in (9, 14):
        letters = [[a, b, c][int(i)] for i in rng.integers(3, size=length)]
        others = ["".join(shuffled(rng, letters)) for _ in range(4)]
        yield Probe(
            letters,
            learned(rng, ["".join(letters), *others], 12),
            why="a long word with many pairs",
        )
    yield Probe([c, d, e], [(a, b, low), (d, c, middle)], why="a word without a pair")
    yield Probe([a], [(a, a, low)], why="a single symbol")


@merge.law
def joined_is_the_word(answer, symbols, ranked):
    word, joined = "".join(symbols), "".join(answer)
    if joined != word:
        return f"The pieces {answer} make {joined!r}, and the word is {word!r}."
    return None


@merge.law
def no_pair_is_left(answer, symbols, ranked):
    ranks = {(first, second): rank for first, second, rank in ranked}
    for pair in itertools.pairwise(answer):
        if pair in ranks:
            return (
                f"Of {'-'.join(symbols)} your function makes {'-'.join(answer)}: there "
                f"{pair[0]!r} and {pair[1]!r} are neighbours still, and they have a "
                "rank."
            )
    return None


@merge.law
def every_piece_is_learned(answer, symbols, ranked):
    texts = {first + second for first, second, _ in ranked} | set(symbols)
    for piece in answer:
        if piece not in texts:
            return f"No pair makes the piece {piece!r}; your pieces are {answer}."
    return None


@merge.law
def the_first_other_piece(answer, symbols, ranked):
    ranks = {(first, second): rank for first, second, rank in ranked}
    expected = language_model.merge_pairs(symbols, ranks)
    return (
        f"Of {'-'.join(symbols)} your function makes {'-'.join(answer)}, not "
        f"{'-'.join(expected)}."
    )


def join(symbols, places):
    """Join each of these places, in order, with the next symbol."""
    merged, i = [], 0
    while i < len(symbols):
        if i in places and i + 1 < len(symbols):
            merged.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return merged


def places_of(symbols, pair):
    return [i for i, found in enumerate(itertools.pairwise(symbols)) if found == pair]


@merge.family
def merge_family(
    symbols, ranks, *, best=None, rounds=None, once=False, backwards=False,
    known=None, overlapping=False, forget_zero=False,
):  # fmt: skip
    best = best or (lambda ranks, symbols: ranks.__getitem__)
    done = 0
    while rounds is None or done < rounds:
        pairs = [pair for pair in itertools.pairwise(symbols) if pair in ranks]
        if forget_zero:
            pairs = [pair for pair in pairs if ranks[pair]]
        if not pairs:
            break
        pair = min(pairs, key=best(ranks, symbols))
        places = places_of(symbols, pair)
        if once:
            ranks = {other: rank for other, rank in ranks.items() if other != pair}
            places = places[:1]
        if overlapping:
            symbols = overlapping_join(symbols, pair)
        elif backwards:
            turned = [symbol[::-1] for symbol in symbols[::-1]]
            back = (pair[1][::-1], pair[0][::-1])
            turned = join(turned, places_of(turned, back))
            symbols = [symbol[::-1] for symbol in turned[::-1]]
        else:
            symbols = join(symbols, places)
        done += 1
    return symbols


def overlapping_join(symbols, pair):
    """Join at every place, also where a symbol has just been joined."""
    merged, taken = [], False
    for first, second in itertools.zip_longest(symbols, symbols[1:]):
        if (first, second) == pair:
            merged.append(first + second)
            taken = True
        else:
            if not taken:
                merged.append(first)
            taken = False
    return merged


merge.mistake(
    "The leftmost pair that has a rank is joined first, whatever its rank.",
    hint="Collect all pairs that have a rank, and compare their ranks before you join "
    "one.",
    seen="ztxz16/fastllm#715",
    best=lambda ranks, symbols: lambda pair: 0,
)
merge.mistake(
    "The pair with the highest rank is joined first.",
    hint="Rank 0 was learned first and is joined first.",
    best=lambda ranks, symbols: lambda pair: -ranks[pair],
)
merge.mistake(
    "Pairs are joined in the order in which they stand in `ranks`, not by their rank.",
    hint="A dict keeps the order in which it was filled. What says its value?",
    best=lambda ranks, symbols: list(ranks).index,
)
merge.mistake(
    "The pair that occurs most often in the word is joined first.",
    hint="That is how the ranks were learned, from a large text. Here they are known.",
    best=lambda ranks, symbols: lambda pair: -len(places_of(symbols, pair)),
)
merge.mistake(
    "Each pair is joined at the first place where it stands, and nowhere else.",
    hint="In a-b-x-a-b there are two places for (a, b).",
    once=True,
)
merge.mistake(
    "Only one pair is joined: that with the lowest rank, and then it ends.",
    hint="What is joined can be joined again: when is there nothing left to do?",
    rounds=1,
)
merge.mistake(
    "In a row of equal symbols one symbol is joined twice: three become two pairs.",
    hint="Behind a pair that you have joined, go on with the symbol after it.",
    overlapping=True,
)
merge.mistake(
    "In a row of equal symbols the last two are joined first, not the first two.",
    hint="Go through the word from left to right.",
    backwards=True,
)
merge.mistake(
    "The pair with rank 0 is never joined.",
    hint="0 counts as False. Ask whether the pair is in the dict.",
    forget_zero=True,
)


@merge.mistake(
    "Two neighbours are joined if their text is that of a pair with a rank, even if "
    "they are not that pair.",
    hint="(a, bc) and (ab, c) are two pairs with one text. Which of them is in ranks?",
)
def by_text(symbols, ranks):
    texts = {first + second: rank for (first, second), rank in ranks.items()}
    while True:
        pairs = [p for p in itertools.pairwise(symbols) if p[0] + p[1] in texts]
        if not pairs:
            return symbols
        pair = min(pairs, key=lambda pair: texts[pair[0] + pair[1]])
        symbols = join(symbols, places_of(symbols, pair))


@merge.mistake(
    "From the left, the longest text that some pair makes is taken each time.",
    hint="That is another way to cut words (WordPiece's). Here neighbours are joined, "
    "lowest rank first, and how long the pieces get is no matter.",
)
def longest_first(symbols, ranks):
    texts = {first + second for first, second in ranks}
    pieces, start = [], 0
    while start < len(symbols):
        ends = range(len(symbols), start + 1, -1)
        end = next((n for n in ends if "".join(symbols[start:n]) in texts), start + 1)
        pieces.append("".join(symbols[start:end]))
        start = end
    return pieces


@merge.mistake(
    "Everything is joined until one piece is left.",
    hint="A pair without a rank is never joined. What does your search find when no "
    "pair has one?",
)
def all_of_it(symbols, ranks):
    return ["".join(symbols)]


@merge.mistake(
    "It is one text, the pieces with spaces between them, and no list.",
    hint="Leave the pieces in a list: a space can be a part of a piece.",
)
def as_text(symbols, ranks):
    return " ".join(language_model.merge_pairs(symbols, ranks))


@merge.mistake(
    "Each place is visited once, from left to right: a piece grows as long as it has "
    "a rank with the next symbol.",
    hint="The lowest rank of the whole word comes first, wherever that pair stands.",
)
def growing(symbols, ranks):
    pieces = symbols[:1]
    for symbol in symbols[1:]:
        if (pieces[-1], symbol) in ranks:
            pieces[-1] += symbol
        else:
            pieces.append(symbol)
    return pieces


@merge.variant
def one_place_at_a_time(symbols, ranks):
    symbols = list(symbols)
    while True:
        ranked = [
            (ranks[pair], i)
            for i, pair in enumerate(itertools.pairwise(symbols))
            if pair in ranks
        ]
        if not ranked:
            return symbols
        _, i = min(ranked)
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]


@merge.variant
def pair_after_pair(symbols, ranks):
    for pair in sorted(ranks, key=lambda pair: ranks[pair]):
        symbols = join(symbols, places_of(symbols, pair))
    return symbols


@merge.variant
def with_an_infinite_rank(symbols, ranks):
    word = tuple(symbols)
    while len(word) > 1:
        pairs = set(itertools.pairwise(word))
        best = min(pairs, key=lambda pair: ranks.get(pair, float("inf")))
        if best not in ranks:
            break
        word = tuple(join(list(word), places_of(word, best)))
    return list(word)


@merge.variant
def by_recursion(symbols, ranks):
    pairs = list(itertools.pairwise(symbols))
    best = min(pairs, key=lambda pair: ranks.get(pair, 10**9), default=("", ""))
    if best not in ranks:
        return list(symbols)
    i = pairs.index(best)
    joined = [*symbols[:i], symbols[i] + symbols[i + 1], *symbols[i + 2 :]]
    return by_recursion(joined, ranks)


merge.equivalent("pieces = symbols", why="what is handed in is never changed")


chat = Exercise(language_model.chat_prompt, points=2)

SAID = (
    "What is a mask?", "Name three owls.", "And then?", "Why?", "Say it again.",
    "How many heads?", "Is it raining?",
)  # fmt: skip
TOLD = ("A rule.", "Barn, snowy, eagle.", "It ends.", "Nine of them.", "No.")
SYSTEMS = ("Answer in one word.", "You are a poet.", "Speak like an owl.")


@chat.probes
def _(rng):
    first, second, third = (SAID[int(i)] for i in rng.permutation(len(SAID))[:3])
    reply, other = (TOLD[int(i)] for i in rng.permutation(len(TOLD))[:2])
    system = SYSTEMS[int(rng.integers(len(SYSTEMS)))]

    def talk(*turns):
        return [{"role": role, "content": content} for role, content in turns]

    yield Probe(talk(("user", first)), why="a single question")
    yield Probe(
        talk(("system", system), ("user", second)), why="a system message of its own"
    )
    yield Probe(
        talk(("user", first), ("assistant", reply), ("user", second)),
        why="a question after an answer",
    )
    yield Probe(
        talk(
            ("system", system),
            ("user", first),
            ("assistant", reply),
            ("user", second),
            ("assistant", other),
            ("user", third),
        ),
        why="a longer conversation",
    )
    yield Probe(
        talk(("user", f"  {first}\n\n    code()\n"), ("assistant", f" {reply} ")),
        why="an answer at the end, and spaces around what is said",
    )
    yield Probe(
        talk(("user", first), ("system", system), ("user", third)),
        why="a system message that is not the first",
    )
    yield Probe(talk(("system", system)), why="a system message alone")


@chat.law
def the_first_other_text(answer, messages):
    expected = language_model.chat_prompt(messages)
    if not isinstance(answer, str) or answer == expected:
        return None
    same = len(common_start(answer, expected))
    before = f"after {expected[max(same - 24, 0) : same]!r}" if same else "at the start"
    got, wanted = (
        f"{text[same : same + 24]!r}" if text[same:] else "nothing"
        for text in (answer, expected)
    )
    return f"The two texts part {before}: there comes {got}, not {wanted}."


def common_start(one, other):
    pairs = zip(one, other, strict=False)
    return "".join(a for a, _ in itertools.takewhile(lambda p: p[0] == p[1], pairs))


USUAL = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@chat.family
def chat_family(
    messages, *, system=USUAL, needs=None, after_role="\n", end="<|im_end|>", gap="\n",
    last_end=True, opened="<|im_start|>assistant\n", role=str, clean=str, chosen=None,
    turns=None,
):  # fmt: skip
    needs = needs or (lambda messages: messages[0]["role"] != "system")
    if needs(messages) and system is not None:
        messages = [{"role": "system", "content": system}, *messages]
    if chosen:
        messages = chosen(messages)
    if turns:
        messages = turns(messages)
    parts = [
        f"<|im_start|>{role(m['role'])}{after_role}{clean(m['content'])}{end}{gap}"
        for m in messages
    ]
    text = "".join(parts)
    if not last_end:
        text = text.removesuffix(f"{end}{gap}") + gap
    return text + (opened(messages) if callable(opened) else opened)


chat.mistake(
    "Where no system message is given, there is none.",
    hint="How was the model trained to begin? Read the task once more.",
    system=None,
)
chat.mistake(
    "The usual system message is always written, even before one that is given.",
    hint="Look at the role of the first message before you add one.",
    needs=lambda messages: True,
)
chat.mistake(
    "The usual system message stands in the place of the one that is given.",
    hint="Whoever gives a system message wants another than the usual one.",
    needs=lambda messages: True,
    chosen=lambda messages: [
        messages[0],
        *messages[2 if messages[1]["role"] == "system" else 1 :],
    ],
)
chat.mistake(
    "A system message anywhere counts: with one later on, none is written at the "
    "beginning.",
    hint="Only the first message matters to whether one is added.",
    needs=lambda messages: all(m["role"] != "system" for m in messages),
)
chat.mistake(
    "The assistant's turn is not opened at the end.",
    hint="What should the model continue? Without a last line of its own it may write "
    "another question.",
    seen="instructlab/training#232",
    opened="",
)
chat.mistake(
    "The assistant's turn is opened only where the last message is not the "
    "assistant's.",
    hint="At the end it is always opened.",
    opened=lambda messages: (
        "" if messages[-1]["role"] == "assistant" else "<|im_start|>assistant\n"
    ),
)
chat.mistake(
    "The assistant's turn is opened and closed again.",
    hint="After <|im_end|> the model has nothing left to say.",
    opened="<|im_start|>assistant\n<|im_end|>\n",
)
chat.mistake(
    "The last line break is missing, after the word assistant.",
    hint="In training a line break always stood between the role and what was said.",
    opened="<|im_start|>assistant",
)
chat.mistake(
    "The line break after the role is missing.",
    hint="A message begins on the line after its role.",
    after_role="",
)
chat.mistake(
    "A space stands after the role, and no line break.",
    hint="A message begins on the line after its role.",
    after_role=" ",
)
chat.mistake(
    "The line break after <|im_end|> is missing.",
    hint="Every message ends with <|im_end|> and a line break.",
    gap="",
)
chat.mistake(
    "An empty line stands between the messages.",
    hint="One line break is enough: does the last character of a message come twice?",
    gap="\n\n",
)
chat.mistake(
    "There is no <|im_end|> at all.",
    hint="By what does the model know that a message is over?",
    end="",
)
chat.mistake(
    "The last message is not closed: its <|im_end|> is missing.",
    hint="What is said is over, even where it is the last thing that was said.",
    last_end=False,
)
chat.mistake(
    "What is said has lost the spaces and line breaks around it.",
    hint="The content stays as it is: strip takes something away.",
    clean=str.strip,
)
chat.mistake(
    "Every message is the user's.",
    hint="The role of a message stands in the message.",
    role=lambda role: "user",
)
chat.mistake(
    "Roles are written with a capital letter.",
    hint="To the model User and user are two words.",
    role=str.title,
)
chat.mistake(
    "Only the system message and the last message are there.",
    hint="The model remembers nothing from call to call: each prompt tells it all.",
    turns=lambda messages: messages[:1] + messages[1:][-1:],
)
chat.mistake(
    "The messages come in the opposite order.",
    hint="What was said first stands first.",
    turns=lambda messages: messages[::-1],
)


@chat.mistake(
    "<|endoftext|> stands before everything.",
    hint="This model's conversations begin with <|im_start|>, and with nothing else.",
)
def after_a_text(messages):
    return f"<|endoftext|>{language_model.chat_prompt(messages)}"


@chat.mistake(
    "It is a list of texts, and not one text.",
    hint='"".join(parts) makes one of them.',
)
def as_list(messages):
    return language_model.chat_prompt(messages).splitlines(keepends=True)


@chat.variant
def piece_by_piece(messages):
    text = ""
    if messages[0]["role"] != "system":
        text += f"<|im_start|>system\n{USUAL}<|im_end|>\n"
    for message in messages:
        text += "<|im_start|>" + message["role"] + "\n"
        text += message["content"] + "<|im_end|>" + "\n"
    text += "<|im_start|>assistant\n"
    return text


@chat.variant
def by_percent(messages):
    turn = "<|im_start|>%(role)s\n%(content)s<|im_end|>\n"
    usual = [] if messages[0]["role"] == "system" else [("system", USUAL)]
    said = usual + [(m["role"], m["content"]) for m in messages]
    turns = [turn % {"role": role, "content": content} for role, content in said]
    return "".join([*turns, "<|im_start|>assistant\n"])


@chat.variant
def lines_joined(messages):
    lines = []
    given = messages[0]["role"] == "system"
    usual = [] if given else [{"role": "system", "content": USUAL}]
    for message in [*usual, *messages]:
        lines.append("<|im_start|>" + message["role"])
        lines.append(message["content"] + "<|im_end|>")
    return "\n".join([*lines, "<|im_start|>assistant", ""])


@chat.variant
def by_format_map(messages):
    template = "<|im_start|>{role}\n{content}<|im_end|>\n"
    text = "".join(template.format_map(message) for message in messages)
    if not text.startswith("<|im_start|>system"):
        text = template.format(role="system", content=USUAL) + text
    return f"{text}<|im_start|>assistant\n"
