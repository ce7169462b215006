"""Literal secrets in a DAG file are rejected and not repeated; references are accepted."""

import json
from typing import Any

import pytest

from engine.errors import InvalidDag
from engine.lineage.compile import compile_dag
from engine.model.dagfile import parse_dag

SECRET = "hunter2.hunter2"


def _compile(job: dict[str, Any] | None = None, source: dict[str, Any] | None = None) -> None:
    jobs = [
        {
            "name": "src",
            "activation": "source",
            "source": {"kind": "kafka", "topic": "t", "format": "record", **(source or {})},
            "outputs": [{"dataset": "src"}],
        },
        {"name": "made", "operator": "shell", "inputs": ["src"], "outputs": [{"dataset": "made"}]}
        | (job or {}),
    ]
    compile_dag(parse_dag(json.dumps({"dag": "d", "jobs": jobs}), where="f.yaml"), {})


WRITTEN = [
    {"config": {"command": f"psql postgresql://me:{SECRET}@db/shop"}},
    {"config": {"command": ["psql", f"postgres://:{SECRET}@db"]}},
    {"config": {"command": f"psql 'host=db password={SECRET}'"}},
    {"config": {"command": f"psql \"host=db PASSWORD = '{SECRET}'\""}},
    {"config": {"env": {"DB_PASSWORD": SECRET}}},
    {"config": {"env": {"API_KEY": SECRET}}},
    {"config": {"env": {"PGPASSWORD": SECRET}}},
    {"config": {"env": {"DB_PASSWORD_2": SECRET}}},
    {"config": {"env": {"KEY_PASSPHRASE": SECRET}}},
    {"config": {"env": {"PRIVATE_KEY": SECRET}}},
    {"config": {"command": f"PGPASSWORD={SECRET} psql"}},
    {"config": {"command": f"tool --password {SECRET} --host db"}},
    {"config": {"command": ["curl", "-H", f"Authorization: Bearer {SECRET}", "http://x"]}},
    {"operator": "python", "config": {"kwargs": {"clientSecret": SECRET, "sslpassword": SECRET}}},
    {"operator": "python", "config": {"kwargs": {"dsn": f"mysql://me:{SECRET}@db/x"}}},
    {"operator": "python", "config": {"kwargs": {"auth": [{"token": SECRET}]}}},
    {"operator": "python", "config": {"kwargs": {"aws_secret_access_key": SECRET}}},
    {"operator": "sql", "config": {"sql": f"SELECT dblink('postgresql://a:{SECRET}@b/c', 'x')"}},
    {"outputs": [{"dataset": "made", "storage": {"path": f"s3://key:{SECRET}@bucket/x"}}]},
    {"description": f"as postgresql://me:{SECRET}@db"},
]


@pytest.mark.parametrize("job", WRITTEN)
def test_a_secret_in_a_job_is_rejected(job: dict[str, Any]) -> None:
    with pytest.raises(InvalidDag, match=r"jobs\[1\].*write \$\{NAME\} instead") as refused:
        _compile(job)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("user", [f"me:{SECRET}", f":{SECRET}", SECRET, f"${{USER}}:{SECRET}"])
def test_a_secret_in_the_address_of_a_registry_is_rejected(user: str) -> None:
    with pytest.raises(InvalidDag, match=r"source.registry: this contains a secret") as refused:
        _compile(source={"registry": f"https://{user}@registry:8081"})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("job", "source"),
    [
        ({}, {"registry": "https://me:${REGISTRY_PASSWORD}@registry:8081/path"}),
        ({}, {"registry": "https://${REGISTRY_USER}:${REGISTRY_PASSWORD}@registry"}),
        ({}, {"registry": "http://registry:8081"}),
        ({"config": {"command": "psql postgresql://me:${PW}@db/shop", "env": {"PW": "${PW}"}}}, {}),
        ({"config": {"command": "psql \"password=$PW user='a'\"", "env": {"PW": "${PW}"}}}, {}),
        ({"config": {"env": {"DB_PASSWORD": "${DB_PASSWORD}", "MODE": "fast"}}}, {}),
        ({"operator": "python", "config": {"kwargs": {"token": "", "max_tokens": 5}}}, {}),
        ({"operator": "sql", "config": {"sql": "SELECT 1 FROM src WHERE password = 'x'"}}, {}),
        (
            {"config": {"command": "PGPASSWORD=$PW psql --password $PW --no-password"}},
            {},
        ),
        ({"config": {"command": 'curl -H "Authorization: Bearer ${TOKEN}" http://x'}}, {}),
        (
            {
                "description": "passwordless; a bearer authentication",
                "config": {"primary_key": "id"},
            },
            {},
        ),
        ({"config": {"command": "curl http://h:8080/a@b", "tokenizer": "x"}}, {}),
        ({"description": "mail me: a:b@c"}, {}),
    ],
)
def test_references_and_other_texts_are_accepted(
    job: dict[str, Any], source: dict[str, Any]
) -> None:
    _compile(job, source)


@pytest.mark.parametrize("env", [["A=b"], {"A": 1}, {"KNOCKON_ORG": "x"}, {"a-b": "x"}, "A=b"])
def test_an_environment_is_a_mapping_of_texts(env: Any) -> None:
    with pytest.raises(InvalidDag, match=r"jobs\[1\].config.env.*map names of variables"):
        _compile({"config": {"command": "x", "env": env}})


def test_python_has_no_environment_of_its_own() -> None:
    with pytest.raises(InvalidDag, match="pass values as kwargs"):
        _compile({"operator": "python", "config": {"callable": "a:b", "env": {"A": "b"}}})
