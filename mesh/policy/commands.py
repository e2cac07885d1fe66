"""Intentions, imperative: what this peer should do next; `mesh.edge.jobs.effects` does it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlaceJob:
    """Choose where a pending job runs, among the devices that hold no other attempt."""

    job_id: str


@dataclass(frozen=True, slots=True)
class StartJob:
    """Start the attempt of a dispatched job; safe to repeat: an attempt is started once."""

    job_id: str


@dataclass(frozen=True, slots=True)
class WatchJob:
    """See whether a running attempt has ended, and book its end."""

    job_id: str


@dataclass(frozen=True, slots=True)
class StopJob:
    """End a job that a person cancelled."""

    job_id: str


Command = PlaceJob | StartJob | WatchJob | StopJob
