"""
Start wan-mcp from an unpacked bundle.

The first start makes an environment beside this file and lets uv install what `requirements.lock` names, hash by
hash; later ones only look whether that is done. This file stands on nothing but Python and the uv that runs it.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "requirements.lock"
ENVIRONMENT = HERE / ".environment"
DONE = ENVIRONMENT / "installed-lock"
"""Holds the digest of the list that was installed as a whole."""
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def main() -> int:
    """Install what is missing, then give way to the program."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not (PYTHON.exists() and DONE.is_file() and DONE.read_text(encoding="ascii") == digest):
        install()
        DONE.write_text(digest, encoding="ascii")
    sources = [str(HERE / "server"), str(HERE / "tools")]
    inherited = [path for path in (os.environ.get("PYTHONPATH"),) if path]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([*sources, *inherited])}
    command = [str(PYTHON), "-m", "wan_mcp", *sys.argv[1:]]
    if os.name == "posix":
        os.execve(command[0], command, environ)  # noqa: S606 - our own interpreter
    # Elsewhere a client would take it for the end if another program took the place of this one.
    return subprocess.run(command, env=environ, check=False).returncode  # noqa: S603 - the same


def install() -> None:
    """Make the environment; nothing may get onto stdout, which belongs to the protocol."""
    # uv tells the programs that it runs where it is.
    uv = os.environ.get("UV", "uv")
    steps = (
        ("venv", "--quiet", "--allow-existing", "--python", sys.executable, str(ENVIRONMENT)),
        ("pip", "sync", "--quiet", "--require-hashes", "--python", str(PYTHON), str(LOCK)),
    )
    for step in steps:
        subprocess.run([uv, *step], stdout=sys.stderr, check=True)  # noqa: S603 - a list of arguments, no shell


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"wan-mcp could not be installed from its bundle: {error}")
