"""A whole deployment on this machine: SuperLink and SuperNodes on loopback, with TLS and node keys, for a rehearsal."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import psutil
import tomli_w

from fedsonar.flower.keys import Keys, make_keys
from fedsonar.flower.said import SAID
from fedsonar.flower.silos import Silos

HOST = "127.0.0.1"
_LINK = "loopback"
_START = 180.0
"""Seconds that a process of Flower's may take to come up."""
_STARTED = re.compile(r"started run (\d+)")
_STOP = 15.0
"""Seconds that it may take to stop before it is killed."""


class Loopback:
    """SuperLink and SuperNodes as processes of this machine; a context manager, which stops all of them.

    Keys, logs, Flower's own files and its database go into ``flower/`` beside the silos.

    Args:
        silos: What to run.
        tls: Encrypt, and admit registered keys alone.
        poll: Seconds between two looks of Flower's for work; its own default is 1.
        told: What a client's node is told, for apps of others; by default its number and where its rows are.
        show: Told what is being done, and what the server says of it.
    """

    def __init__(
        self,
        silos: Silos,
        *,
        tls: bool = True,
        poll: float = 0.2,
        told: Callable[[int], Mapping[str, str | int]] | None = None,
        show: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.silos, self.told, self.show = silos, told, show
        self.folder = silos.folder / "flower"
        self.keys: Keys | None = None
        if tls:
            self.keys = make_keys(self.folder / "keys", host=HOST, clients=len(silos.clients))
        self.port, *self._node_ports = free_ports(1 + len(silos.clients))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = os.environ | {
            "FLWR_HOME": str(self.folder / "home"), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": str(poll), "PYTHONUNBUFFERED": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }  # fmt: skip

    def __enter__(self) -> Loopback:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts everything, with a database of its own, and registers the nodes' keys.

        Flower refuses nodes that it still counts as connected, and all that a run goes on from is the run's own.
        """
        for old in self.folder.glob("state.db*"):
            old.unlink()
        self.show(f"superlink: starts; logs in {self.folder}")
        self.start_link()
        if self.keys is not None:
            for client, key in enumerate(self.keys.nodes):
                public = str(key.with_suffix(".pub"))
                self._flwr("supernode", "register", public, _LINK, "--name", f"client-{client}")
        self.show(f"supernodes: {len(self.silos.clients)} start")
        for client in range(len(self.silos.clients)):
            self.start_node(client)

    def start_link(self) -> None:
        """Starts the SuperLink, with the database that is there, and waits until it listens."""
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        link: dict[str, object] = {"address": f"{HOST}:{self.port}"}
        command = ["flower-superlink", "--host", HOST, "--port", str(self.port), "--database", str(self._database)]
        command += ["--disable-runtime-dependency-installation"]
        if self.keys is None:
            command.append("--insecure")
            link["insecure"] = True
        else:
            link["root-certificates"] = str(self.keys.ca)
            command += ["--ssl-ca-certfile", str(self.keys.ca), "--ssl-certfile", str(self.keys.certificate)]
            command += ["--ssl-keyfile", str(self.keys.key), "--enable-supernode-auth"]
        config: dict[str, object] = {"superlink": {"default": _LINK, _LINK: link}}
        (self.folder / "home" / "config.toml").write_text(tomli_w.dumps(config))
        self._start("superlink", command)
        self._wait_for_port(self.port, "superlink")

    def start_node(self, client: int) -> None:
        """Starts a client's SuperNode, which is told its number and where its rows are."""
        told: Mapping[str, str | int]
        told = self.told(client) if self.told else {"client": client, "data": str(self.silos.clients[client])}
        words = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in told.items())
        command = ["flower-supernode", "--superlink", f"{HOST}:{self.port}", "--node-config", words]
        command += ["--port", str(self._node_ports[client])]
        if self.keys is None:
            command.append("--insecure")
        else:
            command += ["--root-certificates", str(self.keys.ca)]
            command += ["--auth-supernode-private-key", str(self.keys.nodes[client])]
        self._start(f"client-{client}", command)

    def run(self, *, config: str = "", timeout: float = math.inf) -> None:
        """Runs the app to its end.

        Args:
            config: As ``flwr run --run-config``.
            timeout: Seconds that it may take.

        Raises:
            ChildProcessError: If the run did not end well; says what was the matter and where the logs are.
        """
        log = self.folder / "run.log"
        before = shown = len(_lines(log))
        deadline = time.monotonic() + timeout
        process = self.submit(config=config)
        try:
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.2)
                lines = _lines(log)
                for line in lines[shown:]:
                    if line.startswith(SAID):
                        self.show(line)
                shown = len(lines)
        finally:
            stop([process])
        failure = self._failure(_lines(log)[before:])
        if failure:
            raise ChildProcessError(f"the run failed: {failure}; logs are in {self.folder}")

    def _failure(self, said: Sequence[str]) -> str:
        """What Flower says of a run that did not end well: its exit status says nothing of that."""
        started = [match[1] for line in said if (match := _STARTED.search(line))]
        if not started:
            return _unboxed(said)
        found = subprocess.run(
            [str(_program("flwr")), "list", _LINK, "--run-id", started[0], "--format", "json"],
            env=self._environment, cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        try:
            [run] = json.loads(found.stdout)["runs"]
        except (ValueError, KeyError):
            return found.stdout[-500:] or "Flower does not say how it ended"
        return "" if run["status"] == "finished:completed" else f"{run['status']}: {run['status-details']}"

    def submit(self, *, config: str = "") -> subprocess.Popen[bytes]:
        """Starts the app; the process follows it to its end."""
        command = ["flwr", "run", str(self.silos.app), _LINK, "--stream"]
        return self._start("run", [*command, "--run-config", config] if config else command)

    def said(self, name: str) -> str:
        """The last error in a process's log, or its last line."""
        log = self.folder / f"{name}.log"
        lines = _lines(log)
        errors = [line for line in lines if "Error:" in line]
        return (errors or lines or [""])[-1][:500]

    def kill(self, name: str) -> None:
        """Kills one process at once, and it alone: what it started notices, or does not."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self) -> None:
        """Stops everything: clients first, the SuperLink last; then what they started in sessions of their own."""
        stop([self.processes[name] for name in sorted(self.processes, key=lambda name: name == "superlink")])
        left = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=_STOP)

    def _is_ours(self, process: psutil.Process) -> bool:
        """Whether its environment says that it is of this deployment."""
        try:
            return bool(process.environ().get("FLWR_HOME") == self._environment["FLWR_HOME"])
        except psutil.Error:
            return False  # another's, or it has just ended

    @property
    def _database(self) -> Path:
        return self.folder / "state.db"

    def _start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """A process in a group of its own, which can be stopped with all that it starts; its output goes to a log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(_program(command[0])), *command[1:]], env=self._environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True, cwd=self.folder,
            )  # fmt: skip
        return self.processes[name]

    def _flwr(self, *arguments: str) -> None:
        process = self._start("flwr", ["flwr", *arguments])
        if process.wait(_START):
            said = _unboxed(_lines(self.folder / "flwr.log"))
            raise ChildProcessError(f"flwr {' '.join(arguments)} failed: {said}")

    def _wait_for_port(self, port: int, name: str) -> None:
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            if self.processes[name].poll() is not None:
                raise ChildProcessError(f"the {name} ended at once: {self.said(name)}")
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    return
            time.sleep(0.1)
        raise ChildProcessError(f"the {name} did not come up within {_START:g} s; see {self.folder}")


def _program(name: str) -> Path:
    """One of Flower's programs, of this environment."""
    return Path(sys.executable).with_name(name)


def _lines(log: Path) -> list[str]:
    return (
        [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    )


def _unboxed(lines: Sequence[str]) -> str:
    """What one of Flower's programs said, in a line and without the box around it."""
    return " ".join(" ".join(line.strip("│╭╮╰╯─ ") for line in lines).split())[-500:]


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Stops processes with everything that they started in their groups; kills what does not stop in time."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + _STOP
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        _signal(process, signal.SIGKILL)
        process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)  # the group outlives its first process


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now."""
    with _bound(count) as sockets:
        return [int(bound.getsockname()[1]) for bound in sockets]


@contextmanager
def _bound(count: int) -> Iterator[list[socket.socket]]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        yield sockets
    finally:
        for one in sockets:
            one.close()
