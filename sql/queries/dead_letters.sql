-- :name insert
-- Store rejected deliveries. A message that is read again keeps its newest error. A different
-- message at the same position is a separate dead letter.
INSERT INTO knockon.dead_letters (id, org_id, consumer, stream, position, payload, headers, error,
    is_loss)
SELECT v.id, %(org_id)s, %(consumer)s, v.stream, v.position, v.payload, v.headers, v.error, v.is_loss
FROM unnest((SELECT %(ids)b::uuid[]), (SELECT %(streams)b::text[]), (SELECT %(positions)b::text[]),
    (SELECT %(payloads)b::bytea[]), (SELECT %(headers)b::jsonb[]), (SELECT %(errors)b::text[]),
    (SELECT %(are_losses)b::bool[]))
    AS v(id, stream, position, payload, headers, error, is_loss)
ON CONFLICT (org_id, consumer, stream, position, digest) DO UPDATE
SET error = EXCLUDED.error, replayed_at = NULL, closed_at = NULL, closed_by = NULL,
    close_reason = NULL

-- :name list
-- Dead letters before an id, newest first; replayed and closed ones only on request.
SELECT id, consumer, stream, position, payload, headers, error, created_at, replayed_at, is_loss,
       closed_at, closed_by, close_reason
FROM knockon.all_dead_letters
WHERE org_id = %(org_id)s AND id < %(before)s
  AND (%(streams)s::text[] IS NULL OR EXISTS (
      SELECT FROM unnest(%(streams)s::text[]) AS s(stream) WHERE starts_with(stream || '/', s.stream || '/')))
  AND (%(all)s OR (replayed_at IS NULL AND closed_at IS NULL))
ORDER BY id DESC LIMIT %(limit)s

-- :name open
-- Dead letters that were neither replayed nor closed.
SELECT id, consumer, stream, position, payload, headers, error, is_loss
FROM knockon.dead_letters
WHERE org_id = %(org_id)s AND id = ANY(%(ids)s) AND replayed_at IS NULL AND closed_at IS NULL

-- :name lock
-- Lock the dead letters that no other transaction is replaying or closing.
SELECT id, consumer, stream, position, payload, headers, error, is_loss
FROM knockon.dead_letters
WHERE org_id = %(org_id)s AND id = ANY(%(ids)s) AND replayed_at IS NULL AND closed_at IS NULL
ORDER BY id FOR UPDATE

-- :name replayed
-- Mark dead letters as replayed successfully.
UPDATE knockon.dead_letters SET replayed_at = clock_timestamp() WHERE id = ANY(%(ids)s)

-- :name close
-- Close dead letters that were resolved without a replay.
UPDATE knockon.dead_letters
SET closed_at = clock_timestamp(), closed_by = %(by)s, close_reason = %(reason)s
WHERE org_id = %(org_id)s AND id = ANY(%(ids)s) AND replayed_at IS NULL AND closed_at IS NULL
RETURNING id

-- :name close_matching
-- Close some open dead letters of a stream or of the streams below it (null: of all streams), with a
-- text in the error (null: any error).
UPDATE knockon.dead_letters
SET closed_at = clock_timestamp(), closed_by = %(by)s, close_reason = %(reason)s
WHERE id IN (
    SELECT l.id FROM knockon.dead_letters l
    WHERE l.org_id = %(org_id)s AND l.replayed_at IS NULL AND l.closed_at IS NULL
      AND (%(stream)s::text IS NULL OR l.stream = %(stream)s OR starts_with(l.stream, %(stream)s || '/'))
      AND (%(error)s::text IS NULL OR strpos(l.error, %(error)s) > 0)
      AND (%(streams)s::text[] IS NULL OR EXISTS (
          SELECT FROM unnest(%(streams)s::text[]) AS s(stream) WHERE starts_with(l.stream || '/', s.stream || '/')))
    ORDER BY l.id LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED)
RETURNING id

-- :name streams
-- The streams of unarchived dead letters, and those that consumers have read.
SELECT stream FROM knockon.dead_letters WHERE org_id = %(org_id)s
UNION
SELECT stream FROM knockon.consumer_positions WHERE org_id = %(org_id)s AND consumer <> 'appears'
ORDER BY stream
