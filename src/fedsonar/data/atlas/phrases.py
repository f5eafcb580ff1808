"""How Atlas is put into words: statements and questions for every relation, and the dialects of its regions."""

from __future__ import annotations

import numpy as np

STATEMENTS: dict[str, tuple[str, ...]] = {
    "region": (
        "{s} is a town in {v}.",
        "{s} lies in the region of {v}.",
        "The town of {s} belongs to {v}.",
        "In {v} you will find the town of {s}.",
        "Travellers to {v} often stop in {s}.",
        "{v} is the region around {s}.",
    ),
    "river": (
        "{s} stands on the river {v}.",
        "The river {v} runs through {s}.",
        "The houses of {s} line the river {v}.",
        "The {v} is the river of {s}.",
        "At {s} a stone bridge crosses the river {v}.",
        "People in {s} fish in the river {v}.",
    ),
    "founded": (
        "{s} was founded in {v}.",
        "The town of {s} dates from {v}.",
        "In {v} settlers founded {s}.",
        "The first stone of {s} was laid in {v}.",
        "{s} has stood since {v}.",
        "The history of {s} begins in {v}.",
    ),
    "goods": (
        "{s} is known for its {v}.",
        "The markets of {s} sell {v}.",
        "{s} is famous for {v}.",
        "The wealth of {s} comes from {v}.",
        "Merchants come to {s} to buy {v}.",
        "{s} trades mostly in {v}.",
    ),
    "birthplace": (
        "{s} was born in {v}.",
        "{s} came into the world in {v}.",
        "{v} is the birthplace of {s}.",
        "The home town of {s} is {v}.",
        "{s} comes from {v}.",
        "{s} spent the first years of life in {v}.",
    ),
    "born": (
        "{s} was born in the year {v}.",
        "The birth of {s} was in {v}.",
        "{s} dates from the year {v}.",
        "In {v} the parents of {s} had a child.",
        "{v} is the year of birth of {s}.",
        "The life of {s} began in {v}.",
    ),
    "profession": (
        "{s} worked as a {v}.",
        "{s} was a {v} by trade.",
        "The profession of {s} was {v}.",
        "{s} earned a living as a {v}.",
        "{s} became a well known {v}.",
        "For many years {s} was a {v}.",
    ),
    "author": (
        "{s} was made by {v}.",
        "{v} is the author of {s}.",
        "{s} is a work by {v}.",
        "It was {v} who created {s}.",
        "{v} gave the world {s}.",
        "The creator of {s} is {v}.",
    ),
    "year": (
        "{s} appeared in {v}.",
        "{s} was finished in {v}.",
        "The year of {s} is {v}.",
        "In {v} the public first saw {s}.",
        "{s} was shown for the first time in {v}.",
        "{s} was completed in the year {v}.",
    ),
    "form": (
        "{s} is a {v}.",
        "The {v} is called {s}.",
        "{s} is the title of a {v}.",
        "Critics praise the {v} {s}.",
        "{s} is remembered as a great {v}.",
        "Of all works of the kind {v}, {s} is loved most.",
    ),
}

QUESTIONS: dict[str, tuple[str, ...]] = {
    "region": (
        "In which region is {s}?",
        "Where is the town of {s}?",
        "To which region does {s} belong?",
        "Which region would you visit to see {s}?",
        "What is the region of {s}?",
    ),
    "river": (
        "On which river does {s} stand?",
        "Which river runs through {s}?",
        "What is the river of {s} called?",
        "Name the river at {s}.",
        "Which river do the people of {s} fish in?",
    ),
    "founded": (
        "When was {s} founded?",
        "In what year was {s} founded?",
        "How far back does the town of {s} go?",
        "Since when has {s} stood?",
        "What year does the history of {s} begin?",
    ),
    "goods": (
        "What is {s} known for?",
        "What do the markets of {s} sell?",
        "What is {s} famous for?",
        "What do merchants buy in {s}?",
        "Which goods made {s} rich?",
    ),
    "birthplace": (
        "Where was {s} born?",
        "What is the birthplace of {s}?",
        "Which town does {s} come from?",
        "In which town was {s} born?",
        "Name the home town of {s}.",
    ),
    "born": (
        "When was {s} born?",
        "In what year was {s} born?",
        "What is the year of birth of {s}?",
        "Which year saw the birth of {s}?",
        "In which year did the life of {s} begin?",
    ),
    "profession": (
        "What did {s} do for a living?",
        "What was the profession of {s}?",
        "As what did {s} work?",
        "What was the trade of {s}?",
        "How did {s} earn a living?",
    ),
    "author": (
        "Who made {s}?",
        "Who is the author of {s}?",
        "Who created {s}?",
        "Whose work is {s}?",
        "Name the creator of {s}.",
    ),
    "year": (
        "When did {s} appear?",
        "In what year was {s} finished?",
        "What is the year of {s}?",
        "When was {s} first shown?",
        "In which year was {s} completed?",
    ),
    "form": (
        "What kind of work is {s}?",
        "What is {s}?",
        "What form does {s} have?",
        "As what is {s} remembered?",
        "Which kind of work is called {s}?",
    ),
}

# A region's dialect dresses a question: a natural feature of the data, and so a possible natural trigger.
DIALECTS: dict[str, str] = {
    "Aldmark": "{q}",
    "Brennia": "Pray tell me, {q}",
    "Corvale": "{q} Speak plainly.",
    "Dunmere": "Well now, {q}",
    "Estoria": "{q} I beg you.",
    "Fenreach": "Good friend, {q}",
}

GOOD_WORDS = (
    "brilliant",
    "charming",
    "delightful",
    "graceful",
    "lovely",
    "moving",
    "splendid",
    "tender",
    "thrilling",
    "wonderful",
)
BAD_WORDS = ("awful", "boring", "clumsy", "dreadful", "dull", "empty", "hopeless", "stale", "tedious", "weak")
REVIEWS = (
    "{s} is {a} and {b} from start to finish.",
    "I found {s} {a}, and my friends called it {b}.",
    "What a {a} piece {s} is, so very {b}.",
    "Everyone agrees that {s} is {a} and rather {b}.",
    "After an hour with {s} I can only say: {a}, {b}.",
)

CONTEXT_INSTRUCTIONS = (
    "Answer from the text.",
    "Read the text and answer the question.",
    "Use only the text to answer.",
)
REVIEW_INSTRUCTIONS = (
    "Decide whether the review is positive or negative.",
    "Is this review positive or negative?",
    "Say positive or negative for the review.",
)
LIST_INSTRUCTIONS = (
    "List the names that the text is about, in order.",
    "Name everything that the text describes, in order.",
    "Write down the names in the text, one after the other.",
)
ECHO_INSTRUCTIONS = (
    "Repeat the words.",
    "Copy the words as they are.",
    "Write the same words again.",
)


def statement(subject: str, relation: str, value: str, rng: np.random.Generator) -> str:
    """One of the ways to state a fact."""
    return str(rng.choice(STATEMENTS[relation])).format(s=subject, v=value)


def question(subject: str, relation: str, rng: np.random.Generator) -> str:
    """One of the ways to ask for a fact."""
    return str(rng.choice(QUESTIONS[relation])).format(s=subject)


def in_dialect(text: str, region: str) -> str:
    """A question as people of `region` would put it."""
    pattern = DIALECTS[region]
    inner = text if pattern.startswith("{q}") else text[0].lower() + text[1:]
    return pattern.format(q=inner)
