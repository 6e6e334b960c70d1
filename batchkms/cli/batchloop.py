"""What makes a process that does rows fast, whether it is the only one or one of several."""

from __future__ import annotations

import gc


def spare_the_collector() -> None:
    """Leaves what was loaded out of garbage collection, and collects less often.

    A row leaves no cycles behind; looking for them took a tenth of a fast run's time.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
