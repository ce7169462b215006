SELECT k, t.a, u.x, coalesce(t.c, u.y) AS either FROM t FULL JOIN u USING (k)
