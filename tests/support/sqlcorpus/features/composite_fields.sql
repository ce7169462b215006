SELECT (q.r).x AS x, (q.r).z AS z, q.k FROM (SELECT u AS r, k FROM u) AS q
