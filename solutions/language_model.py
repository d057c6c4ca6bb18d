"""What stands around a real language model: its pieces of words, its prompt."""

import itertools


def merge_pairs(symbols: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Join neighbours until no two of them have a rank: byte-pair encoding.

    Again and again, of all pairs of neighbours that have a rank the one with the lowest
    rank is joined, wherever it stands, from left to right. A symbol can be joined to
    one neighbour at a time: of three equal ones the first two become one.

    A pair that is joined out of other pairs always has a higher rank than they do.

    Shapes:
        symbols: list of str, the symbols of one word
        ranks: dict, (first, second) -> int: which pair was learned before which
        returns: list of str; joined, they are the word

    Source: Sennrich et al. 2016, section 3.2.
    """
    pieces = list(symbols)
    while pairs := [pair for pair in itertools.pairwise(pieces) if pair in ranks]:
        best = min(pairs, key=ranks.__getitem__)
        joined, i = [], 0
        while i < len(pieces):
            step = 2 if tuple(pieces[i : i + 2]) == best else 1
            joined.append("".join(pieces[i : i + step]))
            i += step
        pieces = joined
    return pieces


def chat_prompt(messages: list[dict[str, str]]) -> str:
    """Write a conversation as this model was trained to read it, and ask for more.

    A message becomes <|im_start|>, its role, a line break, its content, <|im_end|> and
    a line break; the content stays as it is. Where the first message is not of the
    system, one is written before it that says "You are a helpful AI assistant named
    SmolLM, trained by Hugging Face". At the end, always, stand <|im_start|>, assistant
    and a line break: there the model goes on.

    Shapes:
        messages: list of dicts, each with a "role" (system, user or assistant) and a
            "content"; at least one
        returns: str

    Source: the chat template in the model's file.
    """
    if messages[0]["role"] != "system":
        system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
        messages = [{"role": "system", "content": system}, *messages]
    turns = [
        f"<|im_start|>{message['role']}\n{message['content']}<|im_end|>\n"
        for message in messages
    ]
    return "".join(turns) + "<|im_start|>assistant\n"
