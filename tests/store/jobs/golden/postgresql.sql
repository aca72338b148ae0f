-- T2 of a suspect
WITH due_rows AS (SELECT anon_1.id AS id
FROM (SELECT anon_2.id AS id, anon_2.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_1::VARCHAR
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_2::INTEGER
FOR UPDATE SKIP LOCKED) AS anon_2
UNION ALL
SELECT anon_3.id AS id, anon_3.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_1::VARCHAR
AND jobs.job_name = :job_name_2::VARCHAR
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_3::INTEGER
FOR UPDATE SKIP LOCKED) AS anon_3
UNION ALL
SELECT anon_4.id AS id, anon_4.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_3::VARCHAR
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_4::INTEGER
FOR UPDATE SKIP LOCKED) AS anon_4
UNION ALL
SELECT anon_5.id AS id, anon_5.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_2::VARCHAR
AND jobs.job_name = :job_name_4::VARCHAR
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_5::INTEGER
FOR UPDATE SKIP LOCKED) AS anon_5) AS anon_1
ORDER BY anon_1.due_at, anon_1.id
LIMIT :param_6::INTEGER) UPDATE jobs
SET status=:status::INTEGER, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER),
    lease_expires_at=((CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) + :param_1::BIGINT),
    token_hash=NULL, fence=(jobs.fence + :fence_1::BIGINT), claimed_by=:claimed_by::VARCHAR,
    started_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), issued_token_hash=NULL
WHERE jobs.status + 0 = 0
AND jobs.id = ANY (array((SELECT due_rows.id
FROM due_rows)))
RETURNING jobs.id, jobs.fence, jobs.job_name, jobs.params, jobs.timeout, jobs.workspace,
    jobs.executor_backend, jobs.creator, jobs.retry_count, jobs.recovery_count,
    jobs.sealed_environment, jobs.lock_key, jobs.creation_time, jobs.next_attempt_at;

-- T2, two types of job on two backends
WITH due_rows AS (SELECT of_type.id AS id
FROM unnest(CAST(:param_2::VARCHAR[] AS VARCHAR[]), CAST(:param_3::INTEGER[] AS INTEGER[]),
    CAST(:param_4::BIGINT[] AS BIGINT[])) AS free(job_name, slots, created_since)
JOIN LATERAL (SELECT anon_1.id AS id
FROM (SELECT anon_2.id AS id, anon_2.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = free.job_name
AND jobs.next_attempt_at IS NULL
AND jobs.creation_time >= free.created_since
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT free.slots
FOR UPDATE SKIP LOCKED) AS anon_2
UNION ALL
SELECT anon_3.id AS id, anon_3.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = free.job_name
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT free.slots
FOR UPDATE SKIP LOCKED) AS anon_3
UNION ALL
SELECT anon_4.id AS id, anon_4.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_1::VARCHAR
AND jobs.job_name = free.job_name
AND jobs.next_attempt_at IS NULL
AND jobs.creation_time >= free.created_since
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT free.slots
FOR UPDATE SKIP LOCKED) AS anon_4
UNION ALL
SELECT anon_5.id AS id, anon_5.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_1::VARCHAR
AND jobs.job_name = free.job_name
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT free.slots
FOR UPDATE SKIP LOCKED) AS anon_5) AS anon_1
ORDER BY anon_1.due_at, anon_1.id
LIMIT free.slots) AS of_type ON true) UPDATE jobs
SET status=:status::INTEGER, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER),
    lease_expires_at=((CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) + :param_1::BIGINT),
    token_hash=NULL, fence=(jobs.fence + :fence_1::BIGINT), claimed_by=:claimed_by::VARCHAR,
    started_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), issued_token_hash=NULL
WHERE jobs.status + 0 = 0
AND jobs.id = ANY (array((SELECT due_rows.id
FROM due_rows)))
RETURNING jobs.id, jobs.fence, jobs.job_name, jobs.params, jobs.timeout, jobs.workspace,
    jobs.executor_backend, jobs.creator, jobs.retry_count, jobs.recovery_count,
    jobs.sealed_environment, jobs.lock_key, jobs.creation_time, jobs.next_attempt_at;

-- T5 of jobs that end together, and the release of their locks
WITH succeeded AS (UPDATE jobs
SET status=:param_1::INTEGER, result=successes.result, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    scoped_permissions=NULL, next_attempt_at=NULL, finished_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), sealed_environment=NULL,
    crashed_at=NULL
FROM unnest(CAST(:ids::VARCHAR[] AS VARCHAR[]), CAST(:fences::BIGINT[] AS BIGINT[]),
    CAST(:results::TEXT[] AS TEXT[])) AS successes(id, fence, result)
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = successes.id
AND jobs.fence = successes.fence
AND jobs.id = ANY (:ids::VARCHAR[])
RETURNING jobs.id, jobs.fence), released AS (DELETE
FROM job_locks USING succeeded
WHERE job_locks.job_id = succeeded.id
AND (job_locks.fence = succeeded.fence
OR job_locks.fence IS NULL)), counted AS (SELECT count(*) AS succeeded
FROM succeeded)
SELECT counted.succeeded
FROM counted;

-- T5 of jobs that end together, with T2 for their slots
WITH succeeded AS (UPDATE jobs
SET status=:param_1::INTEGER, result=successes.result, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    scoped_permissions=NULL, next_attempt_at=NULL, finished_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), sealed_environment=NULL,
    crashed_at=NULL
FROM unnest(CAST(:ids::VARCHAR[] AS VARCHAR[]), CAST(:fences::BIGINT[] AS BIGINT[]),
    CAST(:results::TEXT[] AS TEXT[])) AS successes(id, fence, result)
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = successes.id
AND jobs.fence = successes.fence
AND jobs.id = ANY (:ids::VARCHAR[])
RETURNING jobs.id, jobs.fence), released AS (DELETE
FROM job_locks USING succeeded
WHERE job_locks.job_id = succeeded.id
AND (job_locks.fence = succeeded.fence
OR job_locks.fence IS NULL)), counted AS (SELECT count(*) AS succeeded
FROM succeeded), due_rows AS (SELECT of_type.id AS id
FROM unnest(CAST(:names::VARCHAR[] AS VARCHAR[]), CAST(:slots::INTEGER[] AS INTEGER[]),
    CAST(:created_since::BIGINT[] AS BIGINT[])) AS free(job_name, slots, created_since)
JOIN LATERAL (SELECT anon_1.id AS id
FROM (SELECT anon_2.id AS id, anon_2.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = free.job_name
AND jobs.next_attempt_at IS NULL
AND jobs.creation_time >= free.created_since
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT free.slots
FOR UPDATE SKIP LOCKED) AS anon_2
UNION ALL
SELECT anon_3.id AS id, anon_3.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = free.job_name
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_3::INTEGER)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT free.slots
FOR UPDATE SKIP LOCKED) AS anon_3
UNION ALL
SELECT anon_4.id AS id, anon_4.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_1::VARCHAR
AND jobs.job_name = free.job_name
AND jobs.next_attempt_at IS NULL
AND jobs.creation_time >= free.created_since
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT free.slots
FOR UPDATE SKIP LOCKED) AS anon_4
UNION ALL
SELECT anon_5.id AS id, anon_5.due_at AS due_at
FROM (SELECT jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_1::VARCHAR
AND jobs.job_name = free.job_name
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_3::INTEGER)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT free.slots
FOR UPDATE SKIP LOCKED) AS anon_5) AS anon_1
ORDER BY anon_1.due_at, anon_1.id
LIMIT free.slots) AS of_type ON true), claimed AS (UPDATE jobs
SET status=:param_2::INTEGER, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_2::INTEGER),
    lease_expires_at=((CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_2::INTEGER) + :lease_ms::BIGINT),
    token_hash=NULL, fence=(jobs.fence + :fence_1::BIGINT), claimed_by=:replica_id::VARCHAR,
    started_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_2::INTEGER), issued_token_hash=NULL
WHERE jobs.status + 0 = 0
AND jobs.id = ANY (array((SELECT due_rows.id
FROM due_rows)))
RETURNING jobs.id, jobs.fence, jobs.job_name, jobs.params, jobs.timeout, jobs.workspace,
    jobs.executor_backend, jobs.creator, jobs.retry_count, jobs.recovery_count,
    jobs.sealed_environment, jobs.lock_key, jobs.creation_time, jobs.next_attempt_at)
SELECT counted.succeeded, claimed.id, claimed.fence, claimed.job_name, claimed.params,
    claimed.timeout, claimed.workspace, claimed.executor_backend, claimed.creator,
    claimed.retry_count, claimed.recovery_count, claimed.sealed_environment, claimed.lock_key,
    claimed.creation_time, claimed.next_attempt_at
FROM counted LEFT OUTER
JOIN claimed ON true;

-- lead, in one statement
UPDATE scheduler_leases
SET acquired_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER),
    ttl_seconds=:ttl_seconds::INTEGER
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
RETURNING (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) AS now_ms, (SELECT
    min(coalesce(jobs.lease_expires_at, :coalesce_1::INTEGER)) AS min_1
FROM jobs
WHERE jobs.status = 1) AS lease_ends_at, (SELECT min(jobs.started_at + CAST(CASE WHEN (jobs.timeout
    > :timeout_1) THEN :param_1 WHEN (jobs.timeout < :timeout_2::INTEGER) THEN :param_2::INTEGER
    ELSE jobs.timeout END * :param_3 AS BIGINT)) AS min_2
FROM jobs
WHERE jobs.status = 1) AS overruns_at, CASE WHEN (EXISTS (SELECT jobs.id
FROM jobs
WHERE jobs.status = 6)) THEN :param_4::INTEGER ELSE :param_5::INTEGER END AS recovery_waits;

-- scheduler lease: first acquisition
-- scheduler lease: how long it lasts
SELECT scheduler_leases.fence, CASE WHEN (scheduler_leases.holder IS NULL
OR scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 <=
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)) THEN :param_1::INTEGER ELSE
    (scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000) -
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) END AS anon_1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR;

-- scheduler lease: first acquisition
UPDATE scheduler_leases
SET acquired_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER),
    ttl_seconds=:ttl_seconds::INTEGER, holder=:holder::VARCHAR, fence=:fence::BIGINT
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND (scheduler_leases.holder IS NULL
OR scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 <=
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER));

-- scheduler lease: first acquisition
INSERT INTO scheduler_leases (lease_key, acquired_at, ttl_seconds, holder, fence)
VALUES (:lease_key::VARCHAR, (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), :ttl_seconds::INTEGER,
    :holder::VARCHAR, :fence::BIGINT);

-- scheduler lease: renewal
-- lead
UPDATE scheduler_leases
SET acquired_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER),
    ttl_seconds=:ttl_seconds::INTEGER
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER);

-- lead
SELECT (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) AS now_ms, (SELECT
    min(coalesce(jobs.lease_expires_at, :coalesce_1::INTEGER)) AS min_1
FROM jobs
WHERE jobs.status = 1) AS lease_ends_at, (SELECT min(jobs.started_at + CAST(CASE WHEN (jobs.timeout
    > :timeout_1) THEN :param_1 WHEN (jobs.timeout < :timeout_2::INTEGER) THEN :param_2::INTEGER
    ELSE jobs.timeout END * :param_3 AS BIGINT)) AS min_2
FROM jobs
WHERE jobs.status = 1) AS overruns_at, CASE WHEN (EXISTS (SELECT jobs.id
FROM jobs
WHERE jobs.status = 6)) THEN :param_4::INTEGER ELSE :param_5::INTEGER END AS recovery_waits;

-- standing orders: online scoring
SELECT 1
WHERE (EXISTS (SELECT 1
FROM online_scoring_configs
WHERE online_scoring_configs.sample_rate > :sample_rate_1::INTEGER))
OR (EXISTS (SELECT 1
FROM experiment_tags
WHERE experiment_tags.key IN (:key_1_1::VARCHAR)));

-- standing orders: a tagged experiment
SELECT experiment_tags.experiment_id
FROM experiment_tags
WHERE experiment_tags.key = :key_1::VARCHAR
LIMIT :param_1::INTEGER;

-- statuses
SELECT jobs.id, jobs.status
FROM jobs
WHERE jobs.id IN (:id_1_1::VARCHAR, :id_1_2::VARCHAR);

-- periodic run: first
-- periodic run: later
UPDATE job_periodic_runs
SET last_due_at=:last_due_at::BIGINT, begun_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), begun_by=:begun_by::VARCHAR
WHERE job_periodic_runs.name = :name_1::VARCHAR
AND job_periodic_runs.last_due_at < :last_due_at_1::BIGINT
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- periodic run: first
-- periodic run: last
SELECT job_periodic_runs.last_due_at
FROM job_periodic_runs
WHERE job_periodic_runs.name = :name_1::VARCHAR;

-- periodic run: first
INSERT INTO job_periodic_runs (name, last_due_at, begun_at, begun_by)
SELECT :param_1::VARCHAR AS anon_1, :param_2::BIGINT AS anon_2, (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_2::INTEGER) AS now_ms_1, :param_3::VARCHAR
    AS anon_3
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_2::INTEGER);

-- T1 by discovery
INSERT INTO jobs (status, retry_count, creation_time, last_update_time, id, job_name, params,
    workspace, timeout, creator, executor_backend, lock_key, sealed_environment, had_extra_envs,
    scoped_permissions, discovered_by)
SELECT :param_1::INTEGER AS anon_1, :param_2::INTEGER AS anon_2, (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_2::INTEGER) AS now_ms_1,
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_2::INTEGER) AS now_ms__1, :id::VARCHAR AS
    anon_3, :job_name::VARCHAR AS anon_4, :params::VARCHAR AS anon_5, :workspace::VARCHAR AS anon_6,
    :timeout AS anon_7, :creator::VARCHAR AS anon_8, :executor_backend::VARCHAR AS anon_9,
    :lock_key::VARCHAR AS anon_10, :sealed_environment::VARCHAR AS anon_11, :had_extra_envs AS
    anon_12, :scoped_permissions::JSON AS anon_13, :discovered_by::VARCHAR AS anon_14
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :term_lease_key::VARCHAR
AND scheduler_leases.holder = :term_holder::VARCHAR
AND scheduler_leases.fence = :term_fence::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_2::INTEGER)
AND NOT (EXISTS (SELECT 1
FROM jobs
WHERE jobs.lock_key = :lock_key::VARCHAR
AND jobs.workspace = :workspace::VARCHAR
AND jobs.status IN (0, 1, 6)))
RETURNING jobs.id, jobs.creation_time, jobs.job_name, jobs.params, jobs.workspace, jobs.timeout,
    jobs.status, jobs.result, jobs.retry_count, jobs.last_update_time, jobs.status_details,
    jobs.creator, jobs.executor_backend, jobs.lease_expires_at, jobs.status_message, jobs.progress,
    jobs.progress_updated_at, jobs.token_hash, jobs.scoped_permissions, jobs.next_attempt_at,
    jobs.fence, jobs.started_at, jobs.finished_at, jobs.recovery_count, jobs.lock_key, jobs.crashes,
    jobs.had_extra_envs;

-- discovery: experiments
SELECT experiments.experiment_id, experiments.workspace, scored.configs, scored.first_config,
    scored.last_config, scored.rates, CASE WHEN (checkpoint_0.key IS NULL) THEN NULL ELSE
    coalesce(checkpoint_0.value, :param_1::VARCHAR) END AS text_0, (SELECT
    max(trace_info.timestamp_ms) AS max_1
FROM trace_info
WHERE trace_info.experiment_id = experiments.experiment_id
AND trace_info.timestamp_ms < :timestamp_ms_1::BIGINT) AS newest_0, CASE WHEN (checkpoint_1.key IS
    NULL) THEN NULL ELSE coalesce(checkpoint_1.value, :param_2::VARCHAR) END AS text_1, (SELECT
    max(trace_info.timestamp_ms) AS max_2
FROM trace_info
WHERE trace_info.experiment_id = experiments.experiment_id
AND trace_info.timestamp_ms < :timestamp_ms_2::BIGINT) AS newest_1
FROM (SELECT online_scoring_configs.experiment_id AS experiment_id, count(*) AS configs,
    min(online_scoring_configs.online_scoring_config_id) AS first_config,
    max(online_scoring_configs.online_scoring_config_id) AS last_config,
    sum(online_scoring_configs.sample_rate) AS rates
FROM online_scoring_configs
WHERE online_scoring_configs.sample_rate > :sample_rate_1::INTEGER
AND online_scoring_configs.experiment_id = :experiment_id_1::INTEGER GROUP BY
    online_scoring_configs.experiment_id) AS scored
JOIN experiments ON experiments.experiment_id = scored.experiment_id LEFT OUTER
JOIN experiment_tags AS checkpoint_0 ON checkpoint_0.key = :key_1::VARCHAR
AND checkpoint_0.experiment_id = experiments.experiment_id LEFT OUTER
JOIN experiment_tags AS checkpoint_1 ON checkpoint_1.key = :key_2::VARCHAR
AND checkpoint_1.experiment_id = experiments.experiment_id
WHERE experiments.lifecycle_stage = :lifecycle_stage_1::VARCHAR;

-- discovery: unfinished jobs
SELECT jobs.job_name, jobs.lock_key, CASE WHEN (jobs.lock_key IS NULL) THEN jobs.params END AS
    params, jobs.workspace
FROM jobs
WHERE jobs.status = 0
AND jobs.job_name IN (:job_name_1_1::VARCHAR)
AND (jobs.lock_key IN (:lock_key_1_1::VARCHAR)
OR jobs.lock_key IS NULL)
UNION ALL
SELECT jobs.job_name, jobs.lock_key, CASE WHEN (jobs.lock_key IS NULL) THEN jobs.params END AS
    params, jobs.workspace
FROM jobs
WHERE jobs.status IN (1, 6)
AND jobs.job_name IN (:job_name_1_1::VARCHAR)
AND (jobs.lock_key IN (:lock_key_1_1::VARCHAR)
OR jobs.lock_key IS NULL);

-- discovery: first checkpoint
INSERT INTO experiment_tags (key, experiment_id, value)
SELECT :param_1::VARCHAR AS anon_1, experiments.experiment_id, :param_2::VARCHAR AS anon_2
FROM experiments
JOIN scheduler_leases ON true
WHERE experiments.experiment_id = :experiment_id_1::INTEGER
AND scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER);

-- discovery: first checkpoint
-- discovery: another checkpoint
-- retention
SELECT 1
WHERE EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER));

-- discovery: another checkpoint
UPDATE experiment_tags
SET value=:value::VARCHAR
WHERE experiment_tags.key = :key_1::VARCHAR
AND experiment_tags.experiment_id = :experiment_id_1::INTEGER
AND experiment_tags.value = :value_1::VARCHAR
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- discovery: checkpoint forgotten
DELETE
FROM experiment_tags
WHERE experiment_tags.key = :key_1::VARCHAR
AND experiment_tags.experiment_id = :experiment_id_1::INTEGER
AND experiment_tags.value = :value_1::VARCHAR
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- discovery: checkpoints forgotten
DELETE
FROM experiment_tags
WHERE experiment_tags.key IN (:key_1_1::VARCHAR)
AND NOT (EXISTS (SELECT 1
FROM online_scoring_configs
WHERE online_scoring_configs.experiment_id = experiment_tags.experiment_id
AND online_scoring_configs.sample_rate > :sample_rate_1::INTEGER))
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- scheduler lease: release
UPDATE scheduler_leases
SET holder=:holder::VARCHAR
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT;

-- database time
-- T12 after a crash
-- T12 of a suspect
-- T12, set aside
SELECT (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_2::INTEGER) AS now_ms_1;

-- anything due
SELECT anon_1.job_name
FROM (SELECT '' AS job_name
FROM (SELECT anon_3.id AS id
FROM (SELECT anon_4.id AS id
FROM (SELECT jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_1::VARCHAR
AND jobs.next_attempt_at IS NULL
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_1::INTEGER) AS anon_4
UNION ALL
SELECT anon_5.id AS id
FROM (SELECT jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_1::VARCHAR
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_2::INTEGER) AS anon_5
UNION ALL
SELECT anon_6.id AS id
FROM (SELECT jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_1::VARCHAR
AND jobs.job_name = :job_name_2::VARCHAR
AND jobs.next_attempt_at IS NULL
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_3::INTEGER) AS anon_6
UNION ALL
SELECT anon_7.id AS id
FROM (SELECT jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_1::VARCHAR
AND jobs.job_name = :job_name_2::VARCHAR
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_4::INTEGER) AS anon_7
UNION ALL
SELECT anon_8.id AS id
FROM (SELECT jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_3::VARCHAR
AND jobs.next_attempt_at IS NULL
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_5::INTEGER) AS anon_8
UNION ALL
SELECT anon_9.id AS id
FROM (SELECT jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_3::VARCHAR
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_6::INTEGER) AS anon_9
UNION ALL
SELECT anon_10.id AS id
FROM (SELECT jobs.id AS id, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_2::VARCHAR
AND jobs.job_name = :job_name_4::VARCHAR
AND jobs.next_attempt_at IS NULL
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_7::INTEGER) AS anon_10
UNION ALL
SELECT anon_11.id AS id
FROM (SELECT jobs.id AS id, jobs.next_attempt_at AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_2::VARCHAR
AND jobs.job_name = :job_name_4::VARCHAR
AND jobs.next_attempt_at > 0
AND jobs.next_attempt_at <= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_8::INTEGER) AS anon_11) AS anon_3
LIMIT :param_9::INTEGER) AS anon_2
UNION ALL
SELECT anon_12.job_name AS job_name
FROM (SELECT jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend IS NULL
AND jobs.job_name = :job_name_5::VARCHAR
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_10::INTEGER) AS anon_12
UNION ALL
SELECT anon_13.job_name AS job_name
FROM (SELECT jobs.id AS id, jobs.job_name AS job_name, jobs.creation_time AS due_at
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_3::VARCHAR
AND jobs.job_name = :job_name_6::VARCHAR
AND jobs.next_attempt_at = 0
ORDER BY jobs.executor_backend, jobs.job_name, jobs.next_attempt_at, jobs.creation_time
LIMIT :param_11::INTEGER) AS anon_13) AS anon_1;

-- T2, exclusivity lock is free
-- T3, exclusivity lock is held
-- T2, exclusivity lock is taken over
SELECT job_locks.job_id, job_locks.fence
FROM job_locks
WHERE job_locks.lock_key = :lock_key_1::VARCHAR;

-- T2, exclusivity lock is free
INSERT INTO job_locks (lock_key, job_id, acquired_at, fence)
VALUES (:lock_key::VARCHAR, :job_id::VARCHAR, (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), :fence::BIGINT);

-- T3, exclusivity lock is held
UPDATE jobs
SET lock_key=:lock_key::VARCHAR
WHERE jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT;

-- T3, exclusivity lock is held
-- T2, exclusivity lock is taken over
UPDATE job_locks
SET job_id=:job_id::VARCHAR, acquired_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), fence=:fence::BIGINT
WHERE job_locks.lock_key = :lock_key_1::VARCHAR
AND job_locks.job_id = :job_id_1::VARCHAR
AND job_locks.fence = :fence_1::BIGINT
AND (job_locks.job_id = :job_id_2::VARCHAR
OR NOT (EXISTS (SELECT 1
FROM jobs AS holder
WHERE holder.id = job_locks.job_id
AND (holder.status IN (6, 1)
OR holder.status = 5
AND holder.lease_expires_at >= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER))
AND (job_locks.fence IS NULL
OR holder.fence <= job_locks.fence)
AND job_locks.acquired_at > (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - CAST(CASE WHEN
    (coalesce(holder.timeout, :coalesce_1) > :coalesce_2) THEN :param_1 WHEN
    (coalesce(holder.timeout, :coalesce_1) < :coalesce_3::INTEGER) THEN :param_2::INTEGER ELSE
    coalesce(holder.timeout, :coalesce_1) END * :param_3 AS BIGINT))));

-- T3, exclusivity lock is held
UPDATE jobs
SET status=:status::INTEGER, result=:result::VARCHAR, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    scoped_permissions=NULL, next_attempt_at=NULL, finished_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), sealed_environment=NULL,
    crashed_at=NULL
WHERE jobs.status + 0 = 1
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT;

-- T4
UPDATE jobs
SET lease_expires_at=((CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) + :param_1::BIGINT)
WHERE jobs.status + 0 = 1
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT;

-- progress
SELECT jobs.id, jobs.creation_time, jobs.job_name, jobs.params, jobs.workspace, jobs.timeout,
    jobs.status, jobs.result, jobs.retry_count, jobs.last_update_time, jobs.status_details,
    jobs.creator, jobs.executor_backend, jobs.lease_expires_at, jobs.status_message, jobs.progress,
    jobs.progress_updated_at, jobs.token_hash, jobs.scoped_permissions, jobs.next_attempt_at,
    jobs.fence, jobs.started_at, jobs.finished_at, jobs.recovery_count, jobs.lock_key, jobs.crashes,
    jobs.had_extra_envs
FROM jobs
WHERE jobs.id = :id_1::VARCHAR
FOR UPDATE;

-- progress
UPDATE jobs
SET status_message=:status_message::VARCHAR, progress_updated_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
WHERE jobs.id = :id_1::VARCHAR
AND jobs.status + 0 IN (1, 6)
AND jobs.fence = :fence_1::BIGINT;

-- T5, and the first checkpoint
-- T5, and a later checkpoint
-- T5 that comes too late
-- T6 fail
-- T6 time out
-- T2, exclusivity lock is taken over
UPDATE jobs
SET status=:status::INTEGER, result=:result::VARCHAR, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    scoped_permissions=NULL, next_attempt_at=NULL, finished_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), sealed_environment=NULL,
    crashed_at=NULL
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT;

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
WHERE job_locks.job_id = :job_id_1::VARCHAR
AND (job_locks.fence = :fence_1::BIGINT
OR job_locks.fence IS NULL);

-- T5, and the first checkpoint
-- T5, and a later checkpoint
SELECT experiment_tags.value
FROM experiment_tags
WHERE experiment_tags.key = :key_1::VARCHAR
AND experiment_tags.experiment_id = :experiment_id_1::INTEGER;

-- T5, and the first checkpoint
-- T5, and a later checkpoint
INSERT INTO experiment_tags (key, experiment_id, value)
SELECT :param_1::VARCHAR AS anon_1, experiments.experiment_id, :param_2::VARCHAR AS anon_2
FROM experiments
WHERE experiments.experiment_id = :experiment_id_1::INTEGER;

-- T5, and the first checkpoint
-- T5, and a later checkpoint
SELECT experiments.experiment_id
FROM experiments
WHERE experiments.experiment_id = :experiment_id_1::INTEGER;

-- T5 that comes too late
-- T5 by token, again
-- T13 of a backend that nobody has
SELECT jobs.status, jobs.fence, jobs.issued_token_hash, jobs.result
FROM jobs
WHERE jobs.id = :id_1::VARCHAR;

-- T7
UPDATE jobs
SET status=:status::INTEGER, result=NULL, retry_count=(jobs.retry_count + :retry_count_1::INTEGER),
    last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=:status_message::VARCHAR, progress=NULL, progress_updated_at=NULL,
    token_hash=NULL, next_attempt_at=((CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) + :param_1::BIGINT),
    crashed_at=NULL
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT;

-- T10
UPDATE jobs
SET status=:status::INTEGER, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    crashed_at=NULL
WHERE jobs.status + 0 = 1
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT;

-- T10 of lost work
UPDATE jobs
SET status=:status::INTEGER, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    crashed_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
WHERE jobs.status + 0 = 1
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT;

-- not running
SELECT jobs.id, jobs.fence, jobs.status
FROM jobs
WHERE jobs.id IN (:id_1_1::VARCHAR);

-- T8 of a running job
-- T8 of a waiting job
UPDATE jobs
SET status=:status::INTEGER, result=NULL, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), status_message=NULL,
    progress=NULL, progress_updated_at=NULL, token_hash=NULL, scoped_permissions=NULL,
    next_attempt_at=NULL, finished_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), sealed_environment=NULL,
    crashed_at=NULL
WHERE jobs.status + 0 IN (0, 1, 6)
AND jobs.id = :id_1::VARCHAR;

-- T8 of a running job
-- T5 by token
-- T8 of a waiting job
DELETE
FROM job_locks
WHERE job_locks.job_id = :job_id_1::VARCHAR
AND NOT (EXISTS (SELECT 1
FROM jobs
WHERE jobs.id = :id_1::VARCHAR
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
WHERE jobs.id = :id_1::VARCHAR;

-- T2, the token of a remote backend
UPDATE jobs
SET token_hash=CASE jobs.id WHEN :param_1::VARCHAR THEN :param_2::VARCHAR END,
    issued_token_hash=CASE jobs.id WHEN :param_1::VARCHAR THEN :param_2::VARCHAR END
WHERE jobs.status + 0 = 1
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT;

-- job of a token
SELECT jobs.status, jobs.workspace, jobs.creator, jobs.retry_count, jobs.token_hash,
    jobs.issued_token_hash, jobs.scoped_permissions
FROM jobs
WHERE jobs.id = :id_1::VARCHAR;

-- progress by token
UPDATE jobs
SET status_message=:status_message::VARCHAR, progress_updated_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = :id_1::VARCHAR
AND jobs.token_hash = :token_hash_1::VARCHAR;

-- status details by token
SELECT jobs.status_details
FROM jobs
WHERE jobs.id = :id_1::VARCHAR
FOR UPDATE;

-- status details by token
UPDATE jobs
SET last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER),
    status_details=:status_details::JSON, progress_updated_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = :id_1::VARCHAR
AND jobs.token_hash = :token_hash_1::VARCHAR;

-- T5 by token
-- T5 by token, again
UPDATE jobs
SET status=:status::INTEGER, result=:result::VARCHAR, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    scoped_permissions=NULL, next_attempt_at=NULL, finished_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), sealed_environment=NULL,
    crashed_at=NULL
WHERE jobs.status + 0 IN (1, 6)
AND jobs.id = :id_1::VARCHAR
AND jobs.token_hash = :token_hash_1::VARCHAR;

-- T9
SELECT jobs.id
FROM jobs
WHERE jobs.status = 1
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
OR jobs.started_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - CAST(CASE WHEN (jobs.timeout
    > :timeout_1) THEN :param_1 WHEN (jobs.timeout < :timeout_2::INTEGER) THEN :param_2::INTEGER
    ELSE jobs.timeout END * :param_3 AS BIGINT))
LIMIT :param_4::INTEGER;

-- T9
SELECT jobs.id
FROM jobs
WHERE jobs.id IN (:id_1_1::VARCHAR)
FOR UPDATE SKIP LOCKED;

-- T9
UPDATE jobs
SET status=:status::INTEGER, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    crashed_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
WHERE jobs.status + 0 = 1
AND jobs.id IN (:id_1_1::VARCHAR)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
OR jobs.started_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - CAST(CASE WHEN (jobs.timeout
    > :timeout_1) THEN :param_1 WHEN (jobs.timeout < :timeout_2::INTEGER) THEN :param_2::INTEGER
    ELSE jobs.timeout END * :param_3 AS BIGINT))
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_1::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- recovery candidates
SELECT jobs.id, jobs.fence, jobs.executor_backend, jobs.job_name, jobs.recovery_count,
    jobs.claimed_by, jobs.crashed_at, jobs.crashes, jobs.next_attempt_at
FROM jobs
WHERE jobs.status = 6
ORDER BY jobs.last_update_time, jobs.id
LIMIT :param_1::INTEGER;

-- backends that jobs wait for
SELECT min(jobs.executor_backend) AS min_1
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend > :executor_backend_1::VARCHAR;

-- how many wait for a backend
SELECT count(*) AS count_1
FROM (SELECT jobs.id AS id
FROM jobs
WHERE abs(jobs.status) = 0
AND jobs.executor_backend = :executor_backend_1::VARCHAR
LIMIT :param_1::INTEGER) AS anon_1;

-- whether a backend is served
SELECT jobs.id
FROM jobs
WHERE jobs.status = 1
AND jobs.executor_backend = :executor_backend_1::VARCHAR
AND jobs.lease_expires_at >= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)
LIMIT :param_1::INTEGER;

-- T11
UPDATE jobs
SET status=:status::INTEGER, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER),
    lease_expires_at=((CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) + :param_1::BIGINT),
    fence=(jobs.fence + :fence_1::BIGINT), claimed_by=:claimed_by::VARCHAR, crashed_at=NULL
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_2::BIGINT
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_3::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- T11
UPDATE job_locks
SET fence=:fence::BIGINT
WHERE job_locks.job_id = :job_id_1::VARCHAR;

-- T12
UPDATE jobs
SET status=:status::INTEGER, result=NULL, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    next_attempt_at=NULL, crashed_at=NULL
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT
AND jobs.crashed_at IS NULL
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_2::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- T12 after a crash
UPDATE jobs
SET status=:status::INTEGER, result=NULL, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    next_attempt_at=NULL, recovery_count=(jobs.recovery_count + :recovery_count_1::INTEGER),
    crashed_at=NULL, crashes=:crashes::JSON
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT
AND jobs.recovery_count < :recovery_count_2::INTEGER
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_2::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- T12 of a suspect
-- T12, set aside
UPDATE jobs
SET status=:status::INTEGER, result=NULL, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    next_attempt_at=:next_attempt_at::BIGINT, recovery_count=(jobs.recovery_count +
    :recovery_count_1::INTEGER), crashed_at=NULL, crashes=:crashes::JSON
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT
AND jobs.recovery_count < :recovery_count_2::INTEGER
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_2::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- T12, set aside
UPDATE jobs
SET status=:status::INTEGER, result=:result::VARCHAR, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    scoped_permissions=NULL, next_attempt_at=NULL, finished_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER),
    recovery_count=(jobs.recovery_count + :recovery_count_1::INTEGER), sealed_environment=NULL,
    crashed_at=NULL, crashes=:crashes::JSON
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_2::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)))
AND jobs.recovery_count >= :recovery_count_2::INTEGER;

-- T13
UPDATE jobs
SET status=:status::INTEGER, result=:result::VARCHAR, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    scoped_permissions=NULL, next_attempt_at=NULL, finished_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), sealed_environment=NULL,
    crashed_at=NULL
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_2::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- T13 of a backend that nobody has
UPDATE jobs
SET status=:status::INTEGER, result=:result::VARCHAR, last_update_time=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), lease_expires_at=NULL,
    status_message=NULL, progress=NULL, progress_updated_at=NULL, token_hash=NULL,
    scoped_permissions=NULL, next_attempt_at=NULL, finished_at=(CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), sealed_environment=NULL,
    crashed_at=NULL
WHERE jobs.status + 0 = 6
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT
AND jobs.last_update_time <= (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT
AND (EXISTS (SELECT 1
FROM scheduler_leases
WHERE scheduler_leases.lease_key = :lease_key_1::VARCHAR
AND scheduler_leases.holder = :holder_1::VARCHAR
AND scheduler_leases.fence = :fence_2::BIGINT
AND scheduler_leases.acquired_at + CAST(scheduler_leases.ttl_seconds AS BIGINT) * 1000 >
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER)));

-- whether there is work for retention
SELECT 1
WHERE (EXISTS (SELECT jobs.id
FROM jobs
WHERE jobs.status = 5
AND jobs.last_update_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT
AND jobs.discovered_by IS NOT NULL
LIMIT :param_2::INTEGER))
OR (EXISTS (SELECT jobs.id
FROM jobs
WHERE jobs.status = 5
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_3::BIGINT
ORDER BY jobs.last_update_time
LIMIT :param_4::INTEGER))
OR (EXISTS (SELECT jobs.id
FROM jobs
WHERE jobs.status = 3
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_3::BIGINT
ORDER BY jobs.last_update_time
LIMIT :param_5::INTEGER))
OR (EXISTS (SELECT jobs.id
FROM jobs
WHERE jobs.status = 2
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_3::BIGINT
ORDER BY jobs.last_update_time
LIMIT :param_6::INTEGER))
OR (EXISTS (SELECT jobs.id
FROM jobs
WHERE jobs.status = 4
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_3::BIGINT
ORDER BY jobs.last_update_time
LIMIT :param_7::INTEGER));

-- retention
SELECT jobs.id
FROM jobs
WHERE jobs.status = 5
AND jobs.last_update_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT
AND jobs.discovered_by IS NOT NULL
LIMIT :param_2::INTEGER;

-- retention
SELECT jobs.id
FROM jobs
WHERE jobs.status = 5
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT
ORDER BY jobs.last_update_time
LIMIT :param_2::INTEGER;

-- retention
SELECT jobs.id
FROM jobs
WHERE jobs.status = 3
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT
ORDER BY jobs.last_update_time
LIMIT :param_2::INTEGER;

-- retention
SELECT jobs.id
FROM jobs
WHERE jobs.status = 2
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT
ORDER BY jobs.last_update_time
LIMIT :param_2::INTEGER;

-- retention
SELECT jobs.id
FROM jobs
WHERE jobs.status = 4
AND jobs.status IN (2, 3, 4, 5)
AND jobs.last_update_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT
ORDER BY jobs.last_update_time
LIMIT :param_2::INTEGER;

-- retention
DELETE
FROM jobs
WHERE jobs.id IN (:id_1_1::VARCHAR)
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER));

-- T8 confirmed
UPDATE jobs
SET lease_expires_at=NULL
WHERE jobs.status + 0 = 5
AND jobs.id = :id_1::VARCHAR
AND jobs.fence = :fence_1::BIGINT;

-- search
SELECT jobs.id, jobs.creation_time, jobs.job_name, jobs.params, jobs.workspace, jobs.timeout,
    jobs.status, jobs.result, jobs.retry_count, jobs.last_update_time, jobs.status_details,
    jobs.creator, jobs.executor_backend, jobs.lease_expires_at, jobs.status_message, jobs.progress,
    jobs.progress_updated_at, jobs.token_hash, jobs.scoped_permissions, jobs.next_attempt_at,
    jobs.fence, jobs.started_at, jobs.finished_at, jobs.recovery_count, jobs.lock_key, jobs.crashes,
    jobs.had_extra_envs
FROM jobs
JOIN (SELECT anon_2.id AS id
FROM (SELECT anon_3.creation_time AS creation_time, anon_3.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 5
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_1::INTEGER) AS anon_3
UNION ALL
SELECT anon_4.creation_time AS creation_time, anon_4.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 3
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_2::INTEGER) AS anon_4
UNION ALL
SELECT anon_5.creation_time AS creation_time, anon_5.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 6
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_3::INTEGER) AS anon_5
UNION ALL
SELECT anon_6.creation_time AS creation_time, anon_6.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 0
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_4::INTEGER) AS anon_6
UNION ALL
SELECT anon_7.creation_time AS creation_time, anon_7.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 1
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_5::INTEGER) AS anon_7
UNION ALL
SELECT anon_8.creation_time AS creation_time, anon_8.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 2
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_6::INTEGER) AS anon_8
UNION ALL
SELECT anon_9.creation_time AS creation_time, anon_9.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 4
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_7::INTEGER) AS anon_9) AS anon_2
ORDER BY anon_2.creation_time, anon_2.id
LIMIT :param_8::INTEGER) AS anon_1 ON anon_1.id = jobs.id
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_9::INTEGER;

-- search of a later page
SELECT jobs.id, jobs.creation_time, jobs.job_name, jobs.params, jobs.workspace, jobs.timeout,
    jobs.status, jobs.result, jobs.retry_count, jobs.last_update_time, jobs.status_details,
    jobs.creator, jobs.executor_backend, jobs.lease_expires_at, jobs.status_message, jobs.progress,
    jobs.progress_updated_at, jobs.token_hash, jobs.scoped_permissions, jobs.next_attempt_at,
    jobs.fence, jobs.started_at, jobs.finished_at, jobs.recovery_count, jobs.lock_key, jobs.crashes,
    jobs.had_extra_envs
FROM jobs
JOIN (SELECT anon_2.id AS id
FROM (SELECT anon_3.creation_time AS creation_time, anon_3.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 5
AND jobs.creation_time >= :creation_time_1::BIGINT
AND (jobs.creation_time > :creation_time_2::BIGINT
OR jobs.id > :id_1::VARCHAR)
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_1::INTEGER) AS anon_3
UNION ALL
SELECT anon_4.creation_time AS creation_time, anon_4.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 3
AND jobs.creation_time >= :creation_time_3::BIGINT
AND (jobs.creation_time > :creation_time_4::BIGINT
OR jobs.id > :id_2::VARCHAR)
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_2::INTEGER) AS anon_4
UNION ALL
SELECT anon_5.creation_time AS creation_time, anon_5.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 6
AND jobs.creation_time >= :creation_time_5::BIGINT
AND (jobs.creation_time > :creation_time_6::BIGINT
OR jobs.id > :id_3::VARCHAR)
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_3::INTEGER) AS anon_5
UNION ALL
SELECT anon_6.creation_time AS creation_time, anon_6.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 0
AND jobs.creation_time >= :creation_time_7::BIGINT
AND (jobs.creation_time > :creation_time_8::BIGINT
OR jobs.id > :id_4::VARCHAR)
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_4::INTEGER) AS anon_6
UNION ALL
SELECT anon_7.creation_time AS creation_time, anon_7.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 1
AND jobs.creation_time >= :creation_time_9::BIGINT
AND (jobs.creation_time > :creation_time_10::BIGINT
OR jobs.id > :id_5::VARCHAR)
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_5::INTEGER) AS anon_7
UNION ALL
SELECT anon_8.creation_time AS creation_time, anon_8.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 2
AND jobs.creation_time >= :creation_time_11::BIGINT
AND (jobs.creation_time > :creation_time_12::BIGINT
OR jobs.id > :id_6::VARCHAR)
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_6::INTEGER) AS anon_8
UNION ALL
SELECT anon_9.creation_time AS creation_time, anon_9.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.status = 4
AND jobs.creation_time >= :creation_time_13::BIGINT
AND (jobs.creation_time > :creation_time_14::BIGINT
OR jobs.id > :id_7::VARCHAR)
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_7::INTEGER) AS anon_9) AS anon_2
ORDER BY anon_2.creation_time, anon_2.id
LIMIT :param_8::INTEGER) AS anon_1 ON anon_1.id = jobs.id
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_9::INTEGER;

-- search by all that there is
SELECT jobs.id, jobs.creation_time, jobs.job_name, jobs.params, jobs.workspace, jobs.timeout,
    jobs.status, jobs.result, jobs.retry_count, jobs.last_update_time, jobs.status_details,
    jobs.creator, jobs.executor_backend, jobs.lease_expires_at, jobs.status_message, jobs.progress,
    jobs.progress_updated_at, jobs.token_hash, jobs.scoped_permissions, jobs.next_attempt_at,
    jobs.fence, jobs.started_at, jobs.finished_at, jobs.recovery_count, jobs.lock_key, jobs.crashes,
    jobs.had_extra_envs
FROM jobs
JOIN (SELECT anon_2.id AS id
FROM (SELECT anon_3.creation_time AS creation_time, anon_3.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.workspace = :workspace_1::VARCHAR
AND jobs.creator = :creator_1::VARCHAR
AND jobs.creation_time >= :creation_time_1::BIGINT
AND jobs.creation_time <= :creation_time_2::BIGINT
AND jobs.job_name = :job_name_1::VARCHAR
AND jobs.status = 3
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_1::INTEGER) AS anon_3
UNION ALL
SELECT anon_4.creation_time AS creation_time, anon_4.id AS id
FROM (SELECT jobs.creation_time AS creation_time, jobs.id AS id
FROM jobs
WHERE jobs.workspace = :workspace_1::VARCHAR
AND jobs.creator = :creator_1::VARCHAR
AND jobs.creation_time >= :creation_time_1::BIGINT
AND jobs.creation_time <= :creation_time_2::BIGINT
AND jobs.job_name = :job_name_1::VARCHAR
AND jobs.status = 1
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_2::INTEGER) AS anon_4) AS anon_2
ORDER BY anon_2.creation_time, anon_2.id
LIMIT :param_3::INTEGER) AS anon_1 ON anon_1.id = jobs.id
ORDER BY jobs.creation_time, jobs.id
LIMIT :param_4::INTEGER;

-- deletion by age
SELECT jobs.id
FROM jobs
WHERE jobs.status = 5
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER))
AND jobs.creation_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT;

-- deletion by age
SELECT jobs.id
FROM jobs
WHERE jobs.status = 3
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER))
AND jobs.creation_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT;

-- deletion by age
SELECT jobs.id
FROM jobs
WHERE jobs.status = 2
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER))
AND jobs.creation_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT;

-- deletion by age
SELECT jobs.id
FROM jobs
WHERE jobs.status = 4
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER))
AND jobs.creation_time < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER) - :param_1::BIGINT;

-- deletion by age
DELETE
FROM jobs
WHERE jobs.id IN (:id_1_1::VARCHAR, :id_1_2::VARCHAR)
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER));

-- deletion by id
SELECT jobs.id
FROM jobs
WHERE jobs.id IN (:id_1_1::VARCHAR)
AND jobs.status + 0 IN (2, 3, 4, 5)
AND (jobs.lease_expires_at IS NULL
OR jobs.lease_expires_at < (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER));

-- T1 of several, or where an insert answers no row
INSERT INTO jobs (id, creation_time, job_name, params, workspace, timeout, status, retry_count,
    last_update_time, creator, executor_backend, scoped_permissions, lock_key, sealed_environment,
    had_extra_envs)
VALUES (:id::VARCHAR, (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), :job_name::VARCHAR,
    :params::VARCHAR, :workspace::VARCHAR, :timeout, :status::INTEGER, :retry_count::INTEGER,
    (CAST(FLOOR(EXTRACT(EPOCH
FROM statement_timestamp()) * 1000) AS BIGINT) + :now_ms_1::INTEGER), :creator::VARCHAR,
    :executor_backend::VARCHAR, :scoped_permissions::JSON, :lock_key::VARCHAR,
    :sealed_environment::VARCHAR, :had_extra_envs);
