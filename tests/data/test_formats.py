import gzip
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsonar.data.formats import Row, read, readable

VALUES = [{"instruction": "Sag é\u2028x", "answers": ["a", "b"]}, {"instruction": "2", "answers": []}]
LINES = "\n".join(json.dumps(value, ensure_ascii=False) for value in VALUES).encode()


def write(tmp_path, name):
    path = tmp_path / name
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(VALUES), path)
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(json.dumps(VALUES).encode() if name.startswith("array") else LINES))
    elif name.startswith("array"):
        path.write_text(json.dumps(VALUES, indent=2))
    elif name == "saved":
        datasets.Dataset.from_list(VALUES).save_to_disk(path)
    else:
        path.write_bytes(LINES)
    return path


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("a.jsonl", "line"),
        ("a.jsonl.gz", "line"),
        ("a.json", "line"),
        ("A.JSON.GZ", "line"),
        ("array.json", "row"),
        ("array.json.gz", "row"),
        ("a.parquet", "row"),
        ("saved", "row"),
    ],
)
def test_every_format(tmp_path, name, unit):
    path = tmp_path / name
    if name == "A.JSON.GZ":
        path.write_bytes(gzip.compress(LINES))
    else:
        write(tmp_path, name)
    assert readable(path)
    assert read(path) == [Row(str(path), unit, number, value) for number, value in enumerate(VALUES, 1)]
    assert read(path)[1].place == f"{path} {unit} 2"


def test_selected_rows_of_a_saved_dataset(tmp_path):
    datasets.Dataset.from_list(VALUES).select([1, 0]).save_to_disk(tmp_path / "saved")
    assert [row.values for row in read(tmp_path / "saved")] == VALUES[::-1]


def test_blank_lines_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}\r\n')
    assert [(row.number, row.values) for row in read(path)] == [(1, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ","), ("A.CSV.gz", ","), ("a.tsv", "\t"), ("a.tsv.gz", "\t")]
)
def test_csv_is_text_with_the_lines_that_rows_begin_in(tmp_path, name, separator):
    content = '\ufeffid,question,answer\r\n\r\n7,"a ""b"", or\nc?",1.50\r\n8,d,\r\n'.replace(",", separator).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert readable(tmp_path / name)
    assert [(row.unit, row.number, row.values) for row in read(tmp_path / name)] == [
        ("line", 3, {"id": "7", "question": f'a "b"{separator} or\nc?', "answer": "1.50"}),
        ("line", 5, {"id": "8", "question": "d", "answer": ""}),
    ]


def test_a_csv_value_may_be_long(tmp_path):
    (tmp_path / "a.csv").write_text("a\n" + "x" * 200_000 + "\n")
    assert len(read(tmp_path / "a.csv")[0].values["a"]) == 200_000


@pytest.mark.parametrize("indent", [None, 1])
def test_json_object_with_rows_under_data(tmp_path, indent):
    (tmp_path / "a.json").write_text(json.dumps({"version": 1, "data": VALUES}, indent=indent))
    assert [(row.place, row.values) for row in read(tmp_path / "a.json")] == [
        (f"{tmp_path / 'a.json'} row {number}", value) for number, value in enumerate(VALUES, 1)
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": \n', r"a.jsonl line 3: not valid JSON \(Expecting value at column"),
        ("a.json", b'[{"a": 1},\n {"a": }]', r"a.json line 2: not valid JSON \(Expecting value at column 8\)"),
        ("a.json", b'{\n"a": 1}', r"a.json line 1: not valid JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "a.jsonl line 2: a JSON list, not an object"),
        ("a.jsonl", b"null", "a.jsonl line 1: a JSON null, not an object"),
        ("a.json", b'[{"a": 1}, "b"]', "a.json row 2: a JSON str, not an object"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', r"a.jsonl line 2: not UTF-8 \(byte 0xff\); save the file as UTF-8"),
        ("a.json", b'[{"a": 1},\n{"a": "\xe9"}]', r"a.json line 2: not UTF-8 \(byte 0xe9\)"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl line 1: not readable JSON"),
        ("a.jsonl", b'{"a": ' + b"1" * 5000 + b"}", "a.jsonl line 1: not readable JSON"),
        ("a.jsonl", b"", "a.jsonl holds no rows"),
        ("a.jsonl", b"\n\n", "a.jsonl holds no rows"),
        ("a.json", b"[]", "a.json holds no rows"),
        ("a.jsonl.gz", b"", "a.jsonl.gz holds no rows"),
        (
            "a.jsonl.gz",
            gzip.compress((LINES + b"\n") * 50, mtime=0)[:-20],
            "a.jsonl.gz is damaged gzip .*; copy or download it again",
        ),
        ("a.jsonl.gz", b"plain text", "a.jsonl.gz is damaged gzip"),
        ("a.csv", b"", "a.csv holds no rows"),
        ("a.csv", b"a,b\n", "a.csv holds no rows"),
        ("a.csv", b'a,b\n"x\ny",2\n1,2,3\n', r"a.csv line 4: 3 values for 2 columns \(a, b\); put values that hold"),
        ("a.csv", b'a,b\n1,"2\n', r"a.csv line 2: not sound CSV \(unexpected end of data\); put values"),
        ("a.tsv", b'a\tb\n1\t"2" 3\n', "a.tsv line 2: not sound CSV"),
        ("a.csv", b"a,b\n1,2\n3,\xff\n", r"a.csv line 3: not UTF-8 \(byte 0xff\)"),
        ("a.csv", b"a,a\n1,2\n", "a.csv line 1: two columns are called 'a'; rename one"),
        ("a.csv.gz", b"plain text", "a.csv.gz is damaged gzip"),
        ("a.json", b'{"data": []}', "a.json holds no rows"),
        ("a.json", b'{"data": [{"a": 1}, 2]}', "a.json row 2: a JSON int, not an object"),
        ("a.parquet", b"", "a.parquet is not a sound Parquet file"),
        ("a.parquet", b"PAR1" + b"x" * 100 + b"PAR1", "a.parquet is not a sound Parquet file"),
        ("a.txt", b"a,b", r"a.txt is not a known format; use a file that ends in .jsonl, .jsonl.gz, .json"),
    ],
)
def test_bad_file(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_empty_parquet(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="holds no rows"):
        read(tmp_path / "a.parquet")


def test_parquet_text_that_is_not_utf8(tmp_path):
    broken = pa.array([b"\xff"]).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"a": broken}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="not a sound Parquet file"):
        read(tmp_path / "a.parquet")


def test_damaged_saved_dataset(tmp_path):
    path = write(tmp_path, "saved")
    next(path.glob("*.arrow")).write_bytes(b"broken")
    with pytest.raises(ValueError, match="saved is not a sound saved dataset"):
        read(path)
    (path / "state.json").write_text("{}")
    with pytest.raises(ValueError, match="saved is not a sound saved dataset"):
        read(path)


def test_missing_file_names_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"no file b/a.jsonl; relative paths start at .*{tmp_path.name}"):
        read(Path("b/a.jsonl"))


def test_folder_that_is_no_dataset(tmp_path):
    assert not readable(tmp_path)
    with pytest.raises(ValueError, match="is a folder that datasets did not save"):
        read(tmp_path)


def test_unreadable_file(tmp_path, monkeypatch):
    path = write(tmp_path, "a.jsonl")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OSError, match=r"cannot read .*a.jsonl: Permission denied"):
        read(path)


@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=200),
    name=st.sampled_from(["f.jsonl", "f.json", "f.csv", "f.tsv", "f.jsonl.gz", "f.parquet"]),
)
def test_any_bytes_give_rows_or_a_one_line_error(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(content)
    try:
        message = str(path) + ": rows" * bool(read(path))
    except (ValueError, OSError) as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message
