-- Months in which the stock varies, joined with itself.
WITH inv AS (
    SELECT w_warehouse_name, i_item_sk, d_moy, stdev, mean,
           CASE mean WHEN 0 THEN NULL ELSE stdev / mean END AS cov
    FROM (
        SELECT w_warehouse_name, i_item_sk, d_moy,
               stddev_samp(inv_quantity_on_hand) AS stdev,
               avg(inv_quantity_on_hand) AS mean
        FROM inventory, item, warehouse, date_dim
        WHERE inv_item_sk = i_item_sk AND inv_warehouse_sk = w_warehouse_sk AND inv_date_sk = d_date_sk
        GROUP BY w_warehouse_name, i_item_sk, d_moy
    ) AS foo
)
SELECT inv1.w_warehouse_name, inv1.i_item_sk, inv1.d_moy, inv1.mean, inv2.mean AS next_mean, inv2.cov
FROM inv inv1
LEFT JOIN inv inv2 ON inv1.i_item_sk = inv2.i_item_sk AND inv2.d_moy = inv1.d_moy + 1
