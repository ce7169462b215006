-- Cumulative sales of two channels, full outer joined by day.
WITH web_v1 AS (
    SELECT ws_item_sk AS item_sk, d_date,
           sum(sum(ws_ext_sales_price)) OVER (
               PARTITION BY ws_item_sk ORDER BY d_date
               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
           ) AS cume_sales
    FROM web_sales, date_dim
    WHERE ws_sold_date_sk = d_date_sk AND ws_item_sk IS NOT NULL
    GROUP BY ws_item_sk, d_date
),
store_v1 AS (
    SELECT ss_item_sk AS item_sk, d_date,
           sum(sum(ss_sales_price)) OVER (
               PARTITION BY ss_item_sk ORDER BY d_date
               ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
           ) AS cume_sales
    FROM store_sales, date_dim
    WHERE ss_sold_date_sk = d_date_sk AND ss_item_sk IS NOT NULL
    GROUP BY ss_item_sk, d_date
)
SELECT item_sk, d_date, web.cume_sales AS web_sales, store.cume_sales AS store_sales,
       max(web.cume_sales) OVER (PARTITION BY item_sk ORDER BY d_date) AS web_cumulative
FROM web_v1 web
FULL OUTER JOIN store_v1 store USING (item_sk, d_date)
