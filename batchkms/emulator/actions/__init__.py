"""The actions of the emulator, one file per family."""

from __future__ import annotations

from batchkms.emulator.actions.base import Action, Office
from batchkms.emulator.actions.keys import KEY_ACTIONS
from batchkms.emulator.actions.status import STATUS_ACTIONS
from batchkms.emulator.actions.symmetric import SYMMETRIC_ACTIONS

ACTIONS: dict[str, Action] = {
    action.name: action for action in (*SYMMETRIC_ACTIONS, *KEY_ACTIONS, *STATUS_ACTIONS)
}

__all__ = ["ACTIONS", "Action", "Office"]
