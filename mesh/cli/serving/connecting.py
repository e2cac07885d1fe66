"""What each tool wants to be told to use this machine's address, and how that joins a file that is
already there. Pure: nothing is read or written here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mesh.edge.disk import parse_json

# Clients' libraries refuse an empty key, and the address reads none where none is set.
NO_KEY: Final = "none"
KEY_VARIABLE: Final = "FLEET_API_KEY"
PROVIDER: Final = "fleet"


class NotUnderstood(ValueError):
    """A file that is there cannot be joined without the risk of losing something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where models answer, as a tool is told. `key`: "" where none is asked for."""

    url: str
    model: str
    key: str = ""

    @property
    def v1(self) -> str:
        """The base of OpenAI's routes."""
        return f"{self.url}/v1"

    @property
    def any_key(self) -> str:
        """A key that is never empty."""
        return self.key or NO_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A tool's file. `path`: below the home folder. `content`: an object joins a JSON file that
    is there; a text is the whole of a new file, and a person adds it to one that is there."""

    path: str
    content: Mapping[str, Any] | str
    moved_by: str = ""  # the variable that says the tool's files lie elsewhere

    @property
    def text(self) -> str:
        """The content as a new file holds it."""
        return self.content if isinstance(self.content, str) else _shown(self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one tool needs. `environment`: variables that do the same as the file, or are all that
    there is; with `both`, they are needed beside it; `words`: what a person does besides."""

    title: str
    files: Sequence[File] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    words: Sequence[str] = ()
    both: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A file with ours in it. `replaced`: the settings that had another value."""

    text: str
    replaced: Sequence[str] = ()


def settings(app: str, to: Address) -> Settings:
    """What `app`, one of APPS, needs."""
    return APPS[app](to)


def joined(there: str | None, file: File) -> Joined | None:
    """The file as it should be; None where a person has to add the text. NotUnderstood where it
    is no JSON object, or holds something else where ours belongs."""
    if there is None or not there.strip():
        return Joined(text=file.text)
    if isinstance(file.content, str):
        return Joined(text=there) if file.content.strip() in there else None
    replaced: list[str] = []
    known = _parsed(there)
    whole = _merged(known, file.content, "", replaced)
    return Joined(text=there if whole == known else _shown(whole), replaced=replaced)


def _parsed(text: str) -> dict[str, Any]:
    """A JSON object of which writing it anew loses nothing."""
    try:
        known = parse_json(text)
        twice = _twice(text)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(f"is no plain JSON ({error})") from error
    if not isinstance(known, dict):
        raise NotUnderstood("holds no JSON object")
    if twice:
        raise NotUnderstood(f"says {twice[0]!r} twice")
    return known


def _twice(text: str) -> list[str]:
    """Names that one object holds twice: only the last of them would be kept."""
    found: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known = dict(pairs)
        if len(known) < len(pairs):
            found.extend(name for name, times in Counter(n for n, _ in pairs).items() if times > 1)
        return known

    json.loads(text, object_pairs_hook=look)
    return found


def _merged(
    known: Mapping[str, Any], ours: Mapping[str, Any], above: str, replaced: list[str]
) -> dict[str, Any]:
    """What is known with ours in it, in its own order."""
    whole = dict(known)
    for name, value in ours.items():
        there, path = known.get(name), f"{above}{name}"
        if isinstance(value, Mapping):
            if there is not None and not isinstance(there, dict):
                raise NotUnderstood(f"holds no object at {path!r}")
            whole[name] = _merged(there or {}, value, f"{path}.", replaced)
            continue
        if name in known and there != value:
            replaced.append(path)
        whole[name] = value
    return whole


def _shown(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _quoted(text: str) -> str:
    """A text as TOML and YAML both read it."""
    return json.dumps(text, ensure_ascii=False)


# The tools.


def _open_webui(to: Address) -> Settings:
    return Settings(
        title="Open WebUI",
        environment={"OPENAI_API_BASE_URL": to.v1, "OPENAI_API_KEY": to.any_key},
        words=(
            "Open WebUI reads these at its first start; later, add the address in its own settings "
            "under Admin Panel, Settings, Connections.",
            "In a container 127.0.0.1 is the container itself: let it use the host's network.",
        ),
    )


def _continue(to: Address) -> Settings:
    lines = (
        "name: Fleet",
        "version: 0.0.1",
        "schema: v1",
        "models:",
        f"  - name: {_quoted(to.model)}",
        "    provider: openai",
        f"    model: {_quoted(to.model)}",
        f"    apiBase: {_quoted(to.v1)}",
        f"    apiKey: {_quoted(to.any_key)}",
    )
    return Settings(
        title="Continue", files=(File(path=".continue/config.yaml", content=_lines(lines)),)
    )


def _cline(to: Address) -> Settings:
    return Settings(
        title="Cline",
        words=(
            "In Cline's settings choose the API provider OpenAI Compatible, and enter:",
            f"Base URL: {to.v1}",
            f"API Key: {to.any_key}",
            f"Model ID: {to.model}",
        ),
    )


def _aider(to: Address) -> Settings:
    lines = (
        f"model: {_quoted(f'openai/{to.model}')}",
        f"openai-api-base: {_quoted(to.v1)}",
        f"openai-api-key: {_quoted(to.any_key)}",
    )
    return Settings(
        title="aider",
        files=(File(path=".aider.conf.yml", content=_lines(lines)),),
        environment={"OPENAI_API_BASE": to.v1, "OPENAI_API_KEY": to.any_key},
        words=(f"With the variables alone: aider --model openai/{to.model}",),
    )


def _claude_code(to: Address) -> Settings:
    models = ("ANTHROPIC_MODEL", *(f"ANTHROPIC_DEFAULT_{size}_MODEL" for size in SIZES))
    told = {"ANTHROPIC_BASE_URL": to.url, "ANTHROPIC_AUTH_TOKEN": to.any_key}
    told |= dict.fromkeys(models, to.model)
    file = File(path=".claude/settings.json", content={"env": told}, moved_by="CLAUDE_CONFIG_DIR")
    return Settings(title="Claude Code", files=(file,), environment=told)


SIZES: Final = ("OPUS", "SONNET", "HAIKU")  # it asks for a small one in the background


def _codex(to: Address) -> Settings:
    key = (f"env_key = {_quoted(KEY_VARIABLE)}",) if to.key else ()
    lines = (
        f"model = {_quoted(to.model)}",
        f"model_provider = {_quoted(PROVIDER)}",
        "",
        f"[model_providers.{PROVIDER}]",
        'name = "Fleet"',
        f"base_url = {_quoted(to.v1)}",
        'wire_api = "responses"',
        *key,
    )
    file = File(path=".codex/config.toml", content=_lines(lines), moved_by="CODEX_HOME")
    return Settings(
        title="Codex",
        files=(file,),
        environment={KEY_VARIABLE: to.key} if to.key else {},
        both=True,
        words=("The first two lines belong above every [table] of the file.",),
    )


def _opencode(to: Address) -> Settings:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Fleet",
        "options": {"baseURL": to.v1, "apiKey": to.any_key},
        "models": {to.model: {"name": to.model}},
    }
    content = {
        "$schema": "https://opencode.ai/config.json",
        "model": f"{PROVIDER}/{to.model}",
        "provider": {PROVIDER: provider},
    }
    path = ".config/opencode/opencode.json"
    file = File(path=path, content=content, moved_by="XDG_CONFIG_HOME")
    return Settings(title="opencode", files=(file,))


def _langchain(to: Address) -> Settings:
    said = f"model={_quoted(to.model)}, base_url={_quoted(to.v1)}, api_key={_quoted(to.any_key)}"
    return Settings(
        title="LangChain",
        environment={"OPENAI_API_BASE": to.v1, "OPENAI_API_KEY": to.any_key},
        words=(f"Or in the program, from langchain_openai: ChatOpenAI({said})",),
    )


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


APPS: Final[Mapping[str, Callable[[Address], Settings]]] = {
    "aider": _aider,
    "claude-code": _claude_code,
    "cline": _cline,
    "codex": _codex,
    "continue": _continue,
    "langchain": _langchain,
    "open-webui": _open_webui,
    "opencode": _opencode,
}
# Open WebUI lists the models itself.
NAMES_NO_MODEL: Final = frozenset({"open-webui"})
