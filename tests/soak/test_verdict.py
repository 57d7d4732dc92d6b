"""What the soak test calls flat."""

from .figures import Sample, verdict


def samples(*own: float, more_files: int = 0) -> list[Sample]:
    return [Sample(60.0 * n, 90.0, 70.0, size, 40 + more_files * n, 12, 10) for n, size in enumerate(own)]


def test_what_only_moves_about_is_flat() -> None:
    assert verdict(samples(*[50, 52, 51, 50, 53, 51, 52, 50, 51]), warm=0)[0]


def test_what_grows_is_not() -> None:
    flat, words = verdict(samples(*range(50, 80, 2)), warm=0)
    assert not flat
    assert [word.split()[0] for word in words if word.endswith("GROWS")] == ["own"]


def test_growth_while_it_warms_up_is_forgiven() -> None:
    assert verdict(samples(10, 20, 30, *[50] * 9), warm=180)[0]


def test_too_short_a_run_is_no_proof() -> None:
    assert not verdict(samples(50, 50), warm=0)[0]


def test_files_that_pile_up_are_seen() -> None:
    assert not verdict(samples(*[50] * 9, more_files=5), warm=0)[0]
