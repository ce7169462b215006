-- Averages by item, for some demographics and promotions.
SELECT i_item_id,
       avg(ss_quantity) AS agg1,
       avg(ss_sales_price) AS agg2,
       avg(ss_coupon_amt) AS agg3
FROM store_sales
JOIN customer_demographics ON ss_cdemo_sk = cd_demo_sk
JOIN item ON ss_item_sk = i_item_sk
LEFT JOIN promotion ON ss_promo_sk = p_promo_sk
WHERE cd_gender <> 'A' AND cd_marital_status <> 'B' AND (p_channel_email = 'A' OR p_channel_event <> 'C')
GROUP BY i_item_id
