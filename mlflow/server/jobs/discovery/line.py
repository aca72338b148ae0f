"""Whose turn it is: experiments that wait for a look, the one that waited longest first.

A cycle may end before the line does, and the next goes on where it ended. What a look found to need
no job is remembered, so that it is not repeated before something has changed. All of this is in
memory: a new leader begins anew, which costs looks and loses nothing.
"""

from collections.abc import Collection, Hashable
from dataclasses import dataclass, field

from mlflow.server.jobs.discovery.batches import Position
from mlflow.server.jobs.discovery.checkpoints import position_of
from mlflow.server.jobs.discovery.levels import Level
from mlflow.store.jobs.values import ScoredExperiment

# Traces may be logged late, and a filter may change, without a sign of it.
_CYCLES_UNTIL_ANOTHER_LOOK = 10
# A new version of a scorer may be of another level without a sign of it.
_CYCLES_UNTIL_LEVELS_ARE_LOOKED_UP = 240


@dataclass(frozen=True)
class Sight:
    """One level of one experiment, as far as one statement about all experiments shows it."""

    level: Level
    experiment: ScoredExperiment
    window_end_ms: int
    now_ms: int

    @property
    def key(self) -> Hashable:
        """The same for every sight of this level and experiment."""
        return self.experiment.experiment_id, self.level.unit

    @property
    def text(self) -> str | None:
        """The checkpoint's text; None if there is none."""
        return self.experiment.checkpoints.get(self.level.tag)

    @property
    def checkpoint(self) -> Position | None:
        """The checkpoint; None if there is none that can be read."""
        return position_of(self.text, self.level.id_key)

    @property
    def shows_something(self) -> bool:
        """Whether a trace may stand after the checkpoint, or a checkpoint has to be put down."""
        if self.checkpoint is None or self.is_ahead:
            return True
        return self.newest_ms is not None and self.newest_ms >= self.checkpoint.timestamp_ms

    @property
    def newest_ms(self) -> int | None:
        """When the newest trace of the window came; None if there is none."""
        return self.experiment.newest_trace_ms[self.level.tag]

    @property
    def is_ahead(self) -> bool:
        """Whether the checkpoint lies in the future, where nothing would ever wait after it."""
        return self.checkpoint is not None and self.checkpoint.timestamp_ms > self.now_ms

    @property
    def behind_ms(self) -> int:
        """From the checkpoint to the end of the window."""
        return self.window_end_ms - self.checkpoint.timestamp_ms if self.checkpoint else 0

    @property
    def state(self) -> Hashable:
        """What has to differ before another look can find anything else."""
        return self.text, self.newest_ms, self.experiment.configuration


@dataclass(frozen=True)
class _Settled:
    state: Hashable
    until_cycle: int


@dataclass
class Visit:
    """An experiment in the line, with the levels at which something may wait."""

    experiment: ScoredExperiment
    sights: list[Sight] = field(default_factory=list)

    @property
    def since_ms(self) -> int:
        """What has waited longest, by the checkpoints."""
        return min(each.window_end_ms - each.behind_ms for each in self.sights)


class Line:
    """Turns of experiments, and looks that need no repetition."""

    def __init__(self) -> None:
        self._cycle = 0
        self._turns = 0
        self._last_turn: dict[str, int] = {}
        self._settled: dict[Hashable, _Settled] = {}
        self._found_since_ms: dict[Hashable, int] = {}

    def begin_cycle(self, sights: list[Sight], busy: Collection[Hashable] = ()) -> list[Visit]:
        """The visits of a cycle in their order; what was settled and has not changed is left out.

        Args:
            sights: Of all experiments, whatever they show.
            busy: Keys of those that have an unfinished job.
        """
        self._cycle += 1
        self._forget_all_but(sights)
        visits: dict[str, Visit] = {}
        for sight in sights:
            if sight.key in busy:
                self._settled.pop(sight.key, None)
            elif sight.shows_something and not self._is_settled(sight):
                experiment = sight.experiment
                visit = visits.setdefault(experiment.experiment_id, Visit(experiment))
                visit.sights.append(sight)
        return sorted(
            visits.values(),
            key=lambda visit: (
                self._last_turn.get(visit.experiment.experiment_id, 0),
                visit.since_ms,
            ),
        )

    def take_turn(self, visit: Visit) -> None:
        """The experiment goes to the end of the line."""
        self._turns += 1
        self._last_turn[visit.experiment.experiment_id] = self._turns

    def settle(self, sight: Sight) -> None:
        """A look found nothing to be done."""
        self._settle(sight, sight.state, _CYCLES_UNTIL_ANOTHER_LOOK)

    def settle_level(self, sight: Sight) -> None:
        """The experiment has no scorers of this level."""
        self._settle(sight, sight.experiment.configuration, _CYCLES_UNTIL_LEVELS_ARE_LOOKED_UP)

    def found(self, sight: Sight, since_ms: int) -> None:
        """A look found what has waited since this time."""
        self._settled.pop(sight.key, None)
        self._found_since_ms[sight.key] = since_ms

    def waits_since_ms(self, sight: Sight) -> int | None:
        """Since when something is known or likely to wait; None if nothing is."""
        if not sight.shows_something or sight.key in self._settled:
            return None
        return self._found_since_ms.get(sight.key, sight.window_end_ms - sight.behind_ms)

    def _settle(self, sight: Sight, state: Hashable, cycles: int) -> None:
        self._settled[sight.key] = _Settled(state, self._cycle + cycles)
        self._found_since_ms.pop(sight.key, None)

    def _is_settled(self, sight: Sight) -> bool:
        settled = self._settled.get(sight.key)
        return (
            settled is not None
            and self._cycle < settled.until_cycle
            and settled.state in (sight.state, sight.experiment.configuration)
        )

    def _forget_all_but(self, sights: list[Sight]) -> None:
        keys = {sight.key for sight in sights}
        experiment_ids = {sight.experiment.experiment_id for sight in sights}
        self._settled = {key: value for key, value in self._settled.items() if key in keys}
        self._found_since_ms = {
            key: value for key, value in self._found_since_ms.items() if key in keys
        }
        self._last_turn = {
            key: value for key, value in self._last_turn.items() if key in experiment_ids
        }
