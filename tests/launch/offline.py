"""launch.reproduce in a process in which a connection to another machine is an error."""

import runpy
import socket
import sys


def refuse(self, address):
    raise AssertionError(f"the network was used: {address}")


if __name__ == "__main__":
    socket.socket.connect = socket.socket.connect_ex = refuse
    sys.argv[0] = "launch.reproduce"
    runpy.run_module("launch.reproduce", run_name="__main__", alter_sys=True)
