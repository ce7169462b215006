SELECT t.c, u.y, e.label
FROM t
LEFT JOIN (u JOIN edges e ON e.parent = u.k) ON u.k = t.k AND e.weight > 2
