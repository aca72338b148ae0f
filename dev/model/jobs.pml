/*
 * The protocol of jobs, locks and leaders, small enough to be checked in all its interleavings.
 *
 * Two runners with SLOTS slots each, two exclusive jobs of one lock key, one lock, one checkpoint,
 * TERMS terms of the scheduler lease. A `d_step` is one transaction of the store, named after its
 * transition. Between any two of them everybody else may act: whoever does not is paused.
 *
 * Time is what may happen next: a lease that may run out, runs out at any moment. What a runner
 * promises about time is assumed, not checked: before the lease of a job runs out by the database's
 * clock, its runner has killed the work or is paused together with it, and does so when it wakes;
 * of a remote backend the work may also go on without its runner.
 *
 * Claims: I1 in `write`, I2 in `enter`, I4 and I5 in `check`, I6 in `lead`. Each has a variant that
 * takes its guard away and must be refuted: UNFENCED, REOPENED, EARLY_RELEASE, UNORDERED, UNTERMED.
 */

#ifndef SLOTS
#define SLOTS 1                 /* of each runner */
#endif
#ifndef TERMS
#define TERMS 2                 /* one leader change */
#endif
#ifndef CLAIMS
#define CLAIMS 2                /* of each job */
#endif

#define ALL_SLOTS (2 * SLOTS)
#define NONE 255

mtype = { ABSENT, PENDING, RUNNING, NEEDS_RECOVERY, SUCCEEDED, FAILED, TIMED_OUT, CANCELED };
mtype = { NO_LEASE, LIVE, EXPIRED };

/* The database. */
mtype status[2];
byte fence[2];
mtype lease[2];
bool overrun[2];                /* the claim of this fence is past 115% of its timeout */
byte lock_job = NONE, lock_fence;
byte checkpoint;                /* job j covers the range that ends at j + 1 */
byte leader = NONE, term;
bool term_over;

/* The world outside: what each slot believes to own, and where work is alive. */
byte slot_job[ALL_SLOTS], slot_fence[ALL_SLOTS];
bool slot_works[ALL_SLOTS], slot_late[ALL_SLOTS];
bool detached[2], detached_late[2];

/* Only to check with. */
byte owner[2];

#define owned(j) (status[j] == RUNNING || status[j] == NEEDS_RECOVERY)
#define terminal(j) (status[j] == SUCCEEDED || status[j] == FAILED || status[j] == TIMED_OUT \
                     || status[j] == CANCELED)

#ifdef UNFENCED
#define is_fence(stored, given) true
#else
#define is_fence(stored, given) (stored == given)
#endif
#define held(j, f) is_fence(fence[j], f)

#ifdef UNTERMED
#define leads(t) true
#else
#define leads(t) (leader != NONE && term == t && !term_over)
#endif

#ifdef UNORDERED
#define advances(j) true
#else
#define advances(j) (checkpoint < j + 1)
#endif

#ifdef EARLY_RELEASE
#define frees_at_cancel(j) true
#else
#define frees_at_cancel(j) (lease[j] == NO_LEASE)
#endif

#ifdef REOPENED
#define leaves_owned(j) (owned(j) || status[j] == CANCELED)
#else
#define leaves_owned(j) owned(j)
#endif

#define lock_is_live (lock_job != NONE && !overrun[lock_job] && fence[lock_job] <= lock_fence && \
    (owned(lock_job) || (status[lock_job] == CANCELED && lease[lock_job] == LIVE)))

/* I2: no transition leaves a terminal state. */
inline enter(j, to) {
    assert(!terminal(j));
    status[j] = to
}

/* I1: who writes as the owner is the owner. */
inline write(s, j) {
    assert(owner[j] == s && fence[j] == slot_fence[s])
}

inline release(j, f) {
    if
    :: lock_job == j && is_fence(lock_fence, f) -> lock_job = NONE; lock_fence = 0
    :: else
    fi
}

inline forget(s) {
    slot_job[s] = NONE; slot_fence[s] = 0; slot_works[s] = false; slot_late[s] = false
}

inline own(s, j) {
    fence[j]++; lease[j] = LIVE; owner[j] = s;
    slot_job[s] = j; slot_fence[s] = fence[j]; slot_works[s] = true
}

inline check() {
    /* I4, of work that is within its time. Of a canceled remote job it is not promised. */
    count = 0;
    for (i : 0 .. ALL_SLOTS - 1) {
        if
        :: slot_works[i] && !slot_late[i] -> count++
        :: else
        fi
    }
    for (i : 0 .. 1) {
        if
#ifdef REMOTE_CANCEL
        :: detached[i] && !detached_late[i] -> count++
#else
        :: detached[i] && !detached_late[i] && status[i] != CANCELED -> count++
#endif
        :: else
        fi
    }
    assert(count <= 1);
    /* I5 */
    assert(checkpoint == (status[1] == SUCCEEDED -> 2 : (status[0] == SUCCEEDED -> 1 : 0)));
    i = 0; count = 0
}

/* What a slot does. */

inline claim(s, j) {
    enter(j, RUNNING); own(s, j); overrun[j] = false;
    if
    :: lock_job != NONE && lock_job != j && lock_is_live ->
        enter(j, CANCELED); lease[j] = NO_LEASE; forget(s);                     /* T3 */
        printf("slot %d: T3 job %d is canceled, the lock is held\n", s, j)
    :: else ->
        if
        :: lock_job != NONE && lock_job != j && owned(lock_job) && fence[lock_job] == lock_fence ->
            enter(lock_job, TIMED_OUT); lease[lock_job] = NO_LEASE
        :: else
        fi;
        lock_job = j; lock_fence = fence[j];
        printf("slot %d: T2 job %d is claimed, fence %d\n", s, j, fence[j])
    fi
}

inline finish(s, to, free) {
    j = slot_job[s];
    if
    :: held(j, slot_fence[s]) && leaves_owned(j) ->
        printf("slot %d: writes %e of job %d, fence %d; the row has fence %d\n",
               s, to, j, slot_fence[s], fence[j]);
        write(s, j); enter(j, to); lease[j] = NO_LEASE;
        if
        :: free -> release(j, slot_fence[s])
        :: else
        fi;
        if
        :: to == SUCCEEDED && advances(j) -> checkpoint = j + 1
        :: else
        fi
    :: held(j, slot_fence[s]) && status[j] == CANCELED ->
        printf("slot %d: T8 confirms that job %d has stopped\n", s, j);
        lease[j] = NO_LEASE; release(j, slot_fence[s])
    :: else ->
        printf("slot %d: lost job %d, fence %d; nothing is written\n", s, j, slot_fence[s])
    fi;
    forget(s); j = 0
}

proctype Slot(byte s) {
    byte i, j, count;
end:
    do
    :: d_step { slot_job[s] == NONE && status[0] == PENDING && fence[0] < CLAIMS ->
        claim(s, 0); check() }
    :: d_step { slot_job[s] == NONE && status[1] == PENDING && fence[1] < CLAIMS ->
        claim(s, 1); check() }
    :: d_step { slot_works[s] -> slot_works[s] = false;
        printf("slot %d: the work has ended\n", s) }
    :: d_step { slot_works[s] -> j = slot_job[s];
        if
        :: held(j, slot_fence[s]) && status[j] == RUNNING ->
            write(s, j); lease[j] = LIVE;
            printf("slot %d: T4 renews job %d\n", s, j)
        :: held(j, slot_fence[s]) && status[j] == CANCELED ->
            slot_works[s] = false;
            printf("slot %d: kills the canceled job %d\n", s, j)
        :: else -> forget(s);
            printf("slot %d: kills job %d, whose claim is lost\n", s, j)
        fi;
        j = 0; check() }
    :: d_step { slot_job[s] != NONE && !slot_works[s] ->
        finish(s, SUCCEEDED, true); check() }                                   /* T5 */
    :: d_step { slot_job[s] != NONE && !slot_works[s] ->
        finish(s, FAILED, true); check() }                                      /* T6 */
    :: d_step { slot_job[s] != NONE && !slot_works[s] ->
        finish(s, PENDING, true); check() }                                     /* T7 */
    :: d_step { slot_job[s] != NONE && !slot_works[s] && status[slot_job[s]] == RUNNING ->
        finish(s, NEEDS_RECOVERY, false); check() }                             /* T10 */
#ifdef REMOTE
    :: d_step { slot_works[s] && held(slot_job[s], slot_fence[s]) &&
        status[slot_job[s]] == RUNNING ->                                    /* T10 */
        j = slot_job[s]; write(s, j); enter(j, NEEDS_RECOVERY); lease[j] = NO_LEASE;
        detached[j] = true; detached_late[j] = slot_late[s]; forget(s);
        printf("slot %d: T10 leaves job %d to its remote backend\n", s, j);
        j = 0; check() }
#endif
    od
}

/* What a leader does. It asks a backend before it acts, and may be paused in between. */

#define recoverable(j, f) (leads(my_term) && status[j] == NEEDS_RECOVERY && held(j, f))

inline lead(l) {
    assert(leader == l && term == my_term && !term_over)
}

inline sweep(l, j) {
    lead(l); enter(j, NEEDS_RECOVERY); lease[j] = NO_LEASE;
    printf("leader %d: T9 job %d, fence %d is stale\n", l, j, fence[j])
}

inline ask(l, j, alive) {
    found = j; found_fence = fence[j]; is_alive = alive;
    if
    :: !alive -> detached[j] = false; detached_late[j] = false
    :: else
    fi;
    printf("leader %d: asks the backend of job %d, fence %d\n", l, j, found_fence)
}

inline forget_found() {
    found = NONE; found_fence = 0; is_alive = false
}

inline put_back(l) {
    if
    :: recoverable(found, found_fence) ->
        lead(l); enter(found, PENDING); release(found, found_fence);
        printf("leader %d: T12 job %d, fence %d is requeued\n", l, found, found_fence)
    :: else -> printf("leader %d: too late to requeue job %d\n", l, found)
    fi;
    forget_found()
}

inline give_up(l) {
    if
    :: recoverable(found, found_fence) ->
        lead(l); enter(found, FAILED); release(found, found_fence);
        printf("leader %d: T13 job %d, fence %d has failed\n", l, found, found_fence)
    :: else -> printf("leader %d: too late to fail job %d\n", l, found)
    fi;
    forget_found()
}

inline reattach(l) {
    s = l * SLOTS;
    if
    :: SLOTS == 2 && slot_job[s] != NONE -> s++
    :: else
    fi;
    if
    :: slot_job[s] == NONE && recoverable(found, found_fence) && fence[found] < CLAIMS ->
        lead(l); enter(found, RUNNING); own(s, found);
        slot_works[s] = detached[found]; slot_late[s] = detached_late[found];
        detached[found] = false; detached_late[found] = false;
        if
        :: lock_job == found -> lock_fence = fence[found]
        :: else
        fi;
        printf("leader %d: T11 job %d is reattached, fence %d\n", l, found, fence[found])
    :: else -> printf("leader %d: does not reattach job %d\n", l, found)
    fi;
    s = 0; forget_found()
}

#define stale(j) (status[j] == RUNNING && (lease[j] == EXPIRED || overrun[j]))
#define may_ask(j) (my_term > 0 && found == NONE && status[j] == NEEDS_RECOVERY)

proctype Leader(byte l) {
    byte i, s, count, my_term, found = NONE, found_fence;
    bool is_alive;
end:
    do
    :: d_step { (leader == NONE || term_over) && term < TERMS ->
        term++; leader = l; term_over = false; my_term = term;
        printf("leader %d: begins term %d\n", l, term) }
    :: d_step { my_term > 0 && leader == l && term == my_term ->
        leader = NONE; term_over = false; my_term = 0; forget_found();
        printf("leader %d: resigns\n", l) }
    :: d_step { my_term > 0 && leads(my_term) && stale(0) -> sweep(l, 0); check() }
    :: d_step { my_term > 0 && leads(my_term) && stale(1) -> sweep(l, 1); check() }
    :: d_step { may_ask(0) -> ask(l, 0, false); check() }
    :: d_step { may_ask(1) -> ask(l, 1, false); check() }
#ifdef REMOTE
    :: d_step { may_ask(0) && detached[0] -> ask(l, 0, true) }
    :: d_step { may_ask(1) && detached[1] -> ask(l, 1, true) }
    :: d_step { found != NONE && is_alive -> reattach(l); check() }
#endif
    :: d_step { found != NONE && !is_alive -> put_back(l); check() }
    :: d_step { found != NONE && !is_alive -> give_up(l); check() }
    :: d_step { my_term > 0 && leads(my_term) && status[1] == ABSENT && status[0] != PENDING &&
                !owned(0) ->
        lead(l); status[1] = PENDING;
        printf("leader %d: T1 discovers job 1\n", l) }
    od
}

/* Users, and time. */

inline cancel(j) {
    enter(j, CANCELED);
    if
    :: lock_job == j && frees_at_cancel(j) -> lock_job = NONE; lock_fence = 0
    :: else
    fi;
    printf("user: T8 cancels job %d, fence %d\n", j, fence[j])
}

inline expire(j, outlives) {
    lease[j] = EXPIRED;
    for (i : 0 .. ALL_SLOTS - 1) {
        if
        :: slot_works[i] && slot_job[i] == j && slot_fence[i] == fence[j] ->
            slot_works[i] = false;
            if
            :: outlives ->
                detached[j] = true; detached_late[j] = slot_late[i]; forget(i)
            :: else
            fi
        :: else
        fi
    }
    i = 0;
    printf("time: the lease of job %d, fence %d runs out\n", j, fence[j])
}

inline run_over(j) {
    overrun[j] = true;
    if
    :: detached[j] -> detached_late[j] = true
    :: else
    fi;
    for (i : 0 .. ALL_SLOTS - 1) {
        if
        :: slot_job[i] == j && slot_fence[i] == fence[j] -> slot_late[i] = true
        :: else
        fi
    }
    i = 0;
    printf("time: job %d, fence %d is past 115%% of its timeout\n", j, fence[j])
}

#define may_overrun(j) (!overrun[j] && (owned(j) || (status[j] == CANCELED && lease[j] == LIVE)))
#define is_cancelable(j) (status[j] == PENDING || owned(j))

proctype World() {
    byte i, count;
end:
    do
    :: d_step { status[1] == ABSENT -> status[1] = PENDING; printf("user: T1 submits job 1\n") }
    :: d_step { is_cancelable(0) -> cancel(0); check() }
    :: d_step { is_cancelable(1) -> cancel(1); check() }
    :: d_step { lease[0] == LIVE -> expire(0, false); check() }
    :: d_step { lease[1] == LIVE -> expire(1, false); check() }
#ifdef REMOTE
    :: d_step { lease[0] == LIVE && status[0] == RUNNING -> expire(0, true); check() }
    :: d_step { lease[1] == LIVE && status[1] == RUNNING -> expire(1, true); check() }
#endif
    :: d_step { may_overrun(0) -> run_over(0) }
    :: d_step { may_overrun(1) -> run_over(1) }
    :: d_step { leader != NONE && !term_over -> term_over = true;
        printf("time: term %d runs out\n", term) }
    od
}

init {
    byte n;
    atomic {
        for (n : 0 .. 1) {
            status[n] = ABSENT; lease[n] = NO_LEASE; owner[n] = NONE
        }
        for (n : 0 .. ALL_SLOTS - 1) {
            slot_job[n] = NONE
        }
        status[0] = PENDING;
        for (n : 0 .. ALL_SLOTS - 1) {
            run Slot(n)
        }
        n = 0;
        run Leader(0); run Leader(1); run World()
    }
}
