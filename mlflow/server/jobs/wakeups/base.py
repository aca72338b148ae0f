"""What a wake-up is: a hint that there may be something to do. Keeps I9 by promising nothing.

A wake-up says which look may be worth it, and nothing about what it will find: whoever receives one
looks at the database, where the truth is. It may be lost, repeated, late, or come without a reason.
Losing one costs at most one poll interval of latency. Sending one therefore never fails and never
blocks, and receiving several close together is the same as receiving one.

What a runner may rely on is whether wake-ups *usually* come: a receiver that `hears_all` has shown
that it is reached by all who share the database, and says so no longer once it has reason to doubt
it. All that a runner does with that knowledge is to look by itself less often (`pace`).
"""

import logging
from collections.abc import Callable, Sequence
from enum import Flag, auto
from typing import Protocol

_logger = logging.getLogger(__name__)


class Hint(Flag):
    """What may be worth a look.

    WORK: jobs that are due. CANCEL: jobs that were canceled while they ran. LEADER: something for
    whoever leads or may lead: a lease that was given back, a job left to recovery, a full batch
    that has succeeded.
    """

    WORK = auto()
    CANCEL = auto()
    LEADER = auto()


NOTHING = Hint(0)
EVERYTHING = Hint.WORK | Hint.CANCEL | Hint.LEADER

# Called with the hint, and whether it is meant for this replica rather than for all of them.
OnHint = Callable[[Hint, bool], None]

_LETTERS = {Hint.WORK: "w", Hint.CANCEL: "c", Hint.LEADER: "l"}


def written(hint: Hint) -> str:
    """A hint as a few letters."""
    return "".join(letter for each, letter in _LETTERS.items() if each in hint)


def read(letters: str) -> Hint:
    """The hint of some letters; what a later release may add is passed over."""
    hint = NOTHING
    for each, letter in _LETTERS.items():
        if letter in letters:
            hint |= each
    return hint


class WakeupReceiver(Protocol):
    """Calls back when a wake-up arrives."""

    @property
    def hears_all(self) -> bool:
        """Whether wake-ups of all who share the database are known to arrive here."""

    def start(self, on_hint: OnHint) -> None:
        """Begin to listen; `on_hint` is called from a thread of the receiver and must not block.

        Raises:
            OSError: There is nothing to listen on.
        """

    def stop(self) -> None:
        """End listening; no call comes after this returns."""


class Receivers:
    """Several receivers as one; that of one kind does not need the others."""

    def __init__(self, receivers: Sequence[WakeupReceiver]) -> None:
        self._receivers = receivers

    @property
    def hears_all(self) -> bool:
        """Whether one of them does."""
        return any(receiver.hears_all for receiver in self._receivers)

    def start(self, on_hint: OnHint) -> None:
        """Start those that can be; the others are logged, and the poll stands in for them."""
        for receiver in self._receivers:
            try:
                receiver.start(on_hint)
            except OSError as e:
                _logger.warning("No wake-ups come from this server's workers: %s", e)

    def stop(self) -> None:
        """Stop all."""
        for receiver in self._receivers:
            receiver.stop()
