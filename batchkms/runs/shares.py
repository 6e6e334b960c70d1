"""The outputs of runs that did one share each (`--shard`), and whether together they are one run's.

Everything here is known from the manifests beside them, before a row is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchkms.errors import BatchKmsError, ConfigError
from batchkms.runs.earlier import IDENTITY_SETTINGS, bytes_shown, of_input, shown
from batchkms.runs.manifest import Manifest, manifest_path
from batchkms.shard import Shard

_SAME_SETTINGS = (*(name for name in IDENTITY_SETTINGS if name != "shard"), "limit")
_SAME_OF_INPUT = ("format", "size_bytes", "head_sha256", "sha256")
_MISSING_NAMED = 10


class NotAsLeft(BatchKmsError):
    """An output that is not as its run left it: a verification that failed."""

    def __init__(self, path: Path, how: str) -> None:
        super().__init__(
            f"{path} is not as its run left it: {how}",
            hint=f"batchkms audit {path} names what was changed; restore it, then merge again",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A finished output of one share. `content` is that of its manifest."""

    path: Path
    shard: Shard
    content: dict[str, Any]

    @property
    def rows(self) -> int:
        """How many rows its run has done."""
        return int(self.content["counts"]["rows"])

    @property
    def input_rows(self) -> int:
        """How many rows of the whole input its run has read."""
        return int(self.content["shard"]["input_rows"])

    @property
    def limit(self) -> int | None:
        """How many rows of its share it was to do at the most."""
        limit: int | None = self.content["settings"].get("limit")
        return limit


def read_shares(paths: Sequence[Path]) -> list[Share]:
    """The shares that these outputs are of, from the first to the last one.

    Raises ConfigError unless they are every share of one run, each of them finished and there
    once, and NotAsLeft where a file is seen to be another one than its run left.
    """
    shares = sorted((_share(path) for path in paths), key=lambda share: share.shard.number)
    first = shares[0]
    for share in shares[1:]:
        _refuse_unlike(first, share)
    _refuse_incomplete(shares)
    _refuse_unknown_input(shares)
    _refuse_other_rows(shares)
    return shares


def _share(path: Path) -> Share:
    manifest = Manifest.load(manifest_path(path))
    partial = path.with_name(f"{path.name}.partial")
    if manifest is None or not (path.exists() or partial.exists()):
        raise ConfigError(
            f"there is no output {path} with its manifest {manifest_path(path).name}",
            hint="name the outputs of runs with --shard, each with its .run.json beside it",
        )
    if manifest.retrying:
        raise ConfigError(
            f"a retry of {path} has not ended",
            hint=f"go on with it: batchkms retry {path} --resume",
        )
    if not manifest.finished or not path.exists():
        raise ConfigError(
            f"the run of {path} has not finished",
            hint="finish it first: run its command again with --resume",
        )
    noted = manifest.content.get("shard")
    if noted is None or manifest.content["settings"].get("shard") is None:
        raise ConfigError(
            f"{path} is not of a run with --shard",
            hint="name the outputs of every share, from --shard 1/N to --shard N/N",
        )
    if not isinstance(manifest.content["output"].get("sha256"), str):
        raise ConfigError(
            f"{manifest_path(path)} does not say which bytes {path} had",
            hint="restore the manifest as the run left it, or do the share again",
        )
    size_bytes, found_bytes = manifest.content["output"].get("size_bytes"), path.stat().st_size
    if size_bytes != found_bytes:
        had = "an unknown number" if size_bytes is None else f"{size_bytes:,}"
        raise NotAsLeft(path, f"it has {bytes_shown(found_bytes)} and had {had}")
    shard = Shard(noted["number"], noted["of"])
    return Share(path=path, shard=shard, content=manifest.content)


def _refuse_unlike(first: Share, other: Share) -> None:
    """Raises ConfigError, which names every difference, unless both can be of one run."""
    if differences := [*_differences(first, other)]:
        raise ConfigError(
            f"{first.path} and {other.path} are not of one run: {'; '.join(differences)}",
            hint="merge the outputs of one command on one input, which differ in --shard alone; "
            "do the share that is wrong again",
        )


def _differences(first: Share, other: Share) -> Iterator[str]:
    one, two = first.content, other.content
    pairs = [
        ("command", one["command"], two["command"]),
        ("number of shares", first.shard.of, other.shard.of),
        ("output format", one["output"]["format"], two["output"]["format"]),
        *(
            (f"--{name.replace('_', '-')}", one["settings"].get(name), two["settings"].get(name))
            for name in _SAME_SETTINGS
        ),
        *(
            of_input(name, one["input"].get(name), two["input"].get(name))
            for name in _SAME_OF_INPUT
            # What came through a pipe has no size and no head, and one that was not read to its
            # end has no digest.
            if name == "format" or None not in (one["input"].get(name), two["input"].get(name))
        ),
        ("columns", one["output"].get("columns", []), two["output"].get("columns", [])),
    ]
    for name, before, now in pairs:
        if before != now:
            verb = "are" if name == "columns" else "is"
            yield f"the {name} {verb} {shown(before)} in the one and {shown(now)} in the other"


def _refuse_incomplete(shares: Sequence[Share]) -> None:
    of = shares[0].shard.of
    found: dict[int, Share] = {}
    for share in shares:
        if (twice := found.get(share.shard.number)) is not None:
            raise ConfigError(
                f"{twice.path} and {share.path} are both of the share {share.shard}",
                hint="name one output for each share",
            )
        found[share.shard.number] = share
    missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in found]
    if missing:
        more = f" and {len(missing) - _MISSING_NAMED:,} more" if missing[_MISSING_NAMED:] else ""
        what = "share" if len(missing) == 1 else "shares"
        raise ConfigError(
            f"no output of the {what} {', '.join(missing[:_MISSING_NAMED])}{more} was named",
            hint="name the outputs of every share; one that was not done yet is done by the same "
            "command with its --shard",
        )


def _refuse_unknown_input(shares: Sequence[Share]) -> None:
    """Raises ConfigError where nothing says that a share is of the same input as the others.

    The first 64 KiB of a file do not: a row behind them may have moved to another share.
    """
    for share in shares:
        if share.content["input"].get("sha256") is None:
            raise ConfigError(
                f"nothing says which input {share.path} is of: its run did not read it to its "
                "end (--limit), so that there is no digest of it",
                hint="do the shares without --limit; to merge is for whole inputs",
            )


def _refuse_other_rows(shares: Sequence[Share]) -> None:
    """Raises ConfigError unless the rows of all shares are those of the input."""
    most = max(shares, key=lambda share: share.input_rows)
    for share in shares:
        if share.limit is None and share.input_rows != most.input_rows:
            raise ConfigError(
                f"the run of {share.path} has read {share.input_rows:,} rows of the input, and "
                f"that of {most.path} {most.input_rows:,}",
                hint="do the share again whose input was not the right one",
            )
        own = share.shard.rows_of(most.input_rows)
        due = own if share.limit is None else min(own, share.limit)
        if share.rows != due:
            raise ConfigError(
                f"{share.path} has {share.rows:,} rows, and the share {share.shard} of "
                f"{most.input_rows:,} rows has {due:,}",
                hint=f"batchkms audit {share.path} names what differs; do the share again",
            )
