"""The program of the guard that stands between a private Redis and its owner, see :mod:`hardening.core.embedded`.

A server that is killed while it writes may leave half a transaction at the end of its file. The next one then
cuts off the torn command alone and keeps what was before it, so that the one after that runs half a transaction: of
a take the half that removes messages from a queue. Redis 6.2 and 7.0 do so; Valkey has mended it
(valkey-io/valkey#4342). The guard first has the server's own ``redis-check-aof``, which is the same program under
another name, cut off the whole transaction. A file that has such a half in its middle is left as it is: what
comes after it would be cut off too.
"""

from __future__ import annotations

__all__ = ["GUARD"]

#: Tells the server's process id, or what went wrong; then answers each ``poll`` and ``kill`` with
#: the server's exit status. It alone reaps the server, so no stale process id is ever signalled.
GUARD = """
import ctypes, fcntl, os, shutil, signal, subprocess, sys
home, temporary, patience_s, *command = sys.argv[1:]
prctl = getattr(ctypes.CDLL(None), "prctl", None)
held, server = False, None
def mend(aof):
    def check(*how):
        return subprocess.run(["redis-check-aof", *how, aof], executable=command[0], input=b"y",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    said = check()
    if b"Reached EOF before reading EXEC" in said or b"Expected to read" in said:
        check("--fix")
def give_up(*_):
    raise OSError(f"another server holds {home}")
try:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.signal(signal.SIGALRM, give_up)
    for directory in filter(None, (home, temporary)):
        os.makedirs(directory, 0o700, exist_ok=True)
    lock = os.open(os.path.join(home, "redis.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    signal.setitimer(signal.ITIMER_REAL, float(patience_s))
    fcntl.flock(lock, fcntl.LOCK_EX)
    signal.setitimer(signal.ITIMER_REAL, 0)
    held = True
    os.set_inheritable(lock, True)  # so that the server holds it for as long as it lives
    os.dup2(os.open(os.path.join(home, "redis.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    for aof in ("appendonly.aof", "appendonlydir/appendonly.aof.manifest"):
        if os.path.exists(aof := os.path.join(home, aof)):
            mend(aof)
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, close_fds=False,
                              preexec_fn=prctl and (lambda: prctl(1, signal.SIGTERM)))
    print(server.pid, flush=True)
    for line in sys.stdin:
        if line == "kill\\n":
            server.kill()
            server.wait()
        print(server.poll(), flush=True)
except OSError as error:
    print(error, flush=True)
finally:
    if server:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    if held and temporary:
        shutil.rmtree(temporary, ignore_errors=True)
"""
