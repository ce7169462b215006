-- Three channels in one report with subtotals.
WITH ssr AS (
    SELECT s_store_id AS id, sum(sales_price) AS sales, sum(profit) AS profit, sum(return_amt) AS returns
    FROM (
        SELECT ss_store_sk AS store_sk, ss_sold_date_sk AS date_sk, ss_ext_sales_price AS sales_price,
               ss_net_profit AS profit, 0::numeric AS return_amt
        FROM store_sales
        UNION ALL
        SELECT sr_store_sk, sr_returned_date_sk, 0::numeric, 0::numeric, sr_return_amt
        FROM store_returns
    ) AS salesreturns, date_dim, store
    WHERE date_sk = d_date_sk AND store_sk = s_store_sk AND d_moy BETWEEN 1 AND 6
    GROUP BY s_store_id
),
wsr AS (
    SELECT w_warehouse_name AS id, sum(ws_ext_sales_price) AS sales, sum(ws_net_profit) AS profit
    FROM web_sales, warehouse
    WHERE ws_warehouse_sk = w_warehouse_sk
    GROUP BY w_warehouse_name
)
SELECT channel, id, sum(sales) AS sales, sum(returns) AS returns, sum(profit) AS profit
FROM (
    SELECT 'store channel' AS channel, 'store' || id AS id, sales, returns, profit FROM ssr
    UNION ALL
    SELECT 'web channel', 'web' || id, sales, NULL, profit FROM wsr
) AS x
GROUP BY ROLLUP (channel, id)
ORDER BY channel, id
