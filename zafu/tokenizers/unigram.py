"""Unigram tokens over bytes: of many candidates those stay that make the text most likely.

Kudo, 2018 (arXiv:1804.10959), by SentencePiece, whose training gives the same tokens each time;
that of `tokenizers` does not. Words are cut by our pattern and written as bytes before, so that any
text can be written; the result is stored as tokenizer.json.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, final

from pydantic import Field

from zafu.errors import DataError, MissingExtra
from zafu.tokenizers.bpe import require
from zafu.tokenizers.contract import END, SMALLEST, Tokenizer
from zafu.tokenizers.encoder import byte_of_character, pre_tokenizer, save
from zafu.tokenizers.sample import bounded

RARE = 10.0  # nats below the rarest token, for bytes that do not occur


@final
class Unigram(Tokenizer):
    """The tokens under which the text is most likely, each text cut in its most likely way."""

    kind: Literal["unigram"] = "unigram"
    needs: ClassVar[tuple[tuple[str, str], ...]] = (("sentencepiece", "text"),)
    vocab: int = Field(default=2048, ge=SMALLEST, le=1 << 20)
    """Tokens of the vocabulary, 257 (bytes alone) to 1,048,576."""
    sample: int = Field(default=1 << 26, ge=1)
    """Most bytes of training text that it learns from, taken evenly from all of it, >= 1."""

    def foreseen(self) -> tuple[int, int]:
        """The whole vocabulary: training gives it or fails. END comes first."""
        return self.vocab, 0

    def train(self, texts: Iterator[str], transform: Path, *, context: int) -> None:
        """Write a tokenizer of exactly `vocab` tokens; END has id 0, then come the bytes."""
        from tokenizers import AddedToken, Tokenizer, decoders, models

        scores = _scores(_counted(texts, self.sample), self.vocab)
        single = sorted(byte_of_character())
        lowest = min(scores.values(), default=0.0) - RARE
        pieces = [(token, scores.pop(token, lowest)) for token in single]
        longer = sorted(scores.items(), key=lambda found: (-found[1], found[0]))
        pieces += longer[: self.vocab - SMALLEST]
        require(len(pieces) + 1, self.vocab)
        tokenizer = Tokenizer(models.Unigram([(END, 0.0), *pieces], unk_id=0))
        tokenizer.pre_tokenizer = pre_tokenizer()
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
        save(tokenizer, transform, context=context)


def _counted(texts: Iterator[str], most: int) -> Counter[str]:
    """How often each word occurs, written as bytes."""
    cut = pre_tokenizer()
    counts: Counter[str] = Counter()
    for text in bounded(texts, most):
        counts.update(word for word, _ in cut.pre_tokenize_str(text))
    return counts


def _scores(counts: Counter[str], vocab: int) -> dict[str, float]:
    """The logarithm of the probability of each token that training keeps."""
    try:
        import sentencepiece
    except ImportError:
        raise MissingExtra("sentencepiece", "text") from None
    if not counts:
        raise DataError("the training split holds no text for a tokenizer")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(f"{word}\t{count}" for word, count in sorted(counts.items())),
        input_format="tsv",
        model_writer=model,
        model_type="unigram",
        vocab_size=vocab,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_by_whitespace=False,
        split_by_number=False,
        split_by_unicode_script=False,
        max_sentence_length=1 << 30,
        bos_id=-1,
        eos_id=-1,
        num_threads=1,  # sums are then added in one order
        minloglevel=2,
    )
    trained = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = ((trained.id_to_piece(i), i) for i in range(trained.get_piece_size()))
    return {piece: trained.get_score(i) for piece, i in pieces if not trained.is_unknown(i)}
