SELECT count(*) AS n, max(b) FILTER (WHERE arr[:k] = '{1}') AS most, arr[:id] AS head
FROM t
WHERE cardinality(arr[:a]) < 3
GROUP BY arr[:id]
