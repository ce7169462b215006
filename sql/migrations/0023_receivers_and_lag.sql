-- The receivers of notifications, and the lag of consumers.
-- knockon: locks knockon.webhooks ACCESS EXCLUSIVE
-- knockon: locks knockon.consumer_positions ACCESS EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- Webhooks, Alertmanager, and the services that Apprise knows. The secret of other receivers than
-- webhooks is empty, because their deliveries are not signed.
ALTER TABLE webhooks ADD receiver text NOT NULL DEFAULT 'webhook'
    CHECK (receiver IN ('webhook', 'alertmanager', 'apprise'));

-- As reported by the consumer, because the service cannot reach the sources: the messages or changes
-- behind the position, the age of the oldest if it is known, and the time of the report.
ALTER TABLE consumer_positions
    ADD lag bigint CHECK (lag >= 0),
    ADD lag_seconds float8,
    ADD lag_at timestamptz;
