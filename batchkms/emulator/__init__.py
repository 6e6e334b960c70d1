"""The local KMS: real HTTP, real signatures, real encryption, no account.

It answers as the service does, refuses what the service refuses, and keeps its keys on disk.
Plain HTTP on loopback only; its keys are as safe as the files that hold them, so that it is
for tests and first steps and never for secrets that matter.
"""

from __future__ import annotations

from batchkms.emulator.datadir import default_data_dir
from batchkms.emulator.emulator import Emulator
from batchkms.emulator.gateway import FailHook
from batchkms.emulator.store import KeyState

__all__ = ["Emulator", "FailHook", "KeyState", "default_data_dir"]
