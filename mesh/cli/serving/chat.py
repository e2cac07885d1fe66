"""`fleet chat`: a conversation with a model of the fleet; nothing of it is kept."""

import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from typing import Final, final

import click

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon
from mesh.cli.exits import INTERRUPTED, USAGE, Stop, line_of, stop
from mesh.cli.options import TOKENS
from mesh.cli.output import emit_json, json_option, say
from mesh.cli.serving.asking import Answer, Wish
from mesh.cli.serving.chatting import Facts, Message, as_json, stats, summary
from mesh.cli.serving.choosing import address, chosen, daemon_for
from mesh.cli.serving.painting import tame
from mesh.cli.serving.screen import Screen

PROMPT: Final = ">>> "
HELP: Final = (
    "/stats       tokens, speed and cost of this conversation",
    "/clear       forget what was said",
    "/model NAME  go on with another model",
    "/exit        leave; so do Ctrl-D and, at the prompt, Ctrl-C",
    "Ctrl-C stops an answer.",
)
LEAVES: Final = frozenset({"/exit", "/quit", "/bye"})  # other tools' words, too


@click.command()
@click.argument("model", required=False)
@click.option("-p", "--prompt", help="ask this alone, print the answer and end")
@click.option("--system", help="what the model is told before the conversation")
@click.option("--tokens", type=TOKENS, help="the most an answer may have")
@json_option
def chat(
    model: str | None, *, prompt: str | None, system: str | None, tokens: int | None, output: str
) -> None:
    """Talk with MODEL: one that is served, a name, or a path to a GGUF.

    A model that nobody serves is loaded first, leaves after 10 minutes without a question and comes
    back with the next one, until fleet serve MODEL --end; where no daemon runs, one is started.
    Text on standard input, or -p, is asked alone: the answer goes to standard output, all else to
    standard error.
    """
    from mesh.config import fleet_home

    text = _alone(prompt)
    if text is None and output == "json":
        raise click.UsageError("-o json is for one answer; say -p TEXT")
    daemon = daemon_for(fleet_home(), model)
    talk = Talk(daemon, Screen(quiet=output == "json"), system=system, tokens=tokens)
    talk.takes(model)
    if text is None:
        converse(talk)
        return
    facts = talk.asks(text)
    if output == "json":
        emit_json(as_json(facts, talk.screen.answer, talk.screen.thoughts))


def _alone(prompt: str | None) -> str | None:
    """The one question, of -p or of a pipe; None where a person sits there."""
    if prompt is None:
        if sys.stdin is not None and sys.stdin.isatty():
            return None
        prompt = "" if sys.stdin is None else sys.stdin.buffer.read().decode(errors="replace")
    return prompt if prompt.strip() else stop(USAGE, "the question is empty", "fleet chat -p TEXT")


@final
class Talk:
    """A conversation: with which model, and what was said."""

    def __init__(
        self, daemon: Daemon, screen: Screen, *, system: str | None, tokens: int | None
    ) -> None:
        self._daemon: Final = daemon
        self._url: Final = address(daemon)
        self._system: Final[list[Message]] = (
            [{"role": "system", "content": system}] if system else []
        )
        self._tokens: Final = tokens
        self.screen: Final = screen
        self.model = ""
        self.said: list[Message] = []
        self.facts: list[Facts] = []

    def takes(self, model: str | None) -> None:
        """Go on with this model; errors where there is none."""
        self.model, ready = chosen(self._daemon, self._url, model)
        if not ready:
            self.screen.notes(f"{self.model} is loading…")

    def clears(self) -> None:
        """Forget what was said."""
        self.said.clear()

    def asks(self, text: str) -> Facts:
        """Ask, and show the answer; what was not answered was not asked."""
        messages = [*self.said, {"role": "user", "content": text}]
        self.screen.begin()
        with closing(Answer(self._url, self._wish(messages))) as answer:
            try:
                for one in answer.pieces():
                    self.screen.shows(one)
            except KeyboardInterrupt:  # what was read before it was stopped may be referred to
                self._remember(messages)
                raise
            finally:
                self.screen.ends()
            facts = answer.facts()
        self._remember(messages)
        self.facts.append(facts)
        self.screen.tells(summary(facts))
        return facts

    def _wish(self, messages: Sequence[Message]) -> Wish:
        return Wish(
            model=self.model, messages=[*self._system, *messages], tokens=self._tokens or None
        )

    def _remember(self, messages: Sequence[Message]) -> None:
        if self.screen.answer:
            self.said = [*messages, {"role": "assistant", "content": self.screen.answer}]


def converse(talk: Talk) -> None:
    """Questions and answers until the person leaves."""
    with suppress(ImportError):
        import readline  # noqa: F401  arrows and history while it lasts; Windows has its own

    say(f"{talk.model}: /help shows what else there is", err=True)
    while True:
        try:
            text = input(PROMPT).strip()
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            stop(INTERRUPTED)
        if text in LEAVES:
            return
        with_one_line(talk, text)


def with_one_line(talk: Talk, text: str) -> None:
    """One question or command; what goes wrong is a line, and the conversation goes on."""
    try:
        if text.startswith("/"):
            commanded(talk, text)
        elif text:
            talk.asks(text)
    except KeyboardInterrupt:
        talk.screen.tells("stopped")
    except (RequestError, Stop) as error:
        say(line_of(error), err=True)


def commanded(talk: Talk, text: str) -> None:
    """A word that is for us and not for the model."""
    word, _, rest = text.partition(" ")
    if word == "/stats":
        _tell(stats(talk.facts))
    elif word == "/clear":
        talk.clears()
        _tell(["what was said is forgotten"])
    elif word == "/model":
        talk.takes(rest.strip() or None)
        _tell([f"with {talk.model} from here on"])
    else:
        known = word in ("/help", "/?")
        _tell(HELP if known else [f"there is no {tame(word)}", *HELP])


def _tell(lines: Sequence[str]) -> None:
    for line in lines:
        say(line, err=True)
