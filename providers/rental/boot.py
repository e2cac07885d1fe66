"""What a rented machine runs first: our host key, who may log in, its dead-man, and sshd.

POSIX sh, for any Debian-like or Alpine image, as root; run again after a restart it does no harm.
It ends with 1 where our sshd does not run. The dead-man counts by the machine's own uptime, so that
no wrong clock ends or spares it. It begins before anything that may hang, and ends the machine
`lease` after the last contact, or at the end of its life, by one call that it repeats each minute,
with what is there by then: curl or wget. A probe of ours runs CONTACT, which notes the uptime of
that moment.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from shlex import quote
from typing import Final, final

from providers.rental.contract import Order

BEGUN_FILE: Final = "/tmp/fleet-begun"  # the first start, also of a machine that starts again
CONTACT_FILE: Final = "/tmp/fleet-contact"
CONTACT: Final = f"cut -d. -f1 /proc/uptime > {CONTACT_FILE}"
HOST_KEY: Final = "/etc/ssh/fleet_host_key"
# Our sshd writes its number there once it listens, and not where its port is taken: it has gone to
# the background by then, and ended well.
PID_FILE: Final = "/run/fleet-sshd.pid"
PORT: Final = 22


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SelfEnd:
    """The call by which a machine ends itself, with its own key; shell words may name variables of
    its environment (`$CONTAINER_ID`)."""

    method: str
    url: str
    header: str  # "Authorization: Bearer $CONTAINER_API_KEY"
    body: str = ""


def script(order: Order, end: SelfEnd | None, *, user: str = "root") -> str:
    """The script; without `end` there is no dead-man. `user`: who logs in, an account that is
    there already."""
    parts = [_HEAD, _access(order, user), _note_contact(user)]
    if end is not None:
        parts.append(_dead_man(order, end))
    parts += [_PACKAGES, _SSHD]
    return "\n".join(parts) + "\n"


def one_line(text: str) -> str:
    """The script as one shell command, for fields that take no lines."""
    packed = base64.b64encode(text.encode()).decode()
    return f"echo {packed} | base64 -d > /tmp/fleet-boot.sh; sh /tmp/fleet-boot.sh"


_HEAD: Final = "#!/bin/sh\numask 077"


def _access(order: Order, user: str) -> str:
    key = base64.b64encode(order.host_private_key.encode()).decode()
    name = quote(user)
    home = "H=/root" if user == "root" else f"H=$(getent passwd {name} | cut -d: -f6)"
    own = "" if user == "root" else f'chown -R {name}: "$H/.ssh"\n'
    return (
        f"{home}\n"
        'mkdir -p "$H/.ssh" /etc/ssh /run/sshd\n'
        f"K={quote(order.user_public_key)}\n"
        'grep -qxF "$K" "$H/.ssh/authorized_keys" 2>/dev/null ||'
        ' echo "$K" >> "$H/.ssh/authorized_keys"\n'
        f"{own}"
        f"echo {key} | base64 -d > {HOST_KEY}"
    )


# What an image may lack of what is needed here: the way in, the dead-man's call (busybox's wget
# knows no DELETE), and what holds an engine. A mirror may say nothing for ever, and an sshd that is
# there already must be up within its two minutes all the same.
_PACKAGES: Final = """\
P=
for n in sshd:openssh-server curl:curl python3:python3; do
 command -v ${n%:*} >/dev/null || P="$P ${n#*:}"
done
export DEBIAN_FRONTEND=noninteractive
T=$(command -v timeout)
[ -z "$P" ] || (${T:+$T 90} apt-get update && ${T:+$T 300} apt-get install -y $P) </dev/null ||\
 apk add $P"""
# A provider's own sshd is ended, by pkill or, in slim images, without: it shows a host key that
# nobody here can know beforehand. Where systemd runs, sshd is its service and comes back with the
# machine: so it is told our key instead.
_CONFIG: Final = "/etc/ssh/sshd_config"
# Neither by itself keeps passwords out: PAM asks for them in a dialogue, too.
_NO_PASSWORDS: Final = ("PasswordAuthentication", "KbdInteractiveAuthentication")
_DELETE: Final = " ".join(f"-e '/^ *{name} /d'" for name in ("HostKey", *_NO_PASSWORDS))
_INSERT: Final = "\\n".join(f"{name} no" for name in _NO_PASSWORDS)
_SSHD: Final = f"""\
if [ -d /run/systemd/system ]; then
 sed -i {_DELETE} {_CONFIG}
 sed -i '1i HostKey {HOST_KEY}\\n{_INSERT}' {_CONFIG}
 systemctl restart ssh || systemctl restart sshd
else
 if command -v pkill >/dev/null; then pkill -x sshd; else
  for p in /proc/[0-9]*; do
   read -r c <$p/comm && [ "$c" = sshd ] && kill ${{p#/proc/}}
  done 2>/dev/null
 fi
 F={PID_FILE}; : >$F; sleep 1
 $(command -v sshd || echo /usr/sbin/sshd) -p {PORT} -h {HOST_KEY} -o HostKey={HOST_KEY} \
-o PidFile=$F -o PermitRootLogin=prohibit-password \
{" ".join(f"-o {name}=no" for name in _NO_PASSWORDS)}
 for i in 1 2 3 4 5 6 7 8 9; do kill -0 $(cat $F) && break; sleep 1; done 2>/dev/null
 kill -0 $(cat $F) 2>/dev/null || {{
  echo "fleet: our sshd does not run on port {PORT}" >&2; false
 }}
fi"""


def _note_contact(user: str) -> str:
    """The first contact; whoever logs in writes the next ones."""
    own = "" if user == "root" else f"\nchown {quote(user)}: {CONTACT_FILE}"
    return CONTACT + own


def _dead_man(order: Order, end: SelfEnd) -> str:
    life_s, lease_s = order.life_ms // 1000, order.lease_ms // 1000
    curl = f'curl -fsS -m 30 -X {end.method} -H "{end.header}"'
    data = f" -H 'Content-Type: application/json' -d {quote(end.body)}" if end.body else ""
    wget = f'wget -qO- -T 30 --method={end.method} --header="{end.header}"'
    # A contact that is just being written is an empty file: the one before it counts.
    return f"""\
up() {{ cut -d. -f1 /proc/uptime; }}
B=$(cat {BEGUN_FILE} 2>/dev/null)
case $B in ''|*[!0-9]*) B=$(up | tee {BEGUN_FILE}) ;; esac
C=$B
(while sleep 60; do
 N=$(up); [ "$N" -lt "$B" ] && B=$N
 R=$(cat {CONTACT_FILE} 2>/dev/null); case $R in ''|*[!0-9]*) ;; *) C=$R ;; esac
 [ "$N" -lt "$C" ] && C=$N
 if [ $((N - B)) -ge {life_s} ] || [ $((N - C)) -ge {lease_s} ]; then
  {curl}{data} "{end.url}" || {wget} "{end.url}"
 fi
done) >/dev/null 2>&1 &"""
