SELECT k + 1 AS a, sum(b) AS b FROM t GROUP BY k, a HAVING max(b) > 1
