//! What a container sees: user, directory, volumes, names, kernel file systems, namespaces.

use forelift_tests::{
    hosts::{Host, Place},
    images::Image,
    table::{Check, Group},
};

pub(crate) const CASES: Group = &[
    ("user_of_the_image", Check::Everywhere(&Host::ALL, user_of_the_image)),
    ("user_by_name", Check::On(&Host::ALL, user_by_name)),
    ("user_by_number", Check::On(&Host::ALL, user_by_number)),
    ("user_that_is_not_listed", Check::On(&Host::ALL, user_that_is_not_listed)),
    ("user_and_group", Check::On(&Host::ALL, user_and_group)),
    ("unprivileged_user_is_unprivileged", Check::On(&Host::ALL, unprivileged_user_is_unprivileged)),
    ("root_has_dockers_capabilities", Check::On(&Host::ALL, root_has_dockers_capabilities)),
    ("working_directory", Check::On(&Host::ALL, working_directory)),
    ("volume", Check::On(&Host::ALL, volume)),
    ("environment_of_the_image", Check::On(&Host::ALL, environment_of_the_image)),
    ("environment_of_the_host", Check::On(&Host::ALL, environment_of_the_host)),
    ("default_environment", Check::On(&Host::ALL, default_environment)),
    ("host_name", Check::On(&Host::ALL, host_name)),
    ("etc_files", Check::On(&Host::ALL, etc_files)),
    ("kernel_file_systems", Check::Everywhere(&Host::ALL, kernel_file_systems)),
    ("devices", Check::On(&Host::ALL, devices)),
    ("terminals", Check::On(&Host::ALL, terminals)),
    ("shared_memory", Check::On(&Host::ALL, shared_memory)),
    ("kernel_files_are_protected", Check::On(&Host::ALL, kernel_files_are_protected)),
    ("process_1_is_the_command", Check::On(&Host::ALL, process_1_is_the_command)),
    ("orphans_are_reaped_by_process_1", Check::On(&Host::OURS, orphans_are_reaped_by_process_1)),
    ("namespaces_and_cgroup", Check::On(&Host::ALL, namespaces_and_cgroup)),
    ("limits", Check::On(&Host::ALL, limits)),
    ("loopback_network", Check::Everywhere(&Host::ALL, loopback_network)),
    ("kernel_features", Check::On(&Host::OURS, kernel_features)),
];

fn service(host: Place, script: &str) -> String {
    host.run(Image::Service).entrypoint("sh").args(["--", "-c", script]).ok()
}

const ID: &str = "echo $(id -u) $(id -g) $(id -G) $HOME";

fn id_of(host: Place, user: &str) -> String {
    host.run(Image::Service).entrypoint("sh").user(user).args(["--", "-c", ID]).ok()
}

fn user_of_the_image(host: Place) {
    assert_eq!(service(host, ID), "1000 1001 1001 2000 /home/app\n");
}

fn user_by_name(host: Place) {
    assert_eq!(id_of(host, "nobody"), "65534 65534 65534 /\n");
    assert_eq!(id_of(host, "root"), "0 0 0 /root\n");
}

fn user_by_number(host: Place) {
    // Listed in /etc/passwd: its group, groups and home come from there.
    assert_eq!(id_of(host, "1000"), "1000 1001 1001 2000 /home/app\n");
    assert_eq!(id_of(host, "0"), "0 0 0 /root\n");
}

fn user_that_is_not_listed(host: Place) {
    assert_eq!(id_of(host, "4242"), "4242 0 0 /\n");
    assert_eq!(id_of(host, "4242:4343"), "4242 4343 4343 /\n");
}

fn user_and_group(host: Place) {
    assert_eq!(id_of(host, "app:extra"), "1000 2000 2000 /home/app\n");
    assert_eq!(id_of(host, "app:7"), "1000 7 7 /home/app\n");
    assert_eq!(id_of(host, "1000:appgroup"), "1000 1001 1001 /home/app\n");
}

fn unprivileged_user_is_unprivileged(host: Place) {
    let script = "exec 2>&1; touch /x; cat /etc/shadow /root/x | head -n 1; touch /srv/app/work/mine && echo mine; \
        chown root /srv/app/work/mine; grep -E 'Cap(Prm|Eff)' /proc/self/status; echo out > /dev/stdout; mount -t tmpfs x /tmp";
    let text = service(host, &format!("{script}; true"));
    for word in [
        "/x: Permission denied",
        "mine\n",
        "Operation not permitted",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "out\n",
    ] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

fn root_has_dockers_capabilities(host: Place) {
    let text = host
        .sh("grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status; mount -t tmpfs x /mnt 2>/dev/null || echo refused")
        .ok();
    // And NET_ADMIN.
    assert_eq!(
        text,
        "CapPrm:\t00000000a80435fb\nCapEff:\t00000000a80435fb\nCapBnd:\t00000000a80435fb\nrefused\n"
    );
}

fn working_directory(host: Place) {
    let run = |dir| {
        host.run(Image::Service).entrypoint("sh").workdir(dir).args(["--", "-c", "pwd; stat -c %u ."]).ok()
    };
    assert_eq!(service(host, "pwd; echo $PWD"), "/srv/app/work\n/srv/app/work\n");
    assert_eq!(run("/etc"), "/etc\n0\n");
    // Created when missing, as docker does, by root.
    assert_eq!(run("/made/on the/way"), "/made/on the/way\n0\n");
    assert_eq!(host.run(Image::Busybox).args(["pwd"]).ok(), "/\n");
}

fn volume(host: Place) {
    let script = "cd /data; cat seed; readlink link; stat -c '%a %u:%g %n' . seed; echo mine > new && cat new; rm seed && ls; \
        grep -c ' /data ' /proc/mounts";
    assert_eq!(
        service(host, script),
        "from the image\nseed\n750 1000:1001 .\n640 1000:1001 seed\nmine\nlink\nnew\n1\n"
    );
}

fn environment_of_the_image(host: Place) {
    let script = "echo \"$GREETING\"; echo \"[$EMPTY]${EMPTY+set}\"; env | grep -c ^GREETING";
    assert_eq!(service(host, script), "hello from the image\n[]set\n1\n");
}

fn environment_of_the_host(host: Place) {
    let run = host
        .run(Image::Service)
        .entrypoint("sh")
        .env("GREETING", "from the host")
        .env("NEW", "a=b c ü")
        .env("BLANK", "");
    let text =
        run.args(["--", "-c", "echo \"$GREETING|$NEW|$BLANK|${BLANK+set}\"; env | grep -c ^GREETING"]).ok();
    assert_eq!(text, "from the host|a=b c ü||set\n1\n");
    let long = "x".repeat(100_000);
    assert_eq!(
        host.run(Image::Busybox).env("LONG", &long).args(["sh", "-c", "echo ${#LONG}"]).ok(),
        "100000\n"
    );
}

fn default_environment(host: Place) {
    let text = host.run(Image::Busybox).args(["env"]).ok();
    let mut names: Vec<&str> = text.lines().filter_map(|l| l.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "HOSTNAME", "PATH"], "{text}");
    assert!(text.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"), "{text}");
    assert!(text.contains("HOME=/root\n"), "{text}");
}

fn host_name(host: Place) {
    let text =
        host.sh("hostname; cat /etc/hostname; echo $HOSTNAME; uname -n; cat /proc/sys/kernel/hostname").ok();
    let names: Vec<&str> = text.lines().collect();
    assert_eq!(names.len(), 5, "{text}");
    assert!(names.iter().all(|n| *n == names[0]), "{text}");
    assert!(names[0].len() == 12 && names[0].chars().all(|c| c.is_ascii_hexdigit()), "{text}");
}

fn etc_files(host: Place) {
    let script = "grep -w localhost /etc/hosts | grep -c 127.0.0.1; grep -cw $HOSTNAME /etc/hosts; cat /etc/resolv.conf > /dev/null && echo readable; \
        echo 10.0.0.1 added >> /etc/hosts && grep -c added /etc/hosts";
    assert_eq!(host.sh(script).ok(), "1\n1\nreadable\n1\n");
    // What docker adds to an image that has neither.
    let script = "stat -c '%n %F %s %a' /.dockerenv; grep -c ' / overlay ' /etc/mtab";
    assert_eq!(host.sh(script).ok(), "/.dockerenv regular empty file 0 755\n1\n");
    let code = "import socket; print(socket.gethostbyname('localhost'), socket.gethostbyname(socket.gethostname())[:4])";
    assert_eq!(host.run(Image::Python3).args(["python3", "-c", code]).ok(), "127.0.0.1 127.\n");
}

fn kernel_file_systems(host: Place) {
    let script = "for d in /proc /sys /dev /dev/pts /dev/shm /dev/mqueue /sys/fs/cgroup; do \
        grep -m1 \" $d \" /proc/mounts | cut -d' ' -f 2,3; done; grep ' / ' /proc/mounts | cut -d' ' -f 3";
    assert_eq!(
        host.sh(script).ok(),
        "/proc proc\n/sys sysfs\n/dev tmpfs\n/dev/pts devpts\n/dev/shm tmpfs\n/dev/mqueue mqueue\n/sys/fs/cgroup cgroup2\noverlay\n"
    );
}

fn devices(host: Place) {
    let script = "cd /dev; stat -c '%n %F %t:%T %a' null zero full random urandom tty; for l in fd stdin stdout stderr ptmx; do readlink $l; done; \
        head -c 5 zero | od -An -tx1; (echo x > full) 2>/dev/null || echo full; echo x > null; cat null; head -c 9 random | wc -c";
    assert_eq!(
        host.sh(script).ok(),
        "null character special file 1:3 666\nzero character special file 1:5 666\nfull character special file 1:7 666\n\
         random character special file 1:8 666\nurandom character special file 1:9 666\ntty character special file 5:0 666\n\
         /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n 00 00 00 00 00\nfull\n9\n"
    );
}

fn terminals(host: Place) {
    let code = "import pty, os\n\
        pid, fd = pty.fork()\n\
        if pid == 0: os.execvp('sh', ['sh', '-c', 'tty; stty size; exit 5'])\n\
        text = b''\n\
        while True:\n\
        \x20   try: piece = os.read(fd, 100)\n\
        \x20   except OSError: break\n\
        \x20   if not piece: break\n\
        \x20   text += piece\n\
        print(text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
    let text = host.run(Image::Python3).args(["python3", "-c", code]).user("nobody").ok();
    assert!(text.starts_with("b'/dev/pts/") && text.ends_with("\\r\\n0 0\\r\\n' 5\n"), "{text}");
}

fn shared_memory(host: Place) {
    let text = host
        .run(Image::Busybox)
        .user("nobody")
        .args(["sh", "-c", "echo x > /dev/shm/f && cat /dev/shm/f; stat -c %a /dev/shm /tmp"])
        .ok();
    assert_eq!(text, "x\n1777\n1777\n");
}

fn kernel_files_are_protected(host: Place) {
    let script = "exec 2>&1; (echo 1 > /proc/sys/vm/drop_caches); touch /sys/x; wc -c < /proc/interrupts; ls /sys/firmware | wc -l; mknod /dev/mem2 c 1 1 && head -c 1 /dev/mem2; echo alive";
    let text = host.sh(script).ok();
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert!(text.contains("\n0\n0\n") && text.ends_with("alive\n"), "{text}");
}

fn process_1_is_the_command(host: Place) {
    let text = host.sh("echo $$; cat /proc/1/comm; ps | grep -vc PID; ls /proc | grep -c '^[0-9]'").ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["1", "sh"], "{text}");
    // Itself and the pipeline, but none of the machine's own.
    assert!(lines[2].parse::<u32>().unwrap() <= 3 && lines[3].parse::<u32>().unwrap() <= 3, "{text}");
}

fn orphans_are_reaped_by_process_1(host: Place) {
    let script = "for n in $(seq 50); do (true & ); done; sleep 0.3; ps -o stat | grep -c Z; true";
    assert_eq!(host.sh(script).ok(), "0\n");
}

fn namespaces_and_cgroup(host: Place) {
    let script = "cat /proc/self/cgroup; for n in cgroup ipc mnt net pid uts user; do test -e /proc/self/ns/$n || echo no $n; done; \
        ls /sys/fs/cgroup | grep -c -e '^memory.max$' -e '^pids.max$' -e '^cgroup.procs$'";
    assert_eq!(host.sh(script).ok(), "0::/\n3\n");
}

fn limits(host: Place) {
    assert_eq!(host.sh("umask; ulimit -n; ulimit -c").ok(), "0022\n1048576\n0\n");
}

fn loopback_network(host: Place) {
    let script = "ping -c 1 -W 5 127.0.0.1 | grep -c ' 0% packet loss'; (echo served | nc -l -p 80 > /dev/null) & \
        sleep 0.3; nc -w 5 127.0.0.1 80 < /dev/null";
    assert_eq!(host.sh(script).ok(), "1\nserved\n");
    let code = "import socket\n\
        s = socket.create_server(('::1', 0), family=socket.AF_INET6); c = socket.create_connection(s.getsockname()[:2]); print('v6')\n\
        a, b = socket.socketpair(); a.send(b'unix'); print(b.recv(9))";
    assert_eq!(host.run(Image::Python3).args(["python3", "-c", code]).ok(), "v6\nb'unix'\n");
}

fn kernel_features(host: Place) {
    let script = "for f in overlay erofs squashfs ext4 tmpfs 9p fuse proc sysfs cgroup2 mqueue; do grep -qw $f /proc/filesystems || echo no $f; done; \
        for f in sysvipc/shm sysvipc/sem sysvipc/msg net/if_inet6 sys/fs/binfmt_misc; do test -e /proc/$f || echo no $f; done; \
        grep -E 'Seccomp:' /proc/self/status; grep -w -e tun -e fuse -e loop /proc/misc | wc -l";
    let text = host.sh(script).ok();
    assert!(!text.contains("no "), "{text}");
    assert!(text.contains("Seccomp:"), "{text}");
}
