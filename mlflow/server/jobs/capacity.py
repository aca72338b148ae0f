"""Free slots per job type on this runner. Pure."""

from collections.abc import Mapping


def free_slots(limits: Mapping[str, int], running: Mapping[str, int]) -> dict[str, int]:
    """How many more jobs of each type fit; types without a free slot are absent.

    Args:
        limits: Job name to how many may run at once here.
        running: Job name to how many run here now; may exceed its limit after a reattach.
    """
    free = {name: limit - running.get(name, 0) for name, limit in limits.items()}
    return {name: slots for name, slots in free.items() if slots > 0}
