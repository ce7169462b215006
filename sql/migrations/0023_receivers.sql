-- The receivers of notifications: webhooks, Alertmanager, and the services that Apprise knows.
-- knockon: locks knockon.webhooks ACCESS EXCLUSIVE

SET LOCAL search_path = knockon, pg_temp;

-- The secret of other receivers than webhooks is empty, because their deliveries are not signed.
ALTER TABLE webhooks ADD receiver text NOT NULL DEFAULT 'webhook'
    CHECK (receiver IN ('webhook', 'alertmanager', 'apprise'));
