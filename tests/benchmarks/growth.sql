-- A year of work in the history, for the DAG of growth.py: 10 sources, 30 jobs in chains of three,
-- partitions by hour and by six keys. :hours is the number of hours.

CREATE FUNCTION pg_temp.id_at(moment timestamptz, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '7'
    || lpad(to_hex(n & 4095), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid $$;

SELECT knockon.add_history_partition(h::regclass, now() - n * interval '1 month')
FROM unnest('{knockon.tasks_history,knockon.plans_history,knockon.data_invalidations_history,knockon.dead_letters_history}'::text[]) AS h,
    generate_series(0, 13) AS n;

CREATE TEMP TABLE dataset AS
SELECT d.id, c.dataset_version AS version, d.name, j.id AS job_id, j.name AS job, d.org_id,
       d.name LIKE 's%' AS is_source, row_number() OVER (ORDER BY d.name) AS n
FROM knockon.datasets d
JOIN knockon.current_datasets c ON c.dataset_uuid = d.id
JOIN knockon.jobs j ON j.dag_version_id = c.dag_version_id AND d.name = ANY (j.output_datasets);

CREATE TEMP TABLE part AS
SELECT row_number() OVER () AS n, now() - interval '1 year' + h * interval '8760 hours' / :hours AS at,
       'h=' || to_char(timestamp '2026-01-01' + h * interval '1 hour', 'YYYY-MM-DD"T"HH24') || '/k=k' || k AS key
FROM generate_series(0, :hours - 1) AS h, generate_series(1, 6) AS k;

INSERT INTO knockon.plans_history (id, org_id, created_at, lineage_epoch, invalidation_ids, document, task_count, state)
SELECT pg_temp.id_at(p.at, p.n * 10 + i), (SELECT min(org_id::text)::uuid FROM dataset), p.at, 1,
    ARRAY[pg_temp.id_at(p.at, p.n * 100)],
    jsonb_build_object('steps', (SELECT jsonb_agg(jsonb_build_object('job', d.job_id, 'name', d.job, 'dag', 'world',
        'partitions', jsonb_build_array(p.key), 'directly_invalidated', jsonb_build_array(p.key), 'via', jsonb_build_array(0)))
        FROM dataset d WHERE d.name IN ('a1', 'b1', 'c1')), 'pruned', '[]'::jsonb,
        'hops', jsonb_build_array(jsonb_build_object('dataset', 's1', 'invalidation_set', 0)),
        'changed_partitions', '{}'::jsonb,
        'invalidation_sets', jsonb_build_array(jsonb_build_array(pg_temp.id_at(p.at, p.n * 100)))), 15, 'applied'
FROM part p, generate_series(1, 4) AS i;

INSERT INTO knockon.tasks_history (id, job_id, dag_name, job_name, org_id, status, block_key, partitions,
    must_run, row_filters, plan_ids, blockers, input_versions, outputs, worker_id, attempts, created_at,
    queued_at, started_at, completed_at, outcome)
SELECT pg_temp.id_at(p.at + run * interval '6 s', run * 100000000 + p.n * 100 + d.n), d.job_id, 'world',
    d.job, d.org_id, 'succeeded', p.key, ARRAY[p.key], true, '[]', ARRAY[pg_temp.id_at(p.at, p.n * 10 + 1)], '{}',
    '{}', '[]', 'host:123:abcdef', 1, p.at, p.at, p.at, p.at + interval '1 minute', 'changed'
FROM part p, dataset d, generate_series(0, 1) AS run WHERE NOT d.is_source;

INSERT INTO knockon.task_inputs (org_id, task_id, input_dataset_uuid, input_partition_key, input_version)
SELECT d.org_id, pg_temp.id_at(p.at + interval '6 s', 100000000 + p.n * 100 + d.n), i.id, p.key, p.at
FROM part p, dataset d JOIN dataset i ON i.name = translate(left(d.name, 1), 'abc', 'sab') || substr(d.name, 2)
WHERE NOT d.is_source;

INSERT INTO knockon.partition_versions (org_id, dataset_uuid, dataset_version, partition_key, materialized_at,
    config_hash, row_count, bytes, fingerprint, column_fingerprints, task_id)
SELECT d.org_id, d.id, d.version, p.key, p.at, j.config_hash, 100, 10000, md5(p.key),
    jsonb_build_object('x', md5(p.key), 'y', md5(p.key)),
    CASE WHEN NOT d.is_source THEN pg_temp.id_at(p.at + interval '6 s', 100000000 + p.n * 100 + d.n) END
FROM part p, dataset d JOIN knockon.jobs j ON j.id = d.job_id;

INSERT INTO knockon.data_invalidations_history (id, org_id, dataset_uuid, dataset_version, scope,
    partition_key, reason, source_event, created_at, processed_at, columns, events, plan_id, outcome,
    processed_by)
SELECT pg_temp.id_at(p.at, p.n * 100 + i), d.org_id, d.id, d.version, 'partition', p.key, 'change',
    jsonb_build_object('count', 1, 'stream', 'kafka/topic/3', 'event', jsonb_build_object('dataset', d.name)),
    p.at, p.at, ARRAY['x'], 1, pg_temp.id_at(p.at, p.n * 10 + 1 + i % 4), 'planned', ARRAY[d.job_id]
FROM part p, generate_series(1, 20) AS i JOIN dataset d ON d.n = 31 + i % 10;

INSERT INTO knockon.dead_letters (id, org_id, consumer, stream, position, payload, error, created_at)
SELECT pg_temp.id_at(p.at, p.n * 100 + i), (SELECT min(org_id::text)::uuid FROM dataset), 'knockon',
    'kafka/topic/' || i % 4, (p.n * 10 + i)::text, convert_to(repeat('{"bad":', 40), 'UTF8'),
    'not understood: field "ts" is missing', p.at
FROM part p, generate_series(1, 10) AS i;
