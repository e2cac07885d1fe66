"""Every time and count by which rentals are decided, and why it is what it is."""

from __future__ import annotations

from typing import Final

from mesh.state.rentals.terms import HOUR_MS, MIN_MS, S_MS

# Between whole listings while anything is open: a dead container is seen within two of them.
POLL_MS: Final = 15 * S_MS
# And while nothing is: a machine that nobody knows costs so long at the most before it is seen.
SWEEP_MS: Final = 5 * MIN_MS
# No machine is asked for while the last whole listing is older: what is there is not known.
BLIND_MS: Final = SWEEP_MS + MIN_MS
# Between the two listings that prove absence: a listing lags by 60 s, a create may act 30 s after
# the client gave up, and 30 s are left over.
ABSENCE_MS: Final = 2 * MIN_MS
# Between them there is one at least so often: an omission before a blind time and another after it
# would look like a proof.
GAP_MS: Final = MIN_MS
# The client gives up. A create of theirs takes some seconds.
CALL_LIMIT_MS: Final = 30 * S_MS
# Between repeated asks for an end, and between listings that failed; the last goes on.
AGAIN_MS: Final = (5 * S_MS, 10 * S_MS, 20 * S_MS, 30 * S_MS)
# A machine ends itself so long after the last contact: a daemon's restart takes minutes.
LEASE_MS: Final = 30 * MIN_MS
# For what makes a machine ready, beside its engine's own time: vLLM and its wheels are some 5 GB,
# half an hour at 3 MB/s.
SETUP_MS: Final = 30 * MIN_MS
# Between looks by SSH while a machine boots, and while it works.
PROBE_MS: Final = 10 * S_MS
CONTACT_MS: Final = 30 * S_MS
# Per cent of the quote that a price may be: providers round.
TOLERANCE: Final = 105
# An end or a create that is unclear so long is told to a person.
ALARMS_MS: Final = (5 * MIN_MS, 15 * MIN_MS, HOUR_MS)
# Charges are asked an hour after the end, each hour, until two answers agree: what is booked by the
# day is there after one and some hours.
CHARGES_EVERY_MS: Final = HOUR_MS
CHARGE_TRIES: Final = 36
# What is booked by an hour or a day may leave out an end that is no longer: it costs next to none.
BOOKED_MS: Final = 5 * MIN_MS
# Demands to pay more: a provider gives days to answer.
RISES_EVERY_MS: Final = 5 * MIN_MS
# A chosen offer is taken within it, or another is chosen: offers are gone within minutes.
CHOICE_KEEPS_MS: Final = MIN_MS
# Where no offer fits or a cap is met, it is looked at again.
NO_OFFER_MS: Final = MIN_MS
UNPAID_MS: Final = 20_000  # a person raises a cap and looks at what waits for it
# After a failed machine of a request: 5 s, doubled each time, a minute at most.
RETRY_MS: Final = 5 * S_MS
MOST_RETRY_MS: Final = MIN_MS
# Machines of one request that failed; three digits of a label's 40.
MAX_ATTEMPTS: Final = 999
# Tests of a container that seems dead before it counts as dead: one look may be wrong.
DEAD_LOOKS: Final = 2
# Of one rental 8,192 events of a peer are read. A machine that changes at every look for a day is
# of no use, and what is left over is for its return.
MAX_SAID: Final = 4096
# Answers to being asked for an end that are written down, of one process.
MAX_ANSWERS: Final = 64
# While nothing is known of the provider's clock, another try.
CLOCKLESS_MS: Final = S_MS
