"""What is written follows its schema, and is read back as it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from results.matrix.evidence import PublishedCurve, PublishedTrial, published, published_curve
from results.matrix.model import Matrix
from results.matrix.redact import Redactor
from results.matrix.schema import DIALECT, SCHEMAS, schema_of, schema_text, to_json
from results.memory_curve import Sample
from tests.results.matrix.stores import HOSTILE_RECORDS, all_entries, matrix_of, trial

if TYPE_CHECKING:
    from pydantic import BaseModel

    from results.record import Record

VALIDATORS = {model: Draft202012Validator(schema_of(model)) for model in SCHEMAS.values()}
ANY_RECORDS = st.lists(HOSTILE_RECORDS, max_size=4, unique_by=lambda record: record.trial_id)


def checked(model: BaseModel) -> Any:
    """The JSON of a model, which follows the schema and gives the same model."""
    text = to_json(model)
    body = json.loads(text, parse_constant=pytest.fail)
    VALIDATORS[type(model)].validate(body)
    assert type(model).model_validate_json(text) == model
    return body


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_are_schemas(name: str) -> None:
    schema = json.loads(schema_text(SCHEMAS[name]))
    assert schema["$schema"] == DIALECT
    Draft202012Validator.check_schema(schema)
    assert schema["description"]


def test_the_schema_explains_what_is_not_plain() -> None:
    definitions: Any = schema_of(Matrix)["$defs"]
    assert definitions["Cell"]["description"].startswith("What is known of one workload")
    assert "description" in definitions["Cell"]["properties"]["evidence"]
    assert "infra" not in definitions["Cell"]["properties"]["verdict"]["enum"]


def test_the_matrix_of_one_trial() -> None:
    body = checked(matrix_of(trial(1)))
    assert body["__meta"]["schema_version"] == 1


@settings(max_examples=60, deadline=None)
@given(ANY_RECORDS)
def test_the_matrix_of_any_records(records: list[Record]) -> None:
    matrix = matrix_of(*records)
    checked(matrix)
    evidence = [entry.cell.evidence for entry in all_entries(matrix)]
    assert len(set(evidence)) == len(evidence)
    assert {entry.device_id for entry in all_entries(matrix)} == set(matrix.devices)


@settings(max_examples=100, deadline=None)
@given(HOSTILE_RECORDS)
def test_the_evidence_of_any_record(record: Record) -> None:
    checked(published(record, Redactor((), ()), with_curve=True))


@given(
    st.lists(
        st.builds(
            Sample,
            at_seconds=st.floats(0, 1e7),
            processes=st.dictionaries(st.sampled_from(["gpu", "other"]), st.integers(0, 2**60)),
            group_bytes=st.none() | st.integers(0, 2**60),
        ),
        max_size=5,
    )
)
def test_any_memory_curve(samples: list[Sample]) -> None:
    checked(published_curve(samples))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("n",), "many"),
        (("verdict",), "infra"),
        (("evidence",), "https://example.org/evidence/1.json"),
        (("evidence",), "evidence/../../secret.json"),
        (("measured", "decode_tokens_per_s", "median"), None),
        (("unknown",), 1),
    ],
)
def test_the_schema_refuses_what_is_wrong(path: tuple[str, ...], value: Any) -> None:
    body = checked(matrix_of(trial(1)))
    ((cell,),) = body["support"]["gemma-2b"]["int4"]["onnxruntime-web/wasm"].values()
    for key in path[:-1]:
        cell = cell[key]
    cell[path[-1]] = value
    with pytest.raises(ValidationError):
        VALIDATORS[Matrix].validate(body)
    with pytest.raises(ValueError, match=path[-1]):
        Matrix.model_validate(body)


def test_every_kind_of_file_is_covered() -> None:
    assert set(VALIDATORS) == {Matrix, PublishedTrial, PublishedCurve}
