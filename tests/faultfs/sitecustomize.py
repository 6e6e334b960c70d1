"""Makes one call to the file system fail, in a program started with this folder on its path.

`FAULTFS=write:3:ENOSPC` fails the third write to a file of the output `out.*`; `short` in place of
an error writes half, `KILL` kills the process before the call. With `write+fsync` both are counted.
`FAULTFS_FIRED` names a file that is made when it happens.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Any


def _about_output(argument: Any) -> bool:
    try:
        name = os.readlink(f"/proc/self/fd/{argument}") if isinstance(argument, int) else argument
    except OSError:
        return False
    return os.path.basename(os.fsdecode(name)).startswith("out.")


class _Fault:
    left = 0

    def __init__(self, call: Callable[..., Any], how: str) -> None:
        self._call = call
        self._how = how

    def __call__(self, first: Any, *rest: Any, **more: Any) -> Any:
        if _about_output(first):
            _Fault.left -= 1
            if _Fault.left == 0:
                return self._fail(first, *rest, **more)
        return self._call(first, *rest, **more)

    def _fail(self, first: Any, *rest: Any, **more: Any) -> Any:
        with open(os.environ["FAULTFS_FIRED"], "w"):
            pass
        if self._how == "KILL":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._how == "short":
            return self._call(first, rest[0][: max(1, len(rest[0]) // 2)])
        if self._call is _close:
            self._call(first)
        number = getattr(errno, self._how)
        raise OSError(number, os.strerror(number))


_close = os.close

if "FAULTFS" in os.environ:
    _names, _number, _how = os.environ["FAULTFS"].split(":")
    _Fault.left = int(_number)
    for _name in _names.split("+"):
        setattr(os, _name, _Fault(getattr(os, _name), _how))
