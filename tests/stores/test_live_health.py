"""What is known of models: when one rests, for how long, and how speed is learned."""

from sidecar.stores.memory import LiveHealth


def failed(health: LiveHealth, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        health.failed("m", "no", now)


def test_a_model_rests_after_failing_often_enough_in_a_row() -> None:
    health = LiveHealth()
    failed(health, LiveHealth.THRESHOLD - 1)
    assert health.down == {}
    health.succeeded("m", None)
    failed(health, LiveHealth.THRESHOLD - 1)
    assert health.down == {}
    failed(health, 1)
    assert health.down == {"m": "no"}


def test_it_is_tried_again_after_its_rest_and_rests_at_once_when_that_fails() -> None:
    health = LiveHealth()
    failed(health, LiveHealth.THRESHOLD)
    health.wake(LiveHealth.COOLDOWN - 0.1)
    assert "m" in health.down
    health.wake(LiveHealth.COOLDOWN)
    assert health.down == {}
    failed(health, 1, 20.0)
    assert "m" in health.down
    health.wake(20.0 + LiveHealth.COOLDOWN)
    health.succeeded("m", None)
    failed(health, LiveHealth.THRESHOLD - 1, 40.0)
    assert health.down == {}


def test_a_provider_says_how_long_but_not_for_ever() -> None:
    health = LiveHealth()
    health.failed("m", "busy", 0.0, 7.0)
    health.wake(6.9)
    assert "m" in health.down
    health.wake(7.0)
    assert health.down == {}
    health.failed("m", "busy", 0.0, 1e12)
    health.wake(LiveHealth.LONGEST)
    assert health.down == {}


def test_reasons_of_providers_are_replaced_and_models_kept() -> None:
    health = LiveHealth()
    failed(health, LiveHealth.THRESHOLD)
    health.providers({"p": "no key"})
    assert health.down == {"m": "no", "p": "no key"}
    health.providers({})
    assert health.down == {"m": "no"}
    health.wake(1e9)
    health.providers({"p": "no key"})
    health.wake(2e9)
    assert health.down == {"p": "no key"}


def test_speed_is_smoothed_and_small_changes_make_no_new_version() -> None:
    health = LiveHealth()
    assert health.speed("m") is None
    health.succeeded("m", 100.0)
    version = health.version
    health.succeeded("m", 101.0)
    assert 100.0 < (health.speed("m") or 0) < 101.0
    assert health.version == version
    for _ in range(20):
        health.succeeded("m", 300.0)
    assert health.version > version
    health.succeeded("m", 0.0)
    health.succeeded("m", -1.0)
    assert 290 < (health.speed("m") or 0) <= 300
