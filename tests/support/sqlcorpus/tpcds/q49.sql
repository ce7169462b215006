-- Worst returns by two channels, with ranks of ratios.
SELECT channel, item, return_ratio, return_rank
FROM (
    SELECT 'store' AS channel, item, return_ratio,
           rank() OVER (ORDER BY return_ratio) AS return_rank
    FROM (
        SELECT ss_item_sk AS item,
               sum(coalesce(sr_return_quantity, 0)) / nullif(sum(coalesce(ss_quantity, 0)), 0)::numeric
                   AS return_ratio
        FROM store_sales sts
        LEFT OUTER JOIN store_returns sr
            ON sts.ss_ticket_number = sr.sr_ticket_number AND sts.ss_item_sk = sr.sr_item_sk
        WHERE sts.ss_net_profit > 1
        GROUP BY ss_item_sk
    ) in_store
    UNION
    SELECT 'web', ws_item_sk, sum(ws_net_profit), rank() OVER (ORDER BY sum(ws_quantity))
    FROM web_sales
    GROUP BY ws_item_sk
) tmp
WHERE return_rank <= 6
