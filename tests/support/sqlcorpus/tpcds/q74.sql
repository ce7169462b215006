-- Growth of spending, a union read twice.
WITH year_total AS (
    SELECT c_customer_id AS customer_id, c_first_name AS first_name, d_year AS year,
           sum(ss_net_profit) AS total, 's' AS sale_type
    FROM customer, store_sales, date_dim
    WHERE c_customer_sk = ss_customer_sk AND ss_sold_date_sk = d_date_sk
    GROUP BY c_customer_id, c_first_name, d_year
    UNION ALL
    SELECT c_customer_id, c_first_name, d_year, sum(ws_net_profit), 'w'
    FROM customer, web_sales, date_dim
    WHERE c_customer_sk = ws_bill_customer_sk AND ws_sold_date_sk = d_date_sk
    GROUP BY c_customer_id, c_first_name, d_year
)
SELECT a.customer_id, a.first_name, a.total AS store_total, b.total AS web_total
FROM year_total a, year_total b
WHERE a.customer_id = b.customer_id AND a.sale_type = 's' AND b.sale_type = 'w' AND a.year < b.year
