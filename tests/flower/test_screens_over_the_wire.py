"""Screens over a grid: the same verdicts as in process, what crosses, and what is refused."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.serde import recorddict_to_proto

from fedsonar.data import Sample
from fedsonar.flower import tables
from fedsonar.flower.screen_client import RECORD, SUMMARY, VERDICT, ScreenClient, flagged, kept
from fedsonar.flower.screen_server import ScreenServer
from fedsonar.flower.secure import SumError
from fedsonar.flower.secure.client import MASKED
from fedsonar.flower.secure.client import RECORD as SUM
from fedsonar.screen import Above, Length, ResponseNgrams, Screen, Silo, Threshold, hear, judge
from keeping_grid import KeepingGrid

pytestmark = pytest.mark.usefixtures("identity")

NGRAMS = ResponseNgrams(n=2, buckets=512)


@dataclass(frozen=True, kw_only=True)
class Centres(Screen):
    """Two passes that do not add up: the median of means, then that of distances.

    References:
        none: a test's.
    """

    threshold: Threshold = field(default_factory=lambda: Above(value=2.0))
    text_alone: ClassVar[bool] = True
    passes: ClassVar[int] = 2

    def summarize(self, silo, heard):
        lengths = np.array([float(len(sample.answers[0])) for sample in silo.samples])
        return {"mean": np.array([lengths.mean()] if not heard else [np.abs(lengths - heard[0]["mean"][0]).mean()])}

    def merge(self, summaries, heard):
        return {"mean": np.array([np.median([one["mean"][0] for one in summaries])])}

    def suspicion(self, silo, heard):
        lengths = np.array([float(len(sample.answers[0])) for sample in silo.samples])
        return np.abs(lengths - heard[0]["mean"][0]) / max(heard[1]["mean"][0], 1e-9)


def silos(clients=5):
    return [
        Silo(c, [Sample(f"{c}-{i}", "", "", f"q{i}", (f"word{c}x{i} alone" if i else "click this bad link now",))
                 for i in range(12)])
        for c in range(clients)
    ]  # fmt: skip


def grid_of(screen, all_silos, tamper=lambda node, message, reply: reply, secure=True):
    def act(silo):
        return ScreenClient(screen=screen, silo=lambda context: silo, secure=secure).answer

    return KeepingGrid({100 + silo.client: (silo.client, act(silo)) for silo in all_silos}, tamper)


def server(grid, screen, **options):
    return ScreenServer(grid=grid, screen=screen, message_type="query.screen", timeout=0.5, **options)


@pytest.mark.parametrize(
    "screen", [NGRAMS, Centres(), Length(), ResponseNgrams(pooled=False)], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("secure", [True, False])
def test_verdicts_are_those_of_one_process(screen, secure):
    everyone = silos()
    grid = grid_of(screen, everyone, secure=secure)
    found = server(grid, screen, secure=secure)
    heard = found.hear(list(grid.nodes))
    expected = hear(screen, lambda heard: [screen.summarize(silo, heard) for silo in everyone])
    assert len(heard) == len(expected)
    for one, other in zip(heard, expected, strict=True):
        assert {name: table.tolist() for name, table in one.items()} == {n: t.tolist() for n, t in other.items()}
    left = found.judge(list(grid.nodes), heard)
    for silo in everyone:
        verdict = judge(screen, silo, expected)
        context = grid.context(100 + silo.client)
        assert flagged(context).tolist() == verdict.flagged.tolist()
        assert kept(context, silo.samples) == [
            s for s, out in zip(silo.samples, verdict.flagged, strict=True) if not out
        ]
        assert left[100 + silo.client] == int((~verdict.flagged).sum())
    assert found.lost == {}


def test_what_crosses_the_wire_for_pooled_counts():
    """Everything that leaves a client: keys, letters, a masked vector, shares, and how many rows are left."""
    everyone = silos()
    grid = grid_of(NGRAMS, everyone)
    found = server(grid, NGRAMS)
    left = found.judge(list(grid.nodes), found.hear(list(grid.nodes)))
    seen, sizes = set(), dict.fromkeys(grid.nodes, 0)
    for node, reply in grid.replies:
        sizes[node] += recorddict_to_proto(reply.content).ByteSize()
        for name, record in reply.content.items():
            seen |= {(name, key, type(value).__name__) for key, value in record.items()} or {(name,)}
    assert seen == {
        (SUM, "keys", "list"),  # two public keys
        (SUM, "sealed", "list"), (SUM, "seal", "bytes"),  # a letter for every other client; a hash
        (SUM,), (MASKED, "sum", "Array"),  # the counts under masks
        (SUM, "own", "list"), (SUM, "mask", "list"),  # shares of others' secrets
        (RECORD, "rows", "int"),  # rows that are left
    }  # fmt: skip
    assert sizes == found.received
    assert all(4 * 512 < size < 4 * 512 + 3000 for size in sizes.values())
    assert set(left.values()) == {11}
    assert {key for message in grid.sent for key in message.content} == {SUM, RECORD, "fedsonar.heard.1"}
    wire = b"".join(recorddict_to_proto(reply.content).SerializeToString() for _, reply in grid.replies)
    assert not any(word in wire for word in (b"click", b"alone", b"word"))


def test_verdicts_stay_at_the_client():
    grid = grid_of(Length(), silos())
    found = server(grid, Length())
    found.judge(list(grid.nodes), found.hear(list(grid.nodes)))
    assert all(VERDICT not in reply.content and VERDICT in grid.context(node).state for node, reply in grid.replies)


def test_an_additive_summary_is_given_into_a_secure_sum_alone():
    grid = grid_of(NGRAMS, silos())
    with pytest.raises(ValueError, match="0 clients gave ResponseNgrams a summary for pass 1, and it takes 3: "
                       "node 100, it refused: summaries of ResponseNgrams add up"):  # fmt: skip
        server(grid, NGRAMS, secure=False).hear(list(grid.nodes))


def test_a_server_that_listens_by_another_screen_is_refused():
    grid = grid_of(ResponseNgrams(n=3, buckets=512), silos())
    with pytest.raises(SumError, match="no secure sum of what ResponseNgrams hears in pass 1: 0 clients stayed after "
                       r"stage input, .*this client listens by ResponseNgrams\(n=3"):  # fmt: skip
        server(grid, NGRAMS).hear(list(grid.nodes))


def test_clients_that_leave_are_named_and_the_screen_hears_the_others():
    everyone = silos(6)
    grid = grid_of(NGRAMS, everyone, lambda node, message, reply: None if node == 103 else reply)
    found = server(grid, NGRAMS)
    [heard] = found.hear(list(grid.nodes))
    assert heard["rows"].tolist() == [60]
    assert found.lost == {103: "keys: no reply within 0.5 s"}
    assert set(found.judge(list(grid.nodes), [heard])) == {100, 101, 102, 104, 105}


def summary(make):
    def tamper(node, message, reply):
        if node != 101 or SUMMARY not in reply.content:
            return reply
        return Message(RecordDict(make(reply.content[SUMMARY])), reply_to=message)

    return tamper


def tables_of(**arrays):
    return lambda record: {SUMMARY: ArrayRecord(arrays)}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda record: {}, "no tables"),
        (lambda record: {SUMMARY: ConfigRecord({"mean": 1.0})}, "no tables"),
        (tables_of(mean=Array(np.array([np.nan]))), "table 'mean' holds nan or inf"),
        (tables_of(mean=Array(np.array([np.inf]))), "table 'mean' holds nan or inf"),
        (tables_of(mean=Array(np.array([1], np.int64))), "mean int64 (any), where most have mean float64 (any)"),
        (tables_of(mean=Array(np.ones((1, 2)))), "mean float64 (any, 2), where most have"),
        (tables_of(other=Array(np.ones(1))), "other float64 (any), where most have"),
        (tables_of(mean=Array("float64", (1,), "numpy.ndarray", b"x" * 10**5)), "100000 bytes for float64"),
        (tables_of(mean=Array("object", (1,), "numpy.ndarray", b"x")), "says it is object"),
        (tables_of(mean=Array("float64", (10**9, 10**9), "numpy.ndarray", b"x")), "1 bytes for float64"),
        (tables_of(mean=Array("float64", (1,), "numpy.ndarray", b"x" * 100)), "tables that cannot be read"),
        (lambda record: {SUMMARY: ArrayRecord({f"t{i}": Array(np.ones(1)) for i in range(65)})}, "more than 64 tables"),
    ],
)  # fmt: skip
def test_summaries_that_cannot_be_used_are_refused_by_name(make, said):
    everyone = silos()
    grid = grid_of(Centres(), everyone, summary(make))
    found = server(grid, Centres())
    heard = found.hear(list(grid.nodes))
    assert said in found.lost[101]
    others = [silo for silo in everyone if silo.client != 1]
    expected = hear(Centres(), lambda heard: [Centres().summarize(silo, heard) for silo in others])
    assert [one["mean"].tolist() for one in heard] == [one["mean"].tolist() for one in expected]


@pytest.mark.parametrize("rows", [-1, 1.5, "many", 2**40])
def test_a_number_of_rows_that_is_none_is_refused(rows):
    def tamper(node, message, reply):
        return Message(RecordDict({RECORD: ConfigRecord({"rows": rows})}), reply_to=message) if node == 102 else reply

    grid = grid_of(Length(), silos(), tamper)
    found = server(grid, Length())
    assert set(found.judge(list(grid.nodes), [])) == {100, 101, 103, 104}
    assert "instead of a number of rows" in found.lost[102]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"passes": 1}, "has 1 passes, and all were heard"),
        ({"ask": "verdict"}, "a verdict takes 1 passes, and 0 were heard"),
        ({"passes": 2}, "what was heard cannot be read"),
        ({"passes": "x"}, "what was heard cannot be read"),
        ({"screen": "Other()"}, "this client listens by ResponseNgrams"),
    ],
)
def test_a_client_refuses_questions_that_do_not_fit(question, said):
    grid = grid_of(NGRAMS, silos(1), secure=False)
    asked = {"ask": "summary", "screen": repr(NGRAMS), "passes": 0} | question
    content = RecordDict({RECORD: ConfigRecord(asked), "fedsonar.heard.1": tables.write({"counts": np.zeros(1)})})
    [reply] = grid.send_and_receive([Message(content, dst_node_id=100, message_type="query.screen")])
    assert said in reply.content[SUM]["refused"]


def test_a_sum_of_what_does_not_add_up_is_refused():
    from fedsonar.flower.secure import Layout, SecureSum

    grid = grid_of(Centres(), silos())
    question = RecordDict({RECORD: ConfigRecord({"ask": "summary", "screen": repr(Centres()), "passes": 0})})
    layout = Layout.of({"mean": np.zeros(1)}, 5)
    with pytest.raises(SumError, match="summaries of Centres do not add up"):
        SecureSum(grid=grid, message_type="query.screen", timeout=0.5)(list(grid.nodes), layout, question)


def test_rows_that_were_not_judged_are_not_trained_on():
    grid = grid_of(Length(), silos(1))
    with pytest.raises(ValueError, match="no verdict on this client's rows"):
        kept(grid.context(100), [1, 2])
    server(grid, Length()).judge([100], [])
    with pytest.raises(ValueError, match="2 rows, and 12 were judged"):
        kept(grid.context(100), [1, 2])


def test_a_screen_that_cannot_summarize_nothing_says_so():
    @dataclass(frozen=True, kw_only=True)
    class Means(Centres):
        additive: ClassVar[bool] = True

        def summarize(self, silo, heard):
            return {"x": np.stack([np.ones(2) for _ in silo.samples])}

    grid = grid_of(Means(), silos())
    with pytest.raises(ValueError, match=r"Means cannot say what a client without rows would send .*another `empty`"):
        server(grid, Means()).hear(list(grid.nodes))
