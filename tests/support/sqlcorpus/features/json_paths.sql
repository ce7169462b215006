SELECT k, jsonb_typeof(doc -> 'a') AS kind, doc ->> 'b' AS b, upper(c) || (doc -> 'a')::text AS both
FROM t
WHERE doc ? 'a'
