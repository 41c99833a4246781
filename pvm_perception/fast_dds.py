"""The variable by which Fast DDS finds our profile. Imports no more: launch files run it by its path."""

from __future__ import annotations

from collections.abc import Mapping

# releases whose Fast DDS takes its profile from the variable's older name
OLDER = ("humble", "iron", "jazzy")


def variables(env: Mapping[str, str], profile: str) -> dict[str, str]:
    """Return the variable that makes a profile the default.

    Empty where `env` already says how Fast DDS is to travel: somebody's own choice is left alone.

    Parameters
    ----------
    env
        Variables that are set already; one that is there stays as it is.
    profile
        A file of Fast DDS profiles.
    """
    name = ("FASTRTPS" if env.get("ROS_DISTRO") in OLDER else "FASTDDS") + "_DEFAULT_PROFILES_FILE"
    return {} if name in env or "FASTDDS_BUILTIN_TRANSPORTS" in env else {name: profile}
