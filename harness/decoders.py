"""The decoder processes of a service, to stop or kill them in the middle of a decode."""

import psutil

_SPAWNED = "spawn_main"  # in the command line of a process that multiprocessing has spawned


def decoders(service_pid: int) -> list[psutil.Process]:
    """Return the decoder processes below a service, its own workers included."""
    found = []
    for process in psutil.Process(service_pid).children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue
        if _SPAWNED in command:
            found.append(process)
    return found
