SELECT k, sum(a) AS a, lag(sum(a)) OVER (ORDER BY k) AS before, max(max(b)) OVER () AS most
FROM t WHERE k IS NOT NULL GROUP BY k
