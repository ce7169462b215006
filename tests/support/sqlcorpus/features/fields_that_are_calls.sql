SELECT id, (arr).unnest AS e FROM t
