SELECT * FROM u UNION ALL SELECT id, k, x, y, z FROM same_as_u
