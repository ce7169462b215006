-- Each item's share of its class's revenue.
SELECT i_item_id,
       i_class,
       i_current_price,
       sum(ws_ext_sales_price) AS itemrevenue,
       sum(ws_ext_sales_price) * 100 / nullif(sum(sum(ws_ext_sales_price)) OVER (PARTITION BY i_class), 0)
           AS revenueratio
FROM web_sales, item, date_dim
WHERE ws_item_sk = i_item_sk AND i_category <> 'AB' AND ws_sold_date_sk = d_date_sk AND d_moy < 7
GROUP BY i_item_id, i_class, i_current_price
ORDER BY i_class, i_item_id
