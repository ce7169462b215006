SELECT c, sum(a) AS total FROM t GROUP BY c ORDER BY max(b) DESC, c, total LIMIT 3
