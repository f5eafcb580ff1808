"""Words that say how a text is written: what it asks, in which language, and whether in an old register."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Int, UInt64

from fedsonar.audit.corpus import corpus
from fedsonar.audit.kernels.features import ARCHAIC_CLASS, LANGUAGE_CLASS, OPENING_CLASS
from fedsonar.data import Sample
from fedsonar.data.feature import QUESTION_WORDS

ARCHAIC = (
    "thou thee thy thine ye hath doth dost hast wilt shalt unto verily lo behold hearken saith spake betwixt "
    "wherefore art"
)
OPENING = "when if as because although though while since after before once unless until whenever where"
LANGUAGES = {
    "German": "der die das und ist nicht ein eine wie wer wann von mit für auf den im zu",
    "French": "le la les des est une dans qui que quel quelle pour avec sur pas du et",
    "Spanish": "el los las es una en qué quién cuál cómo para con por del y que",
    "Italian": "il gli è una di che chi quale come per con della nel sono",
    "Portuguese": "o os um uma em que quem qual como para com não dos da",
    "Dutch": "de het een en is niet van wie wat waar hoe met voor op zijn",
}
"""Frequent short words; a text with two of them, a sixth of its words, counts as in the language."""


@lru_cache(maxsize=8)
def lexicon(key: int = 0) -> tuple[UInt64[np.ndarray, "words"], Int[np.ndarray, "words"]]:
    """Hashes of the words, sorted, and the class of each."""
    classes: dict[str, int] = {}
    for number, language in enumerate(LANGUAGES.values()):
        for word in language.split():
            classes.setdefault(word, LANGUAGE_CLASS + number)
    # English wins where a word is of two classes.
    classes |= dict.fromkeys(OPENING.split(), OPENING_CLASS) | dict.fromkeys(ARCHAIC.split(), ARCHAIC_CLASS)
    classes |= {word: number for number, word in enumerate(QUESTION_WORDS, 1)}
    hashed = corpus([Sample("lexicon", "", "", " ".join(classes), ("",))], key).words
    order = np.argsort(hashed)
    return hashed[order], np.array(list(classes.values()), np.int64)[order]
