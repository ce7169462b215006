-- The state of Knockon: the sixteen tables of the entity-relationship contract, with additions.
-- Every closed vocabulary is a CHECK, so that no writer can extend it.

-- A separate schema leaves all names to datasets. The setting ends with the transaction of this file;
-- only definitions that are resolved later (bodies of functions) have to qualify their names.
SET LOCAL search_path = knockon, pg_temp;

CREATE TABLE orgs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL,
    slug text NOT NULL UNIQUE,
    settings jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Changes with every deploy; a cached lineage is valid for one epoch.
    lineage_epoch bigint NOT NULL DEFAULT 0
);

-- Numbers are never reused: a lineage read in a deploy that was rolled back must not be taken for
-- the lineage of the next deploy.
CREATE SEQUENCE lineage_epochs;

CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    external_id text NOT NULL UNIQUE,
    email text NOT NULL,
    role text NOT NULL CHECK (role IN ('reader', 'writer', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX users_org ON users (org_id);

CREATE TABLE org_roles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    slug text NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_id, slug)
);

CREATE TABLE org_role_memberships (
    role_id uuid NOT NULL REFERENCES org_roles ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role_id, user_id)
);
CREATE INDEX org_role_memberships_user ON org_role_memberships (user_id);

CREATE TABLE dag_versions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    dag_name text NOT NULL,
    yaml_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    content jsonb NOT NULL,
    UNIQUE (org_id, dag_name, yaml_hash)
);

CREATE TABLE dag_current_versions (
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    dag_name text NOT NULL,
    dag_version_id uuid NOT NULL REFERENCES dag_versions,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, dag_name)
);
CREATE INDEX dag_current_versions_version ON dag_current_versions (dag_version_id);

-- A job row belongs to one DAG version and never changes, except for column lineage reported by runs;
-- a deploy creates new rows.
CREATE TABLE jobs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    name text NOT NULL,
    dag_name text NOT NULL,
    dag_version_id uuid NOT NULL REFERENCES dag_versions ON DELETE CASCADE,
    activation text NOT NULL CHECK (activation IN ('source', 'reactive', 'manual')),
    runtime text NOT NULL,
    operator text NOT NULL,
    source jsonb,
    execution_strategy text NOT NULL
        CHECK (execution_strategy IN ('PerPartition', 'PerUpdate', 'Full')),
    idle_timeout text,
    config jsonb NOT NULL DEFAULT '{}',
    config_hash text NOT NULL,
    input_datasets text[] NOT NULL DEFAULT '{}',
    output_datasets text[] NOT NULL DEFAULT '{}',
    update_strategy text NOT NULL CHECK (update_strategy IN ('replace', 'append')),
    unique_key text[] NOT NULL DEFAULT '{}',
    scaling jsonb NOT NULL DEFAULT '{}',
    timeout_seconds int CHECK (timeout_seconds > 0),
    heartbeat_timeout_seconds int CHECK (heartbeat_timeout_seconds > 0),
    max_attempts int NOT NULL DEFAULT 3 CHECK (max_attempts > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- The mapping, alias and wait_for of each input, resolved at deploy.
    inputs jsonb NOT NULL DEFAULT '[]',
    max_concurrency int GENERATED ALWAYS AS ((scaling ->> 'max_concurrency')::int) STORED,
    -- Whether first runs wait for inputs (wait_for), so that other jobs need no check of their inputs.
    waits_for_inputs boolean NOT NULL DEFAULT false,
    -- The outputs with column lineage reported by runs; the file or its SQL gives that of others.
    accepts_reported_lineage text[] NOT NULL DEFAULT '{}',
    -- Hashes, by name, of the code that the job runs outside of the DAG file; null: not checked.
    code jsonb,
    -- The job's rows of column_lineage as one text, maintained by triggers; null if it has none.
    column_lineage text,
    UNIQUE (dag_version_id, name),
    CHECK (activation <> 'source' OR source IS NOT NULL)
);
CREATE INDEX jobs_org ON jobs (org_id);

CREATE TABLE datasets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    name text NOT NULL,
    producer_dag_name text NOT NULL,
    producer_job_name text NOT NULL,
    producer_output_index int NOT NULL DEFAULT 0 CHECK (producer_output_index >= 0),
    storage jsonb NOT NULL DEFAULT '{}',
    read_roles text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_id, name)
);

-- A deploy waits for the planning lock, so its versions take the time of their insertion.
CREATE TABLE dataset_versions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    dataset_uuid uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    storage_location text,
    config_hash text NOT NULL,
    schema_hash text,
    -- json, not jsonb: the order of its dimensions is the order of the key's parts.
    partitioning json NOT NULL DEFAULT '{}',
    -- The declared columns; null if none are declared.
    columns text[]
);
CREATE INDEX dataset_versions_dataset ON dataset_versions (dataset_uuid, created_at);

CREATE TABLE dag_version_datasets (
    dag_version_id uuid NOT NULL REFERENCES dag_versions ON DELETE CASCADE,
    dataset_uuid uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
    dataset_version uuid NOT NULL REFERENCES dataset_versions,
    PRIMARY KEY (dag_version_id, dataset_uuid)
);
CREATE INDEX dag_version_datasets_dataset ON dag_version_datasets (dataset_uuid);

CREATE TABLE column_lineage (
    output_dataset_uuid uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
    output_column text NOT NULL,
    input_dataset_uuid uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
    input_column text NOT NULL,
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    PRIMARY KEY (output_dataset_uuid, output_column, input_dataset_uuid, input_column)
);
CREATE INDEX column_lineage_job ON column_lineage (job_id);

-- The lineage of an org is always read as a whole, and collecting a million rows takes seconds, so
-- each job stores its own as one JSON text with an entry for each pair of datasets:
-- [output, input, [output column], [input column]].
CREATE FUNCTION collect_column_lineage() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The lock is a separate statement: concurrent writers of the same job's rows wait, and the next
    -- statement sees all rows.
    PERFORM FROM knockon.jobs WHERE id IN (SELECT job_id FROM touched) ORDER BY id FOR NO KEY UPDATE;
    UPDATE knockon.jobs j SET column_lineage = (
        SELECT json_agg(json_build_array(l.output, l.input, l.outputs, l.inputs))::text
        FROM (SELECT l.output_dataset_uuid AS output, l.input_dataset_uuid AS input,
                     json_agg(l.output_column) AS outputs, json_agg(l.input_column) AS inputs
              FROM knockon.column_lineage l WHERE l.job_id = j.id GROUP BY 1, 2) AS l)
    WHERE j.id IN (SELECT job_id FROM touched);
    RETURN NULL;
END $$;
CREATE TRIGGER inserted AFTER INSERT ON column_lineage REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION collect_column_lineage();
CREATE TRIGGER deleted AFTER DELETE ON column_lineage REFERENCING OLD TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION collect_column_lineage();
CREATE TRIGGER updated_from AFTER UPDATE ON column_lineage REFERENCING OLD TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION collect_column_lineage();
CREATE TRIGGER updated_to AFTER UPDATE ON column_lineage REFERENCING NEW TABLE AS touched
    FOR EACH STATEMENT EXECUTE FUNCTION collect_column_lineage();
-- Triggers also fire for rows restored by a session with replication role.
ALTER TABLE column_lineage
    ENABLE ALWAYS TRIGGER inserted, ENABLE ALWAYS TRIGGER deleted,
    ENABLE ALWAYS TRIGGER updated_from, ENABLE ALWAYS TRIGGER updated_to;

-- A plan for some invalidations. The document contains every step with the path that led there and
-- every pruned edge with its rule, to explain the decision later. A preview is proposed, and a plan
-- that exceeds a limit is pending approval.
CREATE TABLE plans (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    lineage_epoch bigint NOT NULL,
    invalidation_ids uuid[] NOT NULL,
    document jsonb NOT NULL,
    task_count int NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'applied'
        CHECK (state IN ('proposed', 'pending_approval', 'applied', 'rejected')),
    -- The change of a proposed plan; null for plans of existing invalidations.
    event jsonb,
    -- The estimated cost of the tasks, {seconds, bytes, ...}, from earlier runs.
    estimate jsonb,
    -- The exceeded limits, one per line.
    exceeded_limits text,
    decided_at timestamptz,
    decided_by text,
    CHECK (state <> 'proposed' OR event IS NOT NULL),
    CHECK (state <> 'pending_approval' OR exceeded_limits IS NOT NULL)
);
CREATE INDEX plans_org ON plans (org_id, created_at);
CREATE INDEX plans_undecided ON plans (org_id, state, created_at) WHERE state <> 'applied';
-- Compressing the megabytes of a large plan takes longer than writing them.
ALTER TABLE plans ALTER document SET STORAGE EXTERNAL;

CREATE TABLE tasks (
    id uuid PRIMARY KEY,
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    status text NOT NULL CHECK (status IN
        ('blocked', 'queued', 'running', 'succeeded', 'failed', 'skipped', 'canceled')),
    partitions text[] NOT NULL DEFAULT '{}',
    -- {dataset uuid: {partition key: content version}}, as of the claim.
    input_versions jsonb NOT NULL DEFAULT '{}',
    worker_id text,
    started_at timestamptz,
    completed_at timestamptz,
    last_heartbeat timestamptz,
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_retry_at timestamptz,
    error_message text,
    outputs jsonb NOT NULL DEFAULT '[]',
    created_at timestamptz NOT NULL DEFAULT now(),
    -- The time from which a queued task could be claimed.
    queued_at timestamptz NOT NULL DEFAULT now(),
    -- The org of the job; a foreign key would cost another look-up for every new task.
    org_id uuid NOT NULL,
    runtime text NOT NULL,
    priority int NOT NULL DEFAULT 0,
    -- The block of adjacent partitions that the task may build, by the key of the first one.
    block_key text NOT NULL,
    -- It runs whatever the results upstream: an input has changed, or its output was invalidated.
    must_run boolean NOT NULL,
    row_filters jsonb NOT NULL DEFAULT '[]',
    -- The scopes of its outputs that plans have propagated to their readers: {dataset: [scope]};
    -- null: all columns and rows. Without an entry, the completion propagates whatever changed.
    propagated jsonb,
    -- The plans that need the task, the oldest first, at most 100.
    plan_ids uuid[] NOT NULL DEFAULT '{}',
    -- The newest plan dropped from that list; ids rise with time, so any older plan may be one too.
    plans_dropped_to uuid,
    lease_token uuid,
    lease_expires_at timestamptz,
    -- The missing inputs of a first run: {input dataset: [missing partition ranges]}.
    waiting_for jsonb,
    -- The reason for the final state, in one line.
    outcome text,
    CHECK (status <> 'running' OR (lease_token IS NOT NULL AND lease_expires_at IS NOT NULL))
) WITH (fillfactor = 80);
-- At most one unstarted and one running task per block of a job.
CREATE UNIQUE INDEX tasks_open ON tasks (job_id, block_key) WHERE status IN ('blocked', 'queued');
CREATE UNIQUE INDEX tasks_running ON tasks (job_id, block_key) WHERE status = 'running';
-- The tasks that a plan may have to join, to queue behind or to wait for.
CREATE INDEX tasks_live ON tasks (job_id, block_key)
    WHERE status IN ('blocked', 'queued', 'running', 'failed');
CREATE INDEX tasks_claimable ON tasks (org_id, runtime, priority DESC, id) WHERE status = 'queued';
CREATE INDEX tasks_failed ON tasks (org_id) WHERE status = 'failed';

-- Both ends are tasks. There are no foreign keys, because a wave of 50,000 tasks would cost 100,000
-- look-ups, and rows are only written together with the tasks. `datasets` are those through which a
-- change by the blocker triggers the task; if there are none, the task only has to wait.
CREATE TABLE task_dependencies (
    task_id uuid NOT NULL,
    depends_on uuid NOT NULL,
    datasets uuid[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (task_id, depends_on)
);
CREATE INDEX task_dependencies_depends_on ON task_dependencies (depends_on);

-- There is no foreign key, because rows are only written together with the task.
CREATE TABLE task_inputs (
    task_id uuid NOT NULL,
    input_dataset_uuid uuid NOT NULL,
    input_partition_key text NOT NULL,
    input_version timestamptz,
    -- The version that the run has read, if `input_version` was raised past changes that do not reach
    -- the run by the lineage of that time.
    version_before_raise timestamptz,
    PRIMARY KEY (task_id, input_dataset_uuid, input_partition_key)
);

-- The version belongs to the dataset, so one foreign key is enough.
CREATE TABLE partition_versions (
    dataset_uuid uuid NOT NULL,
    dataset_version uuid NOT NULL REFERENCES dataset_versions ON DELETE CASCADE,
    partition_key text NOT NULL,
    -- The content version: it changes only with the content.
    materialized_at timestamptz NOT NULL,
    config_hash text,
    schema_hash text,
    location text,
    row_count bigint CHECK (row_count >= 0),
    bytes bigint CHECK (bytes >= 0),
    fingerprint text,
    -- {column: content hash}, if the worker reported one for each column.
    column_fingerprints jsonb,
    -- If only some columns changed last: {column: its content version, "*": that of all others}.
    column_versions jsonb,
    -- The task whose run built the partition; null for a source.
    task_id uuid,
    -- Changes of some rows, which are not in column_versions: [{at, scope: {columns, rows}}].
    -- At most 64; before the oldest are dropped, readers not reached have their input_version raised.
    row_changes jsonb,
    -- {scope: the fingerprint it was last compared with, "*": that of all others}, if a run has counted
    -- as a change of some scopes only.
    attributed_fingerprints jsonb,
    -- An attempt without completion may have written a part; cleared by the next completed run.
    is_partly_written boolean NOT NULL DEFAULT false,
    -- A planned invalidation has declared the partition wrong; cleared by the next completed run.
    is_declared_wrong boolean NOT NULL DEFAULT false,
    PRIMARY KEY (dataset_uuid, dataset_version, partition_key)
) WITH (fillfactor = 80);

-- The last run behind each dataset version of a single-run job, which may have found no partition.
CREATE TABLE single_runs (
    dataset_uuid uuid NOT NULL,
    dataset_version uuid NOT NULL REFERENCES dataset_versions ON DELETE CASCADE,
    task_id uuid NOT NULL,
    config_hash text NOT NULL,
    -- As in partition_versions, for all partitions: an attempt may have written any of them.
    is_partly_written boolean NOT NULL DEFAULT false,
    -- As in partition_versions, for any of its partitions.
    is_declared_wrong boolean NOT NULL DEFAULT false,
    -- By decision, a PerUpdate job has not read old rows again; cleared by a run that reads all rows.
    has_unread_rows boolean NOT NULL DEFAULT false,
    -- By decision, it has not read new rows; cleared by a run that reads all new rows.
    has_unread_new_rows boolean NOT NULL DEFAULT false,
    PRIMARY KEY (dataset_uuid, dataset_version)
);

-- A decision to leave a partition stale, built or not, until a run builds it: its task was canceled,
-- or the plan that would have recomputed it was rejected.
CREATE TABLE stale_decisions (
    dataset_uuid uuid NOT NULL,
    dataset_version uuid NOT NULL REFERENCES dataset_versions ON DELETE CASCADE,
    partition_key text NOT NULL,
    decision text NOT NULL CHECK (decision IN ('canceled', 'rejected')),
    decided_by text,
    decided_at timestamptz NOT NULL,
    plan_id uuid,
    task_id uuid,
    -- The task that was running at the time of the decision; its run does not end the decision.
    running_task uuid,
    PRIMARY KEY (dataset_uuid, dataset_version, partition_key)
);

-- The newest content version among some columns of a partition (null: all), without changes of some
-- rows.
CREATE FUNCTION content_version_of(materialized_at timestamptz, column_versions jsonb, columns text[])
RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN column_versions IS NULL THEN materialized_at
    WHEN columns IS NULL THEN (SELECT max(c.value::timestamptz) FROM jsonb_each_text(column_versions) c)
    ELSE (SELECT max(coalesce(column_versions ->> c, column_versions ->> '*')::timestamptz)
          FROM unnest(columns || '*'::text) AS c) END;

-- The content versions of a partition's columns after a change of some (null: of all).
CREATE FUNCTION moved_column_versions(before timestamptz, column_versions jsonb, columns text[],
                             now timestamptz)
RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN columns IS NULL OR before IS NULL THEN NULL
    ELSE coalesce(column_versions, jsonb_build_object('*', before))
        || (SELECT coalesce(jsonb_object_agg(c, now), '{}') FROM unnest(columns) AS c) END;

-- The scopes that two plans have propagated for one task: {dataset: [scope]}, null for everything.
-- Plans for different partitions of the task share no scope that is valid for each partition.
CREATE FUNCTION merge_propagated(a jsonb, b jsonb, are_same_partitions boolean) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN NOT are_same_partitions THEN CASE WHEN coalesce(a, b) IS NOT NULL THEN '{}'::jsonb END
    WHEN a IS NULL OR b IS NULL THEN NULL
    ELSE (SELECT coalesce(jsonb_object_agg(x.key, merged.scopes), '{}')
          FROM jsonb_each(a) AS x JOIN jsonb_each(b) AS y USING (key),
          LATERAL (SELECT coalesce(jsonb_agg(DISTINCT s), '[]') AS scopes
                   FROM jsonb_array_elements(x.value || y.value) AS s) AS merged
          WHERE jsonb_array_length(merged.scopes) <= 16) END;

CREATE TABLE dataset_cursors (
    dataset_uuid uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
    dataset_version uuid NOT NULL REFERENCES dataset_versions ON DELETE CASCADE,
    job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    cursor_column text NOT NULL,
    cursor_value text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dataset_uuid, dataset_version, job_id)
);

CREATE TABLE data_invalidations (
    id uuid PRIMARY KEY,
    dataset_uuid uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
    dataset_version uuid NOT NULL REFERENCES dataset_versions ON DELETE CASCADE,
    scope text NOT NULL CHECK (scope IN ('dataset', 'partition', 'row_range')),
    partition_key text,
    -- null: any rows, and of an arrival the rows past the cursors of its readers; '{}': conditions
    -- that were dropped, so any rows.
    row_filter jsonb,
    reason text NOT NULL CHECK (reason IN ('change', 'arrival', 'correction', 'rewritten',
        'manual', 'schema_change', 'definition_change', 'schedule', 'found')),
    source_event jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    processed_by uuid[] NOT NULL DEFAULT '{}',
    processed_at timestamptz,
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    -- The columns that changed; null: unknown, so all.
    columns text[],
    -- The number of source events merged into the invalidation.
    events int NOT NULL DEFAULT 1 CHECK (events > 0),
    idempotency_key text,
    -- The plan of the invalidation; while it is open, a plan pending approval.
    plan_id uuid,
    -- The outcome; not_current: of another dataset version, and kept without a plan.
    outcome text CHECK (outcome IN ('planned', 'affects_nothing', 'not_current', 'pending_approval',
        'rejected', 'set_aside')),
    -- A digest of the request that used the idempotency key.
    request_hash text,
    -- The reason why planning failed. The invalidation is set aside and stays open until a replay.
    planning_error text,
    set_aside_at timestamptz,
    CHECK (scope <> 'partition' OR partition_key IS NOT NULL),
    CHECK (scope <> 'row_range' OR row_filter IS NOT NULL),
    UNIQUE (org_id, idempotency_key)
);
CREATE INDEX data_invalidations_open ON data_invalidations (org_id, id)
    WHERE processed_at IS NULL AND plan_id IS NULL AND planning_error IS NULL;
CREATE INDEX data_invalidations_set_aside ON data_invalidations (org_id, set_aside_at)
    WHERE planning_error IS NOT NULL;
CREATE INDEX data_invalidations_dataset ON data_invalidations (dataset_uuid, created_at);

-- The attempts to plan the oldest open invalidation, counted before each attempt, because a planner
-- that is killed or loses its connection leaves no other trace. Up to the invalidation `suspects_to`,
-- a batch has at most `batch_limit` invalidations.
CREATE TABLE planning_attempts (
    org_id uuid PRIMARY KEY REFERENCES orgs ON DELETE CASCADE,
    oldest uuid NOT NULL,
    suspects_to uuid NOT NULL,
    batch_limit int NOT NULL CHECK (batch_limit > 0),
    attempts int NOT NULL CHECK (attempts >= 0)
);

-- The position of each consumer in each stream. Written in the transaction that writes the
-- invalidations, by compare-and-set.
CREATE TABLE consumer_positions (
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    consumer text NOT NULL,
    stream text NOT NULL,
    position text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, consumer, stream)
);

-- Outputs announced by an OpenLineage run before its end, because the final event may omit them.
-- Written in the transaction that advances the position past the event.
CREATE TABLE run_outputs (
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    feed text NOT NULL,
    run text NOT NULL,
    digest text NOT NULL,
    namespace text NOT NULL,
    name text NOT NULL,
    output text NOT NULL,
    is_whole boolean NOT NULL,
    stream text NOT NULL,
    position text NOT NULL,
    announced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When the output counted as written, after a week without reports; the run may still write and end.
    expired_at timestamptz,
    PRIMARY KEY (org_id, feed, run, digest)
);
CREATE INDEX run_outputs_oldest ON run_outputs (org_id, feed, announced_at)
    WHERE expired_at IS NULL;
CREATE INDEX run_outputs_expired ON run_outputs (org_id, feed, expired_at)
    WHERE expired_at IS NOT NULL;

-- Runs that ended recently, for announcements that arrive after the end.
CREATE TABLE ended_runs (
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    feed text NOT NULL,
    run text NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (org_id, feed, run)
);
CREATE INDEX ended_runs_oldest ON ended_runs (org_id, feed, ended_at);

CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL REFERENCES orgs ON DELETE CASCADE,
    consumer text NOT NULL,
    stream text NOT NULL,
    position text NOT NULL,
    payload bytea,
    headers jsonb NOT NULL DEFAULT '{}',
    error text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz,
    -- Whether the messages are lost, so that nothing can be replayed.
    is_loss boolean NOT NULL DEFAULT false,
    -- The time, author and reason if closed without a replay.
    closed_at timestamptz,
    closed_by text,
    close_reason text,
    -- Two messages may have the same position: a topic that was deleted and created again starts at the
    -- first offset, and not every broker distinguishes the two. A loss has an error and no payload.
    digest text NOT NULL GENERATED ALWAYS AS (
        COALESCE(encode(sha256(payload), 'hex'), left(error, 300))
        || '/' || hashtextextended(headers::text, 0)::text
    ) STORED,
    UNIQUE (org_id, consumer, stream, position, digest)
);
CREATE INDEX dead_letters_open ON dead_letters (org_id, created_at)
    WHERE replayed_at IS NULL AND closed_at IS NULL;

-- The current version of each dataset: the pin in the current version of its DAG.
CREATE VIEW current_datasets AS
SELECT d.org_id, d.id AS dataset_uuid, d.name, p.dataset_version, c.dag_version_id
FROM datasets d
JOIN dag_current_versions c ON c.org_id = d.org_id AND c.dag_name = d.producer_dag_name
JOIN dag_version_datasets p
    ON p.dag_version_id = c.dag_version_id AND p.dataset_uuid = d.id;

INSERT INTO orgs (name, slug) VALUES ('Default', 'default');
