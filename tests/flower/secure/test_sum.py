"""Secure sums over a grid: what comes out, who may leave and when, what is refused, and what the server can see."""

import contextlib
import itertools

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.common.serde import recorddict_to_proto
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from fedsonar.flower.secure import Layout, SecureSum, SumError, answer, masks
from fedsonar.flower.secure.client import MASKED, RECORD, add_mask, own_mask
from keeping_grid import KeepingGrid

pytestmark = pytest.mark.usefixtures("identity")
STAGES = ["keys", "shares", "input", "unmask"]
TYPE = "query.sum"


def node(tables):
    return lambda message, context: answer(message, context, lambda: tables)


def some(clients, length=6, seed=0):
    draw = np.random.default_rng(seed)
    return [
        {"counts": draw.integers(0, 1000, length, np.int32), "x": draw.uniform(-1, 1, (2, 2))} for _ in range(clients)
    ]


def grid_of(tables, tamper=lambda node, message, reply: reply):
    return KeepingGrid({100 + i: (i, node(table)) for i, table in enumerate(tables)}, tamper)


def summed(grid, tables, room=None, **options):
    layout = Layout.of(tables[0], room or len(tables), bound=2**20)
    return SecureSum(grid=grid, message_type=TYPE, timeout=0.5, **options)(list(grid.nodes), layout)


def plain(tables, without=()):
    return sum(table["counts"] for i, table in enumerate(tables) if i not in without).tolist()


def stage_of(message):
    return message.content[RECORD]["stage"]


def changed(victim, stage, change):
    """A grid's tampering: node 100 + victim's reply in a stage is what `change` makes of it."""
    return lambda node, message, reply: (
        change(message, reply) if (node, stage_of(message)) == (100 + victim, stage) else reply
    )


def gone(message, reply):
    return None


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(3, 7), st.integers(0, 99), st.data())
def test_the_sum_is_that_of_the_clients_whose_tables_came(identity, clients, seed, data):
    tables = some(clients, seed=seed)
    most = clients - (2 * clients // 3 + 1)
    leaves = data.draw(st.dictionaries(st.integers(0, clients - 1), st.sampled_from(STAGES), max_size=max(0, most)))
    grid = grid_of(tables, lambda node, m, r: None if leaves.get(node - 100) == stage_of(m) else r)
    # A client that is lost in one stage is asked no more.
    found = summed(grid, tables)
    without = {client for client, stage in leaves.items() if stage != "unmask"}
    assert found.tables["counts"].tolist() == plain(tables, without)
    expected = sum(table["x"] for i, table in enumerate(tables) if i not in without)
    assert np.abs(found.tables["x"] - expected).max() <= clients / 2**21 + 1e-12
    assert found.nodes == [100 + i for i in range(clients) if i not in without]
    assert {node: why.partition(":")[0] for node, why in found.lost.items()} == {
        100 + client: stage for client, stage in leaves.items()
    }


@pytest.mark.parametrize("stage", STAGES)
def test_too_few_that_stay_end_the_sum_by_name(stage):
    tables = some(5)
    grid = grid_of(tables, lambda node, m, r: None if node < 102 and stage_of(m) == stage else r)
    with pytest.raises(SumError, match=f"no secure sum of tables: 3 clients stayed after stage {stage}, and it takes 4"
                       ".*node 100, .*no reply within 0.5 s; node 101"):  # fmt: skip
        summed(grid, tables)


def test_two_clients_have_no_secure_sum():
    tables = some(2)
    with pytest.raises(SumError, match="2 clients stayed after stage keys, and it takes 3"):
        summed(grid_of(tables), tables)


def config(**changes):
    return lambda message, reply: Message(
        RecordDict({**reply.content, RECORD: ConfigRecord({**reply.content[RECORD], **changes})}), reply_to=message
    )


def vector(make):
    return lambda message, reply: Message(
        RecordDict(
            {RECORD: ConfigRecord({}), MASKED: ArrayRecord({"sum": make(reply.content[MASKED]["sum"].numpy())})}
        ),
        reply_to=message,
    )


@pytest.mark.parametrize(
    ("stage", "change", "said"),
    [
        ("keys", config(keys=[b"x" * 32]), "keys is no list of 2"),
        ("keys", config(keys=[b"x" * 31, b"y" * 32]), "holds something else than 32 bytes"),
        ("keys", config(keys=[b"x" * 32, b"x" * 32]), "a public key that was given twice"),
        ("keys", config(keys="abc"), "keys is no list"),
        ("keys", config(keys=[1, 2]), "holds something else"),
        ("shares", config(sealed=[b"x" * masks.SEALED] * 3), "sealed is no list of 4"),
        ("shares", config(sealed=[b"x" * 10**6] * 4), "holds something else than"),
        ("shares", config(seal=b"x"), "no seal of 32 bytes"),
        ("input", vector(lambda v: Array(v[:-1])), "instead of uint32 of"),
        ("input", vector(lambda v: Array(v.astype(np.int64))), "int64 of shape"),
        ("input", vector(lambda v: Array("uint32", v.shape, "numpy.ndarray", b"x" * 10**6)), "1000000 bytes for"),
        ("input", vector(lambda v: Array("uint32", v.shape, "numpy.ndarray", b"x" * 40)), "cannot be read"),
        ("input", lambda m, r: Message(RecordDict({}), reply_to=m), "records [] instead of fedsonar.sum"),
        ("input", lambda m, r: Message(RecordDict({RECORD: ConfigRecord({})}), reply_to=m), "no masked vector"),
        ("unmask", config(own=[b"x" * 36]), "own is no list of 5"),
        ("unmask", config(own=[b"x" * 9] * 5), "holds something else than 0 or 36"),
        ("unmask", config(own=[b"x" * 36] * 5), ""),  # one client's wrong shares are left out
        ("unmask", config(own=[b""] * 5), ""),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_name_and_the_sum_goes_on(stage, change, said):
    tables = some(5)
    found = summed(grid_of(tables, changed(2, stage, change)), tables)
    assert found.tables["counts"].tolist() == plain(tables, {2} if stage != "unmask" else ())
    assert said in found.lost.get(102, "")
    assert bool(found.lost) == bool(said)


def test_a_vector_that_was_changed_on_its_way_is_seen_where_it_leaves_the_bound():
    tables = some(4)
    grid = grid_of(tables, changed(1, "input", vector(lambda v: Array(v + np.uint32(2**31)))))
    with pytest.raises(SumError, match="a client did not keep to it"):
        summed(grid, tables)


def test_a_vector_of_an_earlier_sum_does_not_pass_for_a_new_one():
    tables, old = some(4), []

    def replay(message, reply):
        old.append(reply.content)
        return Message(old[0], reply_to=message)

    grid = grid_of(tables, changed(1, "input", replay))
    assert summed(grid, tables).tables["counts"].tolist() == plain(tables)
    with pytest.raises(SumError, match="a client did not keep to it"):
        summed(grid, tables)


def test_a_reply_that_comes_twice_counts_once():
    tables = some(4)
    grid = grid_of(tables)
    once = grid.pull_messages
    grid.pull_messages = lambda ids: [r for reply in once(ids) for r in (reply, reply)]
    assert summed(grid, tables).tables["counts"].tolist() == plain(tables)


def test_a_reply_in_the_name_of_another_client_counts_for_the_client_that_was_asked():
    tables = some(4)

    def pretend(node, message, reply):
        reply.metadata.__dict__["_src_node_id"] = 101
        return reply

    assert summed(grid_of(tables, pretend), tables).tables["counts"].tolist() == plain(tables)


def test_a_client_whose_shares_fit_nothing_is_named():
    tables = some(4)
    lies = config(seal=b"y" * 32)
    with pytest.raises(SumError, match="the shares of node 101 do not give what it committed to"):
        summed(grid_of(tables, changed(1, "shares", lies)), tables)


def test_what_one_client_cannot_open_the_others_can():
    tables = some(5)

    def spoil(message, reply):
        sealed = list(reply.content[RECORD]["sealed"])
        return config(sealed=[b"z" * masks.SEALED, *sealed[1:]])(message, reply)

    assert summed(grid_of(tables, changed(3, "shares", spoil)), tables).tables["counts"].tolist() == plain(tables)


def test_a_client_that_cannot_make_its_tables_is_lost_and_says_why():
    tables = some(5)
    tables[4]["counts"] = tables[4]["counts"] + 2**21
    found = summed(grid_of(tables), tables)
    assert "it refused: table 'counts' holds a value beyond the agreed bound 1048576" in found.lost[104]
    assert found.tables["counts"].tolist() == plain(tables, {4})


def test_an_error_that_may_quote_rows_is_raised_and_not_told():
    def act(message, context):
        def tables():
            raise ValueError("row 3: 'a secret'")

        with pytest.raises(ValueError, match="a secret") if stage_of(message) == "input" else contextlib.nullcontext():
            return answer(message, context, tables)
        raise TimeoutError

    tables = some(5)
    grid = grid_of(tables)
    grid.nodes[101] = 1, act
    found = summed(grid, tables)
    assert found.lost == {101: "input: no reply within 0.5 s"}
    assert found.tables["counts"].tolist() == plain(tables, {1})


# ---- what a client refuses


class Talk:
    """One client, and all messages of a sum of five as it gets them from a server that keeps to the protocol."""

    def __init__(self):
        self.tables = some(5)
        grid = grid_of(self.tables)
        self.before = {}

        def tamper(node, message, reply):
            if node == 102:
                self.before[stage_of(message)] = grid.states_before
            return reply

        answer_plain = grid._answer

        def remember(message):
            grid.states_before = grid.states.get(102, b"")
            return answer_plain(message)

        grid.tamper, grid._answer = tamper, remember
        summed(grid, self.tables, room=8)
        self.grid = grid
        self.messages = {stage_of(m): m for m in grid.sent if m.metadata.dst_node_id == 102}

    def say(self, stage, change=lambda record: {}, state=None):
        """What the client says to a message that is changed, in the state that it has before that stage."""
        if state is None:
            self.grid.states[102] = self.before[stage]
        context = self.grid.context(102)
        record = dict(self.messages[stage].content[RECORD])
        record |= change(record)
        content = RecordDict({RECORD: ConfigRecord({k: v for k, v in record.items() if v is not None})})
        reply = answer(Message(content, dst_node_id=102, message_type=TYPE), context, lambda: self.tables[2])
        return dict(reply.content[RECORD]).get("refused", ""), dict(context.state[RECORD])


@pytest.mark.parametrize(
    ("stage", "change", "said"),
    [
        ("keys", lambda r: {"threshold": 2}, "threshold of 2 is too low"),
        ("keys", lambda r: {"threshold": None}, "cannot be read"),
        ("keys", lambda r: {"sum": b"short"}, "name of 16 bytes"),
        ("keys", lambda r: {"layout": "{}"}, "no layout"),
        ("keys", lambda r: {"stage": "open"}, "there is no stage 'open'"),
        ("shares", lambda r: {"letter_keys": r["letter_keys"][:-1]}, "one seat and two keys"),
        ("shares", lambda r: {"letter_keys": [b"x", *r["letter_keys"][1:]]}, "has not 32 bytes"),
        ("shares", lambda r: {"mask_keys": [r["mask_keys"][1], *r["mask_keys"][1:]]}, "same public key"),
        ("shares", lambda r: {"mask_keys": [*r["mask_keys"][:2], b"x" * 32, *r["mask_keys"][3:]]}, "other keys in"),
        ("shares", lambda r: {k: r[k][:3] for k in ("seats", "letter_keys", "mask_keys")}, "fewer than the threshold"),
        ("shares", lambda r: {"letter_keys": [bytes(32), *r["letter_keys"][1:]]}, "keeps no secret"),
        ("input", lambda r: {"peers": r["peers"][:2], "sealed": r["sealed"][:2]}, "fewer than the threshold"),
        ("input", lambda r: {"peers": [9, *r["peers"][1:]]}, "in the order of seats"),
        ("input", lambda r: {"sum": b"x" * 16}, "no keys for that sum"),
        ("unmask", lambda r: {"lost": [1]}, "both secrets of seat 1"),
        ("unmask", lambda r: {"arrived": [1, 2, 4, 5], "lost": [3]}, "of its own mask"),
        ("unmask", lambda r: {"arrived": [2, 3], "lost": [1, 4, 5]}, "fewer than the threshold"),
        ("unmask", lambda r: {"arrived": [2, 3, 4, 5]}, "every client that this one masked with"),
        ("unmask", lambda r: {"arrived": [1, 1, 2, 3, 4, 5]}, "every client that this one masked with"),
    ],
)  # fmt: skip
def test_a_client_refuses_a_server_that_asks_for_too_much_and_forgets_its_keys(stage, change, said):
    refused, kept = Talk().say(stage, change)
    assert said in refused
    assert kept == {}


def test_a_threshold_of_half_is_refused_when_the_number_of_clients_is_known():
    talk = Talk()
    more = {"seats": [*range(1, 9)]}
    for name in ("letter_keys", "mask_keys"):
        more[name] = [*talk.messages["shares"].content[RECORD][name], *(bytes([i]) * 32 for i in range(3))]
    more["mask_keys"][5:] = [bytes([i]) * 32 for i in range(10, 13)]
    refused, _ = talk.say("shares", lambda r: more)
    assert "a threshold of 4 is too low for 8 clients" in refused
    more = {name: [*values, values[-1] + 1 if name == "seats" else b"x" * 32] for name, values in more.items()}
    more["mask_keys"][-1] = b"y" * 32
    refused, _ = talk.say("shares", lambda r: more)
    assert "more clients than the layout" in refused


@pytest.mark.parametrize("stage", STAGES[1:])
def test_no_stage_is_answered_twice(stage):
    talk = Talk()
    refused, kept = talk.say(stage)
    assert refused == ""
    talk.grid.states[102] = talk_state(kept)
    refused, kept = talk.say(stage, state="as it is")
    assert ("no keys for that sum" if stage == "unmask" else "every stage is answered once") in refused
    assert kept == {}


def talk_state(kept):
    return recorddict_to_proto(RecordDict({RECORD: ConfigRecord(kept)})).SerializeToString()


def test_keys_are_fresh_and_gone_after_the_sum():
    tables = some(4)
    grid = grid_of(tables)
    summed(grid, tables)
    assert all(dict(grid.context(node).state[RECORD]) == {} for node in grid.nodes)
    summed(grid, tables)
    keys = [key for m in grid.sent if stage_of(m) == "shares" for key in m.content[RECORD]["mask_keys"]]
    assert len(set(keys)) == 8  # 4 clients, 2 sums, each key told to 4


# ---- what the server sees


def masked(grid, node):
    [found] = [r for n, r in grid.replies if n == node and MASKED in r.content]
    return found.content[MASKED]["sum"].numpy()


def test_a_masked_vector_looks_uniform_whatever_is_in_it():
    tables = [{"counts": np.zeros(40_000, int)} for _ in range(3)]
    grid = grid_of(tables)
    assert not summed(grid, tables).tables["counts"].any()
    for sent in (masked(grid, 100), masked(grid, 101), masked(grid, 100) - masked(grid, 101)):
        for shift in (0, 8, 16, 24):
            assert stats.chisquare(np.bincount((sent >> shift) & 255, minlength=256)).pvalue > 1e-6


def test_one_coordinate_is_uniform_over_sums():
    tables = [{"counts": np.array([7], np.int32)} for _ in range(3)]
    draws = []
    for _ in range(50):
        grid = grid_of(tables)
        summed(grid, tables)
        draws.append(int(masked(grid, 100)[0]) / 2**32)
    assert stats.kstest(draws, "uniform").pvalue > 1e-6


def test_all_that_a_server_and_too_few_clients_know_fits_any_tables():
    """What the server and a colluding client can compute of two others is their sum, and no table of either.

    They take off every mask that they can: own masks of all, masks in common with the colluding client. What is left of
    each of the two is still uniform, and the two together are their sum.
    """
    tables = [{"counts": np.full(20_000, value, np.int32)} for value in (1, 2, 3)]
    grid = grid_of(tables)
    before = {}
    plain_answer = grid._answer

    def remember(message):
        if stage_of(message) == "unmask":
            node = message.metadata.dst_node_id
            before[node] = dict(grid.context(node).state[RECORD])
        return plain_answer(message)

    grid._answer = remember
    summed(grid, tables)
    colluding = before[102]
    name, layout = colluding["sum"], Layout.read(colluding["layout"])
    private = masks.private_key(colluding["mask_secret"], name)
    rest = {}
    for seat, node in ((1, 100), (2, 101)):
        seen = masked(grid, node) - own_mask(name, before[node]["own_secret"], layout)
        undone = np.zeros_like(seen)
        add_mask(undone, private, 3, seat, colluding["mask_keys"][seat - 1], name, layout)
        rest[seat] = seen + undone
        assert stats.chisquare(np.bincount(rest[seat] & 255, minlength=256)).pvalue > 1e-6
    assert set((rest[1] + rest[2]).tolist()) == {3}


def test_shares_below_the_threshold_give_nothing():
    secret = b"s" * 16
    shares = masks.split(secret, 4, 6)
    for few in itertools.combinations(shares, 3):
        with contextlib.suppress(ValueError):
            assert masks.combine(list(few)) != secret
    assert masks.combine(shares[2:]) == secret


def test_secrets_do_not_cross_the_wire_in_the_clear():
    tables = some(4)
    secrets = []

    def node_of(table):
        def act(message, context):
            reply = answer(message, context, lambda: table)
            kept = context.state[RECORD]
            secrets.extend(
                kept[name] for name in ("letters", "mask_secret", "own_secret", "own_shares") if name in kept
            )
            return reply

        return act

    grid = KeepingGrid({100 + i: (i, node_of(table)) for i, table in enumerate(tables)})
    summed(grid, tables)
    wire = b"".join(
        recorddict_to_proto(m.content).SerializeToString()
        for m in [*grid.sent, *(r for _, r in grid.replies)] if stage_of_any(m) != "unmask"
    )  # fmt: skip
    assert len(set(secrets)) == 16
    assert not any(secret in wire for secret in secrets)


def stage_of_any(message):
    record = message.content[RECORD]
    return "unmask" if "own" in record or "arrived" in record else ""


def test_bytes_are_counted_and_grow_with_the_vector_alone():
    sizes = {}
    for length in (10, 10_010):
        tables = some(4, length)
        found = summed(grid_of(tables), tables)
        sizes[length] = found.received[100]
        assert found.sent[100] < 3000
    assert 4 * 10_000 <= sizes[10_010] - sizes[10] < 4 * 10_000 + 50


def test_a_context_without_state_is_a_client_that_left():
    tables = some(5)
    grid = grid_of(tables)
    plain_answer = grid._answer

    def forgets(message):
        if message.metadata.dst_node_id == 101 and stage_of(message) == "input":
            grid.states.pop(101)
        return plain_answer(message)

    grid._answer = forgets
    found = summed(grid, tables)
    assert found.tables["counts"].tolist() == plain(tables, {1})
    assert "no keys for that sum" in found.lost[101]


def test_more_clients_than_the_layout_has_room_for_are_refused():
    tables = some(4)
    with pytest.raises(SumError, match="4 clients, and the layout has room for 3"):
        summed(grid_of(tables), tables, room=3)


@pytest.mark.parametrize(("options", "said"), [({"share": 0.4}, "from .5 to 1"), ({"fewest": 2}, "at least 3")])
def test_a_sum_that_protects_nobody_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        SecureSum(grid=grid_of([]), message_type=TYPE, **options)
