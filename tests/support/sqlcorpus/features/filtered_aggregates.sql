SELECT k,
       count(*) FILTER (WHERE a > b) AS more,
       array_agg(c ORDER BY b, c) AS cs,
       string_agg(c, ',' ORDER BY c) AS joined,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY a) AS median,
       count(*) AS n
FROM t
GROUP BY k
