"""Warn once about each thing that discovery leaves out, and again when the reason changes."""

import logging
from collections.abc import Hashable

_logger = logging.getLogger(__name__)


class Skips:
    """What is left out at present, and why."""

    def __init__(self) -> None:
        self._reasons: dict[Hashable, str] = {}

    def note(self, key: Hashable, what: str, reason: str) -> None:
        """Log unless the same reason was logged for this key already."""
        if self._reasons.get(key) != reason:
            self._reasons[key] = reason
            _logger.warning("Online scoring skips %s: %s", what, reason)

    def clear(self, key: Hashable) -> None:
        """Forget a key: it works again."""
        self._reasons.pop(key, None)
