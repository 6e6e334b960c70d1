"""Where an answer ends: the strict reader of what comes back on one connection.

llhttp (through httptools) reads heads and chunks. It is strict about line ends, folding,
Content-Length given twice or beside Transfer-Encoding, and chunk sizes. What it leaves open is
settled here: it skips line ends between answers without a word, takes RTSP/1.0 or HTTP/2.0 for
an answer's version, reads any transfer coding that is not `chunked` as a body without end,
and limits nothing.
"""

from __future__ import annotations

import httptools

from batchkms.kms import mishaps
from batchkms.kms.transport import MAX_ANSWER_BYTES, Answer

MAX_HEAD_BYTES = 64 * 1024
"""For an answer's head and those of interim answers together; and as much again for all that is
no body in a chunked one: trailers and chunk extensions."""

_MOST_CHUNKS, _BYTES_PER_CHUNK = 4096, 1024
"""So many chunks, and one more for so many bytes: smaller ones cost the reader its time, which
would be taken for the server's."""

_CHUNK_FRAME_BYTES = 20
"""What a chunk may have around it besides: a size of 16 digits and two line ends."""

_START = b"HTTP/1.1 "
_END = b"\r\n\r\n"
_UNTIL_CLOSE = -1
_CHUNKED = -2


class AnswerReader:
    """Reads the answers on one connection, one after the other.

    After an answer, `reusable` says whether another one may be asked for: the server will keep
    the connection, and not one byte came after the end. After an error nothing can be read.
    """

    __slots__ = (
        "_at_start",
        "_body",
        "_chunks",
        "_complete",
        "_head_bytes",
        "_headed",
        "_known",
        "_known_length",
        "_known_status",
        "_length",
        "_parser",
        "_rest_bytes",
        "_status",
        "_tail",
        "reusable",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.reusable = False
        # The last head that was followed by a body on a connection that is kept.
        self._known = b""
        self._known_status, self._known_length = 0, -1
        self._begin()

    def _begin(self) -> None:
        self._at_start = True
        self._headed = self._complete = False
        self._status = self._head_bytes = self._rest_bytes = self._chunks = 0
        self._length = _UNTIL_CLOSE
        # The last bytes so far, for an end that is spread over two pieces.
        self._tail = b""
        self._body: bytes | bytearray = b""

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once `data`, which is not empty, completes it. Raises ProtocolError."""
        if self._at_start and not self._headed and data.startswith(self._known):
            # The same head says the same: nearly all that a server sends have the same one
            # until its Date has another second. The parser need not see this answer.
            body = data[len(self._known) :]
            if len(body) == self._known_length:
                self.reusable = True
                return Answer(self._known_status, body)
        return self._parsed(data)

    def _parsed(self, data: bytes) -> Answer | None:
        try:
            if self._headed:
                return self._read_body(data, len(data))
            if self._at_start and data.startswith(_START) and data[9:10] > b"1":
                # Nearly always the whole answer is here, and no other is before it.
                end = data.find(_END) + len(_END)
                if len(_END) < end <= MAX_HEAD_BYTES:
                    return self._read_all(data, end)
            data = self._read_head(data)
            return self._read_body(data, len(data)) if data or self._complete else None
        except httptools.HttpParserError as error:
            # Not `from error`: the parser would quote the answer.
            if isinstance(error.__context__, _TooLong):
                raise mishaps.answer_too_long(MAX_ANSWER_BYTES) from None
            raise mishaps.invalid_answer() from None

    def at_end(self) -> Answer | None:
        """The answer, if it is one that the end of the connection makes whole."""
        if self._headed and self._length == _UNTIL_CLOSE:
            return self._whole(surplus=True)
        return None

    def _read_all(self, data: bytes, end: int) -> Answer | None:
        """Reads what begins with one whole head, of `end` bytes."""
        answer = self._read_body(data, len(data) - end)
        if answer is not None and self.reusable and len(answer.body) == len(data) - end > 0:
            # Not chunked, then.
            self._known = data[:end]
            self._known_status, self._known_length = answer.status, len(answer.body)
        return answer

    # -- The head ----------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> bytes:
        """Reads heads up to the end of the last one; what comes after it."""
        while data and not self._headed:
            if self._at_start and data[0] != _START[0]:
                raise mishaps.invalid_answer()
            self._at_start = False
            known = len(self._tail)
            end = (self._tail + data).find(_END)
            size = len(data) if end < 0 else end + len(_END) - known
            self._head_bytes += size
            if self._head_bytes > MAX_HEAD_BYTES:
                raise mishaps.invalid_answer()
            head, data = data[:size], data[size:]
            self._parser.feed_data(head)
            if end < 0:
                self._tail = (self._tail + head)[-3:]
            elif not self._headed:
                self._begin_after_interim()
        return data

    def _begin_after_interim(self) -> None:
        """An interim answer is over with its head, and another one follows."""
        if not self._status:
            raise mishaps.invalid_answer()
        self._status, self._tail, self._at_start = 0, b"", True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Notes how long the body is; llhttp has looked at the number."""
        if self._headed:
            return
        if len(name) == 14:
            if name.lower() == b"content-length":
                self._length = int(value)
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            if self._length == _CHUNKED or value.strip().lower() != b"chunked":
                raise ValueError
            self._length = _CHUNKED

    def on_headers_complete(self) -> None:
        """Decides how the body ends."""
        if self._complete:
            raise ValueError("this is the head of a second answer")
        self._status = status = self._parser.get_status_code()
        if status < 200:
            # Nobody asked for another protocol, which is what 101 would go on with.
            if status == 101 or status < 100:
                raise ValueError
            self._length = _UNTIL_CLOSE
            return
        if not self._at_start:
            # Else it began with HTTP/1.1, as nearly all do.
            version = self._parser.get_http_version()
            if version != "1.1" and (version != "1.0" or self._length == _CHUNKED):
                raise ValueError
        self._headed = True
        self.reusable = self._parser.should_keep_alive()
        if status == 204 or status == 304:
            if self._length == _CHUNKED:
                raise ValueError
            self._length = 0
        elif self._length > MAX_ANSWER_BYTES:
            raise _TooLong

    # -- The body ----------------------------------------------------------------------------

    def _read_body(self, data: bytes, size: int) -> Answer | None:
        """Reads on in an answer of whose body the last `size` bytes of `data` are the next."""
        self._rest_bytes += size
        if data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError:
                if not self._complete:
                    raise
                # It is about what came after the end.
                return self._whole(surplus=True)
        if self._length >= 0:
            if self._complete:
                return self._whole(surplus=self._rest_bytes != self._length)
        elif self._length == _CHUNKED and size:
            return self._read_chunks(data)
        return None

    def _read_chunks(self, data: bytes) -> Answer | None:
        framing = self._rest_bytes - len(self._body) - _CHUNK_FRAME_BYTES * self._chunks
        if framing > MAX_HEAD_BYTES:
            raise mishaps.invalid_answer()
        self._tail = (self._tail + data)[-5:]
        if not self._complete:
            return None
        # The parser skips line ends after the last one. No line before that ends in one.
        at_end = self._tail.endswith(_END) and self._tail[:1] not in (b"\r", b"\n")
        return self._whole(surplus=not at_end)

    def on_body(self, data: bytes) -> None:
        """Keeps a piece of the body."""
        if not self._body:
            self._body = data
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += data
        if len(self._body) > MAX_ANSWER_BYTES:
            raise _TooLong

    def on_chunk_header(self) -> None:
        """Counts, for the framing that it may take; too many are an attack."""
        self._chunks += 1
        if self._chunks > _MOST_CHUNKS + len(self._body) // _BYTES_PER_CHUNK:
            raise ValueError

    def on_message_complete(self) -> None:
        """Notes the end of an answer, or of an interim one."""
        self._complete = self._headed
        # llhttp takes a Connection for one that counts even in the trailers.
        if self._chunks and not self._parser.should_keep_alive():
            self.reusable = False

    def _whole(self, *, surplus: bool) -> Answer:
        answer = Answer(self._status, bytes(self._body))
        if surplus:
            self.reusable = False
        self._begin()
        return answer


class _TooLong(Exception):
    """The body is longer than what is read."""
