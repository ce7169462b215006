-- Scalar subqueries in a CASE.
SELECT CASE
           WHEN (SELECT count(*) FROM store_sales WHERE ss_quantity BETWEEN 1 AND 3) > 20
               THEN (SELECT avg(ss_ext_sales_price) FROM store_sales WHERE ss_quantity < 4)
           ELSE (SELECT avg(ss_net_profit) FROM store_sales WHERE ss_quantity < 4)
       END AS bucket1,
       (SELECT max(ss_coupon_amt) FROM store_sales WHERE ss_store_sk > 4) AS bucket2,
       s_store_id
FROM store
WHERE s_store_sk < 5
