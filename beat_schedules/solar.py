"""When the sun stands where: the equations of NOAA's solar calculator, good to about a minute below the polar circles.

After Jean Meeus, "Astronomical Algorithms", 1991, as published by NOAA's Global Monitoring Laboratory ("Solar
Calculation Details"). Pure arithmetic, so every beat finds the same slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import acos, asin, cos, degrees, radians, sin, tan
from typing import Literal, get_args

__all__ = ["EVENTS", "Sun", "SunEvent"]

SunEvent = Literal[
    "dawn_astronomical", "dawn_nautical", "dawn_civil", "sunrise", "solar_noon",
    "sunset", "dusk_civil", "dusk_nautical", "dusk_astronomical",
]  # fmt: skip
EVENTS: tuple[str, ...] = get_args(SunEvent)

#: How far below the horizon the sun's centre stands, in degrees; for its rim, with refraction.
_BELOW = {"astronomical": 18.0, "nautical": 12.0, "civil": 6.0, "sunrise": 0.833, "sunset": 0.833}
#: A polar night has an end within a year.
_MOST_DAYS = 367
_NOON_2000 = datetime(2000, 1, 1, 12, tzinfo=UTC)
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Sun:
    """One event of the sun, as seen from one place.

    Attributes:
        event: which.
        lat: degrees north.
        lon: degrees east.
    """

    event: SunEvent
    lat: float
    lon: float

    def next_after(self, after: datetime) -> datetime | None:
        """The first such event later than a time; both in UTC, to the second. None: there is none for a year."""
        day = after.replace(hour=0, minute=0, second=0, microsecond=0) - _DAY
        for _ in range(_MOST_DAYS):
            at = self._on(day)
            if at is not None and at > after:
                return at
            day += _DAY
        return None

    def _on(self, day: datetime) -> datetime | None:
        """The event of the day that is day at this place; None: it does not happen then."""
        minutes = 720 - 4 * self.lon
        for _ in range(3):  # the sun moves on meanwhile: what was found says where it stands then
            found = self._minutes(day + timedelta(minutes=minutes))
            if found is None:
                return None
            minutes = found
        return (day + timedelta(minutes=minutes)).replace(microsecond=0)

    def _minutes(self, at: datetime) -> float | None:
        """Minutes since midnight UTC of the event, with the sun where it stands at a time."""
        declination, equation = _stand(at)
        noon = 720 - 4 * self.lon - equation
        if self.event == "solar_noon":
            return noon
        kind = self.event.removeprefix("dawn_").removeprefix("dusk_")
        height = radians(-_BELOW[kind])
        lat = radians(self.lat)
        cosine = (sin(height) - sin(lat) * sin(declination)) / (cos(lat) * cos(declination))
        if not -1.0 <= cosine <= 1.0:
            return None
        half_day = 4 * degrees(acos(cosine))
        return noon - half_day if self.event == "sunrise" or self.event.startswith("dawn") else noon + half_day


def _stand(at: datetime) -> tuple[float, float]:
    """The sun's declination in radians, and the equation of time in minutes."""
    century = (at - _NOON_2000) / _DAY / 36525
    mean_longitude = radians((280.46646 + century * (36000.76983 + century * 0.0003032)) % 360)
    anomaly = radians(357.52911 + century * (35999.05029 - 0.0001537 * century))
    eccentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century)
    centre = (
        sin(anomaly) * (1.914602 - century * (0.004817 + 0.000014 * century))
        + sin(2 * anomaly) * (0.019993 - 0.000101 * century)
        + sin(3 * anomaly) * 0.000289
    )
    node = radians(125.04 - 1934.136 * century)
    longitude = mean_longitude + radians(centre - 0.00569 - 0.00478 * sin(node))
    seconds = 21.448 - century * (46.815 + century * (0.00059 - century * 0.001813))
    obliquity = radians(23 + (26 + seconds / 60) / 60 + 0.00256 * cos(node))
    y = tan(obliquity / 2) ** 2
    equation = 4 * degrees(
        y * sin(2 * mean_longitude)
        - 2 * eccentricity * sin(anomaly)
        + 4 * eccentricity * y * sin(anomaly) * cos(2 * mean_longitude)
        - 0.5 * y * y * sin(4 * mean_longitude)
        - 1.25 * eccentricity**2 * sin(2 * anomaly)
    )
    return asin(sin(obliquity) * sin(longitude)), equation
