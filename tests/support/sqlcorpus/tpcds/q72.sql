-- Sales promised beyond the stock, over outer joins.
SELECT i_item_id, w_warehouse_name, d1.d_week_seq,
       sum(CASE WHEN p_promo_sk IS NULL THEN 1 ELSE 0 END) AS no_promo,
       count(*) AS total_cnt
FROM catalog_sales
JOIN inventory ON cs_item_sk = inv_item_sk
JOIN warehouse ON w_warehouse_sk = inv_warehouse_sk
JOIN item ON i_item_sk = cs_item_sk
JOIN date_dim d1 ON cs_sold_date_sk = d1.d_date_sk
LEFT OUTER JOIN promotion ON cs_order_number = p_promo_sk
WHERE inv_quantity_on_hand < cs_quantity + 2
GROUP BY i_item_id, w_warehouse_name, d1.d_week_seq
ORDER BY total_cnt DESC, i_item_id, w_warehouse_name, d1.d_week_seq
