"""Leaves something else than a file under the name of its result, and answers on its output all the same."""

import os
import socket
import sys
from pathlib import Path

kind, name = sys.argv[-2:]
if kind == "folder":
    Path(name).mkdir()
    Path(name, "inner").touch()
elif kind == "pipe":
    os.mkfifo(name)
elif kind == "socket":
    socket.socket(socket.AF_UNIX).bind(name)
elif kind == "link":
    Path(name).symlink_to("/etc/hostname")
elif kind == "loop":
    Path(name).symlink_to(name)
elif kind == "nowhere":
    Path(name).symlink_to("nothing")
elif kind == "sparse":
    with Path(name).open("wb") as file:
        file.truncate(1 << 40)
elif kind == "moved":
    here = Path.cwd()
    here.rename(here.with_name("elsewhere"))
    here.symlink_to("/etc")
print("unsat")
