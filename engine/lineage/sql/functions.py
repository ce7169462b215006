"""What is known of functions: which give one value a row, and which go by the order of rows.

Any other may be one that gives many rows, so that its arguments decide how many rows there are.
"""

_ONE_VALUE = """
    abs age any_value array array_agg array_append array_cat array_dims array_length array_lower
    array_ndims array_position array_positions array_prepend array_remove array_replace
    array_to_json array_to_string array_upper ascii avg bit_and bit_length bit_or bit_xor bool_and
    bool_or btrim cardinality ceil ceiling char_length character_length chr clock_timestamp coalesce
    concat concat_ws convert_from convert_to corr cos count covar_pop covar_samp cume_dist
    current_setting date_add date_bin date_part date_subtract date_trunc decode degrees dense_rank
    div encode every exp extract factorial first_value floor format gcd gen_random_uuid greatest
    grouping initcap isfinite json_agg json_array_length json_build_array json_build_object
    json_extract_path json_extract_path_text json_object json_object_agg json_typeof jsonb_agg
    jsonb_array_length jsonb_build_array jsonb_build_object jsonb_extract_path
    jsonb_extract_path_text jsonb_object jsonb_object_agg jsonb_path_exists jsonb_path_query_array
    jsonb_path_query_first jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_typeof justify_days
    justify_hours justify_interval lag last_value lcm lead least left length ln log log10 lower lpad
    ltrim make_date make_interval make_time make_timestamp make_timestamptz max md5 min mod mode
    normalize now nth_value ntile nullif num_nonnulls num_nulls octet_length overlay percent_rank
    percentile_cont percentile_disc pi position power quote_ident quote_literal quote_nullable
    radians random rank regexp_count regexp_instr regexp_like regexp_match regexp_replace
    regexp_substr regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy
    regr_syy repeat replace reverse right round row row_number row_to_json rpad rtrim scale sha256
    sha512 sign sin split_part sqrt starts_with statement_timestamp stddev stddev_pop stddev_samp
    string_agg string_to_array strpos substr substring sum tan timezone to_char to_date to_json
    to_jsonb to_number to_timestamp transaction_timestamp translate trim trim_array trim_scale trunc
    upper uuidv7 var_pop var_samp variance width_bucket
"""
ONE_VALUE = frozenset(_ONE_VALUE.split())
"""Postgres's own functions, aggregates and window functions that give one value."""

_BY_ORDER = """
    any_value array array_agg first_value json_agg json_object_agg jsonb_agg jsonb_object_agg lag
    last_value lead mode nth_value ntile row_number string_agg xmlagg
"""
GO_BY_ORDER = frozenset(_BY_ORDER.split())
"""Those whose value depends on the order in which the rows come, where nothing orders them."""
