import gzip
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedsonar.data import Files


def rows(count, start=0, **extra):
    return [{"instruction": f"say {i}", "answers": [f"{i}"], **extra} for i in range(start, start + count)]


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(values), path)
    else:
        content = "".join(json.dumps(value) + "\n" for value in values).encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return str(path)


def instructions(dataset):
    return [sample.instruction for sample in dataset]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("test", ["test", "validation", "test-00000-of-00001"])
def test_folder(tmp_path, suffix, test):
    write(tmp_path / f"train.{suffix}", rows(3))
    write(tmp_path / f"{test}.{suffix}", rows(2, 10))
    splits = Files(path=str(tmp_path)).load()
    assert instructions(splits.train) == ["say 0", "say 1", "say 2"]
    assert instructions(splits.test) == ["say 10", "say 11"]
    assert [sample.id for sample in splits.train] == ["train-0", "train-1", "train-2"]
    assert [sample.id for sample in splits.test] == ["test-0", "test-1"]
    assert (splits.train.name, splits.test.name) == (f"{tmp_path.name}/train", f"{tmp_path.name}/test")


def test_test_is_taken_before_validation(tmp_path):
    for split, count in (("train", 3), ("test", 1), ("validation", 2)):
        write(tmp_path / f"{split}.jsonl", rows(count))
    assert len(Files(path=str(tmp_path)).load().test) == 1


def test_shards_in_numeric_order(tmp_path):
    for shard in (10, 9, 2):
        write(tmp_path / f"train-{shard}.jsonl", rows(1, shard))
    write(tmp_path / "test.jsonl", rows(1))
    (tmp_path / "train.txt").write_text("not a data file")
    train = Files(path=str(tmp_path)).load().train
    assert instructions(train) == ["say 2", "say 9", "say 10"]
    assert [sample.id for sample in train] == ["train-0", "train-1", "train-2"]


@pytest.mark.parametrize(("split", "option"), [("train", "train"), ("test", "test"), ("validation", "test")])
def test_several_files_of_a_split(tmp_path, split, option):
    write(tmp_path / "train.jsonl", rows(2))
    write(tmp_path / f"{split}.parquet", rows(2))
    write(tmp_path / f"{split}_other.jsonl", rows(2))
    with pytest.raises(ValueError, match=rf"holds several {split} files \(.*\); name the one meant with {option}$"):
        Files(path=str(tmp_path)).load()


def test_saved_dataset_dict(tmp_path):
    saved = {"train": datasets.Dataset.from_list(rows(3)), "validation": datasets.Dataset.from_list(rows(2, 5))}
    datasets.DatasetDict(saved).save_to_disk(tmp_path / "saved")
    splits = Files(path=str(tmp_path / "saved")).load()
    assert (instructions(splits.train), instructions(splits.test)) == (["say 0", "say 1", "say 2"], ["say 5", "say 6"])


def test_saved_dataset(tmp_path):
    datasets.Dataset.from_list(rows(10)).save_to_disk(tmp_path / "saved")
    splits = Files(path=str(tmp_path / "saved"), test_fraction=0.3).load()
    assert (len(splits.train), len(splits.test)) == (7, 3)


def test_split_off_is_seeded_disjoint_and_keeps_ids(tmp_path):
    path = write(tmp_path / "a.jsonl", rows(20))
    splits = Files(path=path).load()
    assert (len(splits.train), len(splits.test)) == (18, 2)
    both = {sample.id: sample.instruction for part in (splits.train, splits.test) for sample in part}
    assert both == {f"train-{i}": f"say {i}" for i in range(20)}
    assert Files(path=path).load() == splits
    assert any(Files(path=path, seed=seed).load() != splits for seed in (1, 2, 3))
    assert (splits.train.name, splits.test.name) == ("a/train", "a/test")


def test_limits_come_after_the_split_and_take_evenly(tmp_path):
    path = write(tmp_path / "a.jsonl", rows(20))
    whole = Files(path=path, test_fraction=0.5).load()
    few = Files(path=path, test_fraction=0.5, limit=3, test_limit=2).load()
    assert few.train.samples == tuple(whole.train.samples[i] for i in (0, 3, 6))
    assert few.test.samples == tuple(whole.test.samples[i] for i in (0, 5))
    assert len(Files(path=path, limit=1000).load().train) == 18


def test_explicit_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("folder/train.jsonl"), rows(3))
    write(Path("folder/test.jsonl"), rows(1))
    write(Path("other.jsonl"), rows(2, 50))
    assert instructions(Files(path="folder", train="other.jsonl").load().train) == ["say 50", "say 51"]
    assert len(Files(path="folder", train="other.jsonl").load().test) == 1
    assert instructions(Files(path="folder", test="other.jsonl").load().test) == ["say 50", "say 51"]
    splits = Files(train="other.jsonl", test="folder/test.jsonl").load()
    assert (instructions(splits.train), instructions(splits.test)) == (["say 50", "say 51"], ["say 0"])
    assert Files(path="folder/train.jsonl", test="other.jsonl").load().train.name == "train/train"
    with pytest.raises(ValueError, match=r"path=other.jsonl and train=folder/train.jsonl both hold training rows"):
        Files(path="other.jsonl", train="folder/train.jsonl").load()


def test_folder_without_a_train_file_lists_what_is_there(tmp_path):
    for index in range(11):
        (tmp_path / f"note{index:02}.txt").touch()
    (tmp_path / "data").mkdir()
    with pytest.raises(ValueError, match=r"no train file .* which holds data/, note00.txt, .* and 2 more; name one"):
        Files(path=str(tmp_path)).load()
    with pytest.raises(ValueError, match="which holds nothing"):
        Files(path=str(tmp_path / "data")).load()


def test_missing_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere"):
        Files(path=str(tmp_path / "nowhere")).load()


def test_neither_path_nor_train():
    with pytest.raises(ValueError, match="Files needs path"):
        Files(test="a.jsonl")


def test_one_row_cannot_be_split(tmp_path):
    with pytest.raises(ValueError, match=r"cannot split 0.1 off 1 rows of 'a/train'"):
        Files(path=write(tmp_path / "a.jsonl", rows(1))).load()


def shared_data():
    return next((found for parent in Path(__file__).parents if (found := parent / "shared" / "data").is_dir()), None)


@pytest.mark.skipif(shared_data() is None, reason="no folder shared/data above")
class TestRealData:
    def test_dolly(self):
        splits = Files(path=str(shared_data() / "dolly15k"), source_field="client").load()
        assert (len(splits.train), len(splits.test)) == (14_931, 80)
        assert {sample.source for sample in splits.train} == {str(client) for client in range(10)}
        assert {sample.source for sample in splits.test} == {""}

    def test_webqa_has_many_answers_and_no_instruction(self):
        splits = Files(path=str(shared_data() / "webqa"), instruction="Answer the question.").load()
        assert (len(splits.train), len(splits.test)) == (3_778, 2_032)
        assert splits.train[0].answers == ("Jazmyn Bieber", "Jaxon Bieber")
        assert splits.train[0].instruction == "Answer the question."

    def test_triviaqa_alias_lists(self):
        source = Files(path=str(shared_data() / "triviaqa/train.jsonl.gz"), answer="shortest")
        first = next(sample for sample in source.load().train if sample.question.startswith("The VS-300"))
        assert "🚁" in first.answers
        assert first.answers[0] == "Copter"
