-- The unit is a column in one call and a field in the other.
SELECT k, date_trunc(CASE WHEN c < 'B' THEN 'month' ELSE 'year' END, day) AS start,
       extract(dow FROM day) AS dow, day + a AS later
FROM t
