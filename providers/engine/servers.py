"""The engines a job can be run by, by the name a plan gives them. Pure."""

from typing import Final

from providers.engine import llama_server, mlx, ollama, tgi, vllm
from providers.engine.setup import Engine

SERVERS: Final[dict[str, Engine]] = {
    one.name: one
    for one in (llama_server.ENGINE, vllm.ENGINE, mlx.ENGINE, ollama.ENGINE, tgi.ENGINE)
}
