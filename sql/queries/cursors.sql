-- :name of_jobs
-- How far each job has read what it follows.
SELECT job_id, dataset_uuid, dataset_version, cursor_value FROM knockon.dataset_cursors
WHERE job_id = ANY(%(jobs)s)

-- :name lock
-- One cursor of a task's job, held while it is compared. Of the job that it has now: a deploy may
-- have given it a new row while it ran.
SELECT c.cursor_value FROM knockon.tasks t JOIN knockon.dataset_cursors c ON c.job_id = t.job_id
WHERE t.id = %(task)s AND c.dataset_uuid = %(dataset)s AND c.dataset_version = %(version)s
FOR UPDATE OF c

-- :name write
-- The cursor moves.
INSERT INTO knockon.dataset_cursors (dataset_uuid, dataset_version, job_id, cursor_column, cursor_value,
                             updated_at)
SELECT %(dataset)s, %(version)s, t.job_id, %(column)s, %(value)s, clock_timestamp()
FROM knockon.tasks t WHERE t.id = %(task)s
ON CONFLICT (dataset_uuid, dataset_version, job_id)
DO UPDATE SET cursor_column = EXCLUDED.cursor_column, cursor_value = EXCLUDED.cursor_value,
              updated_at = EXCLUDED.updated_at

-- :name inherit
-- Carry the cursors on a source over to its next dataset version.
UPDATE knockon.dataset_cursors SET dataset_version = %(version)s
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(previous)s

-- :name forget
-- The cursors that jobs of a version that comes back had when it went.
DELETE FROM knockon.dataset_cursors WHERE job_id = ANY(%(jobs)s)

-- :name repoint
-- Cursors of a job that a deploy left as it was go on under its new row.
UPDATE knockon.dataset_cursors SET job_id = v.new
FROM unnest(%(old)s::uuid[], %(new)s::uuid[]) AS v(old, new)
WHERE job_id = v.old
