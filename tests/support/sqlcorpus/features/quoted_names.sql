SELECT "Mixed" AS "Out", Id, T.A FROM t AS T WHERE t."Mixed" > 1
