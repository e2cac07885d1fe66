"""One conversation with one neighbour, without a socket: bytes in, bytes out.

Both sides say a digest of what they count; equal digests end the matter. Otherwise they exchange
their tips, and each asks for what it lacks: whole stretches as batches of events (`Pull`), the
last few of an open segment as Automerge sync messages (`Tail`). Everything passes the gate and
is on disk before anything else is done with it. A session lives as long as its connection; what
it had got by then is kept, so the next one goes on from there.

What a neighbour says of authors whom `admits` refuses is not kept, not answered and no breach:
it may know of members that we have not heard of, and the other way round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, final

from mesh.ledger import changes, document, gate, ids
from mesh.ledger.codec import MAX_INT
from mesh.ledger.event import Event
from mesh.sync import messages, versions, wants
from mesh.sync.archive import Archive, Envelope, Intake
from mesh.sync.desk import Desk, Holder
from mesh.sync.fetching import Fetching
from mesh.sync.holdings import Holdings
from mesh.sync.manifest import Admits, Tip, digest, last_admitted
from mesh.sync.messages import Batch, Heads, Hello, Hello1, Message, Pull, Tail
from mesh.sync.quiet import SAID, Quiet, coarse
from mesh.sync.telling import Telling

# A neighbour asks for one stretch at a time; a few more may cross on the way.
MAX_PULLS: Final = 8
_ZEROS: Final = bytes(32)


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
    """What went through a session; `behind` counts events the neighbour has and we have not.

    `answers` is False where the neighbour takes us for put out: it hears us, and tells nothing.
    """

    events_in: int = 0
    events_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    behind: int = 0
    agreed: bool = False
    answers: bool = True


class Session:
    """One conversation. `now` is any clock in ms; calls block on the archive, in one thread.

    `peer` is the neighbour's key (hex), `version` what the link's greeting agreed on, `rank` the
    order in which authors are fetched. `told_of_us` is the tip of this peer's own chain as the
    neighbour has it (seq 0 for nothing); None until it said so. `quiet` is for a neighbour that was
    put out of the fleet: it is heard, and told next to nothing.
    """

    def __init__(
        self,
        archive: Archive,
        admits: Admits,
        desk: Desk,
        *,
        peer: str = "",
        version: int = versions.PROTOCOL,
        rank: wants.Rank = wants.no_rank,
        quiet: Quiet | None = None,
    ) -> None:
        self._archive: Final = archive
        self._me: Final = archive.author
        self._rule: Final = admits
        self._quiet: Final = quiet
        self._holdings: Final = Holdings(archive, self._admits)
        self._shown: Final = Holdings(archive, self._shows) if quiet else self._holdings
        self._desk: Final = desk
        self._holder: Final = Holder(peer)
        self._version: Final = version
        self.tally: Final = Tally()
        self.told_of_us: Tip | None = None
        self._greet = True  # we owe a hello
        self._greeted = False  # they said theirs
        self._fetching: Final = Fetching(
            archive, self._admits, self._holdings, (desk, self._holder), rank
        )
        self._telling: Final = Telling(archive, self._shown, self._fetching.theirs)
        self._pulls: Final[deque[Pull]] = deque()

    def receive(self, data: bytes, now: int) -> tuple[Event, ...]:
        """Take a message; returns events that are new and durable. ProtocolError ends it."""
        self.tally.bytes_in += len(data)
        try:
            return self._take(messages.decode(data, self._version), now)
        except (messages.MessageError, changes.ChangeError, document.DocumentError) as error:
            raise ProtocolError(str(error)) from error

    def outgoing(self, now: int) -> bytes | None:
        """The next message to send; None when there is nothing to say for now."""
        message = self._next(now)
        if message is None:
            # Tails and other neighbours brought some of it meanwhile.
            self.tally.behind = self._fetching.behind()
            return None
        data = messages.encode(message)
        self.tally.bytes_out += len(data)
        return data

    def poke(self, authors: Iterable[str], *, eager: bool) -> None:
        """Events of these authors are new here; the neighbour may want them.

        Eager, they are sent; else only their tips are, for it may have them from another.
        """
        self._telling.moved(authors, eager=eager)

    def refresh(self) -> None:
        """Compare everything again: members changed, or some time has passed.

        Our hello makes a neighbour that holds something else name its tips again, also those we
        ignored; and we name those that count here by now.
        """
        self._greet = True
        self._fetching.anew()
        self._telling.moved(self._archive.tips(), eager=False)

    @property
    def waiting(self) -> bool:
        """Whether there is something to ask for that another session is asking for now."""
        return self._fetching.waiting

    def close(self) -> None:
        """The connection ended; others may ask for what we were asking for."""
        self._desk.leave(self._holder)

    def _admits(self, author: str, seq: int) -> bool:
        """The members' rule, and our own events whatever it says: a lost disk comes back here.

        Of a neighbour that was put out only those chains are taken that may say who belongs.
        """
        if self._quiet is not None:
            return author != self._me and self._quiet.takes(author) and self._rule(author, seq)
        return author == self._me or self._rule(author, seq)

    def _shows(self, author: str, seq: int) -> bool:
        """Whether the neighbour may hear of an event."""
        told = self._quiet is None or self._quiet.tells(author)
        return told and self._admits(author, seq)

    # What comes in

    def _take(self, message: Message, now: int) -> tuple[Event, ...]:
        if isinstance(message, Hello | Hello1):
            self._take_hello(message, now)
            return ()
        if not self._greeted:
            raise ProtocolError("did not say hello first")
        match message:
            case Heads():
                self._take_heads(message)
            case Pull():
                if len(self._pulls) >= MAX_PULLS:
                    raise ProtocolError("asks for too much at once")
                self._pulls.append(message)
            case Batch():
                return self._take_batch(message, now)
            case Tail():
                return self._take_tail(message, now)
        return ()

    def _take_hello(self, message: Hello | Hello1, now: int) -> None:
        if message.protocol != self._version:
            text = f"speaks version {message.protocol}, not {self._version} as the links greeted"
            raise ProtocolError(text)
        mine = self._shown.all()
        self.tally.agreed = self._quiet is None and message.digest == digest(mine)
        self.tally.answers = message.digest != SAID
        self._hear_of_us(message, now)
        self._greeted = True
        if self.tally.agreed:
            self._fetching.agreed(mine)
            self._telling.agreed(mine)
            return
        self._telling.anew(mine)

    def _hear_of_us(self, message: Hello | Hello1, now: int) -> None:
        """How far the neighbour knows our own chain. Version 1 does not say, so it is asked.

        A quiet neighbour says nothing of us: it takes us for put out.
        """
        if self._quiet is not None:
            return
        if isinstance(message, Hello):
            if not self.tally.answers:
                return
            known = Tip(message.you_seq, message.you_hash.hex())
            self.told_of_us = known if known.seq else wants.NOTHING
        elif self.tally.agreed:
            self.told_of_us = self._holdings.tip(self._me)
        elif not self._greeted:
            self._fetching.probe(self._me, now)

    def _take_heads(self, message: Heads) -> None:
        for row in message.rows:
            author = row.author.hex()
            if not self._admits(author, 1):
                continue  # a stranger, or a member we have not heard of: named again by then
            tip = Tip(row.seq, row.hash.hex(), row.fork)
            self._fetching.named(author, tip)
            if author == self._me and self._version < 2:
                self.told_of_us = tip
        self.tally.behind = self._fetching.behind()

    def _take_batch(self, message: Batch, now: int) -> tuple[Event, ...]:
        asked = self._fetching.asked
        if asked is None or (message.author.hex(), message.after) != (asked.author, asked.at):
            return ()  # an answer to what we no longer ask
        placed = self._placed(messages.unpack(message.events), asked.author, message)
        intake = self._admit(placed)
        asked.gap = asked.gap or any(isinstance(one, gate.Hold) for one in intake.outcomes)
        if message.more and placed:  # without events it could go on for ever
            new = len(intake.events)
            size = sum(len(body) for _, body in placed) * new // len(placed)
            self._fetching.go_on(asked, message.last, now, events=new, size=size)
        else:
            self._fetching.finish(asked, now)
            if asked.author == self._me and self.told_of_us is None:
                self.told_of_us = self._holdings.tip(self._me)  # it had no more of us
        self.tally.behind = self._fetching.behind()
        return intake.events

    def _placed(self, found: list[Envelope], author: str, message: Batch) -> list[Envelope]:
        """The events of a batch that belong to it and that members may write."""
        kept: list[Envelope] = []
        before = message.after + 1
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

    def _take_tail(self, message: Tail, now: int) -> tuple[Event, ...]:
        """The gate first, the document second: by then it holds every change that is one."""
        author = message.author.hex()
        if not self._shows(author, 1):
            return ()
        mine = self._holdings.tip(author)
        if self._archive.tip(author) != (mine if mine.seq else None):
            self._telling.name_again(author)  # our document goes past a cut-off: a batch does not
        if mine.fork:
            return ()
        puts = changes.read_message(message.data, message.author)
        for put in puts:
            place = messages.place_of(put.body)
            if (place.author, place.seq) != (author, put.seq):
                raise ProtocolError("a change that carries another event than it says")
        if puts and puts[-1].seq > self._fetching.theirs.get(author, wants.NOTHING).seq:
            self._fetching.named(author, Tip(puts[-1].seq, ids.event_hash(puts[-1].body)))
        if not self._admits(author, max((put.seq for put in puts), default=1)):
            return ()  # it goes past a cut-off: a batch brings the part that counts
        new = self._admit([(put.sig, put.body) for put in puts if put.seq > mine.seq])
        events = new.events
        heard = self._hear(message, [put.hash for put in puts])
        if heard is False:
            events += self._offer_again(author, puts)
        if heard is not True:
            self._telling.talks.drop(author)
        self._fetching.give_back(author, now)
        self._telling.moved([author], eager=False)
        self._fetching.look_at(author)
        return events

    def _offer_again(self, author: str, puts: list[changes.Put]) -> tuple[Event, ...]:
        """Changes our document has not: of another branch, or no honest peer's at all."""
        again = self._admit([(put.sig, put.body) for put in puts])
        known = all(isinstance(one, gate.Known) for one in again.outcomes)
        tip = self._archive.tip(author)
        if known and not (tip and tip.fork):  # a branch is known, and in no document
            raise Rejected("a change that is not the event's", again.events)
        return again.events

    def _hear(self, message: Tail, hashes: list[bytes]) -> bool | None:
        """Whether the message agrees with our document; None where that is another segment."""
        author = message.author.hex()
        opened = self._archive.segment(author)
        if opened is None or opened[0] != message.segment:
            return None
        talks = self._telling.talks
        if not opened[1].hear(talks.get(author, message.segment), message.data, hashes):
            return False
        talks.owe(author)
        return True

    # What goes out

    def _next(self, now: int) -> Message | None:
        if self._greet:
            self._greet = False
            return self._hello()
        if not self._greeted:
            return None
        if self._fetching.asked is None:
            tail = self._choose(now)
            if tail is not None:
                return tail
        asked = self._fetching.asked
        if asked is not None and not asked.sent:
            asked.sent = True
            return Pull(bytes.fromhex(asked.author), asked.at)
        if self._pulls:
            return self._serve(self._pulls.popleft())
        return self._telling.next()

    def _hello(self) -> Hello | Hello1:
        held = SAID if self._quiet else digest(self._holdings.all())
        if self._version < 2:
            return Hello1(self._version, held)
        you = self._shown.tip(self._holder.peer) if self._holder.peer else wants.NOTHING
        return Hello(self._version, held, you.seq, bytes.fromhex(you.hash) or _ZEROS)

    def _choose(self, now: int) -> Tail | None:
        """Find the next stretch to ask for; the last few events are better had by a tail."""
        found = self._fetching.choose(now)
        if found is None:
            return None
        if not self._shows(found.author, 1):
            found.began = found.at = coarse(found.at)
            self._fetching.asked = found
            return None
        mine, theirs = self._holdings.tip(found.author), self._fetching.theirs[found.author]
        if wants.fits_tail(mine, theirs) and self._telling.talks.first_try(found.author, theirs):
            tail = self._telling.say(found.author, mine)
            if tail is not None:
                return tail
        self._fetching.asked = found
        return None

    def _serve(self, pull: Pull) -> Batch:
        """What was asked for, as far as it counts: nothing at all of somebody not admitted."""
        author = pull.author.hex()
        reach = last_admitted(self._shows, author, MAX_INT)
        if reach <= pull.after:
            nothing = messages.pack(())
            return Batch(
                author=pull.author, after=pull.after, last=pull.after, more=False, events=nothing
            )
        page = self._archive.page(author, pull.after, messages.BATCH_EVENTS, messages.BATCH_BYTES)
        last, more, envelopes = page.last, page.more, messages.bounded(page.envelopes)
        if last > reach:
            last, more = reach, False
            envelopes = tuple(e for e in envelopes if messages.place_of(e[1]).seq <= reach)
        self.tally.events_out += len(envelopes)
        return Batch(pull.author, pull.after, last, more, messages.pack(envelopes))
