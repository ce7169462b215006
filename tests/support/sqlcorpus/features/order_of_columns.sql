-- The second table has the same columns in another order: a star goes by place.
SELECT k, total FROM (SELECT k, id, z, x, y FROM same_as_u UNION ALL SELECT k, id, z, x, y FROM u)
    AS q (k, total)
