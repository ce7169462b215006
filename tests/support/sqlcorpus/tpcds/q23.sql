-- Frequent items and best customers.
WITH frequent_ss_items AS (
    SELECT i_item_sk AS item_sk, d_year AS solddate, count(*) AS cnt
    FROM store_sales, date_dim, item
    WHERE ss_sold_date_sk = d_date_sk AND ss_item_sk = i_item_sk
    GROUP BY i_item_sk, d_year
    HAVING count(*) > 1
),
max_store_sales AS (
    SELECT max(csales) AS tpcds_cmax
    FROM (
        SELECT c_customer_sk, sum(ss_quantity * ss_sales_price) AS csales
        FROM store_sales, customer
        WHERE ss_customer_sk = c_customer_sk
        GROUP BY c_customer_sk
    ) AS x
),
best_ss_customer AS (
    SELECT c_customer_sk, sum(ss_quantity * ss_sales_price) AS ssales
    FROM store_sales, customer
    WHERE ss_customer_sk = c_customer_sk
    GROUP BY c_customer_sk
    HAVING sum(ss_quantity * ss_sales_price) > 0.3 * (SELECT tpcds_cmax FROM max_store_sales)
)
SELECT c_last_name, c_first_name, sales
FROM (
    SELECT c_last_name, c_first_name, sum(cs_quantity * cs_ext_sales_price) AS sales
    FROM catalog_sales, customer
    WHERE cs_item_sk IN (SELECT item_sk FROM frequent_ss_items)
      AND cs_bill_customer_sk IN (SELECT c_customer_sk FROM best_ss_customer)
      AND cs_bill_customer_sk = c_customer_sk
    GROUP BY c_last_name, c_first_name
) AS y
ORDER BY c_last_name, c_first_name, sales
