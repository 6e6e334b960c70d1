"""Rows are rewritten as they are written: nothing changes but the value of one field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkms.runs.inplacerows import CsvRewriter, JsonlRewriter, Rewriter, value_spans
from batchkms.sources.quotes import cell_ends, split_cells


def _rewriter(format: str, given: dict[int, str]) -> Rewriter:
    if format == "jsonl":
        return JsonlRewriter("p", given.get, longest_row_bytes=200)
    return CsvRewriter("p", given.get, name="in.csv", longest_row_bytes=200)


def _rewritten(format: str, text: bytes, given: dict[int, str], *, chunk: int = 7) -> bytes:
    rewriter = _rewriter(format, given)
    parts = [rewriter.feed(text[at : at + chunk]) for at in range(0, len(text), chunk)]
    return b"".join([*parts, rewriter.end()])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b'{"p":"x"}', b'{"p":"c"}'),
        (
            b'{ "id" : 1.50, "p" :  "x\\"y" , "q" : [ 1,2 ] }\r',
            b'{ "id" : 1.50, "p" :  "c" , "q" : [ 1,2 ] }\r',
        ),
        (
            b'{"o":{"p":"in"},"p":"x","a":["p",{"p":1}]}',
            b'{"o":{"p":"in"},"p":"c","a":["p",{"p":1}]}',
        ),
        (b'{"p":"first","id":"p","p":"last"}', b'{"p":"c","id":"p","p":"c"}'),
        (
            b'{"\\u0070":"x","big":123456789012345678901}',
            b'{"\\u0070":"c","big":123456789012345678901}',
        ),
        (b'{"p":{"deep":[{"p":"x"}]},"z":"}"}', b'{"p":"c","z":"}"}'),
        (b'{"p":"x"', b"{}"),
        (b'["p"]', b"{}"),
        (b'{"Password":"x"}', b"{}"),
        (b'{"p":"' + b"x" * 300 + b'"}', b"{}"),
    ],
)
def test_json_members_stay_as_they_are_written(row: bytes, expected: bytes) -> None:
    assert _rewritten("jsonl", row + b"\n", {1: "c"}) == expected + b"\n"


def test_json_without_a_ciphertext_has_null_and_blank_lines_are_no_rows() -> None:
    text = b'{"p":"x"}\n\n  \n{"p":""}\r\n{"p":"y"}'
    assert _rewritten("jsonl", text, {1: "a", 3: "b"}) == b'{"p":"a"}\n{"p":null}\r\n{"p":"b"}\n'


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (b"1,x,z", b"1,c,z"),
        (b'"1","x","z"\r', b'"1",c,"z"\r'),
        (b'"a ""1"", b",x,"two\r\nlines"\r', b'"a ""1"", b",c,"two\r\nlines"\r'),
        (b'1,"two\nlines, ""x""",', b"1,c,"),
        (b"1,x", b",,"),
        (b'1,"x"y,z', b",,"),
        (b"1,\xff,z", b",,"),
        (b"1," + b"x" * 300 + b",z", b",,"),
    ],
)
def test_csv_cells_stay_as_they_are_written(row: bytes, expected: bytes) -> None:
    text = b"id,p,q\n" + row + b"\n"
    assert _rewritten("csv", text, {1: "c"}) == b"id,p,q\n" + expected + b"\n"


def test_csv_rows_without_a_ciphertext_are_rows_still() -> None:
    assert _rewritten("csv", b"p\r\nx\r\n\r\ny\r\n", {2: "b"}) == b'p\r\n""\r\nb\r\n'
    assert _rewritten("csv", b"p,q\r\nx,1\r\ny\r\n", {}) == b"p,q\r\n,1\r\n,\r\n"
    assert _rewritten("csv", b"p\nx", {1: 'a,"b'}) == b'p\n"a,""b"\n'


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_rows_of_a_result_file_go_by_their_own_seq(format: str) -> None:
    if format == "jsonl":
        text = b'{"seq":9,"status":"ok","p":"x"}\n{"seq":4,"status":"ok","p":"y"}\n'
    else:
        text = b"seq,status,p\n9,ok,x\n4,ok,y\n"
    assert _rewritten(format, text, {4: "four", 9: "nine"}).index(b"nine") < _rewritten(
        format, text, {4: "four", 9: "nine"}
    ).index(b"four")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(
    members=st.dictionaries(st.sampled_from(["p", "q", 'p"', "p\\", "{", ""]) | st.text(), JSON),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
)
def test_only_that_value_changes_in_any_object(
    members: dict[str, object], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(members, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    spans = list(value_spans(text, "p"))
    assert len(spans) == ("p" in members)
    for begin, end in spans:
        assert json.loads(text[begin:end]) == json.loads(
            json.dumps(members["p"]).encode("utf-8", "replace")
        )
        changed = text[:begin] + b'"c"' + text[end:]
        assert json.loads(changed) == {**json.loads(text), "p": "c"}


@given(st.lists(st.text(alphabet='a",\r\n é'), min_size=1, max_size=5), st.booleans())
def test_cells_end_where_they_are_split(cells: list[str], quoted: bool) -> None:
    import csv
    import io

    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL).writerow(cells)
    row = out.getvalue().removesuffix("\r\n").encode()
    ends = [-1, *cell_ends(row)]
    raw = [row[begin + 1 : end] for begin, end in zip(ends, ends[1:], strict=False)]
    assert len(raw) == len(cells)
    assert [split_cells(cell)[0] for cell in raw] == split_cells(row)


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@given(data=st.binary(max_size=80), chunk=st.integers(1, 30))
def test_what_cannot_be_read_is_never_copied(format: str, data: bytes, chunk: int) -> None:
    secret = b"tops3cret"
    broken = b'{"p":"' + secret if format == "jsonl" else b'1,"' + secret + b'"x,2'
    head = b"" if format == "jsonl" else b"id,p,q\n"
    text = head + broken + b"\n" + data.replace(b'"', b"")
    assert secret not in _rewritten(format, text, {}, chunk=chunk)
