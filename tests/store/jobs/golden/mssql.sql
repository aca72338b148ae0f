-- T2 of a suspect
WITH due_rows AS (SELECT TOP 1 anon_1.id AS id
FROM (SELECT anon_2.id AS id, anon_2.due_at AS due_at
FROM (SELECT TOP 1 jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_1
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_2
UNION ALL
SELECT anon_3.id AS id, anon_3.due_at AS due_at
FROM (SELECT TOP 1 jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_1
AND jobs.job_name = :job_name_2
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_3
UNION ALL
SELECT anon_4.id AS id, anon_4.due_at AS due_at
FROM (SELECT TOP 1 jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_3
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_4
UNION ALL
SELECT anon_5.id AS id, anon_5.due_at AS due_at
FROM (SELECT TOP 1 jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_2
AND jobs.job_name = :job_name_4
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_5)
    AS anon_1
ORDER BY anon_1.due_at, anon_1.id) UPDATE jobs
SET status=:status, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1), lease_expires_at=((DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1) + :param_1), token_hash=NULL, fence=(jobs.fence + :fence_1), claimed_by=:claimed_by,
    started_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    issued_token_hash=NULL
OUTPUT inserted.id, inserted.fence, inserted.job_name, inserted.params, inserted.timeout,
    inserted.workspace, inserted.executor_backend, inserted.creator, inserted.retry_count,
    inserted.recovery_count, inserted.sealed_environment, inserted.lock_key, inserted.creation_time,
    inserted.next_attempt_at
WHERE jobs.status + 0 = 0
AND jobs.id IN (SELECT due_rows.id
FROM due_rows);

-- T2, two types of job on two backends
WITH due_rows AS (SELECT anon_1.id AS id
FROM (SELECT TOP 3 anon_2.id AS id
FROM (SELECT anon_3.id AS id, anon_3.due_at AS due_at
FROM (SELECT TOP 3 jobs.id AS id, jobs.creation_time AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_1
AND jobs.next_attempt_at IS NULL
AND jobs.creation_time >= :creation_time_1
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_3
UNION ALL
SELECT anon_4.id AS id, anon_4.due_at AS due_at
FROM (SELECT TOP 3 jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_1
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_4
UNION ALL
SELECT anon_5.id AS id, anon_5.due_at AS due_at
FROM (SELECT TOP 3 jobs.id AS id, jobs.creation_time AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_1
AND jobs.job_name = :job_name_2
AND jobs.next_attempt_at IS NULL
AND jobs.creation_time >= :creation_time_1
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_5
UNION ALL
SELECT anon_6.id AS id, anon_6.due_at AS due_at
FROM (SELECT TOP 3 jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_1
AND jobs.job_name = :job_name_2
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_6)
    AS anon_2
ORDER BY anon_2.due_at, anon_2.id) AS anon_1
UNION ALL
SELECT anon_7.id AS id
FROM (SELECT TOP 2 anon_8.id AS id
FROM (SELECT anon_9.id AS id, anon_9.due_at AS due_at
FROM (SELECT TOP 2 jobs.id AS id, jobs.creation_time AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_3
AND jobs.next_attempt_at IS NULL
AND jobs.creation_time >= :creation_time_2
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_9
UNION ALL
SELECT anon_10.id AS id, anon_10.due_at AS due_at
FROM (SELECT TOP 2 jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_3
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_10
UNION ALL
SELECT anon_11.id AS id, anon_11.due_at AS due_at
FROM (SELECT TOP 2 jobs.id AS id, jobs.creation_time AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_2
AND jobs.job_name = :job_name_4
AND jobs.next_attempt_at IS NULL
AND jobs.creation_time >= :creation_time_2
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_11
UNION ALL
SELECT anon_12.id AS id, anon_12.due_at AS due_at
FROM (SELECT TOP 2 jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_2
AND jobs.job_name = :job_name_4
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_12)
    AS anon_8
ORDER BY anon_8.due_at, anon_8.id) AS anon_7) UPDATE jobs
SET status=:status, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1), lease_expires_at=((DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1) + :param_1), token_hash=NULL, fence=(jobs.fence + :fence_1), claimed_by=:claimed_by,
    started_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    issued_token_hash=NULL
OUTPUT inserted.id, inserted.fence, inserted.job_name, inserted.params, inserted.timeout,
    inserted.workspace, inserted.executor_backend, inserted.creator, inserted.retry_count,
    inserted.recovery_count, inserted.sealed_environment, inserted.lock_key, inserted.creation_time,
    inserted.next_attempt_at
WHERE jobs.status + 0 = 0
AND jobs.id IN (SELECT due_rows.id
FROM due_rows);

-- T5 of jobs that end together
UPDATE jobs
SET status=:status, result=CASE WHEN (jobs.id = :id_0) THEN :result_0 WHEN (jobs.id = :id_1) THEN
    :result_1 END, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1), lease_expires_at=NULL, status_message=NULL, progress=NULL, progress_updated_at=NULL,
    token_hash=NULL, scoped_permissions=NULL, next_attempt_at=NULL,
    finished_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    sealed_environment=NULL, crashed_at=NULL
WHERE jobs.status + 0 IN (1, 6)
AND (jobs.id = :id_0
AND jobs.fence = :fence_0
OR jobs.id = :id_1
AND jobs.fence = :fence_1);

-- T5 of jobs that end together: their locks
DELETE
FROM job_locks
WHERE job_locks.job_id = :id_0
AND (job_locks.fence = :fence_0
OR job_locks.fence IS NULL)
OR job_locks.job_id = :id_1
AND (job_locks.fence = :fence_1
OR job_locks.fence IS NULL);

-- scheduler lease: first acquisition
-- scheduler lease: how long it lasts
SELECT scheduler_leases.fence, CASE WHEN (scheduler_leases.holder IS NULL
OR scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 <=
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)) THEN :param_1 ELSE
    (scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000) -
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1) END AS anon_1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1;

-- scheduler lease: first acquisition
UPDATE scheduler_leases
SET acquired_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    ttl_seconds=:ttl_seconds, holder=:holder, fence=:fence
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.fence = :fence_1
AND (scheduler_leases.holder IS NULL
OR scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 <=
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1));

-- scheduler lease: first acquisition
INSERT INTO scheduler_leases (lease_key, acquired_at, ttl_seconds, holder, fence)
VALUES (:lease_key, (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    :ttl_seconds, :holder, :fence);

-- scheduler lease: renewal
-- lead
UPDATE scheduler_leases
SET acquired_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    ttl_seconds=:ttl_seconds
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_1
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1);

-- lead
SELECT (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1) AS now_ms, (SELECT
    min(coalesce(jobs.lease_expires_at, :coalesce_1)) AS min_1
FROM jobs
WHERE jobs.status = 1) AS lease_ends_at, (SELECT min(jobs.started_at + CAST(CASE WHEN (jobs.timeout
    > :timeout_1) THEN :param_1 WHEN (jobs.timeout < :timeout_2) THEN :param_2 ELSE jobs.timeout END
    * :param_3 AS BIGINT)) AS min_2
FROM jobs
WHERE jobs.status = 1) AS overruns_at, CASE WHEN (EXISTS (SELECT jobs.id
FROM jobs
WHERE jobs.status = 6)) THEN :param_4 ELSE :param_5 END AS recovery_waits;

-- standing orders: online scoring
SELECT 1
WHERE (EXISTS (SELECT 1
FROM online_scoring_configs
WHERE online_scoring_configs.sample_rate > :sample_rate_1))
OR (EXISTS (SELECT 1
FROM experiment_tags
WHERE experiment_tags.[key] IN (:key_1_1)));

-- standing orders: a tagged experiment
SELECT TOP 1 experiment_tags.experiment_id
FROM experiment_tags
WHERE experiment_tags.[key] = :key_1;

-- statuses
SELECT jobs.id, jobs.status
FROM jobs
WHERE jobs.id IN (:id_1_1, :id_1_2);

-- periodic run: first
-- periodic run: later
UPDATE job_periodic_runs
SET last_due_at=:last_due_at, begun_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1), begun_by=:begun_by
WHERE job_periodic_runs.name = :name_1
AND job_periodic_runs.last_due_at < :last_due_at_1
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_1
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- periodic run: first
-- periodic run: last
SELECT job_periodic_runs.last_due_at
FROM job_periodic_runs
WHERE job_periodic_runs.name = :name_1;

-- periodic run: first
INSERT INTO job_periodic_runs (name, last_due_at, begun_at, begun_by)
SELECT :param_1 AS anon_1, :param_2 AS anon_2, (DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_2) AS now_ms_1, :param_3 AS anon_3
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_1
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_2);

-- T1 by discovery
INSERT INTO jobs (status, retry_count, creation_time, last_update_time, id, job_name, params,
    workspace, timeout, creator, executor_backend, lock_key, sealed_environment, had_extra_envs,
    scoped_permissions, discovered_by)
OUTPUT inserted.id, inserted.creation_time, inserted.job_name, inserted.params, inserted.workspace,
    inserted.timeout, inserted.status, inserted.result, inserted.retry_count,
    inserted.last_update_time, inserted.status_details, inserted.creator, inserted.executor_backend,
    inserted.lease_expires_at, inserted.status_message, inserted.progress,
    inserted.progress_updated_at, inserted.token_hash, inserted.scoped_permissions,
    inserted.next_attempt_at, inserted.fence, inserted.started_at, inserted.finished_at,
    inserted.recovery_count, inserted.lock_key, inserted.crashes, inserted.had_extra_envs
SELECT :param_1 AS anon_1, :param_2 AS anon_2, (DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_2) AS now_ms_1, (DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_2) AS now_ms__1, :id AS anon_3, :job_name AS anon_4, :params AS
    anon_5, :workspace AS anon_6, :timeout AS anon_7, :creator AS anon_8, :executor_backend AS
    anon_9, :lock_key AS anon_10, :sealed_environment AS anon_11, :had_extra_envs AS anon_12,
    :scoped_permissions AS anon_13, :discovered_by AS anon_14
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :term_lease_key
AND scheduler_leases.holder = :term_holder
AND scheduler_leases.fence = :term_fence
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_2)
AND NOT (EXISTS (SELECT 1
FROM jobs
WHERE jobs.lock_key = :lock_key
AND jobs.workspace = :workspace
AND jobs.status IN (0, 1, 6)));

-- discovery: experiments
SELECT experiments.experiment_id, experiments.workspace, scored.configs, scored.first_config,
    scored.last_config, scored.rates, CASE WHEN (checkpoint_0.[key] IS NULL) THEN NULL ELSE
    coalesce(checkpoint_0.value, :param_1) END AS text_0, (SELECT max(trace_info.timestamp_ms) AS
    max_1
FROM trace_info
WHERE trace_info.experiment_id = experiments.experiment_id
AND trace_info.timestamp_ms < :timestamp_ms_1) AS newest_0, CASE WHEN (checkpoint_1.[key] IS NULL)
    THEN NULL ELSE coalesce(checkpoint_1.value, :param_2) END AS text_1, (SELECT
    max(trace_info.timestamp_ms) AS max_2
FROM trace_info
WHERE trace_info.experiment_id = experiments.experiment_id
AND trace_info.timestamp_ms < :timestamp_ms_2) AS newest_1
FROM (SELECT online_scoring_configs.experiment_id AS experiment_id, count(*) AS configs,
    min(online_scoring_configs.online_scoring_config_id) AS first_config,
    max(online_scoring_configs.online_scoring_config_id) AS last_config,
    sum(online_scoring_configs.sample_rate) AS rates
FROM online_scoring_configs
WHERE online_scoring_configs.sample_rate > :sample_rate_1
AND online_scoring_configs.experiment_id = :experiment_id_1 GROUP BY
    online_scoring_configs.experiment_id) AS scored
JOIN experiments ON experiments.experiment_id = scored.experiment_id LEFT OUTER
JOIN experiment_tags AS checkpoint_0 ON checkpoint_0.[key] = :key_1
AND checkpoint_0.experiment_id = experiments.experiment_id LEFT OUTER
JOIN experiment_tags AS checkpoint_1 ON checkpoint_1.[key] = :key_2
AND checkpoint_1.experiment_id = experiments.experiment_id
WHERE experiments.lifecycle_stage = :lifecycle_stage_1;

-- discovery: unfinished jobs
SELECT jobs.job_name, jobs.lock_key, CASE WHEN (jobs.lock_key IS NULL) THEN jobs.params END AS
    params, jobs.workspace
FROM jobs
WHERE jobs.status = 0
AND jobs.job_name IN (:job_name_1_1)
AND (jobs.lock_key IN (:lock_key_1_1)
OR jobs.lock_key IS NULL)
UNION ALL
SELECT jobs.job_name, jobs.lock_key, CASE WHEN (jobs.lock_key IS NULL) THEN jobs.params END AS
    params, jobs.workspace
FROM jobs
WHERE jobs.status IN (1, 6)
AND jobs.job_name IN (:job_name_1_1)
AND (jobs.lock_key IN (:lock_key_1_1)
OR jobs.lock_key IS NULL);

-- discovery: first checkpoint
INSERT INTO experiment_tags ([key], experiment_id, value)
SELECT :param_1 AS anon_1, experiments.experiment_id, :param_2 AS anon_2
FROM experiments
JOIN scheduler_leases ON 1 = 1
WHERE experiments.experiment_id = :experiment_id_1
AND scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_1
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1);

-- discovery: first checkpoint
-- discovery: another checkpoint
-- retention
SELECT 1
WHERE EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_1
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1));

-- discovery: another checkpoint
UPDATE experiment_tags
SET value=:value
WHERE experiment_tags.[key] = :key_1
AND experiment_tags.experiment_id = :experiment_id_1
AND experiment_tags.value = :value_1
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_1
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- discovery: checkpoint forgotten
DELETE
FROM experiment_tags
WHERE experiment_tags.[key] = :key_1
AND experiment_tags.experiment_id = :experiment_id_1
AND experiment_tags.value = :value_1
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_1
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- discovery: checkpoints forgotten
DELETE
FROM experiment_tags
WHERE experiment_tags.[key] IN (:key_1_1)
AND NOT (EXISTS (SELECT 1
FROM online_scoring_configs
WHERE online_scoring_configs.experiment_id = experiment_tags.experiment_id
AND online_scoring_configs.sample_rate > :sample_rate_1))
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_1
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- scheduler lease: release
UPDATE scheduler_leases
SET holder=:holder
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_1;

-- database time
-- T12 after a crash
-- T12 of a suspect
-- T12, set aside
SELECT (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_2) AS now_ms_1;

-- anything due
SELECT anon_1.job_name
FROM (SELECT '' AS job_name
FROM (SELECT TOP 1 anon_3.id AS id
FROM (SELECT anon_4.id AS id
FROM (SELECT TOP 1 jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_1
AND jobs.next_attempt_at IS NULL
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_4
UNION ALL
SELECT anon_5.id AS id
FROM (SELECT TOP 1 jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_1
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_5
UNION ALL
SELECT anon_6.id AS id
FROM (SELECT TOP 1 jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_1
AND jobs.job_name = :job_name_2
AND jobs.next_attempt_at IS NULL
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_6
UNION ALL
SELECT anon_7.id AS id
FROM (SELECT TOP 1 jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_1
AND jobs.job_name = :job_name_2
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_7
UNION ALL
SELECT anon_8.id AS id
FROM (SELECT TOP 1 jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_3
AND jobs.next_attempt_at IS NULL
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_8
UNION ALL
SELECT anon_9.id AS id
FROM (SELECT TOP 1 jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_3
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_9
UNION ALL
SELECT anon_10.id AS id
FROM (SELECT TOP 1 jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_2
AND jobs.job_name = :job_name_4
AND jobs.next_attempt_at IS NULL
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_10
UNION ALL
SELECT anon_11.id AS id
FROM (SELECT TOP 1 jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_2
AND jobs.job_name = :job_name_4
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_11)
    AS anon_3) AS anon_2
UNION ALL
SELECT anon_12.job_name AS job_name
FROM (SELECT TOP 1 jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_5
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_12
UNION ALL
SELECT anon_13.job_name AS job_name
FROM (SELECT TOP 1 jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_3
AND jobs.job_name = :job_name_6
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time) AS anon_13)
    AS anon_1;

-- T2, exclusivity lock is free
-- T3, exclusivity lock is held
-- T2, exclusivity lock is taken over
SELECT job_locks.job_id, job_locks.fence
FROM job_locks
WHERE job_locks.lock_key = :lock_key_1;

-- T2, exclusivity lock is free
INSERT INTO job_locks (lock_key, job_id, acquired_at, fence)
VALUES (:lock_key, :job_id, (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    :fence);

-- T3, exclusivity lock is held
UPDATE jobs
SET lock_key=:lock_key
WHERE jobs.id = :id_1
AND jobs.fence = :fence_1;

-- T3, exclusivity lock is held
-- T2, exclusivity lock is taken over
UPDATE job_locks
SET job_id=:job_id, acquired_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1), fence=:fence
WHERE job_locks.lock_key = :lock_key_1
AND job_locks.job_id = :job_id_1
AND job_locks.fence = :fence_1
AND (job_locks.job_id = :job_id_2
OR NOT (EXISTS (SELECT 1
FROM jobs AS holder
WHERE holder.id = job_locks.job_id
AND (holder.status IN (6, 1)
OR holder.status = 5
AND holder.lease_expires_at >= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1))
AND (job_locks.fence IS NULL
OR holder.fence <= job_locks.fence)
AND job_locks.acquired_at > (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - CAST(CASE WHEN (coalesce(holder.timeout, :coalesce_1) > :coalesce_2) THEN :param_1 WHEN
    (coalesce(holder.timeout, :coalesce_1) < :coalesce_3) THEN :param_2 ELSE
    coalesce(holder.timeout, :coalesce_1) END * :param_3 AS BIGINT))));

-- T3, exclusivity lock is held
UPDATE jobs
SET status=:status, result=:result, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), lease_expires_at=NULL, status_message=NULL, progress=NULL,
    progress_updated_at=NULL, token_hash=NULL, scoped_permissions=NULL, next_attempt_at=NULL,
    finished_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    sealed_environment=NULL, crashed_at=NULL
WHERE jobs.status + 0 = 1
AND jobs.id = :id_1
AND jobs.fence = :fence_1;

-- T4
UPDATE jobs
SET lease_expires_at=((DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1) +
    :param_1)
WHERE jobs.status + 0 = 1
AND jobs.id = :id_1
AND jobs.fence = :fence_1;

-- progress
SELECT jobs.id, jobs.creation_time, jobs.job_name, jobs.params, jobs.workspace, jobs.timeout,
    jobs.status, jobs.result, jobs.retry_count, jobs.last_update_time, jobs.status_details,
    jobs.creator, jobs.executor_backend, jobs.lease_expires_at, jobs.status_message, jobs.progress,
    jobs.progress_updated_at, jobs.token_hash, jobs.scoped_permissions, jobs.next_attempt_at,
    jobs.fence, jobs.started_at, jobs.finished_at, jobs.recovery_count, jobs.lock_key, jobs.crashes,
    jobs.had_extra_envs
FROM jobs WITH (UPDLOCK, ROWLOCK)
WHERE jobs.id = :id_1;

-- progress
UPDATE jobs
SET status_message=:status_message, progress_updated_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1)
WHERE jobs.id = :id_1
AND jobs.status + 0 IN (1, 6)
AND jobs.fence = :fence_1;

-- T5, and the first checkpoint
-- T5, and a later checkpoint
-- T5 that comes too late
-- T6 fail
-- T6 time out
-- T2, exclusivity lock is taken over
UPDATE jobs
SET status=:status, result=:result, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), lease_expires_at=NULL, status_message=NULL, progress=NULL,
    progress_updated_at=NULL, token_hash=NULL, scoped_permissions=NULL, next_attempt_at=NULL,
    finished_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    sealed_environment=NULL, crashed_at=NULL
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = :id_1
AND jobs.fence = :fence_1;

-- T5, and the first checkpoint
-- T5, and a later checkpoint
-- T6 fail
-- T6 time out
-- T7
-- T12
-- T12 after a crash
-- T12 of a suspect
-- T12, set aside
-- T13
-- T8 confirmed
DELETE
FROM job_locks
WHERE job_locks.job_id = :job_id_1
AND (job_locks.fence = :fence_1
OR job_locks.fence IS NULL);

-- T5, and the first checkpoint
-- T5, and a later checkpoint
SELECT experiment_tags.value
FROM experiment_tags
WHERE experiment_tags.[key] = :key_1
AND experiment_tags.experiment_id = :experiment_id_1;

-- T5, and the first checkpoint
-- T5, and a later checkpoint
INSERT INTO experiment_tags ([key], experiment_id, value)
SELECT :param_1 AS anon_1, experiments.experiment_id, :param_2 AS anon_2
FROM experiments
WHERE experiments.experiment_id = :experiment_id_1;

-- T5, and the first checkpoint
-- T5, and a later checkpoint
SELECT experiments.experiment_id
FROM experiments
WHERE experiments.experiment_id = :experiment_id_1;

-- T5 that comes too late
-- T5 by token, again
-- T13 of a backend that nobody has
SELECT jobs.status, jobs.fence, jobs.issued_token_hash, jobs.result
FROM jobs
WHERE jobs.id = :id_1;

-- T7
UPDATE jobs
SET status=:status, result=NULL, retry_count=(jobs.retry_count + :retry_count_1),
    last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    lease_expires_at=NULL, status_message=:status_message, progress=NULL, progress_updated_at=NULL,
    token_hash=NULL, next_attempt_at=((DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1) + :param_1), crashed_at=NULL
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = :id_1
AND jobs.fence = :fence_1;

-- T10
UPDATE jobs
SET status=:status, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1), lease_expires_at=NULL, crashed_at=NULL
WHERE jobs.status + 0 = 1
AND jobs.id = :id_1
AND jobs.fence = :fence_1;

-- T10 of lost work
UPDATE jobs
SET status=:status, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1), lease_expires_at=NULL, crashed_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1)
WHERE jobs.status + 0 = 1
AND jobs.id = :id_1
AND jobs.fence = :fence_1;

-- not running
SELECT jobs.id, jobs.fence, jobs.status
FROM jobs
WHERE jobs.id IN (:id_1_1);

-- T8 of a running job
-- T8 of a waiting job
UPDATE jobs
SET status=:status, result=NULL, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), status_message=NULL, progress=NULL, progress_updated_at=NULL,
    token_hash=NULL, scoped_permissions=NULL, next_attempt_at=NULL,
    finished_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    sealed_environment=NULL, crashed_at=NULL
WHERE jobs.status + 0 IN (0, 1, 6)
AND jobs.id = :id_1;

-- T8 of a running job
-- T5 by token
-- T8 of a waiting job
DELETE
FROM job_locks
WHERE job_locks.job_id = :job_id_1
AND NOT (EXISTS (SELECT 1
FROM jobs
WHERE jobs.id = :id_1
AND jobs.lease_expires_at IS NOT NULL));

-- T8 of a running job
-- read
-- T8 of a waiting job
SELECT jobs.id, jobs.creation_time, jobs.job_name, jobs.params, jobs.workspace, jobs.timeout,
    jobs.status, jobs.result, jobs.retry_count, jobs.last_update_time, jobs.status_details,
    jobs.creator, jobs.executor_backend, jobs.lease_expires_at, jobs.status_message, jobs.progress,
    jobs.progress_updated_at, jobs.token_hash, jobs.scoped_permissions, jobs.next_attempt_at,
    jobs.fence, jobs.started_at, jobs.finished_at, jobs.recovery_count, jobs.lock_key, jobs.crashes,
    jobs.had_extra_envs
FROM jobs
WHERE jobs.id = :id_1;

-- T2, the token of a remote backend
UPDATE jobs
SET token_hash=CASE jobs.id WHEN :param_1 THEN :param_2 END, issued_token_hash=CASE jobs.id WHEN
    :param_1 THEN :param_2 END
WHERE jobs.status + 0 = 1
AND jobs.id = :id_1
AND jobs.fence = :fence_1;

-- job of a token
SELECT jobs.status, jobs.workspace, jobs.creator, jobs.retry_count, jobs.token_hash,
    jobs.issued_token_hash, jobs.scoped_permissions
FROM jobs
WHERE jobs.id = :id_1;

-- progress by token
UPDATE jobs
SET status_message=:status_message, progress_updated_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1)
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = :id_1
AND jobs.token_hash = :token_hash_1;

-- status details by token
SELECT jobs.status_details
FROM jobs WITH (UPDLOCK, ROWLOCK)
WHERE jobs.id = :id_1;

-- status details by token
UPDATE jobs
SET last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    status_details=:status_details, progress_updated_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1)
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = :id_1
AND jobs.token_hash = :token_hash_1;

-- T5 by token
-- T5 by token, again
UPDATE jobs
SET status=:status, result=:result, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), lease_expires_at=NULL, status_message=NULL, progress=NULL,
    progress_updated_at=NULL, token_hash=NULL, scoped_permissions=NULL, next_attempt_at=NULL,
    finished_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    sealed_environment=NULL, crashed_at=NULL
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = :id_1
AND jobs.token_hash = :token_hash_1;

-- T9
SELECT TOP 10 jobs.id
FROM jobs
WHERE jobs.status = 1
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
OR jobs.started_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1) -
    CAST(CASE WHEN (jobs.timeout > :timeout_1) THEN :param_2 WHEN (jobs.timeout < :timeout_2) THEN
    :param_3 ELSE jobs.timeout END * :param_4 AS BIGINT));

-- T9
SELECT jobs.id
FROM jobs WITH (UPDLOCK, READPAST, READCOMMITTEDLOCK)
WHERE jobs.id IN (:id_1_1);

-- T9
UPDATE jobs
SET status=:status, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1), lease_expires_at=NULL, crashed_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1)
WHERE jobs.status + 0 = 1
AND jobs.id IN (:id_1_1)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
OR jobs.started_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1) -
    CAST(CASE WHEN (jobs.timeout > :timeout_1) THEN :param_1 WHEN (jobs.timeout < :timeout_2) THEN
    :param_2 ELSE jobs.timeout END * :param_3 AS BIGINT))
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_1
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- recovery candidates
SELECT TOP 100 jobs.id, jobs.fence, jobs.executor_backend, jobs.job_name, jobs.recovery_count,
    jobs.claimed_by, jobs.crashed_at, jobs.crashes, jobs.next_attempt_at
FROM jobs
WHERE jobs.status = 6
ORDER BY jobs.last_update_time, jobs.id;

-- backends that jobs wait for
SELECT min(jobs.executor_backend) AS min_1
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend > :executor_backend_1;

-- how many wait for a backend
SELECT count(*) AS count_1
FROM (SELECT TOP 1000 jobs.id AS id
FROM jobs
WHERE jobs.status = 0
AND jobs.executor_backend = :executor_backend_1) AS anon_1;

-- whether a backend is served
SELECT TOP 1 jobs.id
FROM jobs
WHERE jobs.status = 1
AND jobs.executor_backend = :executor_backend_1
AND jobs.lease_expires_at >= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1);

-- T11
UPDATE jobs
SET status=:status, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1), lease_expires_at=((DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) +
    :now_ms_1) + :param_1), fence=(jobs.fence + :fence_1), claimed_by=:claimed_by, crashed_at=NULL
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1
AND jobs.fence = :fence_2
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_3
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- T11
UPDATE job_locks
SET fence=:fence
WHERE job_locks.job_id = :job_id_1;

-- T12
UPDATE jobs
SET status=:status, result=NULL, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), lease_expires_at=NULL, status_message=NULL, progress=NULL,
    progress_updated_at=NULL, token_hash=NULL, next_attempt_at=NULL, crashed_at=NULL
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1
AND jobs.fence = :fence_1
AND jobs.crashed_at IS NULL
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_2
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- T12 after a crash
UPDATE jobs
SET status=:status, result=NULL, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), lease_expires_at=NULL, status_message=NULL, progress=NULL,
    progress_updated_at=NULL, token_hash=NULL, next_attempt_at=NULL,
    recovery_count=(jobs.recovery_count + :recovery_count_1), crashed_at=NULL, crashes=:crashes
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1
AND jobs.fence = :fence_1
AND jobs.recovery_count < :recovery_count_2
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_2
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- T12 of a suspect
-- T12, set aside
UPDATE jobs
SET status=:status, result=NULL, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), lease_expires_at=NULL, status_message=NULL, progress=NULL,
    progress_updated_at=NULL, token_hash=NULL, next_attempt_at=:next_attempt_at,
    recovery_count=(jobs.recovery_count + :recovery_count_1), crashed_at=NULL, crashes=:crashes
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1
AND jobs.fence = :fence_1
AND jobs.recovery_count < :recovery_count_2
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_2
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- T12, set aside
UPDATE jobs
SET status=:status, result=:result, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), lease_expires_at=NULL, status_message=NULL, progress=NULL,
    progress_updated_at=NULL, token_hash=NULL, scoped_permissions=NULL, next_attempt_at=NULL,
    finished_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    recovery_count=(jobs.recovery_count + :recovery_count_1), sealed_environment=NULL,
    crashed_at=NULL, crashes=:crashes
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1
AND jobs.fence = :fence_1
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_2
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)))
AND jobs.recovery_count >= :recovery_count_2;

-- T13
UPDATE jobs
SET status=:status, result=:result, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), lease_expires_at=NULL, status_message=NULL, progress=NULL,
    progress_updated_at=NULL, token_hash=NULL, scoped_permissions=NULL, next_attempt_at=NULL,
    finished_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    sealed_environment=NULL, crashed_at=NULL
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1
AND jobs.fence = :fence_1
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_2
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- T13 of a backend that nobody has
UPDATE jobs
SET status=:status, result=:result, last_update_time=(DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), lease_expires_at=NULL, status_message=NULL, progress=NULL,
    progress_updated_at=NULL, token_hash=NULL, scoped_permissions=NULL, next_attempt_at=NULL,
    finished_at=(DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1),
    sealed_environment=NULL, crashed_at=NULL
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1
AND jobs.fence = :fence_1
AND jobs.last_update_time <= (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_1
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1
AND scheduler_leases.holder = :holder_1
AND scheduler_leases.fence = :fence_2
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)));

-- whether there is work for retention
SELECT 1
WHERE (EXISTS (SELECT TOP 1 jobs.id
FROM jobs
WHERE jobs.status = 5
AND jobs.last_update_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_2
AND jobs.discovered_by IS NOT NULL))
OR (EXISTS (SELECT TOP 1 jobs.id
FROM jobs
WHERE jobs.status = 5
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_4
ORDER BY jobs.last_update_time))
OR (EXISTS (SELECT TOP 1 jobs.id
FROM jobs
WHERE jobs.status = 3
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_4
ORDER BY jobs.last_update_time))
OR (EXISTS (SELECT TOP 1 jobs.id
FROM jobs
WHERE jobs.status = 2
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_4
ORDER BY jobs.last_update_time))
OR (EXISTS (SELECT TOP 1 jobs.id
FROM jobs
WHERE jobs.status = 4
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_4
ORDER BY jobs.last_update_time));

-- retention
SELECT TOP 10 jobs.id
FROM jobs
WHERE jobs.status = 5
AND jobs.last_update_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_2
AND jobs.discovered_by IS NOT NULL;

-- retention
SELECT TOP 10 jobs.id
FROM jobs
WHERE jobs.status = 5
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_2
ORDER BY jobs.last_update_time;

-- retention
SELECT TOP 10 jobs.id
FROM jobs
WHERE jobs.status = 3
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_2
ORDER BY jobs.last_update_time;

-- retention
SELECT TOP 9 jobs.id
FROM jobs
WHERE jobs.status = 2
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_2
ORDER BY jobs.last_update_time;

-- retention
SELECT TOP 9 jobs.id
FROM jobs
WHERE jobs.status = 4
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1)
    - :param_2
ORDER BY jobs.last_update_time;

-- retention
DELETE
FROM jobs
WHERE jobs.id IN (:id_1_1)
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1));

-- T8 confirmed
UPDATE jobs
SET lease_expires_at=NULL
WHERE jobs.status + 0 = 5
AND jobs.id = :id_1
AND jobs.fence = :fence_1;

-- search
SELECT TOP 101 jobs.id, jobs.creation_time, jobs.job_name, jobs.params, jobs.workspace,
    jobs.timeout, jobs.status, jobs.result, jobs.retry_count, jobs.last_update_time,
    jobs.status_details, jobs.creator, jobs.executor_backend, jobs.lease_expires_at,
    jobs.status_message, jobs.progress, jobs.progress_updated_at, jobs.token_hash,
    jobs.scoped_permissions, jobs.next_attempt_at, jobs.fence, jobs.started_at, jobs.finished_at,
    jobs.recovery_count, jobs.lock_key, jobs.crashes, jobs.had_extra_envs
FROM jobs
JOIN (SELECT TOP 101 anon_2.id AS id
FROM (SELECT anon_3.creation_time AS creation_time, anon_3.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 5
ORDER BY jobs.creation_time, jobs.id) AS anon_3
UNION ALL
SELECT anon_4.creation_time AS creation_time, anon_4.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 3
ORDER BY jobs.creation_time, jobs.id) AS anon_4
UNION ALL
SELECT anon_5.creation_time AS creation_time, anon_5.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 6
ORDER BY jobs.creation_time, jobs.id) AS anon_5
UNION ALL
SELECT anon_6.creation_time AS creation_time, anon_6.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 0
ORDER BY jobs.creation_time, jobs.id) AS anon_6
UNION ALL
SELECT anon_7.creation_time AS creation_time, anon_7.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 1
ORDER BY jobs.creation_time, jobs.id) AS anon_7
UNION ALL
SELECT anon_8.creation_time AS creation_time, anon_8.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 2
ORDER BY jobs.creation_time, jobs.id) AS anon_8
UNION ALL
SELECT anon_9.creation_time AS creation_time, anon_9.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 4
ORDER BY jobs.creation_time, jobs.id) AS anon_9) AS anon_2
ORDER BY anon_2.creation_time, anon_2.id) AS anon_1 ON anon_1.id = jobs.id
ORDER BY jobs.creation_time, jobs.id;

-- search of a later page
SELECT TOP 101 jobs.id, jobs.creation_time, jobs.job_name, jobs.params, jobs.workspace,
    jobs.timeout, jobs.status, jobs.result, jobs.retry_count, jobs.last_update_time,
    jobs.status_details, jobs.creator, jobs.executor_backend, jobs.lease_expires_at,
    jobs.status_message, jobs.progress, jobs.progress_updated_at, jobs.token_hash,
    jobs.scoped_permissions, jobs.next_attempt_at, jobs.fence, jobs.started_at, jobs.finished_at,
    jobs.recovery_count, jobs.lock_key, jobs.crashes, jobs.had_extra_envs
FROM jobs
JOIN (SELECT TOP 101 anon_2.id AS id
FROM (SELECT anon_3.creation_time AS creation_time, anon_3.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 5
AND jobs.creation_time >= :creation_time_1
AND (jobs.creation_time > :creation_time_2
OR jobs.id > :id_1)
ORDER BY jobs.creation_time, jobs.id) AS anon_3
UNION ALL
SELECT anon_4.creation_time AS creation_time, anon_4.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 3
AND jobs.creation_time >= :creation_time_3
AND (jobs.creation_time > :creation_time_4
OR jobs.id > :id_2)
ORDER BY jobs.creation_time, jobs.id) AS anon_4
UNION ALL
SELECT anon_5.creation_time AS creation_time, anon_5.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 6
AND jobs.creation_time >= :creation_time_5
AND (jobs.creation_time > :creation_time_6
OR jobs.id > :id_3)
ORDER BY jobs.creation_time, jobs.id) AS anon_5
UNION ALL
SELECT anon_6.creation_time AS creation_time, anon_6.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 0
AND jobs.creation_time >= :creation_time_7
AND (jobs.creation_time > :creation_time_8
OR jobs.id > :id_4)
ORDER BY jobs.creation_time, jobs.id) AS anon_6
UNION ALL
SELECT anon_7.creation_time AS creation_time, anon_7.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 1
AND jobs.creation_time >= :creation_time_9
AND (jobs.creation_time > :creation_time_10
OR jobs.id > :id_5)
ORDER BY jobs.creation_time, jobs.id) AS anon_7
UNION ALL
SELECT anon_8.creation_time AS creation_time, anon_8.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 2
AND jobs.creation_time >= :creation_time_11
AND (jobs.creation_time > :creation_time_12
OR jobs.id > :id_6)
ORDER BY jobs.creation_time, jobs.id) AS anon_8
UNION ALL
SELECT anon_9.creation_time AS creation_time, anon_9.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 4
AND jobs.creation_time >= :creation_time_13
AND (jobs.creation_time > :creation_time_14
OR jobs.id > :id_7)
ORDER BY jobs.creation_time, jobs.id) AS anon_9) AS anon_2
ORDER BY anon_2.creation_time, anon_2.id) AS anon_1 ON anon_1.id = jobs.id
ORDER BY jobs.creation_time, jobs.id;

-- search by all that there is
SELECT TOP 101 jobs.id, jobs.creation_time, jobs.job_name, jobs.params, jobs.workspace,
    jobs.timeout, jobs.status, jobs.result, jobs.retry_count, jobs.last_update_time,
    jobs.status_details, jobs.creator, jobs.executor_backend, jobs.lease_expires_at,
    jobs.status_message, jobs.progress, jobs.progress_updated_at, jobs.token_hash,
    jobs.scoped_permissions, jobs.next_attempt_at, jobs.fence, jobs.started_at, jobs.finished_at,
    jobs.recovery_count, jobs.lock_key, jobs.crashes, jobs.had_extra_envs
FROM jobs
JOIN (SELECT TOP 101 anon_2.id AS id
FROM (SELECT anon_3.creation_time AS creation_time, anon_3.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.workspace = :workspace_1
AND jobs.creator = :creator_1
AND jobs.creation_time >= :creation_time_1
AND jobs.creation_time <= :creation_time_2
AND jobs.job_name = :job_name_1
AND jobs.status = 3
ORDER BY jobs.creation_time, jobs.id) AS anon_3
UNION ALL
SELECT anon_4.creation_time AS creation_time, anon_4.id AS id
FROM (SELECT TOP 101 jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.workspace = :workspace_1
AND jobs.creator = :creator_1
AND jobs.creation_time >= :creation_time_1
AND jobs.creation_time <= :creation_time_2
AND jobs.job_name = :job_name_1
AND jobs.status = 1
ORDER BY jobs.creation_time, jobs.id) AS anon_4) AS anon_2
ORDER BY anon_2.creation_time, anon_2.id) AS anon_1 ON anon_1.id = jobs.id
ORDER BY jobs.creation_time, jobs.id;

-- deletion by age
SELECT jobs.id
FROM jobs
WHERE jobs.status = 5
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1))
AND jobs.creation_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1) -
    :param_1;

-- deletion by age
SELECT jobs.id
FROM jobs
WHERE jobs.status = 3
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1))
AND jobs.creation_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1) -
    :param_1;

-- deletion by age
SELECT jobs.id
FROM jobs
WHERE jobs.status = 2
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1))
AND jobs.creation_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1) -
    :param_1;

-- deletion by age
SELECT jobs.id
FROM jobs
WHERE jobs.status = 4
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1))
AND jobs.creation_time < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1) -
    :param_1;

-- deletion by age
DELETE
FROM jobs
WHERE jobs.id IN (:id_1_1, :id_1_2)
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1));

-- deletion by id
SELECT jobs.id
FROM jobs
WHERE jobs.id IN (:id_1_1)
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1));

-- T1 of several, or where an insert answers no row
INSERT INTO jobs (id, creation_time, job_name, params, workspace, timeout, status, retry_count,
    last_update_time, creator, executor_backend, scoped_permissions, lock_key, sealed_environment,
    had_extra_envs)
VALUES (:id, (DATEDIFF_BIG(MILLISECOND, '1970-01-01', SYSUTCDATETIME()) + :now_ms_1), :job_name,
    :params, :workspace, :timeout, :status, :retry_count, (DATEDIFF_BIG(MILLISECOND, '1970-01-01',
    SYSUTCDATETIME()) + :now_ms_1), :creator, :executor_backend, :scoped_permissions, :lock_key,
    :sealed_environment, :had_extra_envs);
