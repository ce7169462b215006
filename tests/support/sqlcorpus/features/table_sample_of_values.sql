SELECT v.name, sum(t.a) AS total
FROM t JOIN (VALUES (1, 'one'), (2, 'two'), (3, 'three')) AS v (n, name) ON v.n = t.k
GROUP BY v.name
