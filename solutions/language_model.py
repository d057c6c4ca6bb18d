"""What stands around a real language model: its pieces of words, its prompt."""

import itertools


def merge_pairs(symbols: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Merge neighbours until no pair of them has a rank (byte-pair encoding).

    Each time the pair with the lowest rank is merged, at every place where it stands,
    from left to right; a symbol takes part in one merge at a time.

    Shapes:
        symbols: the characters of a word
        ranks: of a pair of symbols, when it was learned
        returns: the word's pieces; joined they are the word

    Source: Sennrich et al. 2016, section 3.2.
    """
    while True:
        pairs = [pair for pair in itertools.pairwise(symbols) if pair in ranks]
        if not pairs:
            return symbols
        first, second = min(pairs, key=ranks.__getitem__)
        merged: list[str] = []
        i = 0
        while i < len(symbols):
            if symbols[i : i + 2] == [first, second]:
                merged.append(first + second)
                i += 2
            else:
                merged.append(symbols[i])
                i += 1
        symbols = merged


def chat_prompt(messages: list[dict[str, str]]) -> str:
    """Write a conversation as this model was trained to read it, and ask for more.

    Each message is <|im_start|>, its role, a line break, its content, <|im_end|> and a
    line break. A conversation that does not begin with a system message gets the one
    that the model was trained with. At the end the assistant's turn is opened.

    Shapes:
        messages: dicts with "role" (system, user or assistant) and "content"
        returns: one text

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
