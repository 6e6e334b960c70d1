"""Where an answer ends: the strict reader of what comes back on one connection.

llhttp (through httptools) reads heads and chunks. It is strict about line ends, folding,
Content-Length given twice or beside Transfer-Encoding, and chunk sizes. What it leaves open is
settled here: it skips line ends between answers without a word, takes RTSP/1.0 or HTTP/2.0 for a
version, reads any transfer coding that is not `chunked` as a body without end, and
limits nothing.
"""

from __future__ import annotations

import httptools

from batchkms.kms import mishaps
from batchkms.kms.transport import MAX_ANSWER_BYTES, Answer

MAX_HEAD_BYTES = 64 * 1024
"""For an answer's head and those of interim answers together; and as much again for all that is
no body in a chunked one: trailers and chunk extensions."""

_CHUNK_FRAME_BYTES = 20
"""What a chunk may have around it besides: a size of 16 digits and two line ends."""

_END = b"\r\n\r\n"
_UNTIL_CLOSE = -1
_CHUNKED = -2


class AnswerReader:
    """Reads the answers on one connection, one after the other.

    After an answer, `reusable` says whether another one may be asked for: the server will keep
    the connection, and not one byte came after the end. After an error nothing can be read.
    """

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.reusable = False
        self._begin()

    def _begin(self) -> None:
        self._at_start = True
        self._head_bytes = 0
        self._rest_bytes = 0
        self._headed = False
        self._complete = False
        self._status = 0
        self._length = _UNTIL_CLOSE
        # The last bytes so far, for an end that is spread over two pieces.
        self._tail = b""
        self._body: bytes | bytearray = b""
        self._chunks = 0

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once `data`, which is not empty, completes it. Raises ProtocolError."""
        try:
            if not self._headed:
                data = self._read_head(data)
                if not self._headed:
                    return None
            return self._read_body(data)
        except httptools.HttpParserError as error:
            # A limit that a callback found was exceeded, or what the parser found. The parser
            # would quote the answer.
            if isinstance(error.__context__, _TooLong):
                raise mishaps.answer_too_long(MAX_ANSWER_BYTES) from None
            raise mishaps.invalid_answer() from None

    def at_end(self) -> Answer | None:
        """The answer, if it is one that the end of the connection makes whole."""
        if self._headed and self._length == _UNTIL_CLOSE:
            return self._whole(surplus=True)
        return None

    # -- The head ----------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> bytes:
        """Reads heads up to the end of the last one; what comes after it."""
        while data and not self._headed:
            if self._at_start and data[0] != 0x48:  # H
                raise mishaps.invalid_answer()
            self._at_start = False
            tail = self._tail
            end = (tail + data).find(_END) if tail else data.find(_END)
            size = len(data) if end < 0 else end + 4 - len(tail)
            self._head_bytes += size
            if self._head_bytes > MAX_HEAD_BYTES:
                raise mishaps.invalid_answer()
            if size == len(data):
                head, data = data, b""
            else:
                head, data = data[:size], data[size:]
            self._tail = (tail + head)[-3:] if end < 0 else b""
            self._parser.feed_data(head)
            if end >= 0 and not self._headed:
                # An interim answer is over with its head, and is followed by another.
                if not self._status:
                    raise mishaps.invalid_answer()
                self._status = 0
                self._at_start = True
        return data

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
        self._status = status = self._parser.get_status_code()
        if status == 101 or status < 100:
            raise ValueError
        version = self._parser.get_http_version()
        if version != "1.1" and (version != "1.0" or self._length == _CHUNKED):
            raise ValueError
        if status < 200:
            self._length = _UNTIL_CLOSE
            return
        self._headed = True
        self.reusable = self._parser.should_keep_alive()
        if status == 204 or status == 304:
            if self._length == _CHUNKED:
                raise ValueError
            self._length = 0
        elif self._length > MAX_ANSWER_BYTES:
            raise _TooLong

    # -- The body ----------------------------------------------------------------------------

    def _read_body(self, data: bytes) -> Answer | None:
        if self._length >= 0:
            return self._read_length(data)
        if not data:
            return None
        if self._length == _UNTIL_CLOSE:
            self._parser.feed_data(data)
            return None
        return self._read_chunks(data)

    def _read_length(self, data: bytes) -> Answer | None:
        missing = self._length - len(self._body)
        surplus = len(data) > missing
        if data and missing:
            self._parser.feed_data(data[:missing] if surplus else data)
        return self._whole(surplus=surplus) if self._complete else None

    def _read_chunks(self, data: bytes) -> Answer | None:
        self._rest_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if not self._complete:
                raise
            return self._whole(surplus=True)
        framing = self._rest_bytes - len(self._body) - _CHUNK_FRAME_BYTES * self._chunks
        if framing > MAX_HEAD_BYTES:
            raise mishaps.invalid_answer()
        self._tail = (self._tail + data)[-5:]
        if not self._complete:
            return None
        # The parser skips line ends after the last one. No line before that ends in one.
        at_end = self._tail.endswith(_END) and self._tail[:1] not in (b"\r", b"\n")
        return self._whole(surplus=not at_end)

    def on_message_begin(self) -> None:
        """Stops at a second answer behind a chunked one."""
        if self._complete:
            raise ValueError

    def on_body(self, data: bytes) -> None:
        """Keeps a piece of the body."""
        if not self._body:
            self._body = data
        else:
            if type(self._body) is bytes:
                self._body = bytearray(self._body)
            self._body += data
        if len(self._body) > MAX_ANSWER_BYTES:
            raise _TooLong

    def on_chunk_header(self) -> None:
        """Counts, for the framing that it may take."""
        self._chunks += 1

    def on_message_complete(self) -> None:
        """Notes the end of an answer, or of an interim one."""
        self._complete = self._headed

    def _whole(self, *, surplus: bool) -> Answer:
        answer = Answer(self._status, bytes(self._body))
        self.reusable = self.reusable and not surplus
        self._begin()
        return answer


class _TooLong(Exception):
    """The body is longer than what is read."""
