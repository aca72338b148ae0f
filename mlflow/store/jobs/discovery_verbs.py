"""The verbs that discovery needs beside T1."""

from collections.abc import Collection, Mapping

from sqlalchemy.engine import Connection

from mlflow.store.jobs import checkpoints, lease_rows, scored_experiments
from mlflow.store.jobs.errors import LeadershipLost
from mlflow.store.jobs.values import CheckpointMove, LockKeyFor, ScoredExperiment, Term


class DiscoveryVerbs:
    """Uses the transactions and the clock of the store that it is mixed into."""

    def scored_experiments(
        self, ends_ms: Mapping[str, int], experiment_id: str | None = None
    ) -> list[ScoredExperiment]:
        return self._transactions.read(
            lambda connection: scored_experiments.scored_experiments(
                connection, ends_ms, experiment_id
            )
        )

    def unfinished_lock_keys(
        self,
        job_names: Collection[str],
        lock_key_for: LockKeyFor,
        lock_keys: Collection[str] | None = None,
    ) -> set[str]:
        rows = self._transactions.read(
            lambda connection: scored_experiments.unfinished(connection, job_names, lock_keys)
        )
        return {
            stored or lock_key_for(name, params, workspace)
            for name, stored, params, workspace in rows
        }

    def begin_checkpoint(
        self, checkpoint: CheckpointMove, term: Term, instead_of: str | None = None
    ) -> bool:
        def put(connection: Connection) -> bool:
            if instead_of is None:
                done = checkpoints.begin(connection, checkpoint, term, self._now)
            else:
                done = checkpoints.replace(connection, checkpoint, instead_of, term, self._now)
            if not done and not lease_rows.is_held(connection, term, self._now):
                raise LeadershipLost(term.lease_key, term.holder, term.fence)
            return done

        return self._transactions.write_statement(put)

    def forget_checkpoint(self, experiment_id: str, tag: str, instead_of: str, term: Term) -> bool:
        return self._changes_one(
            checkpoints.forget(experiment_id, tag, instead_of, term, self._now)
        )

    def forget_unscored_checkpoints(self, tags: Collection[str], term: Term) -> int:
        statement = checkpoints.forget_unscored(tags, term, self._now)
        return self._transactions.write_statement(
            lambda connection: connection.execute(statement).rowcount
        )
