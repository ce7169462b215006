-- Stock on hand by product hierarchy, in grouping sets by number.
SELECT i_category, i_class, i_brand, avg(inv_quantity_on_hand) AS qoh
FROM inventory, date_dim, item
WHERE inv_date_sk = d_date_sk AND inv_item_sk = i_item_sk AND d_qoy BETWEEN 1 AND 6
GROUP BY GROUPING SETS ((1, 2, 3), (1, 2), (1), ())
