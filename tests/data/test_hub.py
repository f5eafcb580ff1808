import os
import subprocess
import sys

import datasets
import pytest

from fedsonar.data import Hub

ROWS = [{"instruction": f"say {i}", "context": "", "response": f"{i}", "category": "a"} for i in range(10)]


@pytest.fixture
def calls(monkeypatch):
    seen = []

    def load_dataset(*args, **kwargs):
        seen.append((args, kwargs))
        return datasets.Dataset.from_list(ROWS if kwargs["split"] == "train" else ROWS[:3])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return seen


def test_named_splits(calls):
    source = Hub(name="owner/set", config="en", test_split="held", revision="abc", source_field="category", limit=4)
    splits = source.load()
    assert calls == [
        (("owner/set", "en"), {"split": "train", "revision": "abc"}),
        (("owner/set", "en"), {"split": "held", "revision": "abc"}),
    ]
    assert [sample.instruction for sample in splits.train] == ["say 0", "say 2", "say 5", "say 7"]
    assert [sample.answers for sample in splits.test] == [("0",), ("1",), ("2",)]
    assert splits.train[0].source == "a"
    assert splits.train.name == "owner/set/train"


def test_test_part_is_split_off(calls):
    splits = Hub(name="owner/set", test_fraction=0.2).load()
    assert len(calls) == 1
    assert (len(splits.train), len(splits.test)) == (8, 2)


def test_rows_are_named_by_split(calls, monkeypatch):
    monkeypatch.setitem(ROWS[4], "response", "")
    with pytest.raises(ValueError, match=r"^owner/set/train row 5: no answer, as in 1 of 10 rows"):
        Hub(name="owner/set").load()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ConnectionError("Couldn't\n reach"),
            r"^cannot reach the Hugging Face Hub for 'o/s': Couldn't reach; download it",
        ),
        (OSError("disk full"), "^cannot reach the Hugging Face Hub for 'o/s': disk full"),
        (datasets.exceptions.DatasetNotFoundError("no such"), "^cannot find 'o/s' on the Hugging Face Hub: no such$"),
        (ValueError("Unknown split"), "^cannot load split 'train' of 'o/s': Unknown split$"),
        (
            RuntimeError("Dataset scripts are no longer supported"),
            "^cannot load split 'train' of 'o/s': Dataset scripts",
        ),
    ],
)
def test_errors_of_the_library(monkeypatch, error, message):
    def load_dataset(*args, **kwargs):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ValueError, match=message):
        Hub(name="o/s").load()


def test_empty_split(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_dict({"instruction": []}))
    with pytest.raises(ValueError, match="split 'train' of 'o/s' holds no rows"):
        Hub(name="o/s").load()


def test_no_name():
    with pytest.raises(ValueError, match="Hub needs name"):
        Hub(name="")


def test_offline_without_a_cache(tmp_path):
    # The library reads these variables once, when it is imported: a process of its own.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    script = (
        "from fedsonar.data import Hub\ntry: Hub(name='owner/set').load()\nexcept ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cannot reach the Hugging Face Hub for 'owner/set': ")
    assert done.stdout.endswith("; download it elsewhere and use data.path\n")
    assert done.stdout.count("\n") == 1


def test_a_loading_script_is_refused_and_not_run(tmp_path):
    ran = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(ran)!r}, 'w')")
    with pytest.raises(ValueError, match="Dataset scripts are no longer supported"):
        Hub(name=str(tmp_path / "evil.py")).load()
    assert not ran.exists()
