"""Measure several contenders in turn, again and again: a busy minute hits them all alike."""

import sys
import time
from collections.abc import Callable, Mapping

from dev.bench.figures import Measured, add

Measure = Callable[[], Mapping[str, float | None]]


def alternate(contenders: Mapping[str, Measure], rounds: int) -> Measured:
    """Run every contender once a round, each round from the other end.

    A contender that fails is told on stderr and has no figures in that round; the others go on.
    """
    measured: Measured = {name: {} for name in contenders}
    order = [*contenders]
    for number in range(1, rounds + 1):
        for name in order:
            progress(f"round {number} of {rounds}: {name}")
            began = time.monotonic()
            try:
                figures = contenders[name]()
            except Exception as error:  # noqa: BLE001 - what a peer does must not end the run
                progress(f"  {name} failed: {type(error).__name__}: {error}")
                continue
            add(measured, name, figures)
            progress(f"  {time.monotonic() - began:.0f} s")
        order.reverse()
    return measured


def progress(line: str) -> None:
    """Tell whoever waits how far it is."""
    print(line, file=sys.stderr, flush=True)
