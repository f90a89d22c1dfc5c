"""Passwords in texts for the user and for the registry."""

import pytest

from longtail.errors import masked


def test_passwords_do_not_become_parameters():
    assert masked("postgresql+psycopg2://me:s3cret@db:5432/x") == (
        "postgresql+psycopg2://me:***@db:5432/x"
    )
    assert masked("sqlite:////tmp/a@b/mlflow.db") == "sqlite:////tmp/a@b/mlflow.db"


@pytest.mark.parametrize("password", ["a/b", "a@b", "/@:", "12/x", "a@/b:@"])
@pytest.mark.parametrize("user", ["me", "me@work.org", ""])
def test_passwords_that_should_have_been_quoted_are_masked_as_a_whole(user, password):
    text = f"no http://host:80/path, but postgresql://{user}:{password}@db:5432/x, http://h:1/"
    assert (
        masked(text)
        == f"no http://host:80/path, but postgresql://{user}:***@db:5432/x, http://h:1/"
    )
    assert masked(f"http://a:80,http://{user}:{password}@b") == f"http://a:80,http://{user}:***@b"


def test_addresses_without_a_password_stay_as_they_are():
    for text in (
        "http://me@host:5000/x",
        "models:/m@champion at http://[::1]:5000",
        "s3://b/a:b@c",
    ):
        assert masked(text) == text
