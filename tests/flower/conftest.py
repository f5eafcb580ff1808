"""What tests of the Flower engine share."""

import pytest
from flwr.supercore.task_identity import TaskIdentity


@pytest.fixture
def identity(monkeypatch):
    """What Flower sets in a server's process before messages can be made."""
    for name, value in (("_run_id", 1), ("_node_id", 1), ("_task_id", 1)):
        monkeypatch.setattr(TaskIdentity, name, value)
