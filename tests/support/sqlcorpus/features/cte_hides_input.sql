WITH u AS (SELECT k, a AS x FROM t WHERE b > 1), v AS MATERIALIZED (SELECT x FROM u)
SELECT u.k, v.x FROM u JOIN v ON v.x = u.x
