SELECT s.id, (SELECT max(s.a) FROM (t CROSS JOIN (SELECT 1 AS one) AS o) AS s) AS most
FROM u AS s
