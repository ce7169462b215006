SELECT c,
       (SELECT count(*) FROM u WHERE u.k = t.k) AS n,
       (SELECT max(z) FROM u) AS most,
       EXISTS (SELECT y FROM u WHERE u.x = t.b) AS known
FROM t
