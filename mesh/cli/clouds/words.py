"""Reason codes of rentals in words."""

from typing import Final

STEP_WORDS: Final = {
    "placed": "placed, its image is being fetched",
    "image": "its image is there, the container starts",
    "container": "the container runs, sshd is awaited",
    "sshd": "reached by SSH, its engine is awaited",
    "engine": "ready",
}
STATUS_WORDS: Final = {
    "placing": "being placed",
    "up": "it is up",
    "stopped": "it was stopped",
    "exited": "its container ended",
    "terminating": "the provider is ending it",
}
_WHY: Final = {
    # Why a request has no machine.
    "choosing": "looking for an offer",
    "provider_not_listed": "the provider does not list its machines now",
    "too_many_attempts": "too many machines failed",
    "job_cap": "what is left of its cap (--cap) is too little for a machine",
    "day_cap": "it would pass the day's cap (setting rent_day)",
    "provider_cap": "it would pass the month's cap (setting rent_month)",
    "nothing_offered": "nothing is offered now",
    "no_such_gpu": "no such GPU is offered now",
    "too_dear": "what fits is dearer than the limit",
    "too_little_memory": "what is offered has too little memory",
    "not_available": "what fits is taken",
    "no_price": "what fits has no price",
    "another_offer": "the offer that was named is not there now",
    "another_provider": "only other providers have such a machine",
    "may_be_taken_back": "only spot machines fit (--spot)",
    "another_gpu_count": "none has that many GPUs",
    "price_not_believed": "its price is too far from the usual one",
    "all_were_tried": "all offers that fit were tried, and failed",
    "not_allowed": "this peer rents for nobody else",
    "another_has_it": "another peer has the account (fleet clouds take has it here)",
    "key_replaced": "the key it was asked for with is not here: fleet return ends it",
    # Where a rental stands.
    "admitted": "it is within the caps",
    "called": "the provider was asked for it",
    "answered": "the provider made it",
    "found_by_label": "it was found by its label",
    "started": "a job runs there",
    "accepted": "the provider was asked to end it",
    "still_listed": "the provider was asked to end it, and lists it still",
    "reappeared": "it was gone, and is listed again",
    "duplicate_found": "a second machine of one order",
    "orphan_found": "found without its order",
    "restarted": "the daemon ended before the provider answered",
    "timeout": "the provider did not answer",
    "unreached": "the provider was not reached",
    "reset": "the provider broke off",
    "5xx": "the provider has a fault of its own",
    "429": "the provider wants to be left alone",
    "odd_reply": "the provider's answer was not understood",
    "malformed": "the provider's answer was not understood",
    "changed": "its list of machines changed while it was read",
    "quota": "the day's questions to the provider are used up",
    "auth": "the provider does not take the key",
    "retired": "the provider retired the API",
    # Why it ends or ended.
    "price_above_quote": "it was dearer than quoted",
    "life_over": "its time was over",
    "idle": "it was idle",
    "job_done": "its work is done",
    "cancelled": "cancelled",
    "ended": "its request was ended",
    "vanished": "it vanished at the provider",
    "another_account": "it is another account's rental, and costs there",
    "never_placed": "the provider made none",
    "never_called": "it was never asked for",
    "not_held": "its money was held no more",
    "orphan": "a person ended an orphan",
    "expired": "its label's time was over",
    "duplicate": "a second machine of one order",
    "duplicate_of_job": "a second machine of one request",
    "restless": "it changed thousands of times",
    "budget_placed": "it was not placed in time",
    "budget_image": "its image took too long",
    "budget_container": "its container did not start in time",
    "budget_sshd": "its sshd did not answer in time",
    "no_contact": "nobody could enter it for 30 minutes, though its provider listed it",
    "budget_engine": "no engine answered in time",
    "setup_failed": "what was to make it ready failed there: fleet logs --daemon says how",
    "host_key": "it showed another host key than it was given: another machine may answer there",
    # Why one was of no use any more.
    "outbid": "somebody bid more",
    "preempted": "the provider took it back",
    "error": "the provider says that it failed",
    "container_exited": "its container ended",
    # What a person is told.
    "return_unconfirmed": "its end is not confirmed: it may still cost",
    "create_unknown": "whether it was made is still unknown",
    "idle_paid": "it is paid for, and no job ran there for an hour or more",
    "flat_spend": "each of the last three days cost the same: is something left on?",
    "no_key": "no key here opens its account any more, nobody here can return it: it may cost",
    "not_ours": "another member says that it is ours; it carries no label of ours, and is spared",
    "clock": "the provider tells another time with each reply",
}


def why_words(code: str) -> str:
    """In words; a provider's own code as it is."""
    kind, _, rest = code.partition(":")
    if kind == "interrupted" and rest:
        return why_words(rest)
    if kind.startswith("offers_"):
        return f"no offers: {why_words(kind.removeprefix('offers_'))}"
    return _WHY.get(code) or STEP_WORDS.get(code) or STATUS_WORDS.get(code) or code
