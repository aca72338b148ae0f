"""Who holds what a job would be granted, in the terms of the basic-auth app."""

import pytest

from mlflow.entities._job import JobScopedPermission
from mlflow.server.auth.grant_holders import holds_by
from mlflow.server.auth.online_scorer_use import Caller

EDIT = JobScopedPermission("experiment", "7", None, "EDIT")
USE = JobScopedPermission("gateway_endpoint", "judges", None, "USE")
READ = JobScopedPermission("prompt", "grading", None, "READ")
ALL = {EDIT: "may edit 7", USE: "may use judges", READ: "may read grading"}


def holds(abilities: set[str]):
    return holds_by(
        is_admin=lambda username: username == "root",
        may_edit=lambda username, experiment: username + f" may edit {experiment}" in abilities,
        caller=lambda username: Caller(
            may_use=lambda endpoint: username + f" may use {endpoint}" in abilities,
            may_read=lambda prompt: username + f" may read {prompt}" in abilities,
        ),
    )


@pytest.mark.parametrize("permission", ALL)
def test_each_permission_is_held_by_who_has_that_ability_and_by_no_other(permission):
    ability = ALL[permission]
    others = {f"ann {other}" for other in ALL.values() if other != ability}
    assert holds({f"ann {ability}"})("ann", permission)
    assert not holds(others | {f"bob {ability}"})("ann", permission)


@pytest.mark.parametrize("permission", ALL)
def test_an_administrator_holds_everything(permission):
    assert holds(set())("root", permission)


def test_nobody_holds_a_permission_of_an_unknown_kind():
    assert not holds(set(ALL.values()))("ann", JobScopedPermission("run", "7", None, "EDIT"))
