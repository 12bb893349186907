"""Four processes that write to one SQLite database with a write-ahead log, in the current directory or the
one that is named."""

import os
import sqlite3
import sys

os.chdir(sys.argv[1])
c = sqlite3.connect("w.db")
c.execute("pragma journal_mode=wal")
c.execute("create table t(x)")
c.close()
pids = []
for writer in range(4):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for n in range(50):
                c = sqlite3.connect("w.db", timeout=60)
                c.execute("insert into t values(?)", (writer * 50 + n,))
                c.commit()
                c.close()
            status = 0
        finally:
            os._exit(status)
    pids.append(pid)
for pid in pids:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        print("a writer failed")
c = sqlite3.connect("w.db")
print(c.execute("select count(*) from t").fetchone()[0], c.execute("pragma integrity_check").fetchone()[0])
