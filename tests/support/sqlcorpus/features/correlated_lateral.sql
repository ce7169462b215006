SELECT t.c, l.total, l.best
FROM t
LEFT JOIN LATERAL (
    SELECT sum(u.x) AS total, max(u.y) AS best FROM u WHERE u.k = t.k AND u.z > t.a
) AS l ON l.total > 3
