-- :name of_jobs
-- The cursors of jobs.
SELECT job_id, dataset_uuid, dataset_version, cursor_value FROM knockon.dataset_cursors
WHERE job_id = ANY(%(jobs)s)

-- :name lock
-- Lock the cursor of a task's job for a comparison. The job is looked up, because a deploy may have
-- moved the task to another job row during the run.
SELECT c.cursor_value FROM knockon.tasks t JOIN knockon.dataset_cursors c ON c.job_id = t.job_id
WHERE t.id = %(task)s AND c.dataset_uuid = %(dataset)s AND c.dataset_version = %(version)s
FOR UPDATE OF c

-- :name write
-- Advance a cursor.
INSERT INTO knockon.dataset_cursors (org_id, dataset_uuid, dataset_version, job_id, cursor_column,
                             cursor_value, updated_at)
SELECT t.org_id, %(dataset)s, %(version)s, t.job_id, %(column)s, %(value)s, clock_timestamp()
FROM knockon.tasks t WHERE t.id = %(task)s
ON CONFLICT (dataset_uuid, dataset_version, job_id)
DO UPDATE SET cursor_column = EXCLUDED.cursor_column, cursor_value = EXCLUDED.cursor_value,
              updated_at = EXCLUDED.updated_at

-- :name inherit
-- Move the cursors on a source to its next dataset version.
UPDATE knockon.dataset_cursors SET dataset_version = %(version)s
WHERE dataset_uuid = %(dataset)s AND dataset_version = %(predecessor)s

-- :name delete
-- Delete old cursors of a DAG version that is deployed again.
DELETE FROM knockon.dataset_cursors WHERE job_id = ANY(%(jobs)s)

-- :name repoint
-- Move cursors of jobs retained by a deploy to the new job rows.
UPDATE knockon.dataset_cursors SET job_id = v.new
FROM unnest(%(old)s::uuid[], %(new)s::uuid[]) AS v(old, new)
WHERE job_id = v.old
