-- Best and worst items side by side.
SELECT asceding.rnk, i1.i_item_id AS best_performing, i2.i_item_id AS worst_performing
FROM (
    SELECT * FROM (
        SELECT item_sk, rank() OVER (ORDER BY rank_col ASC) AS rnk
        FROM (SELECT ss_item_sk AS item_sk, avg(ss_net_profit) AS rank_col FROM store_sales GROUP BY 1) v1
    ) v11
    WHERE rnk < 5
) asceding
JOIN (
    SELECT * FROM (
        SELECT item_sk, rank() OVER (ORDER BY rank_col DESC) AS rnk
        FROM (SELECT ss_item_sk AS item_sk, avg(ss_net_profit) AS rank_col FROM store_sales GROUP BY 1) v2
    ) v21
    WHERE rnk < 5
) descending USING (rnk)
JOIN item i1 ON i1.i_item_sk = asceding.item_sk
JOIN item i2 ON i2.i_item_sk = descending.item_sk
