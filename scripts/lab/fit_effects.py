"""Which effects the speed model's constants are made of, and how far each may go.

Effects are shrunk towards zero (towards the more general effect), so that a class, an architecture
or a device with little data stays near its parent. The widths were chosen by leaving devices and
models out, and are coarse on purpose.
"""

from math import log

from mathcore.speed.constants import NAMES, PACE, effect_names
from scripts.lab.fit_model import Fact

# Where each constant starts, per group of engines: (natural units, how far it may go, in logs).
START: dict[str, tuple[float, float]] = {
    "eta local": (0.8, 0.3),
    "eta server": (0.8, 0.3),
    "kappa local": (1.0, 0.5),
    "kappa server": (1.0, 0.5),
    "busy local": (0.4, 0.3),
    "busy server": (0.5, 0.5),
    "tau local": (60e-6, 1.0),
    "tau server": (60e-6, 1.0),
    "sparse local": (30e-6, 1.0),
    "sparse server": (30e-6, 1.0),
    "latent local": (30e-6, 1.0),
    "latent server": (30e-6, 1.0),
    "hop local": (5e-6, 1.0),
    "hop server": (5e-6, 1.0),
    "link local": (0.5, 0.3),
    "link server": (0.5, 0.5),
    "each local": (5e-6, 1.0),
    "each server": (5e-6, 1.5),
    "mixed local": (0.6, 0.5),
    "mixed server": (0.6, 0.7),
    "mfu local": (0.4, 0.7),
    "mfu server": (0.4, 0.5),
    "attend local": (0.15, 0.7),
    "attend server": (0.3, 0.5),
    "pass local": (100e-6, 1.0),
    "pass server": (100e-6, 1.0),
    "fill local": (16.0, 1.0),
    "fill server": (16.0, 1.0),
    "scatter local": (16.0, 1.0),
    "scatter server": (16.0, 1.0),
    "host local": (0.7, 0.3),
    "host server": (0.7, 0.3),
    "reread local": (0.05, 0.7),
    "reread server": (0.01, 0.5),
    "vector local": (0.3, 0.7),
    "vector server": (0.3, 0.3),
    "unpack local": (1.3, 0.7),
    "unpack server": (1.0, 0.5),
    "gather local": (100e-6, 1.0),
    "gather server": (20e-6, 0.7),
    # Processors share nothing with what launches kernels: constants of their own.
    "eta cpu": (0.575, 0.2),
    "kappa cpu": (1.1, 0.5),
    "busy cpu": (0.8, 0.5),
    "tau cpu": (87e-6, 0.5),
    "sparse cpu": (60e-6, 0.7),
    "latent cpu": (60e-6, 0.7),
    "hop cpu": (5e-6, 0.5),
    "link cpu": (0.5, 0.3),
    "each cpu": (5e-6, 0.5),
    "mixed cpu": (0.6, 0.3),
    "mfu cpu": (0.45, 0.5),
    "attend cpu": (0.15, 0.7),
    "pass cpu": (100e-6, 0.7),
    "fill cpu": (4.0, 0.7),
    "scatter cpu": (4.0, 0.7),
    "host cpu": (0.7, 0.3),
    "reread cpu": (0.05, 0.7),
    "vector cpu": (0.8, 0.7),
    "unpack cpu": (1.0, 0.5),
    "gather cpu": (100e-6, 0.7),
}
# What each kind of effect may move, and by how much, in logarithms; the rest would fit noise.
BY_VENDOR = ("mfu", "attend", "pass", "tau", "sparse")
VENDOR_SD = 0.5
VENDOR_SDS: dict[str, float] = {"mfu": 0.65}
BY_CLASS = (
    "eta",
    "tau",
    "mfu",
    "pass",
    "fill",
    "scatter",
    "sparse",
    "attend",
    "busy",
    "kappa",
    "each",
    "reread",
    "vector",
    "gather",
)
CLASS_SD: dict[str, float] = {"eta": 0.1, "tau": 0.7, "mfu": 0.6}
BY_ARCH = ("eta", "tau", "mfu", "pass", "hop", "link")
ARCH_SD: dict[str, float] = {"eta": 0.04, "tau": 0.15, "mfu": 0.3, "pass": 0.3}
OTHER_SD = 0.4  # of a class or an architecture whose constant is not named
ON_SD: dict[str, float] = {"eta": 0.06, "tau": 0.15, "mfu": 0.2}  # of one device
BY_ENGINE = (
    "eta",
    "tau",
    "sparse",
    "mfu",
    "pass",
    "each",
    "busy",
    "mixed",
    "hop",
    "link",
    "latent",
)
ENGINE_SD, ENGINE_CLASS_SD = 0.4, 0.2
# What an engine is expected to differ by, where one device measured it: MLX has one kernel where
# llama.cpp launches two or three (normalise and multiply, rotate and store), and reads no less.
MEANS: dict[str, tuple[float, float]] = {
    "tau mlx": (-0.5, 0.4),
    "eta mlx": (0.05, 0.2),
    # Without flash attention every query head reads its keys and values: about a byte an operation.
    "reread +old": (3.0, 1.0),
    "reread +plain": (3.0, 1.0),
    "reread +llamafile": (3.0, 1.0),
    "tau +llamafile": (0.2, 0.4),
}
BY_ENGINE_CLASS = ("eta", "tau", "mfu")
BY_FLAG: dict[str, tuple[str, ...]] = {
    "old": ("eta", "kappa", "reread", "tau", "mfu", "attend"),
    "plain": ("reread", "attend"),
    "aged": ("eta", "tau", "sparse", "mfu", "attend", "pass", "fill", "scatter"),
    "wide": ("eta", "mfu"),
    "emulated": ("eta", "mfu"),
    "vulkan": (
        "eta",
        "tau",
        "kappa",
        "mfu",
        "attend",
        "pass",
        "fill",
        "scatter",
        "vector",
        "gather",
    ),
    "amdvlk": ("mfu", "attend", "fill", "scatter", "pass"),
    "many": ("eta", "mfu", "busy", "each", "pass", "kappa"),
    "scripted": ("eta", "tau", "mfu", "pass"),
    "llamafile": ("eta", "tau", "mfu", "pass", "reread", "attend"),
    "weak": ("tau", "pass"),
    "w4a16": ("eta", "busy", "mixed", "sparse"),
    "replicas": ("tau", "each", "busy", "sparse"),
}
BY_FLAG_CLASS = ("old", "aged", "wide", "vulkan", "many")
FLAG_SD = 0.7
FLAG_SDS: dict[str, float] = {"aged": 0.35, "llamafile": 0.25, "weak": 0.4}
# The share of bandwidth hardly changed between builds and programs around them; launching kernels
# did, and what attention reads again without kernels of its own most of all.
FLAG_NAME_SDS: dict[str, float] = {
    "old eta": 0.1,
    "old tau": 0.3,
    "old kappa": 0.25,
    "old reread": 1.0,
    "llamafile eta": 0.1,
    "llamafile attend": 0.7,
}
# A program around a library is slow in its own way on each device, and says little of the device.
FLAG_ON_SDS: dict[str, float] = {"scripted mfu": 1.0, "scripted tau": 0.7, "scripted eta": 0.5}
FLAG_CLASS_SHARE = 0.3  # of its flag's freedom
# A release of a server is an offset on all of a step, and one more on each kind of model at each
# type ("vllm@0.19.0/latent/8"). Between them lie 0.13 to 0.17; half of it, for most releases were
# measured on one device, and what is the device's must not be taken for the release's.
RELEASE_SD, RELEASE_KIND_SD = 0.05, 0.08


def effects_for(facts: list[Fact]) -> dict[str, tuple[float, float]]:
    """Every effect the rows can say something about: its mean and its freedom, in logarithms."""
    out = {name: (log(start), sd) for name, (start, sd) in START.items()} | MEANS
    for fact in facts:
        for name in (*NAMES, PACE):
            for effect in effect_names(name, fact.chip, fact.run):
                if effect not in out:
                    freedom = freedom_of(name, effect.split(" ")[1:])
                    if freedom > 0.0:
                        out[effect] = (0.0, freedom)
    return out


def freedom_of(name: str, words: list[str]) -> float:
    """How far an effect on a constant may go, in logarithms; 0 = there is no such effect."""
    if words[0].startswith("+"):
        return _flag_freedom(name, words)
    if words[0] == "cpu":
        return 0.0  # the bounds on each are in their terms; architectures share the rest
    if name == PACE:
        return 0.0
    if words[0] not in ("local", "server"):
        if name not in BY_ENGINE or (len(words) == 2 and name not in BY_ENGINE_CLASS):
            return 0.0
        return ENGINE_SD if len(words) == 1 else ENGINE_CLASS_SD
    if words[1] == "by":
        return VENDOR_SDS.get(name, VENDOR_SD) if name in BY_VENDOR and words[2] else 0.0
    if words[1] == "on":
        return ON_SD.get(name, 0.0)
    if len(words) == 2:
        return CLASS_SD.get(name, OTHER_SD) if name in BY_CLASS else 0.0
    return ARCH_SD.get(name, OTHER_SD) if name in BY_ARCH else 0.0


def _flag_freedom(name: str, words: list[str]) -> float:
    flag = words[0][1:]
    if name == PACE or "@" in flag:
        offset = RELEASE_KIND_SD if "/" in flag else RELEASE_SD
        return offset if name == PACE and "@" in flag and len(words) == 1 else 0.0
    if name not in BY_FLAG.get(flag, ()):
        return 0.0
    freedom = FLAG_NAME_SDS.get(f"{flag} {name}", FLAG_SDS.get(flag, FLAG_SD))
    if len(words) == 1:
        return freedom
    if words[1] == "on":
        return FLAG_ON_SDS.get(f"{flag} {name}", 0.0)
    return FLAG_CLASS_SHARE * freedom if flag in BY_FLAG_CLASS else 0.0
