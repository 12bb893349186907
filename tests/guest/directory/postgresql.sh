# PostgreSQL whose cluster lies in the mapped directory /mnt, owned by a user who is not root.
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
mkdir /mnt/pg
chown postgres /mnt/pg
as_postgres() { su postgres -c "PATH=$bin:\$PATH; $1"; }
as_postgres 'initdb -D /mnt/pg/data -k -A trust --no-instructions' >/tmp/initdb
echo initdb ok
as_postgres "pg_ctl -D /mnt/pg/data -w -t 300 -l /tmp/log -o '-k /tmp -h \"\"' start" >/dev/null
as_postgres 'createdb -h /tmp bench && pgbench -h /tmp -i -q bench' >/dev/null 2>&1
as_postgres 'pgbench -h /tmp -c 2 -t 50 bench 2>/dev/null | grep processed'
as_postgres "psql -h /tmp -Atc 'select count(*) from pgbench_history' bench"
as_postgres 'pg_ctl -D /mnt/pg/data -m fast stop' >/dev/null
as_postgres 'pg_checksums --check -D /mnt/pg/data' >/tmp/sums && echo no bad checksums
