-- :name of_jobs
-- How far each job has read what it follows.
SELECT job_id, dataset_uuid, dataset_version, cursor_value FROM dataset_cursors
WHERE job_id = ANY(%(jobs)s)

-- :name lock
-- One cursor, held while it is compared.
SELECT cursor_value FROM dataset_cursors
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(version)s AND job_id = %(job_id)s
FOR UPDATE

-- :name write
-- The cursor moves.
INSERT INTO dataset_cursors (dataset_uuid, dataset_version, job_id, cursor_column, cursor_value,
                             updated_at)
VALUES (%(dataset)s, %(version)s, %(job_id)s, %(column)s, %(value)s, clock_timestamp())
ON CONFLICT (dataset_uuid, dataset_version, job_id)
DO UPDATE SET cursor_column = EXCLUDED.cursor_column, cursor_value = EXCLUDED.cursor_value,
              updated_at = EXCLUDED.updated_at

-- :name repoint
-- Cursors of a job that a deploy left as it was go on under its new row.
UPDATE dataset_cursors SET job_id = v.new
FROM unnest(%(old)s::uuid[], %(new)s::uuid[]) AS v(old, new)
WHERE job_id = v.old
