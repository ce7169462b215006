SELECT t.k, e.key, e.value, n, o
FROM t
CROSS JOIN jsonb_each(t.doc) AS e
CROSS JOIN LATERAL generate_series(1, t.a % 3) WITH ORDINALITY AS g (n, o)
