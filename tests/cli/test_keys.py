"""`sidecar keys`: a key is shown once, and what is kept of it can be listed, renewed and taken away."""

import json
from pathlib import Path

import pytest

from sidecar.identity.keys import generate, hash_text, well_formed

from .conftest import Ran
from .test_cli import KEY, here  # noqa: F401  a fixture

ONE = generate()


def table(ran: Ran) -> dict[str, list[str]]:
    """What `keys list` prints, by name."""
    return {line.split()[0]: line.split()[1:] for line in ran.out.splitlines()[1:]}


def test_a_key_from_its_making_to_its_end(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    made = sidecar(
        "keys", "create", "app", "--tenant", "acme", "--label", "team=red", "--label", 'odd="${X}', "--model", "mine",
        "--strategy", "cost", "--strategy", "speed", "--expires", "30d", "--limit", "requests=60/m",
        "--limit", "tokens=100000/d",
    )  # fmt: skip
    key = made.out.strip()
    assert made.code == 0 and well_formed(key) and key not in made.err and "stored in sidecar.db" in made.err
    assert key.encode() not in (here / "sidecar.db").read_bytes()
    again = sidecar("keys", "create", "app")
    assert (again.code, again.out) == (1, "") and "the name `app` already" in again.err
    (row,) = json.loads(sidecar("keys", "list", "--format", "json").out)
    assert row["shown"] == f"{key[:8]}..." and key not in str(row) and row["source"] == "sidecar.db"
    assert (row["labels"], row["models"], row["strategies"]) == (
        {"team": "red", "odd": '"${X}'},
        ["mine"],
        ["cost", "speed"],
    )
    assert row["limits"] == [{"requests": "60/m"}, {"tokens": "100000/d"}]
    assert (row["state"], row["revoked"], row["tenant"]) == ("active", None, "acme")
    (here / "policies" / "keys.yaml").write_text("kind: keys\nkeys:\n" + made.err.partition("\n\n")[2])
    assert sidecar("validate").code == 0
    (declared,) = json.loads(sidecar("keys", "list", "--format", "json").out)  # one key in both places is one
    assert declared["source"] == "policies/keys.yaml:3" and declared["labels"] == row["labels"]
    assert declared["limits"] == row["limits"] and declared["expires"] == row["expires"]
    (here / "policies" / "keys.yaml").unlink()

    renewed = sidecar("keys", "rotate", "app", "--grace", "1h")
    assert renewed.code == 0 and well_formed(renewed.out.strip()) and renewed.out.strip() != key
    assert "the old key works until" in renewed.err
    assert table(sidecar("keys", "list"))["app"][0] == f"{renewed.out[:8]}..."
    assert sidecar("keys", "revoke", row["id"]).code == 0
    assert table(sidecar("keys", "list"))["app"][2] == "revoked"
    assert "was revoked before" in sidecar("keys", "revoke", "app").err
    late = sidecar("keys", "rotate", "app")
    assert (late.code, late.out) == (1, "") and "is revoked" in late.err
    assert sidecar("keys", "create", "app").code == 0


def test_a_key_of_git_is_revoked_by_its_hash(sidecar, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    (here / "policies" / "keys.yaml").write_text(
        f"kind: keys\nkeys:\n  - {{name: app, hash: '{hash_text(ONE)}', expires: 2020-01-01}}\n---\n"
        "kind: authenticate\nkeys: [{name: ci, secret: '${CI_KEY}'}]\n"
    )
    listed = table(sidecar("keys", "list"))
    assert listed["app"][2] == "expired" and listed["ci"][:3] == ["${CI_KEY}", "default", "active"]
    assert not (here / "sidecar.db").exists()
    taken = sidecar("keys", "create", "app")
    assert taken.code == 1 and "policies/keys.yaml:3" in taken.err
    ran = sidecar("keys", "revoke", "app")
    assert ran.code == 0 and "take it out of policies/keys.yaml:3" in ran.err
    assert sidecar("keys", "revoke", "app").code == 0
    ran = sidecar("keys", "revoke", "ci")
    assert ran.code == 1 and "cannot be read here" in ran.err
    monkeypatch.setenv("CI_KEY", KEY)
    assert sidecar("keys", "revoke", "ci").code == 0
    ran = sidecar("keys", "list")
    assert {name: row[2] for name, row in table(ran).items()} == {"app": "revoked", "ci": "revoked"}
    assert KEY not in ran.out and KEY[:8] not in ran.out
    rotated = sidecar("keys", "rotate", "app")
    assert (rotated.code, rotated.out) == (1, "")


def test_for_git_nothing_is_stored(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    ran = sidecar("keys", "create", "app", "--git")
    assert ran.code == 0 and hash_text(ran.out.strip()) in ran.err and not (here / "sidecar.db").exists()


def test_without_a_configuration(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    (here / "gateway.yaml").unlink()
    ran = sidecar("keys", "create", "app")
    assert ran.code == 0 and well_formed(ran.out.strip()) and "nothing is stored" in ran.err
    assert not (here / "sidecar.db").exists()
    for wrong in (["list"], ["revoke", "app"], ["rotate", "app"], ["list", "--config", "other.yaml"]):
        ran = sidecar("keys", *wrong)
        assert (ran.code, ran.out) == (2, ""), ran.err
    assert "stored in mine.db" in sidecar("keys", "create", "app", "--database", "mine.db").err
    assert table(sidecar("keys", "list", "--database", "mine.db"))["app"][2] == "active"


def test_a_broken_configuration_does_not_keep_a_key_alive(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    assert sidecar("keys", "create", "app").code == 0
    (here / "policies" / "route.yaml").write_text("kind: score\nstrategy: chep\n")
    ran = sidecar("keys", "revoke", "app")
    assert ran.code == 1 and "--database FILE" in ran.err
    assert sidecar("keys", "revoke", "app", "--database", "sidecar.db").code == 0
    assert table(sidecar("keys", "list", "--database", "sidecar.db"))["app"][2] == "revoked"


def test_a_database_whose_place_is_not_known_here(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    text = (here / "gateway.yaml").read_text()
    (here / "gateway.yaml").write_text(text + "database: ${DATA}/keys.db\n")
    ran = sidecar("keys", "create", "app")
    assert (ran.code, ran.out) == (1, "") and "not set" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["two words"], "`two words` is not a name"),
        (["x", "--tenant=a b"], "`a b` is not a name"),
        (["x", "--label", "team"], "is not NAME=VALUE"),
        (["x", "--model", "min"], "`min` is not a model; did you mean `mine`?"),
        (["x", "--strategy", "chep"], "`chep` is not a strategy"),
        (["x", "--expires", "2020-01-01"], "is no time to come"),
        (["x", "--expires", "2099-02-30"], "is no time to come"),
        (["x", "--expires", "soon"], "is no time to come"),
        (["x", "--limit", "requests=0/m"], "is not a limit"),
        (["x", "--limit", "cost=1/m"], "is not a limit"),
    ],
)
def test_what_no_key_can_have(sidecar, here: Path, arguments: list[str], said: str) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    ran = sidecar("keys", "create", *arguments)
    assert (ran.code, ran.out) == (2, "") and said in ran.err, ran.err
    assert not (here / "sidecar.db").exists()


def test_a_name_nobody_has_and_a_file_that_is_no_database(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    sidecar("keys", "create", "application")
    ran = sidecar("keys", "revoke", "aplication")
    assert (ran.code, "did you mean `application`?" in ran.err) == (1, True)
    (here / "text.db").write_text("this is no database at all, but a text that is long enough to be taken for one" * 20)
    for what in (["list"], ["create", "x"], ["revoke", "x"]):
        ran = sidecar("keys", *what, "--database", "text.db")
        assert (ran.code, ran.out) == (2, "") and "cannot be used" in ran.err


@pytest.mark.parametrize("configured", [True, False])
def test_a_slip_in_a_databases_name_is_no_empty_database(sidecar, here: Path, configured: bool) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    if not configured:
        (here / "gateway.yaml").unlink()
    for what in (["list"], ["revoke", "x"], ["rotate", "x"]):
        ran = sidecar("keys", *what, "--database", "typo.db")
        assert (ran.code, ran.out) == (2, "") and "there is no database typo.db" in ran.err
    assert not (here / "typo.db").exists()


def test_a_database_is_named_as_the_environment_names_it(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    assert "stored in mine.db" in sidecar("keys", "create", "app", "--database", "sqlite:///mine.db").err
    assert table(sidecar("keys", "list", "--database", "mine.db"))["app"][2] == "active"


def test_what_a_policy_is_warned_of_is_not_told_to_who_asks_for_keys(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    (here / "policies" / "old.yaml").write_text("# kind: cache\n")
    assert "warning[empty-file]" in sidecar("models").err
    assert sidecar("keys", "create", "app").err.startswith("shown once")
    assert sidecar("keys", "list").err == ""
    (here / "policies" / "old.yaml").write_text("kind: cahce\n")
    assert "error[unknown-kind]" in sidecar("keys", "list").err, "a fault is told: keys of git are not seen through it"
