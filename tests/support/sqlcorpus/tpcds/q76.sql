-- What was sold without its reference, by channel.
SELECT channel, col_name, d_year, i_category, count(*) AS sales_cnt, sum(ext_sales_price) AS sales_amt
FROM (
    SELECT 'store' AS channel, 'ss_store_sk' AS col_name, d_year, i_category,
           ss_ext_sales_price AS ext_sales_price
    FROM store_sales, item, date_dim
    WHERE ss_store_sk IS NULL AND ss_sold_date_sk = d_date_sk AND ss_item_sk = i_item_sk
    UNION ALL
    SELECT 'web', 'ws_warehouse_sk', d_year, i_category, ws_ext_sales_price
    FROM web_sales, item, date_dim
    WHERE ws_warehouse_sk IS NULL AND ws_sold_date_sk = d_date_sk AND ws_item_sk = i_item_sk
) foo
GROUP BY channel, col_name, d_year, i_category
