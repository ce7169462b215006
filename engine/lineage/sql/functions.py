"""PostgreSQL functions supported by the tracer, grouped by their effect on rows.

A call of any other function leaves the query unresolved. So does a user-defined function with one
of these names, unless it is immutable and returns a single value.
"""

from __future__ import annotations

from dataclasses import dataclass

_SCALARS = """
    abs acos acosd acosh age area array_append array_cat array_dims array_fill array_length
    array_lower array_ndims array_position array_positions array_prepend array_remove
    array_replace array_reverse array_sort array_to_json array_to_string array_upper ascii asin
    asind asinh atan atan2 atan2d atand atanh bit_count bit_length bool bpchar btrim cardinality
    casefold cbrt ceil ceiling center char_length character_length chr concat concat_ws convert
    convert_from convert_to cos cosd cosh cot cotd crc32 crc32c date date_add date_bin date_part
    date_subtract date_trunc daterange decode degrees diameter div encode erf erfc exp extract
    factorial family float4 float8 floor format gamma gcd get_bit get_byte height host hostmask
    initcap int2 int4 int4range int8 int8range isclosed isempty isfinite isopen
    json_array_length json_build_array json_build_object json_extract_path
    json_extract_path_text json_object json_strip_nulls json_to_record json_typeof
    jsonb_array_length jsonb_build_array jsonb_build_object jsonb_extract_path
    jsonb_extract_path_text jsonb_insert jsonb_object jsonb_path_exists jsonb_path_match
    jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set jsonb_set_lax
    jsonb_strip_nulls jsonb_to_record jsonb_typeof justify_days justify_hours justify_interval
    lcm left length lgamma ln log log10 lower lower_inc lower_inf lpad ltrim make_date
    make_interval make_time make_timestamp make_timestamptz masklen md5 min_scale mod netmask
    network normalize now num_nonnulls num_nulls numeric nummultirange numnode numrange
    octet_length overlay parse_ident pg_typeof phraseto_tsquery pi plainto_tsquery point
    position pow power querytree quote_ident quote_literal quote_nullable radians radius
    range_merge regexp_count regexp_instr regexp_like regexp_match regexp_replace
    regexp_split_to_array regexp_substr repeat replace reverse right round row_to_json rpad
    rtrim scale set_bit set_byte setweight sha224 sha256 sha384 sha512 sign sin sind sinh slope
    split_part sqrt starts_with statement_timestamp string_to_array strip strpos substr
    substring tan tand tanh text timestamp timestamptz timezone to_ascii to_char to_date to_hex
    to_json to_jsonb to_number to_oct to_timestamp to_tsquery to_tsvector transaction_timestamp
    translate trim_array trim_scale trunc ts_headline ts_rank ts_rank_cd tsrange tstzrange
    unistr upper upper_inc upper_inf varchar websearch_to_tsquery width width_bucket
"""
SCALARS = frozenset(_SCALARS.split())
"""Functions in pg_catalog with one value per row that does not change between runs."""

_CONSTRUCTS = """
    all any array coalesce current_date current_time current_timestamp exists greatest grouping
    json_exists json_query json_value least localtime localtimestamp nullif row some trim
"""
CONSTRUCTS = frozenset(_CONSTRUCTS.split())
"""Syntax that looks like a function call."""

_AGGREGATES = """
    any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop
    covar_samp cume_dist dense_rank every first_value json_agg json_agg_strict json_object_agg
    json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict jsonb_agg
    jsonb_agg_strict jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique
    jsonb_object_agg_unique_strict lag last_value lead max min mode nth_value ntile percent_rank
    percentile_cont percentile_disc range_agg range_intersect_agg rank regr_avgx regr_avgy
    regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy row_number stddev
    stddev_pop stddev_samp string_agg sum var_pop var_samp variance xmlagg
"""
AGGREGATES = frozenset([*_AGGREGATES.split(), "json_arrayagg"])
"""Aggregates and window functions, including those with a syntax of their own."""

_BY_ORDER = """
    any_value array array_agg first_value json_agg json_agg_strict json_arrayagg json_object_agg
    json_object_agg_strict json_object_agg_unique json_object_agg_unique_strict jsonb_agg
    jsonb_agg_strict jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique
    jsonb_object_agg_unique_strict lag last_value lead mode nth_value ntile row_number
    string_agg xmlagg
"""
BY_ORDER = frozenset(_BY_ORDER.split())
"""Functions with a result that depends on the order of rows, unless ORDER BY determines it."""

_SETS = """
    generate_series generate_subscripts json_array_elements json_array_elements_text json_each
    json_each_text json_object_keys json_populate_recordset json_to_recordset
    jsonb_array_elements jsonb_array_elements_text jsonb_each jsonb_each_text jsonb_object_keys
    jsonb_path_query jsonb_populate_recordset jsonb_to_recordset regexp_matches
    regexp_split_to_table string_to_table unnest
"""
SETS = frozenset(_SETS.split())
"""Set-returning functions: their arguments determine the number of rows."""

UNDERSTOOD = SCALARS | CONSTRUCTS | AGGREGATES | SETS

_NO_FIELDS = """
    aclexplode amvalidate array_shuffle brin_summarize_new_values currval gin_clean_pending_list
    lo_close lo_creat lo_create lo_get lo_import lo_tell lo_tell64 lo_unlink nextval
    plpgsql_validator random_normal setseed ts_debug ts_stat ts_token_type txid_snapshot_xip
    txid_status uuidv7
"""


def may_be_field(name: str) -> bool:
    """Return whether ``(x).name``, a field or a pg_catalog function, reads nothing but ``x``."""
    others = AGGREGATES | SETS | frozenset(_NO_FIELDS.split())
    return name not in others and not name.startswith(("pg_", "binary_upgrade_"))


_OF_ROWS = """
    any_out anycompatible_out anyelement_out anynonarray_out concat hash_record json_build_array
    json_build_object jsonb_build_array jsonb_build_object num_nonnulls num_nulls quote_literal
    quote_nullable record_out record_send row_to_json to_json to_jsonb
"""


def may_be_column(name: str) -> bool:
    """Return whether ``t.name`` cannot be a pg_catalog function of the whole row of ``t``."""
    return may_be_field(name) and name not in _OF_ROWS.split()


@dataclass(frozen=True, slots=True)
class UserDefined:
    """Functions and operators outside pg_catalog.

    ``functions`` are all function names, ``unsafe`` the names of functions that are not immutable
    or do not return a single value, and ``operators`` the symbols of operators that call such a
    function.
    """

    functions: frozenset[str] = frozenset()
    unsafe: frozenset[str] = frozenset()
    operators: frozenset[str] = frozenset()


NOTHING_DEFINED = UserDefined()
