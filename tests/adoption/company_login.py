"""A company's own `authorization_function`: it trusts its own list of people and no user table."""

from flask import Response, request
from werkzeug.datastructures import Authorization

# "bob" has left, though MLflow still knows him; MLflow has not heard of "eve" yet.
STAFF = ("root", "ann", "robot", "eve")
NO_ENTRY = "Nobody of that name works here."


def login() -> Authorization | Response:
    shown = request.authorization
    if shown is None or shown.username not in STAFF:
        return Response(NO_ENTRY, status=403)
    if shown.password != f"{shown.username}'s password":
        return Response("That is not your password.", status=403)
    return shown
