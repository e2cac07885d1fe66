"""Every event type this program writes, with the forms its payload has, the fullest first."""

from typing import Annotated, Final

from mesh.state.facts import (
    budget,
    device,
    job,
    member,
    money,
    rental,
    serving,
    telemetry,
    upkeep,
)
from mesh.state.facts.fact import Fact, said
from mesh.state.facts.offers import OffersRefreshed


class NoteAdded(Fact, frozen=True, kw_only=True):
    """An annotation; it changes nothing."""

    text: Annotated[str, said("What somebody wants remembered")]


EVENTS: Final[dict[str, tuple[type[Fact], ...]]] = {
    "device_registered": (device.ProbedDevice, device.DescribedDevice),
    "device_removed": (device.DeviceRemoved,),
    "device_drained": (upkeep.DeviceDrained,),
    "device_resumed": (upkeep.DeviceResumed,),
    "device_reserved": (upkeep.DeviceReserved,),
    "reservation_ended": (upkeep.ReservationEnded,),
    "note_added": (NoteAdded,),
    "job_submitted": (job.JobTyped, job.JobSealed),
    "job_dispatched": (job.JobDispatched,),
    "job_accepted": (job.JobAccepted,),
    "job_returned": (job.JobReturned,),
    "job_replaced": (job.JobReplaced,),
    "job_adopted": (job.JobAdopted,),
    "job_started": (job.JobStarted,),
    "job_paused": (job.JobPaused,),
    "job_resumed": (job.JobResumed,),
    "job_cancel_requested": (job.JobCancelRequested,),
    "job_completed": (job.JobCompleted,),
    "job_failed": (job.RunFailed, job.JobFailed),
    "job_cancelled": (job.RunStopped, job.JobCancelled),
    "telemetry_summarised": (telemetry.TelemetrySummarised,),
    "offers_refreshed": (OffersRefreshed,),
    "key_added": (serving.KeyAdded,),
    "key_revoked": (serving.KeyRevoked,),
    "usage_summarised": (serving.UsageSummarised,),
    "service_set": (serving.ServiceSet,),
    "service_ended": (serving.ServiceEnded,),
    **rental.EVENTS,
    **money.EVENTS,
    **budget.EVENTS,
    "fleet_founded": (member.FleetFounded,),
    "peer_added": (member.PeerAdded, member.HistoryAdopted),
    "peer_removed": (member.PeerRemoved, member.HistoryEnded),
    "peer_renamed": (member.PeerRenamed,),
    "peer_reachable": (member.PeerReachable,),
}
