SELECT k, row_to_json(u) AS doc, count(u) OVER (PARTITION BY k) AS n FROM u
