"""The worker beside a SuperNode: one for many messages, for one user alone, and for no longer than its node."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedsonar.flower import warm
from fedsonar.flower.worker import told

pytestmark = [
    pytest.mark.usefixtures("identity"),
    # A worker outlives whoever started it.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

COUNTING = '''
"""Counts the messages that one process got."""
import itertools
import os
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()
count = itertools.count(1)

@app.query()
def query(message, context):
    if message.content["question"]["fail"]:
        raise ValueError("row 7 says: my secret")
    context.state["kept"] = ConfigRecord({"messages": next(count)})
    answer = MetricRecord({"count": context.state["kept"]["messages"], "pid": os.getpid()})
    return Message(RecordDict({"answer": answer}), reply_to=message)
'''


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A process that stands for a SuperNode's, which ends with the test."""
    (tmp_path / "counting.py").write_text(COUNTING)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    run = Path(tempfile.mkdtemp(prefix="fs-"))  # a socket's path must be short, and pytest's folders are not
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setattr(os, "getppid", lambda: process.pid)
    yield process
    process.kill()
    process.communicate()
    gone(run)
    shutil.rmtree(run)


def gone(folder):
    """Waits until no worker is left, which removes what it had there."""
    deadline = time.monotonic() + 60
    while list(folder.glob("fedsonar-*/*")):
        assert time.monotonic() < deadline, "the worker is still there"
        time.sleep(0.05)


def ask(context, **question):
    message = Message(RecordDict({"question": ConfigRecord({"fail": False, **question})}), 1, "query")
    return warm.WarmClientApp("counting:app")(message, context)


def fresh(**config):
    return Context(1, 1, {"idle": 60, **config}, RecordDict(), {})


def test_messages_go_to_one_process_and_the_state_comes_back(node):
    context = fresh()
    answers = [ask(context).content["answer"] for _ in range(3)]
    assert [answer["count"] for answer in answers] == [1, 2, 3]
    assert len({answer["pid"] for answer in answers} | {os.getpid()}) == 2
    assert context.state["kept"]["messages"] == 3


def test_an_error_says_its_kind_alone_and_the_worker_goes_on(node):
    first = ask(fresh()).content["answer"]["pid"]
    with pytest.raises(warm.WorkerError, match=r"^ValueError; what it says is in the log of this client's SuperNode$"):
        ask(fresh(), fail=True)
    assert ask(fresh()).content["answer"]["pid"] == first


def test_a_killed_worker_is_replaced(node):
    first = int(ask(fresh()).content["answer"]["pid"])
    os.kill(first, 9)
    assert ask(fresh()).content["answer"]["count"] == 1


def test_nobody_without_the_key_or_of_another_user_gets_in(node):
    ask(fresh())
    folder = warm.folder_of(node.pid)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder, folder / "socket", folder / "key")}
    assert modes == {folder.name: 0o700, "socket": 0o600, "key": 0o600}
    with pytest.raises(AuthenticationError):
        Client(str(folder / "socket"), "AF_UNIX", authkey=b"guessed")
    assert ask(fresh()).content["answer"]["count"] == 2


def test_a_folder_that_others_may_enter_is_refused(node):
    warm.folder_of(node.pid).parent.chmod(0o755)
    with pytest.raises(PermissionError, match="is not a folder of this user's alone; remove it"):
        warm.folder_of(node.pid)
    (Path(os.environ["XDG_RUNTIME_DIR"]) / f"fedsonar-{os.getuid()}").chmod(0o700)
    for left in warm.folder_of(node.pid).parent.iterdir():
        left.rmdir()


def test_a_worker_ends_with_its_node_and_when_nobody_asks(node):
    ask(fresh(idle=1))
    gone(Path(os.environ["XDG_RUNTIME_DIR"]))
    ask(fresh())
    node.kill()
    node.communicate()
    gone(Path(os.environ["XDG_RUNTIME_DIR"]))


def test_a_worker_that_cannot_start_says_so(node, monkeypatch):
    folder = warm.folder_of(node.pid)
    with pytest.raises(warm.WorkerError, match="ended at once, with status 1"):
        warm.connect(folder, "no_such_module:app", node.pid, 60)
    for left in (folder, folder.parent):
        for path in left.glob("*"):
            path.unlink() if path.is_file() else None
    folder.rmdir()


def test_what_the_server_is_told_quotes_no_rows():
    assert "secret" not in told(ValueError("secret"))
    assert told(FloatingPointError("the loss of client 3")) == "the loss of client 3"


def test_a_path_that_is_too_long_for_a_socket_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 90)))
    with pytest.raises(OSError, match=r"socket would have a path of \d+ bytes in .* set XDG_RUNTIME_DIR to a folder"):
        warm.folder_of(os.getpid())
