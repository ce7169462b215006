SELECT k, c,
       sum(a) OVER w AS running,
       rank() OVER (w ORDER BY b) AS place,
       count(*) OVER (PARTITION BY c) AS n
FROM t
WINDOW w AS (PARTITION BY k)
