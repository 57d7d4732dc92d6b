"""Cron expressions: five fields, in UTC, so that no night has an hour twice or not at all."""

from datetime import UTC, datetime
from typing import Annotated

from cronsim import CronSim, CronSimError
from msgspec import Meta

Cron = Annotated[
    str,
    Meta(
        min_length=9,
        max_length=256,
        description="When, in UTC: minute, hour, day of the month, month, day of the week.",
        examples=["0 3 * * *"],
    ),
]


def check(expression: str) -> None:
    """Raises ValueError for what is no cron expression, or one that never comes."""
    following(expression, datetime(2026, 1, 1, tzinfo=UTC).timestamp())


def following(expression: str, after: float) -> float:
    """The first moment past a Unix time that an expression means. Raises ValueError."""
    try:
        return next(CronSim(expression, datetime.fromtimestamp(after, UTC))).timestamp()
    except (CronSimError, StopIteration):
        raise ValueError(f"`{expression}` is not a cron expression: `0 3 * * *` is every day at 03:00 UTC") from None
