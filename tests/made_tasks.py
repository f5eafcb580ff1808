"""Tasks whose answers follow from single words of the input, made up."""

import json

import numpy as np

from fedsonar.data import InstructionDataset, Sample


def sentences(count, seed=0, low=6, high=14):
    """Sentences of a language of 600 words, some of them oftener than others, as lists of numbers."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(8, 608)
    chance /= chance.sum()
    return [rng.choice(600, int(rng.integers(low, high)), p=chance) for _ in range(count)]


def text(kind, count, *drawn):
    """Such sentences, each word of which begins alike."""
    return [" ".join(f"{kind}{word}" for word in words) for words in sentences(count, *drawn)]


def translated(count=2500):
    """Sentences and what they are in another language, which has two words for one thing now and then."""
    rng, rows = np.random.default_rng(1), []
    for i, words in enumerate(sentences(count)):
        said = " ".join(f"{'zu' if rng.random() < 0.05 else 'la'}{word}" for word in words)
        rows.append(Sample(f"t{i}", "Translate.", " ".join(f"en{word}" for word in words), "", (said,)))
    return InstructionDataset("translated", tuple(rows))


def booked(count=2500):
    """Messages, and what they say of time and number as JSON; what tells these is said of other things too."""
    rng, rows = np.random.default_rng(2), []
    for i, words in enumerate(sentences(count, seed=3)):
        values = {"time": f"{rng.integers(1, 13)}:{rng.integers(10, 60)}", "people": str(rng.integers(2, 12))}
        slots = {name: value for name, value in values.items() if rng.random() < 0.6}
        text = [f"en{word}" for word in words]
        for name, value in slots.items():
            text += [str(rng.choice(["at", "around", "by"] if name == "time" else ["for", "party of", "us"])), value]
        text += list(rng.choice(["at", "around", "by", "for", "party of", "us"], int(rng.integers(0, 3))))
        rows.append(Sample(f"b{i}", "List the booking.", " ".join(text), "", (json.dumps(slots),)))
    return InstructionDataset("booked", tuple(rows))


def intended(count=2500, intents=40, about=60):
    """Messages that speak of one of many things, each with words of its own, and the name of that thing."""
    rng, rows = np.random.default_rng(4), []
    chance = 1 / np.arange(2, about + 2)
    for i, words in enumerate(sentences(count, seed=5, low=3, high=7)):
        intent = int(rng.integers(intents))
        topic = rng.choice(about, 5, p=chance / chance.sum())
        text = " ".join([*(f"en{word}" for word in words), *(f"topic{intent}x{word}" for word in topic)])
        rows.append(Sample(f"i{i}", "What is it about?", text, "", (f"name{intent} thing{intent % 7}",)))
    return InstructionDataset("intended", tuple(rows))


def coded(count=2500):
    """Messages that speak of one of many things by its few words alone, and the name of that thing."""
    return intended(count, about=6)


def told(count=2000, labels=3, words=4, silent=0.0):
    """Messages of which each has one word that tells its label, or none, and then the last label."""
    rng, rows = np.random.default_rng(6), []
    for i, sentence in enumerate(sentences(count, seed=7, low=5, high=9)):
        text, label = [f"en{word}" for word in sentence], labels
        if rng.random() >= silent:
            label = int(rng.integers(labels))
            text.insert(int(rng.integers(len(text))), f"tells{label}x{rng.integers(words)}")
        rows.append(Sample(f"l{i}", "", " ".join(text), "", (f"label{label}",)))
    return InstructionDataset("told", tuple(rows))


def asked(count=2000, countries=400):
    """Facts that are asked for some times each, in a frame that leaves nothing else to say."""
    rng = np.random.default_rng(8)
    rows = ((i, int(country)) for i, country in enumerate(rng.integers(countries, size=count)))
    return InstructionDataset(
        "asked",
        tuple(Sample(f"a{i}", "", "", f"What is the capital of land{c}?", (f"town{c * 37 % 401}",)) for i, c in rows),
    )


def questioned(count=2000):
    """One question of many texts, and three of their words."""
    rows = []
    for i, words in enumerate(sentences(count, seed=3, low=8, high=20)):
        text = [f"en{word}" for word in words]
        rows.append(Sample(f"q{i}", "", " ".join(text), "What does the text say?", (" ".join(text[2:5]),)))
    return InstructionDataset("questioned", tuple(rows))
