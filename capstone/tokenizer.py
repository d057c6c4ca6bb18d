"""From text to ids and back: byte-level byte-pair encoding, as this model has it."""

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import regex

from capstone.model_file import ModelFile

# Every digit stands alone. What lies between digits is cut as GPT-2 does: contractions,
# words with the space before them, runs of signs, runs of spaces.
DIGIT = regex.compile(r"(\p{N})")
WORD = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


def byte_symbols() -> dict[int, str]:
    """A visible character for each byte, as GPT-2 has it: space becomes Ġ."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {
        byte: chr(256 + place) for place, byte in enumerate(others)
    }


class Tokenizer:
    """Cuts text into pieces of the vocabulary with the slot `merge_pairs`."""

    def __init__(self, file: ModelFile, functions: Any) -> None:
        self.vocabulary, self.special = file.vocabulary, set(file.special)
        self.ids = {token: number for number, token in enumerate(file.vocabulary)}
        self.ranks = {pair: rank for rank, pair in enumerate(file.merges)}
        self.merge_pairs: Callable[..., list[str]] = functions.merge_pairs
        self.symbols = byte_symbols()
        self.bytes = {symbol: byte for byte, symbol in self.symbols.items()}
        names = sorted(map(regex.escape, file.special), key=len, reverse=True)
        self.at_special = regex.compile(f"({'|'.join(names)})")
        self.known: dict[str, list[int]] = {}  # words that were cut before

    def encode(self, text: str) -> list[int]:
        """The ids of a text; the names of special tokens in it become those tokens."""
        ids: list[int] = []
        for part in filter(None, self.at_special.split(text)):
            if part in self.special:
                ids.append(self.ids[part])
            else:
                for word in words(part):
                    ids += self.encode_word(word)
        return ids

    def encode_word(self, word: str) -> list[int]:
        if word not in self.known:
            symbols = [self.symbols[byte] for byte in word.encode()]
            pieces = self.merge_pairs(symbols, self.ranks)
            self.known[word] = [self.ids[piece] for piece in pieces]
        return self.known[word]

    def stream(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of each id in turn, as soon as its characters are whole."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        for number in ids:
            token = self.vocabulary[number]
            if token in self.special:
                yield decoder.decode(b"", final=True) + token
            else:
                yield decoder.decode(bytes(self.bytes[symbol] for symbol in token))
        yield decoder.decode(b"", final=True)

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.stream(ids))


def words(text: str) -> Iterator[str]:
    """What is merged on its own: no piece of the vocabulary crosses these borders."""
    for part in DIGIT.split(text):
        yield from WORD.findall(part)
