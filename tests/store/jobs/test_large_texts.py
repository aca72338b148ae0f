"""Params and results as large as the database takes them, and a clear refusal beyond that."""

import json

import pytest
import sqlalchemy

from mlflow.store.jobs import dialects
from mlflow.store.jobs.errors import FieldTooLarge, ResultTooLarge
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import JobUpdateStatus
from tests.store.jobs.store_factories import claim, claim_one, row_of, status_of

MIB = 1024 * 1024


def limit_of(store):
    with store.engine.connect() as connection:
        return dialects.text_limit(connection)


@pytest.fixture
def narrow_store(store):
    """The same database, as a server of MySQL with a packet of one MiB would be."""
    narrow = SqlAlchemyJobStore(store.db_uri)
    narrow._text_limit_read = dialects.TextLimit(MIB, doubled='"', setting="max_allowed_packet")
    return narrow


def test_twenty_megabytes_pass_unless_the_server_is_set_to_take_less(store):
    limit = limit_of(store)

    if store.db_type in ("sqlite", "postgresql"):
        assert (limit.most_bytes, limit.doubled) == (32 * MIB, "")
    else:
        with store.engine.connect() as connection:
            packet = connection.execute(sqlalchemy.text("SELECT @@max_allowed_packet")).scalar_one()
        assert limit.most_bytes == min(32 * MIB, packet * 15 // 16)
        assert set("\\'\"") <= set(limit.doubled)


def test_the_largest_params_and_result_are_stored_and_read_whole(store):
    limit = limit_of(store)
    # JSON escapes the quotation mark, and drivers that write values into a statement do so again.
    each = limit.size_of(json.dumps('"')) - limit.size_of(json.dumps(""))
    params = json.dumps({"a": '"' * ((limit.most_bytes - 100) // each)})

    claimed = claim_one(store, params=params)
    assert claimed.params == json.loads(params)
    assert store.succeed(claimed.claim, params) is JobUpdateStatus.APPLIED

    job_id = claimed.claim.job_id
    assert row_of(store, job_id).result == params
    assert store.get_job(job_id).params == params
    assert [job.job_id for job in store.search_jobs()[0]] == [job_id]


def test_larger_params_are_refused_by_name_and_leave_no_row(store):
    most = limit_of(store).most_bytes

    with pytest.raises(FieldTooLarge, match=f"`params` takes .* at most {most}") as refused:
        store.create_job("job", json.dumps({"a": "x" * most}))
    assert refused.value.get_http_status_code() == 400
    assert list(store.list_jobs()) == []


def test_a_larger_result_is_refused_by_name_and_the_job_can_still_fail(store):
    claimed = claim_one(store)
    most = limit_of(store).most_bytes

    with pytest.raises(ResultTooLarge, match=f"`result` takes .* at most {most}") as refused:
        store.succeed(claimed.claim, json.dumps("x" * most))

    assert store.fail(claimed.claim, refused.value.message) is JobUpdateStatus.APPLIED
    assert str(most) in store.get_job(claimed.claim.job_id).error_message


def test_what_is_escaped_on_its_way_counts_twice_and_the_setting_is_named(narrow_store):
    claimed = claim_one(narrow_store, params=json.dumps({"a": "x" * (MIB - 100)}))

    for verb in (
        narrow_store.succeed,
        lambda claim, text: narrow_store.finish_job(claim.job_id, text),
    ):
        with pytest.raises(ResultTooLarge, match=f"{MIB}, by its max_allowed_packet"):
            verb(claimed.claim, json.dumps("é" * 100) + '"' * (MIB // 2))
    assert status_of(narrow_store, claimed.claim.job_id).name == "RUNNING"
    assert claim(narrow_store).claimed == []
