"""Where answers end, however they are cut into pieces: what is taken, and what is refused."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkms.errors import ProtocolError
from batchkms.kms.http1.reading import MAX_HEAD_BYTES, AnswerReader
from batchkms.kms.transport import MAX_ANSWER_BYTES

OK = b"HTTP/1.1 200 OK\r\n"
TWO = b"Content-Length: 2\r\n\r\nab"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Outcome = tuple[int, bytes, bool] | str | None
"""Status, body and whether the connection can be used again; or a code; or nothing yet."""

WHOLE: dict[str, tuple[bytes, Outcome]] = {
    "by length": (OK + TWO, (200, b"ab", True)),
    "name in any case": (OK + b"cOnTeNt-LeNgTh:2\r\n\r\nab", (200, b"ab", True)),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", (200, b"", True)),
    "no reason": (b"HTTP/1.1 503\r\n" + TWO, (503, b"ab", True)),
    "chunked": (CHUNKED + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n", (200, b"ab", True)),
    "chunk sizes in capitals": (CHUNKED + b"0A\r\n0123456789\r\n0\r\n\r\n",)
    + ((200, b"0123456789", True),),
    "chunk extension": (CHUNKED + b'2;a=b;c="d"\r\nab\r\n0\r\n\r\n', (200, b"ab", True)),
    "trailers": (CHUNKED + b"2\r\nab\r\n0\r\nX: y\r\nZ:\r\n\r\n", (200, b"ab", True)),
    "no chunk": (CHUNKED + b"0\r\n\r\n", (200, b"", True)),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", True)),
    "not modified": (b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", (304, b"", True)),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + TWO, (200, b"ab", True)),
    "two interim": (
        b"HTTP/1.1 103 Early\r\nLink: x\r\nContent-Length: 7\r\n\r\n" * 2 + OK + TWO,
        (200, b"ab", True),
    ),
    "an upgrade offered": (
        OK + b"Upgrade: h2c\r\nConnection: Upgrade\r\n" + TWO,
        (200, b"ab", True),
    ),
    # -- Connections that end with the answer.
    "close": (OK + b"Connection: close\r\n" + TWO, (200, b"ab", False)),
    "close in the trailers": (
        CHUNKED + b"0\r\nConnection: close\r\n\r\n",
        (200, b"", False),
    ),
    "close in a list": (OK + b"Connection: x, Close\r\n" + TWO, (200, b"ab", False)),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n" + TWO, (200, b"ab", False)),
    "HTTP/1.0 kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + TWO,
        (200, b"ab", True),
    ),
    # -- Connections on which more came than was asked for.
    "twice": ((OK + TWO) * 2, (200, b"ab", False)),
    "a line end too many": (OK + TWO + b"\r\n", (200, b"ab", False)),
    "a byte too many": (OK + TWO + b"\0", (200, b"ab", False)),
    "a body where none may be": (
        b"HTTP/1.1 204 N\r\nContent-Length: 2\r\n\r\nab",
        (204, b"", False),
    ),
    "chunked twice": ((CHUNKED + b"2\r\nab\r\n0\r\n\r\n") * 2, (200, b"ab", False)),
    "chunked and a line end": (CHUNKED + b"2\r\nab\r\n0\r\n\r\n\r\n", (200, b"ab", False)),
    "chunked and half a line end": (CHUNKED + b"2\r\nab\r\n0\r\n\r\n\n", (200, b"ab", False)),
    "chunked and two line ends": (CHUNKED + b"0\r\n\r\n\r\n\r\n", (200, b"", False)),
    "chunked and the start of an answer": (
        CHUNKED + b"2\r\nab\r\n0\r\n\r\nHTTP/1.1 2",
        (200, b"ab", False),
    ),
    "chunked and garbage": (CHUNKED + b"0\r\n\r\nzz", (200, b"", False)),
    "more after close": (OK + b"Connection: close\r\n" + TWO + b"zz", (200, b"ab", False)),
    # -- Not over yet.
    "half a head": (OK + b"Content-Le", None),
    "half a body": (OK + b"Content-Length: 3\r\n\r\nab", None),
    "no last chunk": (CHUNKED + b"2\r\nab\r\n", None),
    "no end of trailers": (CHUNKED + b"0\r\nX: y\r\n", None),
    "interim only": (b"HTTP/1.1 100 Continue\r\n\r\n", None),
    "until the end": (OK + b"\r\nabc", None),
}

INVALID = {
    "the same length twice": OK + b"Content-Length: 2\r\n" + TWO,
    "two lengths": OK + b"Content-Length: 3\r\n" + TWO,
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nab",
    "a signed length": OK + b"Content-Length: +2\r\n\r\nab",
    "a negative length": OK + b"Content-Length: -2\r\n\r\nab",
    "a length with a gap": OK + b"Content-Length: 1 2\r\n\r\nab",
    "an empty length": OK + b"Content-Length:\r\n\r\nab",
    "a length beyond all": OK + b"Content-Length: 99999999999999999999999\r\n\r\nab",
    "length, then coding": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
    "coding, then length": OK + b"Transfer-Encoding: chunked\r\n" + TWO,
    "gzip": OK + b"Transfer-Encoding: gzip\r\n\r\nab",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked, gzip": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n",
    "chunked, but no content": CHUNKED.replace(b"200", b"204") + b"0\r\n\r\n",
    "folding": OK + b"X: a\r\n b\r\n" + TWO,
    "folding at once": OK + b" X: a\r\n" + TWO,
    "a name with a gap": OK + b"X : a\r\n" + TWO,
    "no name": OK + b": a\r\n" + TWO,
    "a NUL": OK + b"X: a\0b\r\n" + TWO,
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nab",
    "one bare line feed": OK + b"Content-Length: 2\n\r\nab",
    "a bare carriage return": OK + b"X: a\rY: b\r\n" + TWO,
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n" + TWO,
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + TWO,
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n" + TWO,
    "RTSP": b"RTSP/1.0 200 OK\r\n" + TWO,
    "ICE": b"ICE/1.0 200 OK\r\n" + TWO,
    "lower case": b"http/1.1 200 OK\r\n" + TWO,
    "a line end": b"\n",
    "line ends first": b"\r\n" + OK + TWO,
    "line ends after an interim answer": b"HTTP/1.1 100 C\r\n\r\n\r\n" + OK + TWO,
    "a status of two digits": b"HTTP/1.1 99 OK\r\n" + TWO,
    "a status under 100": b"HTTP/1.1 099 OK\r\n" + TWO,
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n" + TWO,
    "another protocol": b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "another protocol, unnamed": b"HTTP/1.1 101 S\r\n\r\n" + OK + TWO,
    "a negative chunk": CHUNKED + b"-2\r\nab\r\n0\r\n\r\n",
    "a chunk in C": CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n",
    "a chunk size and a gap": CHUNKED + b"2 \r\nab\r\n0\r\n\r\n",
    "no chunk size": CHUNKED + b";a\r\nab\r\n0\r\n\r\n",
    "chunks by line feeds": CHUNKED + b"2\nab\n0\n\n",
    "a chunk beyond all": CHUNKED + b"ffffffffffffffffff\r\nab\r\n0\r\n\r\n",
    "a chunk that is too short": CHUNKED + b"3\r\nab\r\n0\r\n\r\n",
    "a chunk that is too long": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
}

CASES: dict[str, tuple[bytes, Outcome]] = {
    **WHOLE,
    **{f"invalid: {name}": (data, "InvalidAnswer") for name, data in INVALID.items()},
}


def read(reader: AnswerReader, *pieces: bytes) -> Outcome:
    """What comes of these pieces."""
    for number, piece in enumerate(pieces, 1):
        if not piece:
            continue
        try:
            answer = reader.feed(piece)
        except ProtocolError as error:
            return error.code
        if answer is not None:
            # What is left comes while nothing is asked.
            left = any(pieces[number:])
            return answer.status, answer.body, reader.reusable and not left
    return None


@pytest.mark.parametrize("name", CASES)
def test_every_answer_cut_at_every_point(name: str) -> None:
    data, expected = CASES[name]
    assert read(AnswerReader(), data) == expected
    for at in range(1, len(data)):
        assert read(AnswerReader(), data[:at], data[at:]) == expected, at
    assert read(AnswerReader(), *(data[at : at + 1] for at in range(len(data)))) == expected


def test_an_answer_that_the_end_makes_whole() -> None:
    reader = AnswerReader()
    assert read(reader, OK + b"\r\nabc", b"def") is None
    answer = reader.at_end()
    assert answer is not None
    assert (answer.body, reader.reusable) == (b"abcdef", False)


@pytest.mark.parametrize("name", [name for name, (_, outcome) in WHOLE.items() if outcome is None])
def test_the_end_makes_nothing_else_whole(name: str) -> None:
    reader = AnswerReader()
    read(reader, WHOLE[name][0])
    assert (reader.at_end() is not None) == (name == "until the end")


# -- Limits ------------------------------------------------------------------------------------


def padded(head: bytes, size: int) -> bytes:
    return head + b"X: " + b"y" * (size - len(head) - len(b"X: \r\n\r\n")) + b"\r\n\r\n"


def test_the_longest_head() -> None:
    fits = padded(OK + b"Content-Length: 0\r\n", MAX_HEAD_BYTES)
    for step in (len(fits), 1000):
        pieces = [fits[at : at + step] for at in range(0, len(fits), step)]
        assert read(AnswerReader(), *pieces) == (200, b"", True)
    assert read(AnswerReader(), padded(OK, MAX_HEAD_BYTES + 1)) == "InvalidAnswer"


@pytest.mark.parametrize(
    "forever",
    [
        [OK, b"X: y\r\n"],
        [OK, b"y"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"],
        [CHUNKED, b"1;", b"x" * 100],
        [CHUNKED + b"0\r\n", b"X: y\r\n"],
        [CHUNKED + b"0\r\nX: ", b"y" * 100],
        [CHUNKED, b"0"],
        [CHUNKED, b"1;" + b"x" * 1000 + b"\r\ny\r\n"],
    ],
)
def test_what_is_no_body_does_not_grow_for_ever(forever: list[bytes]) -> None:
    reader, seen = AnswerReader(), 0
    *start, again = forever
    for piece in start:
        assert reader.feed(piece) is None
    with pytest.raises(ProtocolError) as caught:
        while True:
            assert reader.feed(again) is None
            seen += len(again)
            assert seen < 2 * MAX_HEAD_BYTES
    assert caught.value.code == "InvalidAnswer"


@pytest.mark.parametrize("over", [0, 1])
def test_the_longest_body(over: int) -> None:
    body = b"x" * (MAX_ANSWER_BYTES + over)
    # The smallest of which an answer can be made at any length.
    cut = [body[at : at + 1024] for at in range(0, len(body), 1024)]
    tiny = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in cut)
    for data in (
        OK + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        CHUNKED + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
        CHUNKED + tiny + b"0\r\n\r\n",
    ):
        step = 65_536
        pieces = [data[at : at + step] for at in range(0, len(data), step)]
        expected = "AnswerTooLong" if over else (200, body, True)
        assert read(AnswerReader(), *pieces) == expected


# -- One after the other -------------------------------------------------------------------------

KEPT = {name: case for name, case in WHOLE.items() if isinstance(case[1], tuple) and case[1][2]}


@given(st.lists(st.sampled_from(sorted(KEPT)), min_size=2, max_size=6), st.data())
@settings(max_examples=150, deadline=None)
def test_no_answer_depends_on_those_before_it(names: list[str], draw: st.DataObject) -> None:
    reader = AnswerReader()
    for name in names:
        data, expected = KEPT[name]
        cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=3).map(sorted))
        assert read(reader, *cut(data, cuts)) == expected


def test_the_same_head_before_another_body() -> None:
    reader, head = AnswerReader(), OK + b"Content-Length: 2\r\n\r\n"
    assert read(reader, head + b"ab") == (200, b"ab", True)
    assert read(reader, head + b"cd") == (200, b"cd", True)
    assert read(reader, head, b"ef") == (200, b"ef", True)
    assert read(reader, head + b"g", b"h") == (200, b"gh", True)
    assert read(reader, head[:9], head[9:] + b"ij") == (200, b"ij", True)
    assert read(reader, OK + b"Content-Length: 3\r\n\r\nklm") == (200, b"klm", True)
    assert read(reader, head + b"no") == (200, b"no", True)
    assert read(reader, head + b"pqr") == (200, b"pq", False)


# -- Anything --------------------------------------------------------------------------------------


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *at, len(data)]
    return [data[begin:end] for begin, end in zip(edges, edges[1:], strict=False)]


_PIECES = [b"\r", b"\n", b"\r\n", b"\0", b" ", b":", b"0\r\n\r\n", b"HTTP/1.1 ", b";", b"-", b"9"]
_PIECES += [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The same with a few slips."""
    for _ in range(chance.randint(0, 4)):
        at, length = chance.randint(0, len(data)), chance.choice([0, 0, 1, 2, 8])
        new = chance.choice([b"", bytes([chance.randrange(256)]), chance.choice(_PIECES)])
        data = data[:at] + new + data[at + length :]
    return data


def check_any(chance: random.Random) -> None:
    """However it is cut, what is no answer or any number of them is the same outcome."""
    names = chance.choices(sorted(CASES), k=chance.choice([1, 1, 2]))
    data = mutated(b"".join(CASES[name][0] for name in names), chance)
    whole = read(AnswerReader(), data)
    cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(1, 6)))
    assert read(AnswerReader(), *cut(data, cuts)) == whole, (data, cuts)
    used = AnswerReader()
    assert read(used, OK + TWO) == (200, b"ab", True)
    assert read(used, *cut(data, cuts)) == whole, (data, cuts)
    if isinstance(whole, tuple) and whole[2]:
        # In step: the next answer is taken for itself.
        assert read(used, OK + b"Content-Length: 4\r\n\r\nnext") == (200, b"next", True), data


@given(st.integers(0, 2**64))
@settings(max_examples=500, deadline=None)
def test_mutated_answers(seed: int) -> None:
    check_any(random.Random(seed))  # noqa: S311 - a test, not a secret


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5).map(sorted))
@settings(max_examples=200, deadline=None)
def test_any_bytes(data: bytes, cuts: list[int]) -> None:
    for start in (b"", OK, CHUNKED):
        whole = read(AnswerReader(), start + data)
        assert read(AnswerReader(), *cut(start + data, cuts)) == whole


@pytest.mark.long
def test_mutated_answers_for_ten_minutes() -> None:
    until_s, seed = time.monotonic() + 600, time.time_ns()
    while time.monotonic() < until_s:
        for _ in range(1000):
            seed += 1
            check_any(random.Random(seed))  # noqa: S311 - a test, not a secret


@pytest.mark.parametrize(("chunks", "size", "fine"), [(4000, 1, True), (4200, 1, False)])
def test_chunks_are_not_so_small_that_reading_them_takes_long(
    chunks: int, size: int, fine: bool
) -> None:
    body = b"%x\r\n%s\r\n" % (size, b"x" * size) * chunks + b"0\r\n\r\n"
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body
    if fine:
        answer = AnswerReader().feed(data)
        assert answer is not None
        assert len(answer.body) == chunks * size
        return
    with pytest.raises(ProtocolError) as refused:
        AnswerReader().feed(data)
    assert refused.value.code == "InvalidAnswer"
