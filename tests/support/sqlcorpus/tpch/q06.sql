-- Forecasting revenue change.
SELECT sum(l_extendedprice * l_discount) AS revenue
FROM lineitem
WHERE l_shipdate >= date '2001-02-01'
  AND l_shipdate < date '2001-02-01' + interval '1' year
  AND l_discount BETWEEN 2 AND 9
  AND l_quantity < 6
