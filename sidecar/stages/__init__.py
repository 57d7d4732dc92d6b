"""Every stage there is: the one place that knows them all."""

from .authenticate import Authenticate
from .base import StageSpec
from .budget import Budget
from .cache import Cache
from .classify import Classify
from .fallback import Fallback
from .quota import Quota
from .rate_limit import RateLimit
from .score import Score

STAGES: tuple[type[StageSpec], ...] = (RateLimit, Authenticate, Cache, Budget, Classify, Score, Fallback, Quota)
"""In the order of the default pipeline."""
