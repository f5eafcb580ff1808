"""What tests of the Flower engine share."""

from functools import lru_cache

import pytest
from flwr.supercore.task_identity import TaskIdentity

from fedsonar.flower import client


@pytest.fixture
def identity(monkeypatch):
    """What Flower sets in a server's process before messages can be made."""
    for name, value in (("_run_id", 1), ("_node_id", 1), ("_task_id", 1)):
        monkeypatch.setattr(TaskIdentity, name, value)


@pytest.fixture(autouse=True)
def trainers_of_all(monkeypatch):
    """Keeps the trainers of all clients that share this process; one of a deployment has one client and one trainer."""
    monkeypatch.setattr(client, "trainer", lru_cache(maxsize=8)(client.trainer.__wrapped__))
