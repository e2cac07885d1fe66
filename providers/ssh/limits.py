"""What a host may cost us: every bound a foreign machine could push on, with its reason."""

from typing import Final

# Probes were measured at 8 kB; 64 cards with their processes come to about 200 kB.
MAX_ANSWER_BYTES: Final = 2 * 1024 * 1024
# What an rc file may print before our sentinel: a long message of the day is 10 kB.
MAX_NOISE_BYTES: Final = 256 * 1024
# Quoted in an error: enough for a shell's refusal, too little to flood a terminal.
MAX_WORDS: Final = 300
# One read of a log or of an output: the whole is asked for piece by piece.
MAX_READ_BYTES: Final = 1024 * 1024
# OpenSSH allows 10 sessions a connection (MaxSessions): two stay free for a cancel.
MAX_SESSIONS: Final = 8
URGENT_SESSIONS: Final = 2
# MaxStartups 10:30:100 sheds from the 10th unauthenticated connection on; other peers count too.
MAX_HANDSHAKES_PER_HOST: Final = 4
# A handshake costs 20 ms of our processor: more at once only lengthens each.
MAX_HANDSHAKES: Final = 8
# A dead link was noticed after 11 s with 4 x 2, and a loss of 8 s still survived.
KEEPALIVE_S: Final = 4
KEEPALIVE_COUNT: Final = 2
CONNECT_LIMIT_S: Final = 10.0
LOGIN_LIMIT_S: Final = 15.0
# A piece of a file that is not taken for so long will not be: a disk that sleeps wakes in 10 s.
STALL_S: Final = 60.0
# Sent at a time: larger pieces were no faster, and hold a cancel up longer.
PIECE_BYTES: Final = 1024 * 1024
# OpenSSH 9.8 and later penalise an address for failed logins: a person must act first anyway.
REFUSED_PAUSE_S: Final = 60.0
# After a host was not reached: from, doubling, to. A laptop that wakes is found within a minute.
RETRY_FROM_S: Final = 1.0
RETRY_TO_S: Final = 60.0
# Cards, processes and engines of one host that are read; a 16-card host has 112 MIG slices.
MAX_CARDS: Final = 256
MAX_PROCESSES: Final = 1024
MAX_ENGINES: Final = 256
# The Python that holds an engine on a host: match statements and keyword-only dataclasses.
LEAST_PYTHON: Final = (3, 10)
# A name a host gives anything: longer than any card's or path's worth showing.
MAX_NAME: Final = 256
