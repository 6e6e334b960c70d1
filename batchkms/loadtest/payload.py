"""What a load test encrypts where no file says it: random bytes of a size that is asked for.

They are no secret. Making them must cost next to nothing, so they are cut from one block.
"""

from __future__ import annotations

import math
import random
import re
from binascii import b2a_base64
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count, repeat
from typing import Any

from batchkms.errors import BadValue
from batchkms.loadtest.share import WHOLE, Share
from batchkms.records import MAX_PLAINTEXT_BYTES

DEFAULT_SIZE = "64"

MAX_WEIGHT = 10_000

_TAKES = (
    f"takes bytes from 1 to {MAX_PLAINTEXT_BYTES:,}: 64, 1KiB, a range such as 16-4096, or sizes "
    "with weights such as 64:50,1024:30,4096:20"
)

_SIZE = re.compile(r"([0-9]{1,6})(|KiB)")


@dataclass(frozen=True, slots=True)
class PayloadSize:
    """How many bytes payloads have: ranges, both ends included, each with its weight."""

    text: str
    ranges: tuple[tuple[int, int, int], ...]
    """The least, the most and the weight of each."""

    @property
    def mean_bytes(self) -> float:
        """The size of a payload on average."""
        total = sum(weight for _, _, weight in self.ranges)
        return sum((least + most) / 2 * weight for least, most, weight in self.ranges) / total

    def drawn(self, rng: random.Random) -> Iterator[int]:
        """Sizes without end."""
        ranges = [(least, most - least + 1) for least, most, _ in self.ranges]
        if len(ranges) == 1 and ranges[0][1] == 1:
            yield from repeat(ranges[0][0])
        reach = list(accumulate(weight for _, _, weight in self.ranges))
        while True:
            # Faster than `choices` and `randint`, which are called for every payload.
            at = bisect_right(reach, rng.random() * reach[-1], hi=len(ranges) - 1)
            least, span = ranges[at]
            yield least + int(rng.random() * span)


def parse_payload_size(value: Any) -> PayloadSize:
    """The sizes that a text stands for. Raises BadValue.

    `64`, `1KiB`; `16-4096`, where every size is as likely; `64:50,1024:30,4096:20`, weighted.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadValue(_TAKES)
    parts = [part.strip() for part in str(value).split(",")]
    ranges = tuple(_range(part, weighted=len(parts) > 1) for part in parts)
    return PayloadSize(",".join(parts), ranges)


def _range(part: str, *, weighted: bool) -> tuple[int, int, int]:
    sizes, colon, weight = part.partition(":")
    least, dash, most = sizes.partition("-")
    ends = _bytes(least), _bytes(most if dash else least)
    if ends[0] > ends[1]:
        raise BadValue(f"has a range whose end is before its begin; write {most}-{least}")
    if weighted and not colon:
        raise BadValue(f"takes a weight with each of several sizes, {sizes}:10")
    if colon and not re.fullmatch(r"[0-9]{1,5}", weight):
        raise BadValue(_TAKES)
    number = int(weight) if colon else 1
    if not 1 <= number <= MAX_WEIGHT:
        raise BadValue(f"takes weights from 1 to {MAX_WEIGHT:,}, not {number:,}")
    return *ends, number


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BadValue(_TAKES)
    number = int(match[1]) * (1024 if match[2] else 1)
    if not 1 <= number <= MAX_PLAINTEXT_BYTES:
        raise BadValue(f"takes sizes from 1 to {MAX_PLAINTEXT_BYTES:,} bytes, not {number:,}")
    return number


_GROUPS = 16_384
"""Groups of three bytes, four characters of base64, in the block that payloads are cut from."""

_COUNTER_BYTES = 6


def random_plaintexts(size: PayloadSize, *, seed: int, share: Share = WHOLE) -> Iterator[str]:
    """Plaintexts without end, each another one than all before, as base64.

    Those of the same sizes, seed and share are the same in every run, and no two shares have one
    in common. Below six bytes there are not enough different ones: they come again after all of
    them were there.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    block = _encoded(rng.randbytes(3 * _GROUPS))
    ends = ["", _encoded(rng.randbytes(1)), _encoded(rng.randbytes(2))]
    cuts = _GROUPS - math.ceil(max(most for _, most, _ in size.ranges) / 3)
    numbers = count(rng.getrandbits(32) + share.first, share.of)
    two = _twelve_bits()
    for number, bytes_ in zip(numbers, size.drawn(_sizes_of(share, rng, seed)), strict=False):
        if bytes_ < _COUNTER_BYTES:
            yield _encoded((number % 256**bytes_).to_bytes(bytes_))
            continue
        # A number in front makes it another one; the rest is whole groups of the block.
        groups, over = divmod(bytes_ - _COUNTER_BYTES, 3)
        cut = number * 31 % cuts * 4
        yield (
            f"{two[number >> 36]}{two[number >> 24 & 4095]}{two[number >> 12 & 4095]}"
            f"{two[number & 4095]}{block[cut : cut + groups * 4]}{ends[over]}"
        )


def _twelve_bits() -> list[str]:
    """The two characters of base64 that each number of 12 bits is: four make a number of six bytes.

    They are looked up in a third of the time that it takes to encode one.
    """
    return [_encoded((number << 12).to_bytes(3))[:2] for number in range(4096)]


def _sizes_of(share: Share, rng: random.Random, seed: int) -> random.Random:
    """What draws the sizes: each process draws others, and one alone as it always has."""
    return rng if share.of == 1 else random.Random(f"{seed}/{share.first}")  # noqa: S311 - plaintexts of a test, which a seed gives again


def _encoded(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()
