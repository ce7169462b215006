SELECT json_agg_strict(x) AS xs, jsonb_object_agg_strict(coalesce(id, 0), y) AS ys
FROM u GROUP BY k
