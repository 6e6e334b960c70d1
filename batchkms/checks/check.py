"""The whole check of one job: its input, then the account, then what a run would take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from batchkms.checks.account import Account, look_at_account
from batchkms.checks.estimate import (
    Estimate,
    free_disk_bytes,
    less_reserve,
    output_bytes,
    pace_of,
    price_of,
)
from batchkms.checks.idindex import DuplicateId
from batchkms.checks.inventory import Inventory, take_inventory
from batchkms.checks.plan import Plan
from batchkms.checks.report import CheckReport
from batchkms.kms.client import KmsClient
from batchkms.quota import per_second
from batchkms.records import Result
from batchkms.shard import Shard, divided
from batchkms.sources.base import Source


async def check(
    source: Source,
    *,
    kms: KmsClient | None,
    region: str,
    key_id: str | None = None,
    rate: int | Literal["auto"] | None = None,
    reserve: float = 0.0,
    shard: Shard | None = None,
    plan: Plan | None = None,
    output_folder: str | None = None,
    limit: int | None = None,
    again: Callable[[], Source] | None = None,
    on_failing: Callable[[Result], None] | None = None,
    on_duplicate: Callable[[DuplicateId], None] | None = None,
) -> CheckReport:
    """Looks at everything and changes nothing.

    `source` has the rows of the share `shard`, where there is one.
    `kms` None leaves the service out. `key_id` is the CMK for rows that name none, `rate` the
    calls a second (None: no limit), `reserve` the share of it (0 to 1) left to others,
    `plan` is what the job would do (default: Encrypt for each row), `output_folder` is where the
    disk must have room. The rest is as for `take_inventory`. Raises InputError, and ConfigError
    where the rate cannot be divided among the shares.
    """
    plan = plan or Plan()
    inventory = await take_inventory(
        source, limit=limit, again=again, on_failing=on_failing, on_duplicate=on_duplicate
    )
    account: Account | None = None
    if kms is not None and inventory.rows:
        account = await look_at_account(kms, inventory.rows_by_key(key_id), region=region)
    if rate == "auto":
        rate = None if account is None else account.quota
    return CheckReport(
        inventory=inventory,
        account=account,
        content=plan.content,
        shard=None if shard is None else str(shard),
        without_key=inventory.keyless if plan.command == "encrypt" and key_id is None else 0,
        estimate=_estimate(
            inventory,
            rate=less_reserve(rate, reserve),
            shard=shard,
            plan=plan,
            output_folder=output_folder,
        ),
    )


def _estimate(
    inventory: Inventory,
    *,
    rate: int | None,
    shard: Shard | None,
    plan: Plan,
    output_folder: str | None,
) -> Estimate:
    calls = plan.calls(inventory)
    paces = divided(per_second(list(calls), rate), shard)
    pace = pace_of(calls, paces)
    total = sum(calls.values())
    return Estimate(
        calls=total,
        per_second=next(iter(paces.values())),
        pace=pace,
        price=price_of(total),
        output_bytes=output_bytes(
            inventory.sizes,
            written_chars=plan.written_chars,
            id_bytes=inventory.id_bytes,
            context_bytes=inventory.context_bytes,
            with_context=inventory.with_context,
            failing=inventory.failing,
            failing_bytes=inventory.failing_bytes,
            kept_bytes=inventory.kept_bytes,
        )
        + plan.in_place_bytes(inventory),
        free_bytes=None if output_folder is None else free_disk_bytes(output_folder),
    )
