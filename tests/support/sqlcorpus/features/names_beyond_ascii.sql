SELECT Öl AS x, q."ÖL" AS y FROM (SELECT a AS Öl, b AS "ÖL" FROM t) AS q
