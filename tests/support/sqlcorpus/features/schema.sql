-- Tables for what Postgres has and the benchmarks do not use.
CREATE TABLE t (id int, k int, a int, b int, c text, "Mixed" int, arr int[], doc jsonb, day date);
CREATE TABLE u (id int, k int, x int, y text, z numeric);
CREATE TABLE edges (parent int, child int, weight int, label text);
CREATE TABLE same_as_u (k int, id int, z numeric, x int, y text);
