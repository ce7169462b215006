-- :name notify
-- Notify the listeners of a channel. No notification is sent while half of the queue is full,
-- because a commit fails if the queue overflows: a listener of another application may be in a
-- transaction that never ends. Loops also poll.
SELECT pg_notify(%(channel)s, %(org_id)s::text) WHERE pg_notification_queue_usage() < 0.5
