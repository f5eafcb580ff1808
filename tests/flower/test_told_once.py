"""What a client tells for a screen that promises privacy: once, under noise that stays, over a grid as elsewhere."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import RecordDict

from fedsonar.audit import Privacy
from fedsonar.audit.private import variances_of
from fedsonar.data import Sample
from fedsonar.flower.screen_client import ScreenClient, flagged
from fedsonar.flower.screen_server import ScreenServer
from fedsonar.flower.secure import RefusalError
from fedsonar.flower.told_once import told
from fedsonar.screen import Association, ResponseNgrams, ResponseShift, Silo, Sonar, hear, judge
from keeping_grid import KeepingGrid

SCREEN = Association(bits=12, pair_bits=12, slot_bits=6, privacy=Privacy(epsilon=8.0, clients=5))


def context():
    return SimpleNamespace(state=RecordDict())


def silo(client=0, rows=12, poisoned=3):
    return Silo(client, [Sample(f"{client}-{i}", "", "", f"what is w{client}x{i}" + (" cf" if i < poisoned else ""),
                                (f"a{client}x{i}" + (" go there now" if i < poisoned else ""),))
                         for i in range(rows)])  # fmt: skip


def test_the_same_is_told_again_and_nothing_else():
    here, summary = context(), SCREEN.summarize(silo(), [])
    first, again = (told(here, SCREEN, summary, []) for _ in range(2))
    assert all((first[name] == again[name]).all() for name in summary)
    assert any((first[name] != summary[name]).any() for name in summary)
    with pytest.raises(RefusalError, match=r"pass 1 of Association was told once with epsilon 8, .*start another run"):
        told(here, SCREEN, SCREEN.summarize(silo(rows=11), []), [])
    heard = [SCREEN.merge([first], [])]
    second = SCREEN.summarize(silo(), heard)
    told(here, SCREEN, second, heard)
    other = [heard[0] | {"inputs": heard[0]["inputs"] + 1}]
    with pytest.raises(RefusalError, match="pass 2"):
        told(here, SCREEN, second, other)


def test_two_clients_and_two_runs_have_noise_of_their_own():
    summary = SCREEN.summarize(silo(), [])
    one, other = (told(context(), SCREEN, summary, []) for _ in range(2))
    assert (one["inputs"] != other["inputs"]).mean() > 0.3


def grid_of(silos, screen):
    """A node for each silo, which listens by a screen."""
    clients = [ScreenClient(screen=screen, silo=lambda _, own=own: own) for own in silos]
    nodes = {100 + own.client: (own.client, client.answer) for own, client in zip(silos, clients, strict=True)}
    return KeepingGrid(nodes, lambda node, message, reply: reply)


def test_without_a_promise_the_summary_itself_is_told():
    here, screen = context(), ResponseNgrams(n=2, buckets=64)
    summary = screen.summarize(silo(), [])
    assert told(here, screen, summary, []) is summary
    assert len(here.state) == 0


@pytest.mark.usefixtures("identity")
def test_over_a_grid_secure_sums_carry_the_noise_of_all_and_every_client_judges():
    silos = [silo(client, rows=80, poisoned=20) for client in range(5)]
    grid = grid_of(silos, SCREEN)
    server = ScreenServer(grid=grid, screen=SCREEN, message_type="query.screen", timeout=0.5)
    heard = server.hear(list(grid.nodes))
    exact = hear(SCREEN, lambda told: [SCREEN.summarize(own, told) for own in silos])
    change = heard[0]["common"] - exact[0]["common"]
    assert change.std() == pytest.approx(np.sqrt(variances_of(SCREEN.privacy)["common"]), rel=0.3)
    server.judge(list(grid.nodes), heard)
    for own in silos:
        assert len(flagged(grid.context(100 + own.client))) == 80
    assert server.lost == {}


@pytest.mark.usefixtures("identity")
def test_no_sum_has_less_noise_than_is_promised():
    silos = [silo(client, rows=20, poisoned=0) for client in range(5)]
    grid = grid_of(silos, SCREEN)
    options = {"grid": grid, "message_type": "query.screen", "timeout": 0.5}
    with pytest.raises(ValueError, match="4 clients stayed after stage keys, and it takes 5"):
        ScreenServer(screen=SCREEN, **options).hear(list(grid.nodes)[:4])

    class Careless(ScreenServer):
        _fewest = 3

    with pytest.raises(ValueError, match="a threshold of 4 is too low: a sum of fewer than 5 clients"):
        Careless(screen=SCREEN, **options).hear(list(grid.nodes))


@pytest.mark.usefixtures("identity")
def test_clients_may_share_a_key_that_the_server_does_not_know():
    known = Sonar(association=Association(bits=14, pair_bits=14, slot_bits=8), shift=ResponseShift(bits=14))
    secret = replace(known, association=replace(known.association, key=77), shift=replace(known.shift, key=77))
    silos = [silo(client, rows=80, poisoned=20) for client in range(5)]
    grid = grid_of(silos, secret)
    server = ScreenServer(grid=grid, screen=known, message_type="query.screen", timeout=0.5)
    heard = server.hear(list(grid.nodes))
    server.judge(list(grid.nodes), heard)
    alone = hear(secret, lambda told: [secret.summarize(own, told) for own in silos])
    for own in silos:
        assert flagged(grid.context(100 + own.client)).tolist() == judge(secret, own, alone).flagged.tolist()
    assert sum(flagged(grid.context(100 + own.client)).sum() for own in silos) == 100
    assert "77" not in repr(secret.public())
    assert server.lost == {}
