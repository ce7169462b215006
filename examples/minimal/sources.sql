-- The table that examples/minimal/dag.yaml takes as its source.
CREATE TABLE public.orders (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    ordered_at timestamptz NOT NULL,
    amount numeric NOT NULL,
    notes text
);
INSERT INTO public.orders (ordered_at, amount, notes) VALUES
    ('2026-01-01T09:00Z', 12.50, 'gift'),
    ('2026-01-01T17:30Z', 8.00, NULL),
    ('2026-01-02T11:15Z', 20.25, NULL);
