"""What goes wrong on demand: rules that say which calls are hit, and what happens to them."""

from __future__ import annotations

from batchkms.emulator.faults.book import Faults
from batchkms.emulator.faults.carry import Carrier, Spoiled
from batchkms.emulator.faults.fault import Fault, QuotaChange, Unanswered
from batchkms.emulator.faults.rule import EFFECTS, Rule
from batchkms.emulator.faults.source import read_rules, rules_of

__all__ = [
    "EFFECTS",
    "Carrier",
    "Fault",
    "Faults",
    "QuotaChange",
    "Rule",
    "Spoiled",
    "Unanswered",
    "read_rules",
    "rules_of",
]
