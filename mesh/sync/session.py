"""One conversation with one neighbour, without a socket: bytes in, bytes out.

Both sides say a digest of what they hold; equal digests end the matter. Otherwise they exchange
their tips, and each asks for what it lacks: whole stretches as batches of events (`Pull`), the
last few of an open segment as Automerge sync messages (`Tail`). Everything passes the gate and
is on disk before anything else is done with it. A session lives as long as its connection; what
it had got by then is kept, so the next one goes on from there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from mesh.ledger import changes, document, gate, ids
from mesh.ledger.event import Event
from mesh.sync import messages, wants
from mesh.sync.archive import Archive, Envelope, Intake
from mesh.sync.desk import Desk
from mesh.sync.holdings import Holdings
from mesh.sync.manifest import Admits, Tip, digest, last_admitted
from mesh.sync.messages import Batch, Heads, Hello, Message, Pull, Row, Tail
from mesh.sync.talks import Talks

# A neighbour asks for one stretch at a time; a few more may cross on the way.
MAX_PULLS: Final = 8


class ProtocolError(Exception):
    """The neighbour broke the rules; end the connection. One line says which."""


class Rejected(ProtocolError):
    """The neighbour sent what is no event; `events` before it are stored all the same."""

    def __init__(self, text: str, events: tuple[Event, ...]) -> None:
        super().__init__(text)
        self.events = events


@final
@dataclass(slots=True)
class Tally:
    """What went through a session; `behind` counts events the neighbour has and we have not."""

    events_in: int = 0
    events_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    behind: int = 0
    agreed: bool = False


class Session:
    """One conversation. `now` is any clock in ms; calls block on the archive, in one thread."""

    def __init__(self, archive: Archive, admits: Admits, desk: Desk) -> None:
        self._archive: Final = archive
        self._admits: Final = admits
        self._holdings: Final = Holdings(archive, admits)
        self._desk: Final = desk
        self._talks: Final = Talks()
        self.tally: Final = Tally()
        self._greet = True  # we owe a hello
        self._greeted = False  # they said theirs
        self._theirs: Final[dict[str, Tip]] = {}
        self._told: Final[dict[str, Tip]] = {}
        self._wanted: Final[dict[str, None]] = {}  # authors to look at, oldest first
        self._changed: Final[dict[str, bool]] = {}  # authors to tell of, and whether eagerly
        self._settled: Final[dict[str, tuple[Tip, Tip]]] = {}  # (theirs, ours) that need no more
        self._retreats: Final[dict[str, wants.Retreat]] = {}
        self._asked: wants.Asked | None = None
        self._pulls: Final[deque[Pull]] = deque()

    def receive(self, data: bytes, now: int) -> tuple[Event, ...]:
        """Take a message; returns events that are new and durable. ProtocolError ends it."""
        self.tally.bytes_in += len(data)
        try:
            return self._take(messages.decode(data), now)
        except (messages.MessageError, changes.ChangeError, document.DocumentError) as error:
            raise ProtocolError(str(error)) from error

    def outgoing(self, now: int) -> bytes | None:
        """The next message to send; None when there is nothing to say for now."""
        message = self._next(now)
        if message is None:
            self._count_behind()  # tails and other neighbours brought some of it meanwhile
            return None
        data = messages.encode(message)
        self.tally.bytes_out += len(data)
        return data

    def poke(self, authors: Iterable[str], *, eager: bool) -> None:
        """Events of these authors are new here; the neighbour may want them.

        Eager, they are sent; else only their tips are, for it may have them from another.
        """
        for author in authors:
            self._changed[author] = eager or self._changed.get(author, False)

    def refresh(self) -> None:
        """Compare everything again: members changed, or some time has passed."""
        self._greet = True
        self._settled.clear()
        self._retreats.clear()
        self._wanted.update(dict.fromkeys(self._theirs))

    @property
    def waiting(self) -> bool:
        """Whether there is something to ask for that another session is asking for now."""
        return bool(self._wanted)

    def close(self) -> None:
        """The connection ended; others may ask for what we were asking for."""
        self._desk.leave(self)

    # What comes in

    def _take(self, message: Message, now: int) -> tuple[Event, ...]:
        if not self._greeted and not isinstance(message, Hello):
            raise ProtocolError("did not say hello first")
        match message:
            case Hello():
                self._take_hello(message)
            case Heads():
                self._take_heads(message)
            case Pull():
                if len(self._pulls) >= MAX_PULLS:
                    raise ProtocolError("asks for too much at once")
                self._pulls.append(message)
            case Batch():
                return self._take_batch(message, now)
            case Tail():
                return self._take_tail(message)
        return ()

    def _take_hello(self, message: Hello) -> None:
        if message.protocol != messages.PROTOCOL:
            text = f"speaks version {message.protocol}, this peer {messages.PROTOCOL}"
            raise ProtocolError(text)
        self._greeted = True
        mine = self._holdings.all()
        self.tally.agreed = message.digest == digest(mine)
        if self.tally.agreed:
            self._theirs.update(mine)
            self._told.update(mine)
            return
        self._told.clear()
        self._changed.update(dict.fromkeys(mine, False))

    def _take_heads(self, message: Heads) -> None:
        for row in message.rows:
            author = row.author.hex()
            if author not in self._theirs and len(self._theirs) >= wants.MAX_AUTHORS:
                raise ProtocolError(f"names more than {wants.MAX_AUTHORS} authors")
            self._theirs[author] = Tip(row.seq, row.hash.hex(), row.fork)
            self._wanted[author] = None
        self._count_behind()

    def _take_batch(self, message: Batch, now: int) -> tuple[Event, ...]:
        asked = self._asked
        if asked is None or (message.author.hex(), message.after) != (asked.author, asked.at):
            return ()  # an answer to what we no longer ask
        envelopes = messages.unpack(message.events)
        placed = self._placed(envelopes, asked.author, message)
        intake = self._admit(placed)
        asked.gap = asked.gap or any(isinstance(one, gate.Hold) for one in intake.outcomes)
        if message.more and placed:  # without events it could go on for ever
            asked.at, asked.sent = message.last, False
            self._desk.claim(asked.author, self, now)
        else:
            self._finish(asked)
        self._count_behind()
        return intake.events

    def _placed(self, found: list[Envelope], author: str, message: Batch) -> list[Envelope]:
        """The events of a batch that belong to it and that members may write."""
        kept: list[Envelope] = []
        before = message.after
        for sig, body in found:
            place = messages.place_of(body)
            if place.author != author or not before <= place.seq <= message.last:
                raise ProtocolError("sent an event that was not asked for")
            before = place.seq
            if self._admits(author, place.seq):
                kept.append((sig, body))
        return kept

    def _admit(self, envelopes: list[Envelope]) -> Intake:
        intake = self._archive.take_in(envelopes) if envelopes else Intake(outcomes=(), events=())
        self.tally.events_in += len(intake.events)
        for outcome in intake.outcomes:
            if isinstance(outcome, gate.Reject) and not outcome.full:
                raise Rejected(f"sent what is no event: {outcome.reason}", intake.events)
        return intake

    def _finish(self, asked: wants.Asked) -> None:
        """All that was asked for has come; look further back if its beginning did not fit."""
        author = asked.author
        self._asked = None
        self._desk.drop(author, self)
        if asked.gap and asked.began:
            self._retreats[author] = wants.step_back(asked.began, self._retreats.get(author))
            self._wanted[author] = None
        else:
            self._retreats.pop(author, None)
            self._settled[author] = (self._theirs[author], self._holdings.tip(author))

    def _take_tail(self, message: Tail) -> tuple[Event, ...]:
        """The gate first, the document second: by then it holds every change that is one."""
        author = message.author.hex()
        puts = changes.read_message(message.data, message.author)
        mine = self._holdings.tip(author)
        if mine.fork or not self._admits(author, max((put.seq for put in puts), default=1)):
            return ()
        for put in puts:
            place = messages.place_of(put.body)
            if (place.author, place.seq) != (author, put.seq):
                raise ProtocolError("a change that carries another event than it says")
        if puts and puts[-1].seq > self._theirs.get(author, wants.NOTHING).seq:
            self._theirs[author] = Tip(puts[-1].seq, ids.event_hash(puts[-1].body))
        new = self._admit([(put.sig, put.body) for put in puts if put.seq > mine.seq])
        events = new.events
        heard = self._hear(message, [put.hash for put in puts])
        if heard is False:
            again = self._admit([(put.sig, put.body) for put in puts])
            events += again.events
            known = all(isinstance(one, gate.Known) for one in again.outcomes)
            if (
                known and not self._holdings.tip(author).fork
            ):  # a branch is known, and in no document
                raise Rejected("a change that is not the event's", events)
        if heard is not True:
            self._talks.drop(author)
        self._desk.drop(author, self)
        self._changed.setdefault(author, False)
        if author in self._theirs:
            self._wanted[author] = None
        return events

    def _hear(self, message: Tail, hashes: list[bytes]) -> bool | None:
        """Whether the message agrees with our document; None where that is another segment."""
        author = message.author.hex()
        opened = self._archive.segment(author)
        if opened is None or opened[0] != message.segment:
            return None
        talk = self._talks.get(author, message.segment)
        if not opened[1].hear(talk, message.data, hashes):
            return False
        self._talks.owe(author)
        return True

    # What goes out

    def _next(self, now: int) -> Message | None:
        if self._greet:
            self._greet = False
            return Hello(messages.PROTOCOL, digest(self._holdings.all()))
        if not self._greeted:
            return None
        if self._asked is None:
            tail = self._choose(now)
            if tail is not None:
                return tail
        if self._asked is not None and not self._asked.sent:
            self._asked.sent = True
            return Pull(bytes.fromhex(self._asked.author), self._asked.at)
        if self._pulls:
            return self._serve(self._pulls.popleft())
        return self._announce()

    def _choose(self, now: int) -> Tail | None:
        """Look at one wanted author after the other until there is something to ask for."""
        for author in list(self._wanted):
            mine, theirs = self._holdings.tip(author), self._theirs[author]
            after = self._after(author, mine, theirs)
            if after is None:
                del self._wanted[author]
                continue
            if not self._desk.claim(author, self, now):
                continue
            del self._wanted[author]
            if wants.fits_tail(mine, theirs) and self._talks.first_try(author, theirs):
                tail = self._say(author, mine)
                if tail is not None:
                    return tail
            self._asked = wants.Asked(author, after, after)
            return None
        return None

    def _after(self, author: str, mine: Tip, theirs: Tip) -> int | None:
        """The seq to ask from; None when the neighbour has nothing that we may take."""
        if self._settled.get(author) == (theirs, mine):
            return None
        reach = last_admitted(self._admits, author, theirs.seq)
        forked = mine.fork or theirs.fork
        if reach == 0 or (reach < theirs.seq and reach <= mine.seq and not forked):
            return None
        retreat = self._retreats.get(author)
        return wants.ask_after(
            mine, theirs, retreat, lambda seq: self._archive.hashes_at(author, seq)
        )

    def _serve(self, pull: Pull) -> Batch:
        author = pull.author.hex()
        page = self._archive.page(author, pull.after, messages.BATCH_EVENTS, messages.BATCH_BYTES)
        self.tally.events_out += len(page.envelopes)
        return Batch(pull.author, pull.after, page.last, page.more, messages.pack(page.envelopes))

    def _announce(self) -> Message | None:
        """Tell of authors whose tips moved: the last few events as a tail, the rest as rows."""
        rows: list[Row] = []
        while self._changed and len(rows) < messages.MAX_ROWS:
            author = next(iter(self._changed))
            mine, told = self._holdings.tip(author), self._told.get(author, wants.NOTHING)
            if mine in (told, wants.NOTHING) or mine == self._theirs.get(author):
                del self._changed[author]
                continue
            segment = document.segment_of(mine.seq)
            eager = self._changed[author] and self._talks.has(author, segment)
            if eager and wants.fits_tail(told, mine):
                if rows:
                    break
                tail = self._say(author, mine)
                if tail is not None:
                    return tail
            del self._changed[author]
            self._told[author] = mine
            rows.append(Row(bytes.fromhex(author), mine.seq, bytes.fromhex(mine.hash), mine.fork))
        return Heads(tuple(rows)) if rows else self._answer()

    def _answer(self) -> Tail | None:
        """Say what our documents have, to neighbours who said what theirs have."""
        while (author := self._talks.owed()) is not None:
            mine = self._holdings.tip(author)
            if self._talks.has(author, document.segment_of(mine.seq)):
                tail = self._say(author, mine)
                if tail is not None:
                    return tail
        return None

    def _say(self, author: str, mine: Tip) -> Tail | None:
        """The next message of the talk about an author's open segment, if there is one to have."""
        opened = self._archive.segment(author)
        if opened is None or mine.fork or self._archive.tip(author) != mine:
            self._talks.drop(author)
            return None
        number, segment = opened
        data = segment.say(self._talks.get(author, number))
        if data is None:
            return None
        if len(data) > changes.MAX_SYNC_BYTES:
            self._talks.drop(author)
            return None
        self._told[author] = mine
        self._changed.pop(author, None)
        return Tail(bytes.fromhex(author), number, data)

    def _count_behind(self) -> None:
        authors = {*self._wanted, *([self._asked.author] if self._asked else [])}
        self.tally.behind = sum(
            max(0, self._theirs[author].seq - self._holdings.tip(author).seq) for author in authors
        )
