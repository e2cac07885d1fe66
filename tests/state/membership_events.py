"""Unsigned events for tests of pure folds."""

from mesh.ledger.event import Event

ROOT, ANA, BEN, EVE = ("r" * 64, "a" * 64, "b" * 64, "e" * 64)


def hash_of(author: str, seq: int, branch: str = "") -> str:
    """The hash that stands for an author's event; "" before the first."""
    return f"{author[:2]}{branch}{seq}" if seq else ""


def event(
    author: str,
    seq: int,
    at: int,
    kind: str,
    /,
    branch: str = "",
    after: str | None = None,
    **payload: object,
) -> Event:
    """What `author` said at millisecond `at`; on a `branch` that goes on from its event `after`."""
    return Event(
        id=f"{author[:2]}{seq}",
        hash=hash_of(author, seq, branch),
        timestamp="",
        device_id=str(payload.get("device", "d")),
        event_type=kind,
        payload=dict(payload),
        author=author,
        seq=seq,
        prev=hash_of(author, seq - 1, branch) if after is None else after,
        hlc=f"{at:013d}-00000",
        sig="",
        v=1,
    )


def added(
    author: str,
    seq: int,
    at: int,
    key: str,
    role: str,
    epoch: int = 1,
    since: int = 1,
    name: str = "",
) -> Event:
    return event(
        author,
        seq,
        at,
        "peer_added",
        key=key,
        role=role,
        epoch=epoch,
        since=since,
        name=name or key[:1],
        tls="00" * 64,
    )


def removed(author: str, seq: int, at: int, key: str, until: int, epoch: int = 1) -> Event:
    return event(author, seq, at, "peer_removed", key=key, epoch=epoch, until=until)
