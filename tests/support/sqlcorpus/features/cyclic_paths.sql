WITH RECURSIVE paths (node, depth, label) AS (
    SELECT child, 1, label FROM edges WHERE parent < 3
    UNION
    SELECT e.child, p.depth + 1, p.label
    FROM paths p JOIN edges e ON e.parent = p.node
    WHERE p.depth < 4
)
SELECT node, min(depth) AS depth, count(DISTINCT label) AS labels FROM paths GROUP BY node
