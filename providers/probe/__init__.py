"""What this machine is and what it can run."""

from providers.probe.engines import FoundEngine
from providers.probe.gpu import Gpu, Gpus
from providers.probe.host import Host, Nic
from providers.probe.machine import Machine, probe_machine

__all__ = ["FoundEngine", "Gpu", "Gpus", "Host", "Machine", "Nic", "probe_machine"]
