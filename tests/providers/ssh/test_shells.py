"""One script runs the same through every login shell; what is no POSIX shell is refused in its own
words."""

import pytest

from providers.ssh.bring.files import pieces_of, put
from providers.ssh.client import NoShell
from tests.providers.ssh.conftest import Reaches
from tests.support.sshd import Sshd, need

NOISE = 'echo "*** welcome to THE LAB ***"; printf "quota 93%%\\r\\n"; echo "warn: x" >&2\n'
# login shell, what `sh` is, files of the home
SHELLS: dict[str, tuple[str, str, dict[str, str]]] = {
    "dash": ("/bin/dash", "/bin/dash", {}),
    "bash": ("/bin/bash", "/bin/bash", {}),
    "noisy": ("/bin/bash", "", {".bashrc": NOISE}),
    "slow": ("/bin/bash", "", {".bashrc": "sleep 0.7\necho loading pyenv...\n"}),
    "eager": ("/bin/bash", "", {".bashrc": "read -r line\n"}),
    "zsh": ("/usr/bin/zsh", "/usr/bin/zsh", {".zshenv": "echo zsh says hi\nsetopt noclobber\n"}),
    "fish": ("/usr/bin/fish", "", {".config/fish/config.fish": "echo hello from fish\n"}),
    "busybox": ("/bin/busybox sh", "/bin/busybox", {}),
}
REFUSING: dict[str, tuple[str, dict[str, str], str]] = {
    "nologin": ("/usr/sbin/nologin", {}, "not available"),
    "leaver": ("/bin/bash", {".bashrc": "echo closed for today; exit 1\n"}, "closed for today"),
}


@pytest.mark.parametrize("name", sorted(SHELLS))
async def test_a_script_comes_back_exactly_whatever_the_shell_says(
    sshd: Sshd, reaches: Reaches, name: str
) -> None:
    need("zsh", "fish", "busybox")
    shell, sh, files = SHELLS[name]
    reach = reaches.to(sshd.account(f"sh-{name}", shell, sh=sh, files=files))
    body = "a  b\n\t'$(x)' \\n é\n\n"
    answer = await reach.run(f"cat <<'END'\n{body}END\nexit 7", 20)
    assert (answer.status, answer.body.decode()) == (7, body)
    assert (await reach.run("true", 20)).body == b""


@pytest.mark.parametrize("name", sorted(SHELLS))
async def test_bytes_arrive_exactly_whatever_the_shell_says(
    sshd: Sshd, reaches: Reaches, name: str
) -> None:
    shell, sh, files = SHELLS[name]
    reach = reaches.to(sshd.account(f"fed-{name}", shell, sh=sh, files=files))
    data = bytes(range(256)) * 4096 + b"@@\n\0\r\n"
    await put(reach, "bin", "data-0", data)
    (path,) = sshd.home(f"fed-{name}").glob(".local/state/fleet-ledger/*/bin/*")
    assert (path.name, path.read_bytes()) == ("data-0", data)
    early = await reach.feed("exit 5", pieces_of(data * 8), 20)  # a script that reads nothing
    assert (early.status, early.body) == (5, b"")


@pytest.mark.parametrize("name", sorted(REFUSING))
async def test_an_account_without_a_shell_is_refused_in_its_own_words(
    sshd: Sshd, reaches: Reaches, name: str
) -> None:
    shell, files, words = REFUSING[name]
    with pytest.raises(NoShell, match=f"no POSIX shell: .*{words}"):
        await reaches.to(sshd.account(f"no-{name}", shell, files=files)).run("true", 10)
