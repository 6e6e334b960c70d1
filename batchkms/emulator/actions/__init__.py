"""The actions of the emulator, one file per family."""

from __future__ import annotations

from batchkms.emulator.actions.asymmetric import ASYMMETRIC_ACTIONS
from batchkms.emulator.actions.base import Action, Office
from batchkms.emulator.actions.datakeys import DATA_KEY_ACTIONS
from batchkms.emulator.actions.keys import KEY_ACTIONS
from batchkms.emulator.actions.lifecycle import LIFECYCLE_ACTIONS
from batchkms.emulator.actions.listing import LISTING_ACTIONS
from batchkms.emulator.actions.rotation import ROTATION_ACTIONS
from batchkms.emulator.actions.status import STATUS_ACTIONS
from batchkms.emulator.actions.symmetric import SYMMETRIC_ACTIONS

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        *SYMMETRIC_ACTIONS,
        *DATA_KEY_ACTIONS,
        *KEY_ACTIONS,
        *LISTING_ACTIONS,
        *LIFECYCLE_ACTIONS,
        *ROTATION_ACTIONS,
        *ASYMMETRIC_ACTIONS,
        *STATUS_ACTIONS,
    )
}

__all__ = ["ACTIONS", "Action", "Office"]
