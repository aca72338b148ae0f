"""What the job store does, in plain Python: one caller at a time, a job is a row in a dict.

Answers are the store's, or the type of the error it raises; instants are milliseconds. Of a text
that the store words, the part that matters is known here.
"""

from types import SimpleNamespace as Row

from mlflow.store.jobs.errors import JobTerminalStateUpdateException, LeadershipLost
from mlflow.store.jobs.transitions import (
    CANCELED,
    FAILED,
    NEEDS_RECOVERY,
    OWNED,
    PENDING,
    RUNNING,
    TIMEOUT,
    UNFINISHED,
)
from mlflow.store.jobs.values import Claim, JobUpdateStatus, Term

APPLIED, WRONG_STATE, CLAIM_LOST = JobUpdateStatus
SUSPECT = 0
UNOWNED = {"lease": None, "due": None, "message": None}


class Reference:
    def __init__(self):
        self.now = self.term_ends = self.checkpoint = self.last_run = 0
        self.jobs, self.locks, self.term = {}, {}, Term("scheduler", None, 0)

    def create(self, term, **values):
        if term and not self.leads(term):
            return LeadershipLost
        keys = [row.lock_key for row in self.jobs.values() if row.status in UNFINISHED]
        if term and values["lock_key"] and values["lock_key"] in keys:
            return None
        row = Row(**values, **UNOWNED, created=self.now, status=PENDING, owner=None, started=None)
        row.fence, row.retries, row.recoveries, row.result, row.lost = 0, 0, 0, None, False
        self.jobs[row.id] = row
        return row.id

    def claim(self, replica, backends, capacity, lease_ms):
        chosen = []
        for name, slots in capacity.items():
            served = [j for j in self.jobs.values() if j.name == name and j.backend in backends]
            due = [j for j in served if j.status is PENDING and (j.due or 0) <= self.now]
            chosen += sorted((j for j in due if j.due != SUSPECT), key=age)[:slots]
        return self.take(chosen, replica, lease_ms)

    def claim_suspect(self, replica, backends, names, lease_ms):
        served = [j for j in self.jobs.values() if j.name in names and j.backend in backends]
        suspects = [j for j in served if j.status is PENDING and j.due == SUSPECT]
        return self.take(sorted(suspects, key=age)[:1], replica, lease_ms)

    def take(self, chosen, replica, lease_ms):
        taken, refused = [], []
        for row in sorted(chosen, key=age):
            row.status, row.owner, row.fence = RUNNING, replica, row.fence + 1
            row.started, row.lease = self.now, self.now + lease_ms
            row.lock_key = row.lock_key or row.params["key"]
            claim = Claim(row.id, row.fence)
            taken.append(claim) if self.lock(claim, row.lock_key) else refused.append(row.id)
        return taken, refused

    def lock(self, claim, key):
        held, since = self.locks.get(key, (claim, 0))
        holder = self.jobs[held.job_id]
        if held.job_id != claim.job_id and held.fence == holder.fence:
            stopping = holder.status is CANCELED and (holder.lease or 0) >= self.now
            if (holder.status in OWNED or stopping) and since + overrun(holder) > self.now:
                self.finish(claim, CANCELED, f"job {holder.id} holds")
                return False
            self.finish(held, TIMEOUT, f"job {claim.job_id} took over")
        if key is not None:
            self.locks[key] = (claim, self.now)
        return True

    def change(self, claim, leaves, frees=False, **effects):
        row = self.jobs[claim.job_id]
        if row.fence != claim.fence:
            return CLAIM_LOST
        if row.status not in leaves:
            return WRONG_STATE
        vars(row).update(effects)
        if frees:
            self.locks = {k: held for k, held in self.locks.items() if held[0].job_id != row.id}
        return APPLIED

    def renew(self, claims, lease_ms):
        lease = self.now + lease_ms
        return {c for c in claims if self.change(c, {RUNNING}, lease=lease) is not APPLIED}

    def finish(self, claim, status, result, checkpoint=0, leaves=OWNED):
        row = self.jobs[claim.job_id]
        if (row.fence, row.status, row.result) == (claim.fence, status, result):
            return APPLIED
        answer = self.change(claim, leaves, True, status=status, result=result, **UNOWNED)
        self.checkpoint = max(self.checkpoint, checkpoint if answer is APPLIED else 0)
        return answer

    def retry(self, claim, error, delay_ms):
        again = {"retries": self.jobs[claim.job_id].retries + 1, "message": error}
        again |= {"status": PENDING, "lease": None, "due": self.now + delay_ms}
        return self.change(claim, OWNED, True, **again)

    def abandon(self, claims, lost=False):
        later = {"status": NEEDS_RECOVERY, "lease": None, "lost": lost}
        return sum(self.change(each, {RUNNING}, **later) is APPLIED for each in claims)

    def cancel(self, job_id):
        row = self.jobs[job_id]
        if row.status not in UNFINISHED:
            return JobTerminalStateUpdateException
        ended = UNOWNED | {"lease": row.lease, "status": CANCELED}
        return self.change(Claim(job_id, row.fence), UNFINISHED, row.lease is None, **ended)

    def confirm_canceled(self, claim):
        return self.change(claim, {CANCELED}, True, lease=None)

    def report(self, job_id, message, fence):
        row = self.jobs[job_id]
        if fence in (None, row.fence) and row.status not in UNFINISHED:
            return JobTerminalStateUpdateException
        claim = Claim(job_id, row.fence if fence is None else fence)
        return self.change(claim, UNFINISHED if fence is None else OWNED, message=message)

    def sweep(self, term):
        running = [row for row in self.jobs.values() if row.status is RUNNING]
        late = [
            Claim(row.id, row.fence)
            for row in running
            if row.lease < self.now or (row.timeout and row.started + overrun(row) < self.now)
        ]
        return self.abandon(late, True) if self.leads(term) else 0

    def reattach(self, candidate, replica, lease_ms, term):
        claim = Claim(candidate.job_id, candidate.fence + 1)
        owned = {"status": RUNNING, "owner": replica, "fence": claim.fence}
        owned["lease"] = self.now + lease_ms
        if self.change(candidate, self.recoverable(term), **owned) is not APPLIED:
            return None
        for key, (held, since) in self.locks.items():
            self.locks[key] = (claim if held.job_id == claim.job_id else held, since)
        return claim

    def requeue(self, candidate, term, most, crash):
        row = self.jobs[candidate.job_id]
        lost = bool(row.lost or crash)
        died = f"died {row.recoveries + 1} times" if row.recoveries else "died once"
        aside = {"status": FAILED, "result": died} if lost and row.recoveries >= most else {}
        again = {"status": PENDING, "recoveries": row.recoveries + lost}
        if not aside and (2 * again["recoveries"] > most if lost else row.due == SUSPECT):
            again["due"] = SUSPECT
        effects = UNOWNED | again | aside
        return self.change(candidate, self.recoverable(term), True, **effects)

    def fail_recovery(self, candidate, error, term):
        return self.finish(candidate, FAILED, error, leaves=self.recoverable(term))

    def recoverable(self, term):
        return {NEEDS_RECOVERY} if self.leads(term) else set()

    def leads(self, term):
        return term == self.term and self.now < self.term_ends

    def acquire(self, holder, ttl_ms):
        if self.term.holder and self.now < self.term_ends:
            return None
        self.term, self.term_ends = (
            Term("scheduler", holder, self.term.fence + 1),
            self.now + ttl_ms,
        )
        return self.term

    def renew_term(self, term, ttl_ms):
        self.term_ends = self.now + ttl_ms if self.leads(term) else self.term_ends
        return self.leads(term)

    def release(self, term):
        held = term == self.term
        self.term = Term("scheduler", None, term.fence) if held else self.term
        return held

    def begin_run(self, due_at_ms, term):
        begins = self.leads(term) and due_at_ms > self.last_run
        self.last_run = due_at_ms if begins else self.last_run
        return begins


def age(row):
    return row.due or row.created, row.id


def overrun(row):
    return 1150 * (row.timeout or 3600)
