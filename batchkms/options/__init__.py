"""The options of batch commands: one table for flags, environment and job files.

Every value goes through the same parser, wherever it was written, so that it means the same.
"""

from batchkms.errors import BadValue
from batchkms.options.address import Address
from batchkms.options.commands import EVERY, OF_COMMAND, PER_JOB
from batchkms.options.common import COMMON
from batchkms.options.option import Option
from batchkms.options.own import DRY_RUN

__all__ = [
    "COMMON",
    "DRY_RUN",
    "EVERY",
    "OF_COMMAND",
    "PER_JOB",
    "Address",
    "BadValue",
    "Option",
]
