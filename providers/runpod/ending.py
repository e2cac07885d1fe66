"""Ending a pod: DELETE /v2/pods/{id}. 204 is taken; 404 is gone; 409 is a cluster's member."""

from __future__ import annotations

from urllib.parse import quote

from providers.rental.contract import Accepted, Ended, Refused, Reply, Request
from providers.runpod.replies import failure


def end_request(instance_id: str) -> Request:
    """Ask for the end of one pod, and of its disks with it."""
    path = f"/v2/pods/{quote(instance_id, safe='')}"
    return Request(op="terminate", method="DELETE", path=path)


def ended_from(reply: Reply) -> Ended:
    """What became of it. A 404 counts only in RunPod's own words: a gateway's says nothing."""
    if reply.status == 204:
        return Accepted()
    told = failure(reply)
    if isinstance(told, Refused) and told.code == "not_found":
        return Accepted(gone=True)
    return told
