SELECT c, sum(a) OVER () AS total, rank() OVER (ORDER BY b) AS place, a FROM t
