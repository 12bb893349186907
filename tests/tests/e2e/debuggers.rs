//! Debuggers and tracers in the amd64 guest: breakpoints and watchpoints of the processor, single steps,
//! system calls. And what else developers have in their images.

use forelift_tests::{
    hosts::{Guest, Host, Place},
    images::Image,
    table::{Check, Group},
};

pub(crate) const CASES: Group = &[
    ("gdb", Check::In(Guest::Amd64, &Host::OURS, gdb)),
    ("gdb_attaches", Check::In(Guest::Amd64, &Host::OURS, gdb_attaches)),
    ("gdb_of_a_32_bit_program", Check::In(Guest::Amd64, &[Host::Native], gdb_of_a_32_bit_program)),
    ("strace_and_ltrace", Check::In(Guest::Amd64, &Host::OURS, strace_and_ltrace)),
    ("git", Check::In(Guest::Amd64, &Host::OURS, git)),
];

/// Runs a script in the image with gcc, gdb and others; gives its output.
fn run(host: Place, script: &str) -> String {
    host.run(Image::Amd64Debug).args(["bash", "-c", &format!("cd /tmp; exec 2>&1\n{script}")]).ok()
}

/// What the script prints must be these lines.
#[track_caller]
fn prints(host: Place, script: &str, expected: &str) {
    let out = run(host, script);
    let differs = out.lines().zip(expected.lines()).find(|(line, expected)| line != expected);
    assert!(out == expected, "{differs:?}, all of it: {out}");
}

/// Names for addresses and processes, in what gdb says.
const NAMES: &str = "names() { sed -E 's/0x[0-9a-f]{6,}/ADDR/g; s/(LWP|process) [0-9]+/\\1 N/'; }\n";

fn gdb(host: Place) {
    let script = r#"cat >t.c <<'END'
#include <stdio.h>
static int total;
static long wide[4];
static char text[40] = "a text to be copied", copy[40];
static int square(int n) {
    int r = n * n;
    total += r;
    return r;
}
static int down(int n) { return n == 0 ? square(9) : down(n - 1); }
int main(void) {
    for (int i = 1; i < 4; i++)
        square(i);
    down(3);
    wide[2] = 0x1122;
    __asm__ volatile("rep movsb" : : "S"(text), "D"(copy), "c"(20L) : "memory");
    printf("%d %s\n", total, copy);
    return 5;
}
END
cat >s <<'END'
set debuginfod enabled off
break square
run
backtrace
next
step
info locals
stepi
x/i $pc
finish
delete
tbreak square if n == 9
continue
backtrace
print square(12)
watch total
watch wide[2]
rwatch text[7]
awatch copy[11]
continue
continue
continue
continue
info watchpoints
delete
set var total = 77
hbreak write
continue
info symbol $pc
delete
catch syscall exit_group
continue
info registers rdi cs
delete
continue
END
gcc -g -O0 -o t t.c && gdb -batch -x s ./t | names"#;
    prints(
        host,
        &format!("{NAMES}{script}"),
        r#"Breakpoint 1 at 0x1140: file t.c, line 6.
[Thread debugging using libthread_db enabled]
Using host libthread_db library "/lib/x86_64-linux-gnu/libthread_db.so.1".

Breakpoint 1, square (n=1) at t.c:6
6	    int r = n * n;
#0  square (n=1) at t.c:6
#1  ADDR in main () at t.c:13
7	    total += r;
8	    return r;
r = 1
9	}
=> ADDR <square+36>:	pop    %rbp
main () at t.c:12
12	    for (int i = 1; i < 4; i++)
Value returned is $1 = 1
Temporary breakpoint 2 at ADDR: file t.c, line 6.

Temporary breakpoint 2, square (n=9) at t.c:6
6	    int r = n * n;
#0  square (n=9) at t.c:6
#1  ADDR in down (n=0) at t.c:10
#2  ADDR in down (n=1) at t.c:10
#3  ADDR in down (n=2) at t.c:10
#4  ADDR in down (n=3) at t.c:10
#5  ADDR in main () at t.c:14
$2 = 144
Hardware watchpoint 3: total
Hardware watchpoint 4: wide[2]
Hardware read watchpoint 5: text[7]
Hardware access (read/write) watchpoint 6: copy[11]

Hardware watchpoint 3: total

Old value = 158
New value = 239
square (n=9) at t.c:8
8	    return r;

Hardware watchpoint 4: wide[2]

Old value = 0
New value = 4386
main () at t.c:16
16	    __asm__ volatile("rep movsb" : : "S"(text), "D"(copy), "c"(20L) : "memory");

Hardware read watchpoint 5: text[7]

Value = 116 't'
ADDR in main () at t.c:16
16	    __asm__ volatile("rep movsb" : : "S"(text), "D"(copy), "c"(20L) : "memory");

Hardware access (read/write) watchpoint 6: copy[11]

Old value = 0 '\000'
New value = 101 'e'
ADDR in main () at t.c:16
16	    __asm__ volatile("rep movsb" : : "S"(text), "D"(copy), "c"(20L) : "memory");
Num     Type            Disp Enb Address            What
3       hw watchpoint   keep y                      total
	breakpoint already hit 1 time
4       hw watchpoint   keep y                      wide[2]
	breakpoint already hit 1 time
5       read watchpoint keep y                      text[7]
	breakpoint already hit 1 time
6       acc watchpoint  keep y                      copy[11]
	breakpoint already hit 1 time
Hardware assisted breakpoint 7 at ADDR

Breakpoint 7, ADDR in write () from /lib/x86_64-linux-gnu/libc.so.6
write in section .text of /lib/x86_64-linux-gnu/libc.so.6
Catchpoint 8 (syscall 'exit_group' [231])
77 a text to be copied

Catchpoint 8 (call to syscall exit_group), ADDR in _exit () from /lib/x86_64-linux-gnu/libc.so.6
rdi            0x5                 5
cs             0x33                51
[Inferior 1 (process N) exited with code 05]
"#,
    );
}

fn gdb_attaches(host: Place) {
    let script = r#"cat >a.c <<'END'
#include <stdio.h>
#include <unistd.h>
volatile int go, ticks;
int main(void) { while (!go) { ticks++; usleep(10000); } puts("released"); return 7; }
END
gcc -g -O0 -o a a.c
./a >out & sleep 0.5
gdb -batch -p $! -ex 'frame function main' -ex 'watch ticks' -ex 'print ticks = 41' -ex c -ex 'print ticks' -ex delete -ex 'set var go = 1' \
    -ex 'tbreak puts' -ex c -ex detach | grep -v ^0x | names | sed 's/^#[0-9]/#N/'
wait $!; echo $?; cat out"#;
    prints(
        host,
        &format!("{NAMES}{script}"),
        r#"[Thread debugging using libthread_db enabled]
Using host libthread_db library "/lib/x86_64-linux-gnu/libthread_db.so.1".
#N  ADDR in main () at a.c:4
4	int main(void) { while (!go) { ticks++; usleep(10000); } puts("released"); return 7; }
Hardware watchpoint 1: ticks
$1 = 41

Hardware watchpoint 1: ticks

Old value = 41
New value = 42
4	int main(void) { while (!go) { ticks++; usleep(10000); } puts("released"); return 7; }
$2 = 42
Temporary breakpoint 2 at ADDR

Temporary breakpoint 2, ADDR in puts () from /lib/x86_64-linux-gnu/libc.so.6
[Inferior 1 (process N) detached]
7
released
"#,
    );
}

fn gdb_of_a_32_bit_program(host: Place) {
    let script = r#"cat >b.c <<'END'
static int call(int n, int a, const void *b, int c) {
    int r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory");
    return r;
}
static volatile int total;
static char text[] = "32 bits\n";
static int twice(int n) { total += n; return 2 * n; }
void _start(void) {
    twice(twice(5));
    call(4, 1, text, 8);
    call(1, total, 0, 0);
}
END
gcc -m32 -g -O0 -fno-pie -no-pie -fcf-protection=none -nostdlib -static -o b b.c
gdb -batch -ex 'break twice' -ex run -ex bt -ex 'info registers cs' -ex 'watch total' -ex c -ex 'print sizeof(long)' -ex 'catch syscall write' \
    -ex 'delete 1-2' -ex c -ex 'info registers eax ebx edx' -ex c -ex c ./b | names"#;
    prints(
        host,
        &format!("{NAMES}{script}"),
        r#"Breakpoint 1 at ADDR: file b.c, line 8.

Breakpoint 1, twice (n=5) at b.c:8
8	static int twice(int n) { total += n; return 2 * n; }
#0  twice (n=5) at b.c:8
#1  ADDR in _start () at b.c:10
cs             0x23                35
Hardware watchpoint 2: total

Hardware watchpoint 2: total

Old value = 0
New value = 5
twice (n=5) at b.c:8
8	static int twice(int n) { total += n; return 2 * n; }
$1 = 4
Catchpoint 3 (syscall 'write' [4])

Catchpoint 3 (call to syscall write), ADDR in call (n=4, a=1, b=ADDR <text>, c=8) at b.c:3
3	    __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory");
eax            ADDR          -38
ebx            0x1                 1
edx            0x8                 8
32 bits

Catchpoint 3 (returned from syscall write), ADDR in call (n=4, a=1, b=ADDR <text>, c=8) at b.c:3
3	    __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c) : "memory");
[Inferior 1 (process N) exited with code 017]
"#,
    );
}

fn strace_and_ltrace(host: Place) {
    let script = r#"
cat >piped <<'END'
strace -ff -o ff -e trace=execve,pipe2,dup2,write,kill,exit_group -e signal=USR1 sh -c 'echo hello | tr a-z A-Z; kill -USR1 $$'; echo $?
END
sh piped 2>/dev/null
cat $(ls -v ff.*) | sed -E 's/(kill\(|si_pid=)[0-9]+/\1N/; s/, 0x[0-9a-f]+ .*vars \*\//, ENV/; s/ += / = /'
strace -c -U calls,errors,name -e trace=write,openat,chdir sh -c 'echo a; echo b; cd /none' 2>&1 | grep -v -e --- | sort
mkfifo f; cat f >/dev/null & exec 3>f; sleep 0.3
strace -o p -e trace=read,write -p $! 2>said 3>&- & until grep -sq attached said; do sleep 0.1; done
echo hi >&3; exec 3>&-; wait; cat p
strace -qq -o i -e inject=write:error=ENOSPC:when=2 -e trace=write sh -c 'echo a; echo b || exit 3' 2>/dev/null; echo $?; sed -n 2p i
cat >x.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) { char *p = malloc(10); strcpy(p, "abc"); puts(p); free(p); return atoi("3"); }
END
gcc -O0 -fno-builtin -o x x.c && ltrace -o l ./x; sed -E 's/0x[0-9a-f]+/ADDR/g; s/ +=/ =/; s/(atoi\(ADDR), .*\)/\1)/' l"#;
    prints(
        host,
        script,
        r#"HELLO
138
execve("/usr/bin/sh", ["sh", "-c", "echo hello | tr a-z A-Z; kill -U"...], ENV) = 0
pipe2([3, 4], 0) = 0
kill(N, SIGUSR1) = 0
--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=N, si_uid=0} ---
+++ killed by SIGUSR1 +++
dup2(4, 1) = 1
write(1, "hello\n", 6) = 6
exit_group(0) = ?
+++ exited with 0 +++
dup2(3, 0) = 0
execve("/usr/bin/tr", ["tr", "a-z", "A-Z"], ENV) = 0
write(1, "HELLO\n", 6) = 6
exit_group(0) = ?
+++ exited with 0 +++
        1         1 chdir
        2           openat
        5           write
        8         1 total
    calls    errors syscall
a
b
sh: 1: cd: can't cd to /none
read(3, "hi\n", 262144)                 = 3
write(1, "hi\n", 3)                     = 3
read(3, "", 262144)                     = 0
+++ exited with 0 +++
a
3
write(1, "b\n", 2)                      = -1 ENOSPC (No space left on device) (INJECTED)
abc
malloc(10) = ADDR
strcpy(ADDR, "abc") = ADDR
puts("abc") = 4
free(ADDR) = <void>
atoi(ADDR) = 3
+++ exited (status 3) +++
"#,
    );
}

fn git(host: Place) {
    let script = r#"
export GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z GIT_{AUTHOR,COMMITTER}_{NAME,EMAIL}=a HOME=/tmp
git init -q -b main one && cd one
for n in 1 2 3 4 5; do seq $n 2000 >file$n; git add .; git commit -qm "number $n"; done
git checkout -qb side HEAD~2 && echo x >>file1 && git commit -qam side && git checkout -q main && git merge -qm merged side
cd .. && git clone -q one two && git clone -q --bare one three.git && cd two
git log --oneline --graph --stat | sed 's/ *$//'
git gc -q && git fsck --no-progress && git count-objects -v | grep -e ^in-pack -e ^packs
git bisect start HEAD HEAD~3 >/dev/null && git bisect run sh -c '! grep -q "^x$" file1' | grep -c 'is the first'
git bisect reset >/dev/null 2>&1; echo y >>file2; git stash -q && git stash pop -q && git diff --stat && git push -q ../three.git HEAD:new
git -C ../three.git branch -a; git archive HEAD | tar -t | wc -l; git rev-parse HEAD^{tree}"#;
    prints(
        host,
        script,
        r#"*   196b01a merged
|\
| * 087dd93 side
| |  file1 | 1 +
| |  1 file changed, 1 insertion(+)
* | d491fb3 number 5
| |  file5 | 1996 +++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++
| |  1 file changed, 1996 insertions(+)
* | 279f6e6 number 4
|/
|    file4 | 1997 +++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++
|    1 file changed, 1997 insertions(+)
* 03e9a5f number 3
|  file3 | 1998 +++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++
|  1 file changed, 1998 insertions(+)
* fed33c4 number 2
|  file2 | 1999 +++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++
|  1 file changed, 1999 insertions(+)
* 794a4da number 1
   file1 | 2000 +++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++++
   1 file changed, 2000 insertions(+)
in-pack: 20
packs: 1
1
 file2 | 1 +
 1 file changed, 1 insertion(+)
* main
  new
  side
5
9a9f4fa107bf56bdd83d2423f2ace59fdd34b416
"#,
    );
}
