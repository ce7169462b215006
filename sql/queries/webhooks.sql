-- :name insert
-- Add a webhook, which is sent the events from now on; nothing if the name exists.
INSERT INTO knockon.webhooks (id, org_id, name, url, secret, kinds, receiver, created_by, position)
VALUES (%(id)s, %(org_id)s, %(name)s, %(url)s, %(secret)s, %(kinds)s, %(receiver)s, %(created_by)s,
    coalesce((SELECT e.position FROM knockon.events e WHERE e.org_id = %(org_id)s
              ORDER BY e.position DESC LIMIT 1), 0))
ON CONFLICT (org_id, name) DO NOTHING

-- :name list
-- The webhooks of an org, by name.
SELECT id, name, url, kinds, created_at, created_by, failures, next_attempt_at, delivered_at, last_error,
       receiver
FROM knockon.webhooks WHERE org_id = %(org_id)s ORDER BY name

-- :name delete
-- Remove a webhook.
DELETE FROM knockon.webhooks WHERE org_id = %(org_id)s AND name = %(name)s RETURNING url, receiver

-- :name take_due
-- Reserve the webhooks with something to send for a while, so that other engines leave them alone.
UPDATE knockon.webhooks w
SET next_attempt_at = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE w.id IN (
    SELECT d.id FROM knockon.webhooks d
    WHERE d.org_id = %(org_id)s AND d.next_attempt_at <= clock_timestamp()
      AND EXISTS (SELECT FROM knockon.events e WHERE e.org_id = d.org_id
                  AND e.position > d.position AND e.kind = ANY (d.kinds))
    ORDER BY d.id FOR UPDATE SKIP LOCKED)
RETURNING w.id, w.name, w.url, w.secret, w.kinds, w.position, w.failures, w.receiver,
    (SELECT o.slug FROM knockon.orgs o WHERE o.id = w.org_id) AS org

-- :name delivered
-- Move the position of a webhook past a delivered event; a slower process does not move it back.
UPDATE knockon.webhooks
SET position = greatest(position, %(position)s), failures = 0, last_error = NULL,
    delivered_at = clock_timestamp(), next_attempt_at = clock_timestamp()
WHERE id = %(id)s

-- :name failed
-- Record a failed delivery, to be repeated after some seconds.
UPDATE knockon.webhooks
SET failures = failures + 1, last_error = %(error)s,
    next_attempt_at = clock_timestamp() + %(seconds)s * interval '1 second'
WHERE id = %(id)s
