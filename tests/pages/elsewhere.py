"""Lines of pages that no page's test types, each with its reason; ours are parsed all the same.

`tests/pages/test_documents.py` keeps this list: a line that no page has, or that a test does type,
is a mistake here.
"""

from typing import Final

TWO = "needs two machines: the same command is typed for how-to/lan-and-tailnet.md"
CLOUD = "needs a cloud's account: typed for how-to/clouds.md, against a stand-in"
SERVICE = "needs a systemd: typed for how-to/operations.md"
INSTALL = "installs a program: tests/install builds, installs and runs it"
LATE = "asks for recovery words: tests/end_to_end/test_people.py types them"
RESET = "takes this peer's key: tests/mesh/test_loopback.py"

ELSEWHERE: Final[dict[str, dict[str, str]]] = {
    "README.md": {
        "scripts/demo": "the demonstration is a lane of its own",
        "scripts/test": "it is what runs this test",
        "pipx install '.[llamacpp]'": INSTALL,
        "fleet invite": TWO,
        "fleet join CODE": TWO,
        'fleet run ./model.gguf --on rig --prompt "Why is the sky blue?"': TWO,
    },
    "docs/tutorial.md": {"pipx install '.[llamacpp]'": INSTALL},
    "docs/tasks.md": {
        "fleet models pull qwen3-8b --from rig": "needs two machines: tests/mesh/test_models.py",
        "fleet adopt ID": "needs a home that is gone: tests/pages/test_several.py",
        "fleet budget grant PEER 10": "needs two machines: typed for budgets.md",
        "fleet peers role NAME admin": TWO,
        "fleet peers remove NAME": TWO,
        "fleet recover --remove NAME": LATE,
        "fleet identity reset": RESET,
        "fleet doctor --fix": "asks for each mend: tests/cli/test_fixing.py",
        "fleet service install --now": SERVICE,
        "fleet service status": SERVICE,
        "fleet backup FILE": SERVICE,
        "fleet backup - --without-key": SERVICE,
        "fleet restore FILE": SERVICE,
        "fleet clouds login vastai": CLOUD,
        "fleet clouds take vastai": CLOUD,
        "fleet clouds logout vastai": CLOUD,
        "fleet rent --gpu 24GB.. --for 2h": CLOUD,
        "fleet run --rent 24GB.. -- COMMAND": CLOUD,
        "fleet return ID": CLOUD,
        "fleet orphans": CLOUD,
    },
    "docs/how-to/dashboard.md": {
        "ssh -L 7420:127.0.0.1:7420 rig": "needs another machine with sshd",
    },
}
