//! Programs run, with the arguments, files and environment that they should have.

use forelift_tests::{
    hosts::{Guest, Host, Place},
    images::Image,
    table::{Check, Group},
};

pub(crate) const CASES: Group = &[
    ("hello", Check::Everywhere(&Host::EVERY, hello)),
    ("default_command", Check::On(&Host::ALL, default_command)),
    ("kernel_answers", Check::Everywhere(&Host::ALL, kernel_answers)),
    ("arguments_arrive_unchanged", Check::Everywhere(&Host::ALL, arguments_arrive_unchanged)),
    ("many_arguments", Check::On(&Host::ALL, many_arguments)),
    ("entrypoint_and_cmd", Check::Everywhere(&Host::ALL, entrypoint_and_cmd)),
    ("arguments_replace_cmd", Check::On(&Host::ALL, arguments_replace_cmd)),
    ("entrypoint_replaced", Check::On(&Host::ALL, entrypoint_replaced)),
    ("entrypoint_removed", Check::On(&Host::ALL, entrypoint_removed)),
    ("help", Check::On(&Host::ALL, help)),
    ("debian", Check::Everywhere(&Host::ALL, debian)),
    ("debian_tools", Check::On(&Host::ENGINES, debian_tools)),
    ("python", Check::Everywhere(&Host::ALL, python)),
    ("python_script_on_stdin", Check::On(&Host::ALL, python_script_on_stdin)),
    ("python_processes_and_threads", Check::On(&Host::ENGINES, python_processes_and_threads)),
    ("python_library_tests", Check::On(&Host::ENGINES, python_library_tests)),
    ("files_of_the_image", Check::On(&Host::ALL, files_of_the_image)),
    ("layers", Check::On(&Host::ALL, layers)),
    ("root_is_writable", Check::On(&Host::ALL, root_is_writable)),
    ("many_processes", Check::On(&Host::ALL, many_processes)),
    ("pipelines", Check::Everywhere(&Host::ALL, pipelines)),
    ("compression", Check::On(&Host::ENGINES, compression)),
    ("out_of_memory", Check::On(&Host::OURS, out_of_memory)),
    ("memory_fills_up_with_files", Check::On(&Host::OURS, memory_fills_up_with_files)),
];

pub(crate) fn hello(host: Place) {
    assert_eq!(host.run(Image::Busybox).args(["echo", "hello"]).ok(), "hello\n");
}

fn default_command(host: Place) {
    // A shell whose standard input is at its end does nothing, successfully.
    assert_eq!(host.run(Image::Busybox).ok(), "");
    assert_eq!(host.run(Image::Busybox).stdin("echo from a script; exit 0\n").ok(), "from a script\n");
}

fn kernel_answers(host: Place) {
    let text = host.run(Image::Busybox).args(["uname", "-a"]).ok();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words[0], "Linux", "{text}");
    assert!(words[2].starts_with("6."), "{text}");
    assert!(words.contains(&host.machine()), "{text}");
    let cpu = host.run(Image::Busybox).args(["cat", "/proc/cpuinfo"]).ok();
    let word = if host.guest == Guest::Amd64 { " ssse3 cx16 sse4_1 sse4_2 " } else { "rv64imafdc" };
    assert!(cpu.contains(word), "{cpu}");
}

pub(crate) fn arguments_arrive_unchanged(host: Place) {
    let words = ["a b", "", "\"quoted\"", "$HOME", "*", "-n", "--help", "ü €", "\\", "line\nline", "--"];
    let script = "for word; do echo \"[$word]\"; done";
    let got = host.run(Image::Busybox).args(["sh", "-c", script, "sh"]).args(words).ok();
    let expected: String = words.iter().map(|w| format!("[{w}]\n")).collect();
    assert_eq!(got, expected);
}

fn many_arguments(host: Place) {
    let words: Vec<String> = (0..2000).map(|n| format!("{n}-{}", "x".repeat(20))).collect();
    let got = host.run(Image::Busybox).args(["sh", "-c", "echo $# ${2000}", "sh"]).args(words).ok();
    assert_eq!(got, format!("2000 1999-{}\n", "x".repeat(20)));
}

fn service_says(arguments: &str) -> String {
    format!(
        "entry: --from-entrypoint\narguments: {arguments}\nuser: 1000:1001 app\ndirectory: /srv/app/work\n\
         greeting: hello from the image\nhome: /home/app\n"
    )
}

pub(crate) fn entrypoint_and_cmd(host: Place) {
    assert_eq!(host.run(Image::Service).ok(), service_says("default command"));
}

fn arguments_replace_cmd(host: Place) {
    assert_eq!(host.run(Image::Service).args(["x", "y z"]).ok(), service_says("x y z"));
}

fn entrypoint_replaced(host: Place) {
    // As docker: another entry point drops the image's command.
    assert_eq!(host.run(Image::Service).entrypoint("echo").ok(), "\n");
    assert_eq!(host.run(Image::Service).entrypoint("echo").args(["a", "b"]).ok(), "a b\n");
}

fn entrypoint_removed(host: Place) {
    assert_eq!(host.run(Image::Service).entrypoint("").args(["echo", "alone"]).ok(), "alone\n");
}

pub(crate) fn help(host: Place) {
    let text = host.run(Image::Busybox).args(["--help"]).ok();
    for word in ["--entrypoint", "--no-stdin", "--user", "--workdir", host.debian()] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

pub(crate) fn debian(host: Place) {
    let script = ". /etc/os-release; echo $VERSION_CODENAME; dpkg --print-architecture; apt-get --version | head -n 1; \
        dpkg -l | grep -c '^ii'";
    let text = host.run(Image::Minbase).args(["bash", "-c", script]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["trixie", host.debian()], "{text}");
    let ends = lines[2].ends_with(&format!("({})", host.debian()));
    assert!(lines[2].starts_with("apt ") && ends, "{text}");
    assert!(lines[3].parse::<u32>().unwrap() > 50, "{text}");
}

fn debian_tools(host: Place) {
    let script = r#"
        set -e
        perl -e 'printf "%s %.3f\n", join(",", map { $_ ** 2 } 1..5), atan2(1, 1) * 4'
        printf 'b 2\na 1\nc 3\n' | sort | awk '{ s += $2 } END { print s, NR }'
        find /usr/bin -name 'dpkg*' | wc -l
        dpkg --verify coreutils; echo verified
        tar -C /etc -cf - passwd group | tar -tf - | tr '\n' ' '
        diff <(echo same) <(echo same) && echo equal"#;
    let text = host.run(Image::Minbase).args(["bash", "-c", script]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["1,4,9,16,25 3.142", "6 3"], "{text}");
    assert!(lines[2].parse::<u32>().unwrap() > 5, "{text}");
    assert_eq!(lines[3..], ["verified", "passwd group equal"], "{text}");
}

pub(crate) fn python(host: Place) {
    let code = "import sys, platform, json, hashlib, math, decimal\n\
        print(sys.version_info[0], platform.machine(), sys.platform)\n\
        print(json.dumps({'a': [1, 2.5, None]}), hashlib.sha256(b'abc').hexdigest()[:16])\n\
        print(math.sqrt(2), 0.1 + 0.2, decimal.Decimal(1) / 7, 2 ** 200 % 1000007)";
    let text = host.run(Image::Python3).args(["python3", "-c", code]).ok();
    assert_eq!(
        text,
        format!(
            "3 {} linux\n{{\"a\": [1, 2.5, null]}} ba7816bf8f01cfea\n\
             1.4142135623730951 0.30000000000000004 0.1428571428571428571428571429 446616\n",
            host.machine()
        )
    );
}

fn python_script_on_stdin(host: Place) {
    assert_eq!(host.run(Image::Python3).stdin("print(sum(range(1000)))\n").ok(), "499500\n");
}

fn python_processes_and_threads(host: Place) {
    let code = "import multiprocessing, threading, subprocess, socket\n\
        def square(n): return n * n\n\
        if __name__ == '__main__':\n\
        \x20   with multiprocessing.Pool(3) as pool: print(sum(pool.map(square, range(100))))\n\
        \x20   total, lock = [0], threading.Lock()\n\
        \x20   def add():\n\
        \x20       for _ in range(500):\n\
        \x20           with lock: total[0] += 1\n\
        \x20   threads = [threading.Thread(target=add) for _ in range(8)]\n\
        \x20   [t.start() for t in threads]; [t.join() for t in threads]\n\
        \x20   print(total[0], subprocess.run(['sh', '-c', 'exit 3']).returncode)\n\
        \x20   server = socket.create_server(('127.0.0.1', 0))\n\
        \x20   client = socket.create_connection(server.getsockname())\n\
        \x20   peer, _ = server.accept(); client.sendall(b'loopback'); print(peer.recv(100).decode())\n";
    let text = host.run(Image::Python3).args(["python3", "-c", code]).ok();
    assert_eq!(text, "328350\n4000 3\nloopback\n");
}

/// Parts of python that lean on exact floating point, signals, time and memory maps, checked by python itself
/// against known results.
fn python_library_tests(host: Place) {
    let code = "import struct, cmath, fractions, random, mmap, signal, time, statistics, zlib, tempfile, ctypes\n\
        random.seed(1); print('%.17g %.17g' % (random.random(), random.gauss(0, 1)))\n\
        print(cmath.exp(1j), (0.1).hex(), float.fromhex('0x1.8p-1074'), struct.pack('<e', 1 / 3).hex())\n\
        print(fractions.Fraction(0.1), round(2.675, 2), 1e308 * 10, -0.0, float('nan') != float('nan'))\n\
        hit = []; signal.signal(signal.SIGALRM, lambda *a: hit.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.05)\n\
        time.sleep(0.2); print(hit)\n\
        with tempfile.TemporaryFile() as f:\n\
        \x20   f.truncate(8192); m = mmap.mmap(f.fileno(), 8192); m[5000:5003] = b'abc'; m.flush(); f.seek(5000); print(f.read(3))\n\
        data = bytes(range(256)) * 1000; print(zlib.decompress(zlib.compress(data, 9)) == data, zlib.crc32(data))\n\
        print(ctypes.CDLL(None).strlen(b'seven!!'), statistics.stdev([1, 2, 3, 4, 10]))";
    let text = host.run(Image::Python3).args(["python3", "-c", code]).ok();
    assert_eq!(
        text,
        "0.13436424411240122 0.97624294927188493\n\
         (0.5403023058681398+0.8414709848078965j) 0x1.999999999999ap-4 1e-323 5535\n\
         3602879701896397/36028797018963968 2.67 inf -0.0 True\n[1]\nb'abc'\nTrue 4235243290\n7 3.5355339059327378\n"
    );
}

fn files_of_the_image(host: Place) {
    let script = "cd /opt; stat -c '%a %u:%g %F %h %n' setuid sticky hard-a hard-b fifo null foreign empty; \
        test hard-a -ef hard-b && echo linked; readlink absolute; cat 'ä€ 🐧'; wc -c < empty; \
        stat -c '%Y' data; stat -c '%t:%T' null; echo x > null && echo written";
    let text = host.run(Image::Service).entrypoint("sh").user("root").args(["--", "-c", script]).ok();
    assert_eq!(
        text,
        "4755 0:0 regular file 1 setuid\n1777 0:0 directory 2 sticky\n644 0:0 regular file 2 hard-a\n\
         644 0:0 regular file 2 hard-b\n600 0:0 fifo 1 fifo\n666 0:0 character special file 1 null\n\
         604 12345:54321 regular file 1 foreign\n644 0:0 regular empty file 1 empty\nlinked\n/etc/passwd\n\
         ä€ 🐧\n0\n1600000000\n1:3\nwritten\n"
    );
}

fn layers(host: Place) {
    let script = "cd /opt; ls gone 2>/dev/null; ls opaque merged | tr '\\n' ' '; echo; cat replaced was-file/inside was-dir; \
        stat -c %a opaque replaced; ls -a | grep -c wh";
    let text = host
        .run(Image::Service)
        .entrypoint("sh")
        .user("root")
        .args(["--", "-c", script])
        .go()
        .expect_status(1)
        .out();
    assert_eq!(
        text,
        "merged: lower upper  opaque: new \nthe upper one\nnow a directory\nnow a file\n700\n644\n0\n"
    );
}

fn root_is_writable(host: Place) {
    let script = "set -e; echo new > /new; mkdir -p /a/b; mv /usr/bin/base64 /a/b/moved; rm /usr/bin/cal; \
        echo appended >> /etc/group; cp -a /etc /a/etc; mv /usr/sbin /usr/sbin2; chmod 700 /etc; chown 5:6 /home; \
        ln -s /a /link; ln /new /hard; cat /new; tail -n 1 /link/etc/group; ls /a/b; test ! -e /usr/bin/cal; \
        stat -c '%a %u:%g' /etc /home; stat -c %h /hard; ls /usr/sbin2 | wc -l | grep -qv '^0$'; rm -r /a; df / | tail -n 1 | cut -d' ' -f 1";
    let text = host.sh(script).ok();
    assert_eq!(text, "new\nappended\nmoved\n700 0:0\n755 5:6\n2\noverlay\n");
}

fn many_processes(host: Place) {
    let script =
        "for n in $(seq 300); do true & done; wait; for n in $(seq 60); do sleep 0.2 & done; wait; echo all";
    assert_eq!(host.sh(script).ok(), "all\n");
}

pub(crate) fn pipelines(host: Place) {
    let script = "seq 1 20000 | sort -rn | head -n 1; seq 1 100000 | awk '{ s += $1 } END { print s }'; \
        yes | head -c 1000000 | wc -c; mkfifo /tmp/f; (cat /tmp/f | tr a-z A-Z) & echo fifo > /tmp/f; wait";
    assert_eq!(host.sh(script).ok(), "20000\n5000050000\n1000000\nFIFO\n");
}

fn compression(host: Place) {
    let script = "head -c 2000000 /dev/urandom > /tmp/r; seq 200000 > /tmp/s; for p in gzip bzip2 xz; do \
        for f in r s; do cp /tmp/$f /tmp/c; command -v $p > /dev/null || { echo no $p; continue; }; $p -c < /tmp/c > /tmp/z 2>/dev/null && \
        $p -dc < /tmp/z | cmp - /tmp/$f && echo same; done; done; true";
    let text = host.sh(script).ok();
    // Busybox may lack a compressor (its xz only unpacks); gzip and bzip2 are there.
    assert!(text.matches("same").count() >= 4, "{text}");
}

fn out_of_memory(host: Place) {
    let code = "x = []\nwhile True: x.append(bytearray(1 << 20))";
    let script = format!("python3 -c '{code}' 2>/dev/null; echo ended $?; echo alive");
    let done = host.run(Image::Python3).args(["sh", "-c", &script]).go();
    // Either malloc fails or the kernel kills: both are what Linux does. The container itself continues.
    let out = done.out();
    assert!(out == "ended 137\nalive\n" || out == "ended 1\nalive\n", "{done}");
    done.expect_status(0);
}

fn memory_fills_up_with_files(host: Place) {
    let done = host.sh("dd if=/dev/zero of=/big bs=1M count=2000 2>&1 | grep -c 'No space'; rm /big; echo x > /small && echo again").go();
    done.expect_status(0).expect_out("1\nagain\n");
}
