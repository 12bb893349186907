//! The scenarios: what each container is told to do, and what must come of it.

use super::*;

/// All of them.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut all = basic();
    all.extend(container());
    all.extend(terminal());
    all
}

pub(crate) fn with(mut start: Start, change: impl FnOnce(&mut Start)) -> Start {
    change(&mut start);
    start
}

fn basic() -> Vec<Scenario> {
    let numbers: String = (1..=40_000).map(|n| format!("{n}\n")).collect();
    let binary: Vec<u8> = (0..300_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![
        scenario("status and streams", sh("echo out; echo err >&2; exit 42"), 42, "out\n").err("err\n"),
        scenario(
            "signal",
            sh("(sh -c 'kill -9 $$'); echo $?; kill -KILL $$; sh -c 'echo alive'"),
            0,
            "137\nalive\n",
        )
        .err("Killed\n"),
        scenario("long output", start(&["seq", "40000"]), 0, &numbers),
        scenario("much through a pipe", start(&["cat"]), 0, &numbers.repeat(20))
            .steps(vec![Step::Feed(numbers.repeat(20).into_bytes()), Step::End]),
        scenario("empty stdin", start(&["cat"]), 0, "").steps(vec![Step::End]),
        scenario(
            "great orders",
            with(sh("echo ${#BIG} ${#LAST}; wc -c < /proc/self/comm"), |s| {
                s.env = (0..8).map(|i| format!("B{i}={}", "x".repeat(100_000)).into_bytes()).collect();
                s.env.push([&b"BIG="[..], &[b'y'; 120_000]].concat());
                s.env.push(b"LAST=abc".to_vec());
            }),
            0,
            "120000 3\n3\n",
        ),
        scenario(
            "short writes to both",
            sh("for i in $(seq 300); do echo o; echo e >&2; done | wc -l"),
            0,
            "300\n",
        )
        .err(&"e\n".repeat(300)),
        scenario("no stdin", start(&["cat"]), 0, ""),
        scenario("stdin to its end", start(&["cat"]), 0, "one\ntwo\n").steps(vec![
            Step::Feed(b"one\n".to_vec()),
            Step::Await("one\n"),
            Step::Feed(b"two\n".to_vec()),
            Step::End,
        ]),
        scenario("binary stdin", sh("cat > /f; wc -c < /f; cat /f | wc -c"), 0, "300000\n300000\n")
            .steps(vec![Step::Feed(binary), Step::End]),
        scenario("stdin closed by the command", sh("exec <&-; sleep 1; echo done"), 0, "done\n")
            .steps(vec![Step::Feed(vec![b'x'; 1 << 20]), Step::End]),
        scenario("output closed by the host", sh("yes; echo $? >&2"), 0, "")
            .has(&["y\ny\n"])
            .err("141\n")
            .steps(vec![Step::Await("y\n"), Step::Send(ToGuest::OutputClosed(1))]),
        scenario(
            "signal to a handler",
            sh("trap 'echo usr; exit 7' USR1; echo up; while :; do sleep 0.1; done"),
            7,
            "up\nusr\n",
        )
        .steps(vec![Step::Await("up\n"), Step::Send(ToGuest::Signal(10))]),
        scenario(
            "stop signal",
            with(sh("trap 'echo quit; exit 3' QUIT; echo up; while :; do sleep 0.1; done"), |s| {
                s.stop_signal = "SIGQUIT".into()
            }),
            3,
            "up\nquit\n",
        )
        .steps(vec![Step::Await("up\n"), Step::Send(ToGuest::Stop)]),
        scenario("kill", sh("echo up; sleep 1000"), 137, "up\n").steps(vec![
            Step::Await("up\n"),
            Step::Send(ToGuest::Signal(15)),
            Step::Send(ToGuest::Signal(9)),
        ]),
        scenario("orphans end with the command", sh("sleep 1000 & (sleep 1000 &) ; echo bye"), 0, "bye\n"),
        failing("not found", start(&["nope"]), 127, "exec: \"nope\": executable file not found in $PATH"),
        failing(
            "no such path",
            start(&["/no/such"]),
            127,
            "exec: \"/no/such\": stat /no/such: no such file or directory",
        ),
        failing("not executable", start(&["/opt/data"]), 126, "exec: \"/opt/data\": permission denied"),
        failing("no format", start(&["/opt/noshebang"]), 126, "exec /opt/noshebang: exec format error"),
        failing("a directory", start(&["/opt"]), 126, "exec: \"/opt\": is a directory"),
        failing("no interpreter", start(&["/opt/lost"]), 127, "exec /opt/lost: no such file or directory"),
        failing(
            "no such user",
            with(start(&["true"]), |s| s.user = "nobody".into()),
            125,
            "unable to find user nobody: no matching entries in passwd file",
        ),
        failing(
            "no such share",
            with(start(&["true"]), |s| {
                s.mounts = vec![Mount { tag: "absent".into(), path: "/mnt".into(), read_only: false }];
            }),
            125,
            "cannot mount host directory `absent` on /mnt: no such file or directory",
        ),
    ]
}

fn container() -> Vec<Scenario> {
    vec![
        scenario("nothing is inherited", sh("ls /proc/self/fd | tr '\\n' ' '; grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status; cat /proc/self/oom_score_adj"), 0,
            "0 1 2 3 SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n0\n"),
        scenario("an image without anything", with(start(&["/busybox", "sh", "-c", "cd /; /busybox ls -A; /busybox id; /busybox cat /etc/hostname; /busybox echo ok > /dev/stderr"]), |s| {
            s.user = "1000:1001".into();
            s.cwd = "/work/../work/".into();
            s.volumes = vec!["/data".into()];
        }), 0, "busybox\ndata\ndev\netc\nproc\nsys\nwork\nuid=1000 gid=1001 groups=1001\nbox\n").err("ok\n").root(Root::Scratch),
        failing("a damaged root", start(&["true"]), 125, "cannot mount the root file system from /dev/vda: invalid argument").root(Root::Damaged),
        scenario("environment", with(start(&["env"]), |s| s.env = vec![b"A=b c".to_vec()]), 0, "").has(&[
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=box\nA=b c\nHOME=/root\n",
        ]),
        scenario(
            "user",
            with(sh("id; pwd; echo $HOME; touch x 2>&1; echo to-stdout > /dev/stdout; grep Cap /proc/self/status"), |s| {
                s.user = "web".into();
                s.cwd = "/new/dir".into();
            }),
            0,
            "",
        )
        .has(&[
            "uid=33(web) gid=44(web) groups=44(web),90(ssl)\n/new/dir\n/home/web\n",
            "Permission denied\nto-stdout\n",
            "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n",
        ]),
        scenario("root", sh("id -u; grep Cap /proc/self/status; ulimit -n; umask; echo $$"), 0, "").has(&[
            "0\nCapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n",
            "\n1048576\n0022\n1\n",
        ]),
        scenario("files of the machine", sh("hostname; cat /etc/hostname /etc/hosts; cat /run/resolve/resolv.conf"), 0, "")
            .has(&["box\nbox\n127.0.0.1\tlocalhost\n", "\n127.0.1.1\tbox\n", "# There is no network"]),
        scenario(
            "kernel files",
            sh("echo 1 > /proc/sys/vm/drop_caches; wc -c < /proc/interrupts; ls /sys/firmware | wc -l; touch /sys/x; \
                cat /proc/self/cgroup; ls /sys/fs/cgroup | grep -c memory.max; ls /dev | tr '\\n' ' '; ls /proc | grep -c '^[0-9]'"),
            0,
            "",
        )
        .has(&[
            "0\n0\n0::/\n1\n",
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero ",
        ])
        .err("sh: can't create /proc/sys/vm/drop_caches: Read-only file system\ntouch: /sys/x: Read-only file system\n"),
        scenario("mounts", sh("mount; df / | grep -c overlay"), 0, "").has(&[
            "overlay on / type overlay (rw,relatime,",
            "proc on /proc type proc (rw,nosuid,nodev,noexec,relatime)\n",
            "tmpfs on /dev type tmpfs (rw,nosuid,",
            "devpts on /dev/pts type devpts (rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666)\n",
            "proc on /proc/sys type proc (ro,nosuid,nodev,noexec,relatime)\n",
            " on /etc/hosts type tmpfs ",
        ]),
        scenario("writable root", sh("echo a > /bin/new; mkdir /d; rm /opt/data; ls /opt | wc -l; cat /bin/new"), 0, "2\na\n"),
        scenario(
            "volume",
            with(sh("cat /vol/file; stat -c '%a %F' /vol; mount | grep -c 'on /vol type tmpfs'; ls /made/here | wc -l"), |s| {
                s.volumes = vec!["/vol".into(), "/made/here".into()];
            }),
            0,
            "from the image\n750 directory\n1\n0\n",
        ),
        Scenario {
            share: true,
            ..scenario(
                "host directory",
                with(sh("cat /mnt/deep/hello; echo in the guest > /mnt/deep/made; cat /mnt/deep/made"), |s| {
                    s.mounts = vec![Mount { tag: "share".into(), path: "/mnt/deep".into(), read_only: false }];
                }),
                0,
                "from the host\nin the guest\n",
            )
        },
        Scenario {
            share: true,
            ..scenario(
                "read-only host directory",
                with(sh("cat /mnt/hello; touch /mnt/x"), |s| {
                    s.mounts = vec![Mount { tag: "share".into(), path: "/mnt".into(), read_only: true }];
                }),
                1,
                "from the host\n",
            )
            .err("touch: /mnt/x: Read-only file system\n")
        },
        scenario("clock", with(start(&["date", "-u", "+%Y-%m-%d"]), |s| s.realtime_ns = 1_234_567_890_000_000_000), 0, "2009-02-13\n"),
    ]
}

fn terminal() -> Vec<Scenario> {
    let tty = |start: Start| with(start, |s| s.tty = Some(WindowSize { rows: 33, cols: 101 }));
    let numbers: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
    let sizes =
        vec![Step::Await("33 101"), Step::Send(ToGuest::WindowSize(WindowSize { rows: 10, cols: 20 }))];
    vec![
        scenario(
            "a terminal",
            tty(sh(
                "tty; stty size; echo $TERM; echo err >&2; readlink /proc/self/fd/2; test -c /dev/console && echo console > /dev/console; echo x > /dev/tty",
            )),
            0,
            "/dev/pts/0\r\n33 101\r\nxterm\r\nerr\r\n/dev/pts/0\r\nconsole\r\nx\r\n",
        ),
        scenario("long output to a terminal", tty(start(&["seq", "20000"])), 0, &numbers),
        scenario(
            "window size",
            tty(sh("trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.1; done")),
            0,
            "33 101\r\n10 20\r\n",
        )
        .steps(sizes),
        scenario(
            "interrupt key",
            tty(sh("trap 'echo int; exit 5' INT; echo up; while :; do sleep 0.1; done")),
            5,
            "",
        )
        .has(&["up\r\n", "int\r\n"])
        .steps(vec![Step::Await("up\r\n"), Step::Feed(vec![3])]),
        scenario("job control", tty(start(&["sh", "-i"])), 130, "").has(&["up\r\n^C"]).steps(vec![
            Step::Await("# "),
            // Until the command runs, the shell's line editor takes the key for a character.
            Step::Feed(b"echo u''p; sleep 1000\n".to_vec()),
            Step::Await("up\r\n"),
            Step::Feed(vec![3]),
            Step::Await("^C"),
            Step::Feed(b"exit\n".to_vec()),
        ]),
        scenario("end of a terminal", tty(start(&["cat"])), 0, "abc\r\nabc\r\ndefdef").steps(vec![
            Step::Feed(b"abc\n".to_vec()),
            Step::Await("abc\r\nabc\r\n"),
            Step::Feed(b"def".to_vec()),
            Step::Await("def"),
            Step::End,
        ]),
        scenario("no echo", with(tty(start(&["cat"])), |s| s.tty_echo = false), 0, "abc\r\n")
            .steps(vec![Step::Feed(b"abc\n".to_vec()), Step::End]),
        scenario(
            "a user's terminal",
            with(tty(sh("stat -c %u /dev/pts/0; echo x > /dev/tty")), |s| s.user = "web".into()),
            0,
            "33\r\nx\r\n",
        ),
    ]
}
