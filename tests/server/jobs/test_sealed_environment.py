"""A job's extra environment waits in the database sealed, and opens for that job only."""

import json
import uuid

import pytest

from mlflow.server.jobs.errors import SealedEnvironmentUnreadable
from mlflow.server.jobs.sealed_environment import open_sealed, seal

JOB_ID = str(uuid.UUID(int=1))
ENVS = {"OPENAI_API_KEY": "sk-very-secret", "REGION": "zürich"}


@pytest.fixture(autouse=True)
def passphrase(monkeypatch):
    monkeypatch.setenv("MLFLOW_CRYPTO_KEK_PASSPHRASE", "a passphrase of this test")


def damaged(sealed: str, field: str) -> str:
    fields = json.loads(sealed)
    text = fields[field]
    fields[field] = ("A" if text[0] != "A" else "B") + text[1:]
    return json.dumps(fields)


def test_what_was_sealed_for_a_job_opens_for_it():
    assert open_sealed(JOB_ID, seal(JOB_ID, ENVS)) == ENVS


def test_the_sealed_text_shows_neither_names_nor_values():
    sealed = seal(JOB_ID, ENVS)
    assert not any(word in sealed for pair in ENVS.items() for word in pair)
    assert sealed.isascii()


def test_sealing_twice_never_gives_the_same_text():
    assert seal(JOB_ID, ENVS) != seal(JOB_ID, ENVS)


def test_a_seal_moved_to_another_job_does_not_open():
    with pytest.raises(SealedEnvironmentUnreadable):
        open_sealed(str(uuid.UUID(int=2)), seal(JOB_ID, ENVS))


def test_another_passphrase_gives_an_error_that_names_the_job_and_the_variable(monkeypatch):
    sealed = seal(JOB_ID, ENVS)
    monkeypatch.setenv("MLFLOW_CRYPTO_KEK_PASSPHRASE", "another one")
    with pytest.raises(SealedEnvironmentUnreadable) as refused:
        open_sealed(JOB_ID, sealed)
    assert JOB_ID in refused.value.message
    assert "MLFLOW_CRYPTO_KEK_PASSPHRASE" in refused.value.message


def test_a_seal_outlives_a_raised_key_version(monkeypatch):
    sealed = seal(JOB_ID, ENVS)
    monkeypatch.setenv("MLFLOW_CRYPTO_KEK_VERSION", "2")
    assert open_sealed(JOB_ID, sealed) == ENVS


@pytest.mark.parametrize(
    "break_it",
    [
        lambda sealed: "",
        lambda sealed: "null",
        lambda sealed: "[]",
        lambda sealed: "{}",
        lambda sealed: sealed[:-5],
        lambda sealed: sealed.replace('"kek_version": 1', '"kek_version": "one"'),
        lambda sealed: sealed.replace('"kek_version": 1', '"kek_version": -1'),
        lambda sealed: damaged(sealed, "wrapped_dek"),
        lambda sealed: damaged(sealed, "encrypted_value"),
        lambda sealed: sealed.replace('"wrapped_dek": "', '"wrapped_dek": "*'),
    ],
)
def test_damaged_text_is_refused_without_showing_any_of_it(break_it):
    sealed = seal(JOB_ID, ENVS)
    with pytest.raises(SealedEnvironmentUnreadable) as refused:
        open_sealed(JOB_ID, break_it(sealed))
    assert refused.value.__suppress_context__
    assert json.loads(sealed)["encrypted_value"] not in refused.value.message
