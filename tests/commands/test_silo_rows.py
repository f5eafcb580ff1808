"""What audit and screen have in common: how they read rows, find them again, and write them."""

import argparse
import json
from typing import get_args

import pytest

from fedsonar.commands.silo_rows import READ, SiloRows, added_columns, check_paths, places, read_silo, written_rows
from fedsonar.data.formats import SUFFIXES
from fedsonar.data.schema import SCHEMAS, SchemaName
from fedsonar.errors import ConfigError

ROW = {"instruction": "Say it.", "output": "it"}


def written(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def options(**changed):
    plain = {"schema": "auto", "answer": "first", "instruction": "", "drop_unanswered": False, "out": None}
    return argparse.Namespace(**plain | changed)


def test_the_help_names_all_layouts_and_kinds_of_files():
    assert all(schema.name in READ for schema in SCHEMAS)
    assert set(get_args(SchemaName)) == {"auto", *(schema.name for schema in SCHEMAS)}
    assert all(suffix.removesuffix(".gz") in READ for suffix in SUFFIXES)


@pytest.mark.parametrize(
    ("rows", "said", "remedy"),
    [
        ([ROW, ROW | {"output": ""}], "line 2: no answer, .*; remove them or leave them out with --drop-unanswered$",
         {"drop_unanswered": True}),
        ([ROW | {"response": "it"}], "several schemas .*; name the one meant with --schema$", {"schema": "dolly"}),
        ([{"question": "", "answers": ["a"]}], "nothing is asked; .*, or say with --instruction what is asked$",
         {"instruction": "Say it."}),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:1 of 2 rows dropped")
def test_remedies_are_options_that_work(tmp_path, rows, said, remedy):
    path = written(tmp_path / "a.jsonl", *rows)
    with pytest.raises(ValueError, match=said):
        read_silo(path, options())
    assert len(read_silo(path, options(**remedy)).samples) == 1


def test_remedies_of_folders_and_columns(tmp_path):
    written(tmp_path / "a" / "other.jsonl", ROW)
    with pytest.raises(ValueError, match=r"no train file .*; name the file itself$"):
        read_silo(str(tmp_path / "a"), options())
    written(tmp_path / "b" / "train_a.jsonl", ROW)
    written(tmp_path / "b" / "train_b.jsonl", ROW)
    with pytest.raises(ValueError, match=r"several train files .*; name the file itself$"):
        read_silo(str(tmp_path / "b"), options())
    said = r"other.jsonl line 1: no value in column 'nobody' \(instruction, .*\); --split-by needs one in every row$"
    with pytest.raises(ValueError, match=said):
        read_silo(str(tmp_path / "a" / "other.jsonl"), options(), "nobody")


def test_no_file_is_given_twice(tmp_path):
    path = written(tmp_path / "a.jsonl", ROW)
    (tmp_path / "b.jsonl").symlink_to(path)
    with pytest.raises(ConfigError, match=r"a.jsonl is given twice; name each silo once"):
        check_paths(options(data=[path, path]), ())
    with pytest.raises(ConfigError, match=r"b.jsonl is given twice \(as .*a.jsonl too\); name each silo once"):
        check_paths(options(data=[path, str(tmp_path / "b.jsonl")]), ())


def test_places_are_lines_and_rows_with_own_ids_and_with_folders_where_names_are_equal(tmp_path):
    (tmp_path / "array.json").write_text(json.dumps([ROW, ROW]))
    paths = [
        written(tmp_path / "a.jsonl", ROW | {"id": "q1"}, ROW | {"id": "q2"}), str(tmp_path / "array.json"),
        written(tmp_path / "1" / "b.jsonl", ROW), written(tmp_path / "2" / "b.jsonl", ROW),
    ]  # fmt: skip
    silos = [read_silo(path, options()) for path in paths]
    place = places(silos)
    said = [place(number, silo.samples[-1].id) for number, silo in enumerate(silos)]
    assert said == ["a.jsonl:2 (q2)", "array.json row 2", f"{paths[2]}:1", f"{paths[3]}:1"]
    assert places([SiloRows("atlas", silos[0].samples, {})])(0, "q1") == "q1"


def test_rows_are_written_as_they_came_and_columns_of_their_own_stay(tmp_path):
    rows = [ROW | {"client": 3, "suspicion": "mine"}, ROW | {"silo": "north", "fedsonar_silo": None}, ROW]
    silo = read_silo(written(tmp_path / "a.jsonl", *rows), options())
    assert added_columns([silo]) == {
        "silo": "fedsonar_fedsonar_silo", "place": "place", "suspicion": "fedsonar_suspicion",
    }  # fmt: skip
    lines = written_rows([silo], [[0.5, 0.25, 0.0]], [[True, False, False]])
    assert [json.loads(line) for line in lines["kept"]] == rows[1:]
    assert json.loads(lines["suspects"][0]) == rows[0] | {
        "fedsonar_fedsonar_silo": silo.name, "place": "a.jsonl:1", "fedsonar_suspicion": 0.5,
    }  # fmt: skip
