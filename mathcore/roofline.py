"""The speed model's names as planners use them.

`work` says what a token costs, `chip` and `terms` what that takes at nominal rates, `speed` what a
device reaches, `learning` what its own jobs changed, `interval` how sure we are.
"""

from mathcore.interval import Band, rate_band, spread_band, time_band

__all__ = ["Band", "rate_band", "spread_band", "time_band"]
