"""Replies that are too large are not read, bad ones spoil no others, and a registered name is a client's alone."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import SimpleNamespace

import httpx
import pytest
from flwr.app import Message, MetricRecord, RecordDict

from fedsonar import Experiment
from fedsonar.flower.grid_engine import GridEngine
from fedsonar.flower.replies import collect
from here_grid import HereGrid


class Body(httpx.SyncByteStream):
    """So many bytes, which notices when it is read."""

    def __init__(self, size):
        self.size, self.read = size, False

    def __iter__(self):
        self.read = True
        yield b"x" * self.size


class LinkGrid(HereGrid):
    """A grid whose replies come through a connection, in several parts each."""

    def __init__(self, parts):
        super().__init__({})
        self.parts = parts
        self._runtime_client = SimpleNamespace(_client=httpx.Client(transport=httpx.MockTransport(self.answer)))

    def answer(self, request):
        id, _, part = request.url.path.strip("/").partition("/")
        body = self.parts[id][int(part)]
        if isinstance(body, Exception):
            raise body
        return httpx.Response(200, headers={"content-length": str(body.size)}, stream=body)

    def pull_messages(self, ids):
        found = []
        for id in ids:
            for part in range(len(self.parts[id])):
                self._runtime_client._client.get(f"http://link/{id}/{part}")
            found.append(f"reply to {id}")
        return found


def test_a_reply_may_have_so_many_bytes_in_all_its_parts_and_no_more_is_read():
    fits, huge, many = [Body(40), Body(60)], [Body(10**12)], [Body(60), Body(40), Body(1), Body(1)]
    grid = LinkGrid({"fits": fits, "huge": huge, "many": many})
    found = dict(collect(grid, ["fits", "huge", "many"], patience=1.0, most=100))
    assert found["fits"] == "reply to fits"
    assert found["huge"] == found["many"] == "a reply of more than 100 bytes, which was not read"
    assert [body.read for body in (*fits, *huge, *many)] == [True, True, False, True, True, False, False]


def test_a_reply_that_cannot_be_read_is_its_own_affair_but_a_lost_superlink_is_not():
    found = dict(collect(LinkGrid({"a": [KeyError("x")], "b": [Body(1)]}), ["a", "b"], patience=1.0, most=100))
    assert found == {"a": "a reply that cannot be read (KeyError)", "b": "reply to b"}
    with pytest.raises(httpx.ConnectError):
        dict(collect(LinkGrid({"a": [httpx.ConnectError("gone")]}), ["a"], patience=1.0, most=100))


class HastyGrid(LinkGrid):
    """One that reads the parts of a reply in threads, and goes on while some are under way, as Flower's does."""

    def __init__(self, parts):
        super().__init__(parts)
        self.failed = threading.Event()

    def answer(self, request):
        if request.url.path == "/huge/1":
            assert self.failed.wait(20)
        time.sleep({"/huge/1": 0.3, "/fits/0": 0.8}.get(request.url.path, 0.0))
        return super().answer(request)

    def pull_messages(self, ids):
        [id] = ids
        get = self._runtime_client._client.get
        executor = ThreadPoolExecutor(2)
        try:
            parts = [f"http://link/{id}/{part}" for part in range(len(self.parts[id]))]
            for done in as_completed([executor.submit(get, part) for part in (*parts[1:], parts[0])]):
                done.result()
        except Exception:
            self.failed.set()
            raise
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
        return [f"reply to {id}"]


def test_what_comes_late_of_a_refused_reply_does_not_count_for_the_next():
    late, huge, fits = Body(60), Body(10**12), Body(60)
    grid = HastyGrid({"huge": [huge, late], "fits": [fits]})
    found = dict(collect(grid, ["huge", "fits"], patience=5.0, most=100))
    assert found == {"huge": "a reply of more than 100 bytes, which was not read", "fits": "reply to fits"}
    assert (huge.read, late.read, fits.read) == (False, False, True)


def test_what_flower_says_besides_does_not_count():
    grid = LinkGrid({"fits": [Body(60)], "life": [Body(90)]})
    pull, stop = grid.pull_messages, threading.Event()

    def chat():
        while not stop.is_set():
            grid._runtime_client._client.get("http://link/life/0")

    talker = threading.Thread(target=chat, daemon=True)
    talker.start()
    grid.pull_messages = lambda ids: (time.sleep(0.2), pull(ids))[1]
    assert dict(collect(grid, ["fits"], patience=5.0, most=100)) == {"fits": "reply to fits"}
    stop.set()
    talker.join()


@pytest.mark.usefixtures("identity")
def test_a_node_registered_as_a_client_is_that_client_whatever_others_say():
    def claims(client):
        def act(message, context):
            return Message(RecordDict({"who": MetricRecord({"client": client})}), reply_to=message)

        return client, act

    class Registered(HereGrid):
        _runtime_client = None

        def get_nodes(self):
            return [SimpleNamespace(node_id=1, name="client-0"), SimpleNamespace(node_id=2, name="")]

    engine = GridEngine(Registered({1: claims(5), 2: claims(0), 3: claims(1)}), Experiment(), None, patience=1.0)
    assert engine.nodes({0, 1}) == {0: 1, 1: 3}
