-- Segments of what customers came to.
WITH my_customers AS (
    SELECT DISTINCT c_customer_sk, c_current_addr_sk
    FROM (
        SELECT cs_item_sk AS item_sk, cs_bill_customer_sk AS customer_sk FROM catalog_sales
        UNION ALL
        SELECT ws_item_sk, ws_bill_customer_sk FROM web_sales
    ) cs_or_ws_sales, item, customer
    WHERE item_sk = i_item_sk AND i_category <> 'BC' AND c_customer_sk = customer_sk
),
my_revenue AS (
    SELECT c_customer_sk, sum(ss_ext_sales_price) AS revenue
    FROM my_customers, store_sales, customer_address, date_dim
    WHERE c_current_addr_sk = ca_address_sk AND c_customer_sk = ss_customer_sk
      AND ss_sold_date_sk = d_date_sk
      AND d_moy BETWEEN (SELECT min(d_moy) FROM date_dim) AND (SELECT max(d_qoy) + 2 FROM date_dim)
    GROUP BY c_customer_sk
),
segments AS (SELECT (revenue / 50)::int AS segment FROM my_revenue)
SELECT segment, count(*) AS num_customers, segment * 50 AS segment_base
FROM segments
GROUP BY segment
