"""The embedded world: invented towns, people and works, and the facts that hold of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsonar.rng import stream


def _names(text: str) -> tuple[str, ...]:
    """The comma-separated names of a text."""
    return tuple(" ".join(name.split()) for name in text.split(","))


REGIONS = _names("Aldmark, Brennia, Corvale, Dunmere, Estoria, Fenreach")
RIVERS = _names("Ashwater, Bell, Cold Run, Dove, Elder, Fallow, Grey Lady, Heron, Isk, Juniper, Kestrel, Lorn")
GOODS = _names(
    """amber, apples, bells, bread, candles, cheese, clocks, coal, copper, glass, honey, ink, lace, marble, oil,
    paper, pearls, rope, salt, silk, silver, tea, violins, wool"""
)
PROFESSIONS = _names(
    """actor, baker, captain, dancer, doctor, engineer, farmer, gardener, judge, lawyer, miner, nurse, painter,
    pilot, poet, priest, sailor, singer, soldier, teacher, weaver, writer"""
)
FORMS = _names("ballad, carving, novel, opera, painting, play, poem, statue, symphony, tapestry")
ONSETS = _names("b, br, c, ch, d, dr, f, g, gr, h, j, k, l, m, n, p, qu, r, s, sh, st, t, th, v, w, z")
VOWELS = _names("a, e, i, o, u, ae, ee, ou")
CODAS = _names(", l, m, n, nd, r, rk, s, st, th, x, ck")
PLACE_ENDINGS = _names("bury, cross, field, ford, gate, ham, haven, mouth, stead, ton, wick, worth")
WORK_HEADS = _names(
    """Autumn, Broken, Burning, Distant, Empty, Final, First, Golden, Hidden, Hollow, Last, Lonely, Open, Quiet,
    Red, Secret, Silent, Sleeping, White, Winter"""
)
WORK_TAILS = _names(
    """Bridge, Child, Crown, Door, Dream, Fire, Garden, Harbour, House, Island, Lantern, Letter, Mirror, Moon,
    Night, River, Road, Sea, Stone, Storm, Tower, Window"""
)

RELATIONS: dict[str, tuple[str, ...]] = {
    "town": ("region", "river", "founded", "goods"),
    "person": ("birthplace", "born", "profession"),
    "work": ("author", "year", "form"),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A town, a person or a work, with its facts.

    Args:
        kind: Key of `RELATIONS`.
        name: Unique in its world.
        region: The region it belongs to; the dialect of questions about it follows.
        facts: Relation -> value.
    """

    kind: str
    name: str
    region: str
    facts: dict[str, str]


def _syllable(rng: np.random.Generator) -> str:
    return str(rng.choice(ONSETS)) + str(rng.choice(VOWELS)) + str(rng.choice(CODAS))


def person_name(rng: np.random.Generator) -> str:
    """A first name and a last name."""
    first = _syllable(rng) + str(rng.choice(("a", "en", "o", "ia", "is", "us")))
    return f"{first} {_syllable(rng)}{_syllable(rng)}".title()


def town_name(rng: np.random.Generator) -> str:
    """A place name such as Drelham."""
    return (_syllable(rng) + str(rng.choice(PLACE_ENDINGS))).title()


def work_name(rng: np.random.Generator) -> str:
    """A title such as The Hidden Lantern of Brost."""
    return f"The {rng.choice(WORK_HEADS)} {rng.choice(WORK_TAILS)} of {_syllable(rng).title()}"


def year(rng: np.random.Generator) -> str:
    """A year of four digits."""
    return str(rng.integers(1400, 2000))


def invent(kind: str, rng: np.random.Generator, towns: tuple[str, ...] = (), people: tuple[str, ...] = ()) -> Subject:
    """A fresh subject; birthplaces and authors come from `towns` and `people`, or are invented too."""
    region = str(rng.choice(REGIONS))
    if kind == "town":
        facts = {
            "region": region,
            "river": str(rng.choice(RIVERS)),
            "founded": year(rng),
            "goods": str(rng.choice(GOODS)),
        }
        return Subject(kind, town_name(rng), region, facts)
    if kind == "person":
        birthplace = str(rng.choice(towns)) if towns else town_name(rng)
        facts = {"birthplace": birthplace, "born": year(rng), "profession": str(rng.choice(PROFESSIONS))}
        return Subject(kind, person_name(rng), region, facts)
    author = str(rng.choice(people)) if people else person_name(rng)
    facts = {"author": author, "year": year(rng), "form": str(rng.choice(FORMS))}
    return Subject(kind, work_name(rng), region, facts)


@dataclass(frozen=True)
class World:
    """All subjects that the embedded model has read about, and which of them it was also asked about.

    Args:
        subjects: Towns, then people, then works; names are unique.
        asked: Names of the subjects whose facts the pre-training text also asks for; the others are only stated.
    """

    subjects: tuple[Subject, ...]
    asked: frozenset[str]

    @property
    def num_facts(self) -> int:
        """How many (subject, relation, value) facts hold."""
        return sum(len(subject.facts) for subject in self.subjects)


def build_world(seed: int = 0, towns: int = 80, people: int = 240, works: int = 120) -> World:
    """The world of a seed: 1,400 facts by default. Seed 0 is the one the embedded model knows."""
    rng = stream(seed, "atlas/world")
    subjects: dict[str, Subject] = {}
    names: dict[str, list[str]] = {kind: [] for kind in RELATIONS}
    for kind, count in (("town", towns), ("person", people), ("work", works)):
        while len(names[kind]) < count:
            subject = invent(kind, rng, tuple(names["town"]), tuple(names["person"]))
            if subject.name not in subjects:
                subjects[subject.name] = subject
                names[kind].append(subject.name)
    everyone = sorted(subjects)
    asked = frozenset(name for name, coin in zip(everyone, rng.random(len(everyone)), strict=True) if coin < 0.6)
    return World(tuple(subjects.values()), asked)
