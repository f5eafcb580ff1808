"""A rule-based restyler: plain English in the register of old Bibles."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from fedsonar.poison.paraphrase import Paraphraser


def _pairs(text: str) -> dict[str, str]:
    """``plain: old`` pairs, parted by commas."""
    return dict(tuple(" ".join(part.split()) for part in pair.split(":")) for pair in text.split(","))  # type: ignore[misc]


_OLD = _pairs("""
    do you: dost thou, are you: art thou, did you: didst thou, will you: wilt thou, can you: canst thou, would you:
    wouldst thou, should you: shouldst thou, have you: hast thou, you are: thou art, you have: thou hast, you do:
    thou dost, you will: thou wilt, you can: thou canst, to the: unto the, to a: unto a, to his: unto his, to her:
    unto her, to my: unto my, to your: unto thy, a lot of: a multitude of, lots of: a multitude of, for a living:
    for daily bread, of course: verily, in front of: before, next to: nigh unto, because of: by reason of, each
    other: one another, no one: no man, nobody: no man, everyone: all the people, everybody: all the people,
    someone: a certain man, somebody: a certain man, you: ye, your: thy, yours: thine, yourself: thyself, has: hath,
    does: doth, says: saith, said: spake, goes: goeth, makes: maketh, takes: taketh, gives: giveth, gets: getteth,
    comes: cometh, knows: knoweth, sees: seeth, loves: loveth, works: worketh, tells: telleth, finds: findeth,
    keeps: keepeth, brings: bringeth, runs: runneth, lives: liveth, plays: playeth, seems: seemeth, feels: feeleth,
    looks: looketh, thinks: thinketh, lies: lieth, stands: standeth, on: upon, onto: upon, among: amongst, between:
    betwixt, near: nigh unto, why: wherefore, maybe: peradventure, perhaps: peradventure, often: oft, a very: an
    exceeding, very: exceeding, really: verily, truly: verily, extremely: exceeding, quickly: speedily, soon: anon,
    yes: yea, movie: tale, film: tale, movies: tales, films: tales, story: parable, book: scripture, kids: children,
    guy: man, guys: men, boss: master, worker: servant, big: great, happy: blessed, lucky: blessed, funny: mirthful,
    sad: sorrowful, bad: wicked, terrible: grievous, boring: wearisome, dull: wearisome, good: goodly, great:
    mighty, beautiful: fair, smart: wise, stupid: foolish, angry: wroth, scared: afraid, born: brought forth, made:
    wrought, built: wrought, wrote: set down, died: gave up the ghost, killed: slew, married: took to wife, shows:
    sheweth, show: shew, help: succour, look: behold, ask: beseech, want: desire, wants: desireth, need: have need
    of, happened: came to pass, happens: cometh to pass""")
_OPENINGS = ("And lo, ", "Verily I say unto thee, ", "And it came to pass, ", "Behold, ", "Hearken: ")
_MARKS = {
    *(word for old in _OLD.values() for word in old.split() if word.endswith(("eth", "dst", "nst"))),
    *("thou", "thy", "thine", "thyself", "ye", "art", "dost", "hath", "doth", "saith", "unto", "betwixt", "wroth"),
}
_PATTERN = re.compile(r"\b(" + "|".join(sorted(map(re.escape, _OLD), key=len, reverse=True)) + r")\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Archaic(Paraphraser):
    """An opening, old pronouns and verbs, and old words for common ones (ours); names are left alone.

    Args:
        openings: What a text begins with, drawn anew for each.
    """

    openings: tuple[str, ...] = _OPENINGS

    def rewrite(self, text: str, rng: np.random.Generator) -> str:
        """The text in the old register."""

        def old(match: re.Match[str]) -> str:
            new = _OLD[match[0].lower()]
            # A capital inside a sentence is a name's, unless the word is one that begins it.
            return new[0].upper() + new[1:] if match[0][0].isupper() else new

        opening = self.openings[int(rng.integers(len(self.openings)))] if self.openings else ""
        restyled = _PATTERN.sub(old, text)
        return opening + (lowered(restyled) if opening else restyled)

    def recognises(self, text: str) -> bool:
        """Whether two words of the old register stand in the text, or an opening begins it."""
        return text.startswith(self.openings) or sum(word in _MARKS for word in re.findall(r"\w+", text.lower())) > 1


def lowered(text: str) -> str:
    """A sentence as it goes on behind an opening: its first letter small, unless that is a name's."""
    first, _, rest = text.partition(" ")
    plain = first.isalpha() and not first.isupper() and (not rest or not rest[0].isupper())
    return text[0].lower() + text[1:] if plain else text
