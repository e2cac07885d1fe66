"""Which links a peer holds: members', and a few quiet ones with keys that were put out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from mesh.edge.transport import links as module
from mesh.edge.transport.link import Greeting, Link
from mesh.edge.transport.links import MAX_LINKS, MAX_QUIET, Links
from tests.edge.transport.peers import NOW, until

ME = bytes(32)
GREETING = Greeting(0, 2)


class Socket:
    """One that says nothing until it is closed."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def receive(self) -> object:
        await self.closed.wait()
        return SimpleNamespace(type=None, data=None)

    async def send_bytes(self, data: bytes) -> None: ...

    async def send_str(self, data: str) -> None: ...

    async def close(self) -> object:
        self.closed.set()
        return None


class Table:
    """Links, who is a member and who was, and what each link that ran was served as."""

    def __init__(self) -> None:
        self.members = set[bytes]()
        self.former = set[bytes]()
        self.served: list[tuple[bytes, bool]] = []
        self.tasks: list[asyncio.Task[bool]] = []
        self.links = Links(
            ME,
            lambda key: key in self.members,
            self.serve,
            lambda: NOW,
            lambda key: key in self.members | self.former,
        )

    async def serve(self, link: Link) -> None:
        self.served.append((link.peer_key, link.quiet))
        await link.receive()

    async def hold(self, key: bytes, *, outbound: bool = False) -> "asyncio.Task[bool]":
        """Hold a link for as long as it lasts; returns once it runs, or was refused."""
        link = Link(Socket(), key, "", GREETING, outbound=outbound)
        task = asyncio.create_task(self.links.hold(link))
        self.tasks.append(task)
        await until(lambda: task.done() or self.links.get(key) is link, "the link or its end")
        return task

    def held(self) -> list[bytes]:
        return [link.peer_key for link in self.links.all()]


@asynccontextmanager
async def table() -> AsyncIterator[Table]:
    made = Table()
    yield made
    await made.links.close()
    await asyncio.gather(*made.tasks)


def keys(first: int, count: int) -> list[bytes]:
    return [bytes([number]) * 32 for number in range(first, first + count)]


async def test_of_keys_that_were_put_out_a_few_are_heard_and_the_oldest_makes_way() -> None:
    async with table() as one:
        former = keys(1, MAX_QUIET + 2)
        one.former |= {*former}
        for key in former:
            await one.hold(key)
        assert one.held() == former[2:]
        assert one.served == [(key, True) for key in former]
        assert one.links.came_from == {}  # no room is kept for where they dialled from


async def test_links_of_members_and_of_keys_that_were_put_out_do_not_compete() -> None:
    async with table() as one:
        members, former = keys(1, MAX_LINKS + 1), keys(100, MAX_QUIET + 1)
        one.members |= {*members}
        one.former |= {*former}
        for key in former[:-1]:
            await one.hold(key)
        for key in members:
            await one.hold(key)
        assert [key for key in one.held() if key in one.members] == members[:-1]
        await one.hold(former[-1])
        assert [key for key in one.held() if key in one.members] == members[:-1]
        assert [key for key in one.held() if key in one.former] == former[1:]


Move = Callable[[Table, bytes], None]


def put_out(one: Table, key: bytes) -> None:
    one.members.discard(key)
    one.former.add(key)


def come_back(one: Table, key: bytes) -> None:
    one.former.discard(key)
    one.members.add(key)


@pytest.mark.parametrize(("before", "after"), [(come_back, put_out), (put_out, come_back)])
async def test_who_is_put_out_or_comes_back_links_again_in_the_other_way(
    before: Move, after: Move
) -> None:
    async with table() as one:
        (key,) = keys(1, 1)
        before(one, key)
        ended = await one.hold(key)
        await one.links.drop_strangers()
        assert not ended.done()  # nothing changed
        after(one, key)
        await one.links.drop_strangers()
        await until(ended.done, "the end of the link")
        await one.hold(key)
        first, second = [quiet for _, quiet in one.served]
        assert first != second


async def test_a_stranger_has_no_link_of_either_kind() -> None:
    async with table() as one:
        (key,) = keys(1, 1)
        assert (await one.hold(key)).result() is False
        one.former.add(key)
        ended = await one.hold(key)
        one.former.clear()
        await one.links.drop_strangers()
        await until(ended.done, "the end of the link")
        assert one.held() == []


async def test_a_quiet_link_ends_after_a_while_and_is_not_made_again_at_once(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.05)
    async with table() as one:
        member, former = keys(1, 2)
        one.members.add(member)
        one.former.add(former)
        lasts = await one.hold(member)
        ends = await one.hold(former, outbound=True)
        assert await ends is False  # which makes the dialler wait longer each time
        assert not lasts.done()
        assert one.held() == [member]
