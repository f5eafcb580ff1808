import warnings
from dataclasses import dataclass

import pytest

from fedsonar.data.formats import numbered
from fedsonar.data.rows import RawSplits, RowSource


@dataclass(frozen=True, kw_only=True)
class Given(RowSource):
    train: tuple = ()
    test: tuple | None = None

    def read(self):
        return RawSplits("given", numbered(self.train, "given"), self.test and numbered(self.test, "held out"))


def row(answers=("yes",), **values):
    return {"instruction": "Is it?", "answers": list(answers), **values}


def test_own_ids_are_kept_as_text():
    splits = Given(train=(row(id=7), row(id="b")), test=(row(id="c"),)).load()
    assert [sample.id for sample in splits.train] == ["7", "b"]
    assert [sample.id for sample in splits.test] == ["c"]


@pytest.mark.parametrize(
    ("first", "second", "held_out"),
    [
        ("a", "a", "b"),
        ("a", "b", "a"),
        (1, "1", "b"),
        ("a", None, "b"),
        ("a", "", "b"),
        ("a", ["b"], "c"),
        ("a", "b", 1.5),
    ],
)
def test_ids_that_are_not_unique_over_both_splits_are_replaced(first, second, held_out):
    splits = Given(train=(row(id=first), row(id=second)), test=(row(id=held_out),)).load()
    assert [sample.id for sample in splits.train] == ["train-0", "train-1"]
    assert [sample.id for sample in splits.test] == ["test-0"]


def test_source_field():
    train = (row(client=3), row(client="north "))
    splits = Given(train=train, test=(row(),), source_field="client").load()
    assert [sample.source for sample in splits.train] == ["3", "north"]
    assert splits.test[0].source == ""
    assert Given(train=train, test=(row(),)).load().train[0].source == ""


@pytest.mark.parametrize("bad", [row(), row(client=None), row(client=" ")])
def test_training_row_without_source(bad):
    said = (
        r"^given row 2: no value in column 'client' \(instruction, .*\); source_field needs one in every training row$"
    )
    with pytest.raises(ValueError, match=said):
        Given(train=(row(client=1), bad), test=(row(),), source_field="client").load()


def test_first_answer_stays_first():
    (sample,) = Given(train=(row(["long one", "b"]),), test=(row(),)).load().train
    assert sample.answers == ("long one", "b")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["long one", "cc", "bb", "eee"], ("cc", "long one", "bb", "eee")),
        (["🚁", "Helicopter", "Copter"], ("Copter", "🚁", "Helicopter")),
        (["!!", "?"], ("?", "!!")),
    ],
)
def test_shortest_answer_first_and_the_others_in_order(answers, expected):
    (sample,) = Given(train=(row(answers),), test=(row(),), answer="shortest").load().train
    assert sample.answers == expected


def test_instruction_fills_empty_ones_only():
    train = ({"question": "Q", "answers": ["a"]}, {"instruction": "I", "question": "Q", "answers": ["a"]})
    splits = Given(train=train, test=(row(),), instruction="Answer.").load()
    assert [sample.instruction for sample in splits.train] == ["Answer.", "I"]


def test_schema_is_detected_for_each_split_and_can_be_set():
    train = ({"instruction": "I", "output": "o", "response": "r"},)
    test = ({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},)
    with pytest.raises(ValueError, match=r"^given row 1: columns instruction, output, response fit several schemas"):
        Given(train=train, test=test).load()
    assert Given(train=train, test=train, schema="dolly").load().train[0].answers == ("r",)
    splits = Given(train=(row(),), test=test).load()
    assert (splits.test[0].question, splits.test[0].answers) == ("Q", ("A",))


def test_a_later_row_that_does_not_fit():
    with pytest.raises(ValueError, match=r"^held out row 2: no 'answers' column"):
        Given(train=(row(),), test=(row(), {"instruction": "I"})).load()


def test_unanswered_rows_are_counted():
    train = (row(), row([]), row([" "]))
    with pytest.raises(
        ValueError, match=r"^given row 2: no answer, as in 2 of 3 rows; remove them or set drop_unanswered = true$"
    ):
        Given(train=train, test=(row(),)).load()


def test_unanswered_rows_are_dropped_with_a_warning_and_ids_do_not_shift():
    source = Given(train=(row(), row([]), row(["no"])), test=(row(),), drop_unanswered=True)
    with pytest.warns(UserWarning, match="^1 of 3 rows dropped, the first at given row 2: no answer$"):
        splits = source.load()
    assert [(sample.id, sample.answers) for sample in splits.train] == [("train-0", ("yes",)), ("train-2", ("no",))]


def test_no_warning_when_nothing_is_dropped():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(Given(train=(row(),), test=(row(),), drop_unanswered=True).load().train) == 1


def test_no_row_is_answered():
    with pytest.raises(ValueError, match=r"^given row 1: no answer, nor has any other of 2 rows"):
        Given(train=(row([]), row([])), test=(row(),), drop_unanswered=True).load()


def test_row_that_asks_nothing():
    with pytest.raises(ValueError, match=r"^given row 1: nothing is asked"):
        Given(train=({"question": "", "answers": ["a"]},), test=(row(),)).load()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schema": "csv"}, "schema='csv' is unknown; use one of auto, native, alpaca, dolly, sharegpt, chat, squad"),
        ({"answer": "last"}, "answer='last' is unknown; use one of first, shortest, all"),
        ({"limit": 0}, "limit=0 leaves no rows"),
        ({"test_limit": -1}, "test_limit=-1 leaves no rows"),
        ({"test_fraction": 0.0}, "test_fraction=0.0 must lie between 0 and 1"),
        ({"test_fraction": 1.0}, "test_fraction=1.0 must lie between 0 and 1"),
        ({"test_fraction": float("nan")}, "test_fraction=nan must lie between 0 and 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Given(**arguments)


def test_all_answers_are_the_training_response_and_each_still_counts():
    splits = Given(train=(row(["a b", "c"]), row(["d"])), test=(row(["e", "f"]),), answer="all").load()
    assert [sample.answers for sample in splits.train] == [("a b; c", "a b", "c"), ("d",)]
    assert splits.test[0].answers == ("e", "f")


def chat(*roles):
    return {"messages": [{"role": role, "content": role} for role in roles]}


def test_earlier_answers_of_conversations_are_counted_in_one_warning():
    train = (chat("user", "assistant"), chat(*["user", "assistant"] * 2), chat(*["user", "assistant"] * 3))
    said = "^2 of 3 rows have earlier answers, the first at given row 2: they are read as context only, the last answer"
    with pytest.warns(UserWarning, match=said) as caught:
        Given(train=train, test=train).load()
    with pytest.warns(UserWarning, match=said):
        Given(train=train).rows()
    assert len(caught) == 1


def test_raw_rows_are_found_by_the_ids_of_samples():
    source = Given(train=(row(), row([]), row(["no"])), drop_unanswered=True)
    raw = source.read()
    with pytest.warns(UserWarning, match="dropped"):
        samples = source.rows(raw)
    assert [raw.by_id()[sample.id].number for sample in samples] == [1, 3]
