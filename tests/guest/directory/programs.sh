# Programs that ask much of a file system, in the mapped directory /mnt.
set -e
cd /mnt
echo git
git init -q repo
cd repo
git config user.email a@example.org
git config user.name name
for n in 1 2 3 4 5 6 7 8; do mkdir d$n && echo $n >d$n/file; done
ln -s d1/file link
git add .
git commit -qm one
git status --short
git mv d1 e1
git commit -qm two
git gc -q
git fsck 2>/dev/null
git clone -q . ../clone
cd ../clone
git log --oneline | wc -l
cd ..
echo lmdb
mkdir lmdb
{
    printf 'VERSION=3\nformat=print\ntype=btree\nmapsize=1048576\nHEADER=END\n'
    for n in $(seq 500); do printf ' key%d\n value%d\n' $n $n; done
    echo DATA=END
} | mdb_load lmdb
mdb_stat lmdb | grep Entries
mdb_dump -p lmdb | grep -c '^ key'
echo fio
check() { fio --directory=/mnt --size=2m --bs=4k --verify=crc32c --verify_fatal=1 --minimal "$@" >/tmp/fio; }
check --name=psync --ioengine=psync --rw=randrw --fsync=16
echo psync ok
check --name=mmap --ioengine=mmap --rw=randwrite
echo mmap ok
echo sqlite
sqlite3 db 'pragma journal_mode=delete; create table t(x); insert into t select value from generate_series(1, 2000);
    select count(*) from t; pragma integrity_check'
