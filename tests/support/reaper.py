#!/usr/bin/env python3
"""Run a command and take in the orphans it makes: reaper.py COMMAND...

What is left when the command ends, podman's pause process or a container that a failed test
forgot, is ended too: nothing outlives the run.
"""
import ctypes
import os
import signal
import subprocess
import sys

PR_SET_CHILD_SUBREAPER = 36


def children():
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as listed:
        return [int(pid) for pid in listed.read().split()]


def main():
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    command = subprocess.Popen(sys.argv[1:])
    status = None
    while status is None:
        pid, ended = os.wait()
        if pid == command.pid:
            status = os.waitstatus_to_exitcode(ended)
    while left := children():
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            except PermissionError:
                # Another id's by way of a user namespace: its parent's end takes it along.
                return status
        os.wait()
    return status


if __name__ == "__main__":
    result = main()
    sys.exit(result if result >= 0 else 128 - result)
