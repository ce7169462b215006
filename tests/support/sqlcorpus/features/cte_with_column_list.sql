WITH q (one, two) AS (SELECT a, b FROM t UNION SELECT x, id FROM u)
SELECT one, count(two) AS n FROM q GROUP BY one
