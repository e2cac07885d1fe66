"""What tools ask of a model, each as its own library asks it; every call raises where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import anthropic
import ollama
import openai

TOKENS = 12
LONG = 6000  # tokens of an answer that is to be disturbed
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
HELLO: list[Any] = [{"role": "user", "content": "hello"}]
OPENAI_TOOL: Any = {
    "type": "function",
    "function": {"name": "look", "description": "Look", "parameters": NO_ARGUMENTS},
}
RESPONSES_TOOL: Any = {
    "type": "function",
    "name": "look",
    "description": "Look",
    "parameters": NO_ARGUMENTS,
    "strict": False,
}
ANTHROPIC_TOOL: Any = {"name": "look", "description": "Look", "input_schema": NO_ARGUMENTS}
Call = tuple[str, Callable[[], object]]


class Clients:
    """The real libraries, at one address."""

    def __init__(
        self,
        address: str,
        model: str,
        *,
        tools: str = "",
        vectors: str = "",
        timeout_s: float = 170,
    ) -> None:
        """`tools`: a model that calls one whenever it may; `vectors`: one for embeddings."""
        self.address, self.model, self.tools, self.vectors = address, model, tools, vectors
        self.openai = openai.OpenAI(
            base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=timeout_s
        )
        self.anthropic = anthropic.Anthropic(
            base_url=address, api_key="none", max_retries=0, timeout=timeout_s
        )
        self.ollama = ollama.Client(host=address, timeout=timeout_s)

    def all(self) -> list[Call]:
        """Every way to ask that is known to be used."""
        return [*self._openai(), *self._responses(), *self._anthropic(), *self._ollama()]

    # OpenAI

    def _openai(self) -> list[Call]:
        return [
            ("openai models.list", lambda: _has(one.id for one in self.openai.models.list())),
            ("openai models.retrieve", lambda: self.openai.models.retrieve(self.model).id),
            ("openai chat", self._chat),
            ("openai chat, stream", lambda: self._chat_stream(usage=False)),
            ("openai chat, stream with usage", lambda: self._chat_stream(usage=True)),
            ("openai chat, tool forced", self._chat_tool),
            ("openai chat, tool forced, stream", self._chat_tool_stream),
            ("openai completions", lambda: self._completion(stream=False)),
            ("openai completions, stream", lambda: self._completion(stream=True)),
            ("openai embeddings", self._embed),
        ]

    def _create(self, **more: Any) -> Any:
        return self.openai.chat.completions.create(
            **({"model": self.model, "messages": HELLO, "max_tokens": TOKENS} | more)
        )

    def _chat(self) -> str:
        said = self._create()
        assert said.choices[0].finish_reason in ("length", "stop"), said
        assert said.usage.completion_tokens > 0, said
        return f"{said.usage.completion_tokens} tokens"

    def _chat_stream(self, *, usage: bool) -> str:
        options = {"stream_options": {"include_usage": True}} if usage else {}
        chunks = list(self._create(stream=True, **options))
        used = [chunk.usage for chunk in chunks if chunk.usage]
        assert bool(used) is usage, f"usage: {used}"
        finish = [one.finish_reason for chunk in chunks for one in chunk.choices]
        assert finish[-1] in ("length", "stop"), finish
        return f"{len(chunks)} chunks"

    def _forced(self) -> dict[str, Any]:
        return {
            "model": self.tools,
            "tools": [OPENAI_TOOL],
            "tool_choice": "required",
            "max_tokens": 80,
        }

    def _chat_tool(self) -> str:
        said = self._create(**self._forced())
        (call,) = said.choices[0].message.tool_calls
        assert said.choices[0].finish_reason == "tool_calls", said
        return f"{call.function.name}({call.function.arguments})"

    def _chat_tool_stream(self) -> str:
        more = self._forced()
        pieces = [chunk.choices[0] for chunk in self._create(stream=True, **more) if chunk.choices]
        names = [
            call.function.name
            for one in pieces
            for call in one.delta.tool_calls or ()
            if call.function.name
        ]
        assert pieces[-1].finish_reason == "tool_calls", pieces[-1]
        assert names == ["look"], names
        return names[0]

    def _completion(self, *, stream: bool) -> str:
        said = self.openai.completions.create(
            model=self.model, prompt="once", max_tokens=TOKENS, stream=stream
        )
        if not stream:
            assert said.choices[0].finish_reason in ("length", "stop"), said
            return f"{said.usage.completion_tokens} tokens"
        chunks = list(said)
        assert chunks[-1].choices[0].finish_reason in ("length", "stop"), chunks[-1]
        return f"{len(chunks)} chunks"

    def _embed(self) -> str:
        said = self.openai.embeddings.create(model=self.vectors, input=["one", "two"])
        assert len(said.data) == 2, said
        return f"{len(said.data[1].embedding)} numbers"

    # OpenAI's Responses

    def _responses(self) -> list[Call]:
        return [
            ("openai responses", self._response),
            ("openai responses, stream=True", self._response_events),
            ("openai responses.stream helper", self._response_helper),
            ("openai responses, tool forced, helper", self._response_tool),
        ]

    def _response(self) -> str:
        said = self.openai.responses.create(
            model=self.model, input="hello", max_output_tokens=TOKENS
        )
        assert said.usage.output_tokens > 0, said
        return said.status

    def _response_events(self) -> str:
        kinds = [
            event.type
            for event in self.openai.responses.create(
                model=self.model, input="hello", max_output_tokens=TOKENS, stream=True
            )
        ]
        assert kinds[0] == "response.created", kinds
        assert kinds[-1] in ("response.completed", "response.incomplete"), kinds
        return f"{len(kinds)} events"

    def _response_helper(self) -> str:
        with self.openai.responses.stream(
            model=self.model, input="hello", max_output_tokens=TOKENS
        ) as stream:
            kinds = [event.type for event in stream]
        assert "response.output_text.delta" in kinds, kinds
        return kinds[-1]

    def _response_tool(self) -> str:
        with self.openai.responses.stream(
            model=self.tools,
            input="hello",
            max_output_tokens=80,
            tools=[RESPONSES_TOOL],
            tool_choice="required",
        ) as stream:
            for _ in stream:
                pass
            said = stream.get_final_response()
        (call,) = [one for one in said.output if one.type == "function_call"]
        return f"{call.name}({call.arguments})"

    # Anthropic

    def _anthropic(self) -> list[Call]:
        return [
            ("anthropic messages.create", self._message),
            ("anthropic messages.stream", self._message_stream),
            ("anthropic count_tokens", self._count),
            ("anthropic messages, tool forced", self._message_tool),
            ("anthropic stream, tool forced", self._message_tool_stream),
        ]

    def _asked(self, **more: Any) -> dict[str, Any]:
        return {"model": self.model, "messages": HELLO, "max_tokens": TOKENS} | more

    def _message(self) -> str:
        said = self.anthropic.messages.create(**self._asked())
        assert said.stop_reason in ("max_tokens", "end_turn"), said
        assert said.usage.input_tokens > 0, said
        return f"{said.usage.output_tokens} tokens"

    def _message_stream(self) -> str:
        with self.anthropic.messages.stream(**self._asked()) as stream:
            pieces = len(list(stream.text_stream))
            said = stream.get_final_message()
        assert said.stop_reason in ("max_tokens", "end_turn"), said
        return f"{pieces} pieces"

    def _count(self) -> str:
        said = self.anthropic.messages.count_tokens(model=self.model, messages=HELLO)
        assert said.input_tokens > 0, said
        return f"{said.input_tokens} tokens"

    def _message_tool(self) -> str:
        return _used(self.anthropic.messages.create(**self._tool()))

    def _message_tool_stream(self) -> str:
        with self.anthropic.messages.stream(**self._tool()) as stream:
            return _used(stream.get_final_message())

    def _tool(self) -> dict[str, Any]:
        more = {"tools": [ANTHROPIC_TOOL], "tool_choice": {"type": "any"}}
        return self._asked(model=self.tools, max_tokens=80, **more)

    # Ollama

    def _ollama(self) -> list[Call]:
        ask, options = self.ollama, {"num_predict": TOKENS}
        model = self.model
        return [
            ("ollama list", lambda: _has(one.model for one in ask.list().models)),
            ("ollama ps", lambda: _has(one.model for one in ask.ps().models)),
            ("ollama show", lambda: ask.show(model).capabilities),
            ("ollama chat", lambda: _done([ask.chat(model, HELLO, options=options)])),
            (
                "ollama chat, stream",
                lambda: _done(ask.chat(model, HELLO, stream=True, options=options)),
            ),
            ("ollama generate", lambda: _done([ask.generate(model, "once", options=options)])),
            (
                "ollama generate, stream",
                lambda: _done(ask.generate(model, "once", stream=True, options=options)),
            ),
            ("ollama chat, tool", self._ollama_tool),
            ("ollama embed", lambda: len(ask.embed(self.vectors, ["one", "two"]).embeddings)),
            ("ollama embeddings", lambda: len(ask.embeddings(self.vectors, "one").embedding)),
        ]

    def _ollama_tool(self) -> str:
        said = self.ollama.chat(self.tools, HELLO, tools=[OPENAI_TOOL])
        (call,) = said.message.tool_calls or ()
        return f"{call.function.name}({dict(call.function.arguments)})"

    # Long answers, to be disturbed: each yields something for every piece it gets

    def streams(self, prompt: str) -> dict[str, Callable[[], Iterator[object]]]:
        """By client; temperature 0, so that the same prompt is answered at the same length."""
        messages = [{"role": "user", "content": prompt}]
        sure = {"temperature": 0}
        return {
            "openai chat": lambda: iter(
                self._create(messages=messages, max_tokens=LONG, stream=True, **sure)
            ),
            "openai responses": lambda: iter(
                self.openai.responses.create(
                    model=self.model, input=prompt, max_output_tokens=LONG, stream=True, **sure
                )
            ),
            "anthropic": lambda: self._texts(messages),
            "ollama chat": lambda: iter(
                self.ollama.chat(
                    self.model, messages, stream=True, options={"num_predict": LONG, **sure}
                )
            ),
        }

    def _texts(self, messages: list[Any]) -> Iterator[object]:
        more = {"extra_body": {"temperature": 0}}
        with self.anthropic.messages.stream(
            model=self.model, messages=messages, max_tokens=LONG, **more
        ) as stream:
            yield from stream.text_stream


def langchain(address: str, model: str) -> list[Call]:
    """LangChain's client of OpenAI's API."""
    from langchain_openai import ChatOpenAI

    made = ChatOpenAI(base_url=f"{address}/v1", api_key="none", model=model, max_tokens=TOKENS)
    return [
        ("langchain invoke", lambda: made.invoke("hello").response_metadata["finish_reason"]),
        ("langchain stream", lambda: f"{len(list(made.stream('hello')))} chunks"),
    ]


def _has(names: Iterable[Any]) -> str:
    found = sorted(map(str, names))
    assert found, "nothing is listed"
    return ", ".join(found)


def _done(said: Iterable[Any]) -> str:
    chunks = list(said)
    assert chunks, "nothing came"
    last, count = chunks[-1], len(chunks)
    assert last.done, last
    assert last.done_reason in ("length", "stop"), last
    return f"{count} chunks, {last.eval_count} tokens"


def _used(said: Any) -> str:
    (call,) = [one for one in said.content if one.type == "tool_use"]
    assert said.stop_reason == "tool_use", said
    return f"{call.name}({call.input})"
