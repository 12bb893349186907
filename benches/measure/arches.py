"""The guests' architectures, and everything in which measuring one differs from measuring another."""

from dataclasses import dataclass

# Places and interrupts of the microvm's virtio transports. QEMU would append those in use to the kernel's
# command line, after the guest's command.
TRANSPORTS = tuple(f"virtio_mmio.device=512@{0xfeb00000 + 512 * n:#x}:{5 + n}" for n in range(8))
# What an amd64 processor without AVX has, as Forelift's: programs choose the same code on both sides (a QEMU
# that has no instructions for SHA warns). QEMU is spared long copies by `rep movsb`, which Forelift
# advertises as fast.
X86_64_V2 = "Westmere,-spec-ctrl,+movbe,+bmi1,+bmi2,+abm,+rdtscp,+sha-ni"


@dataclass(frozen=True)
class Arch:
    """One of them."""

    name: str
    # In the names of Debian's ports and of container images.
    debian: str
    # QEMU's machine, with no more than virtio-mmio devices and an 8250.
    machine: tuple
    # For the kernel on that machine.
    cmdline: tuple
    # Whether the kernel must be told the frequency of QEMU's time-stamp counter: the machine has nothing to
    # find it by.
    tell_ticks: bool
    # Whether code is translated ahead of time.
    lifted: bool
    # What benches/compare can measure.
    parts: tuple
    # What is asked for, by workload, as Forelift's speed over QEMU 10.0's: the floor, below which something
    # is wrong, and the mark.
    speeds: dict
    # The same of the geometric mean over these workloads.
    mean: tuple
    # Seconds that `echo hello` takes at most when the host has not seen the .wasm before.
    first_hello: float
    # Bytes that an image has at most beyond its root file system.
    beyond_root: int

    @property
    def gcc(self):
        return f"{self.name}-linux-gnu-gcc"


ARCHES = {
    arch.name: arch
    for arch in (
        Arch(
            name="riscv64",
            debian="riscv64",
            machine=("-machine", "virt"),
            cmdline=(),
            tell_ticks=False,
            lifted=True,
            parts=("guest", "host", "untrained", "node", "start"),
            speeds={
                "mix": (1.0, 1.4),
                "gzip": (0.9, 1.3),
                "sha256": (0.9, 1.4),
                "nbody": (0.7, 1.2),
                "python-loop": (1.0, 1.5),
                "python-start": (1.5, 3.0),
                "forks": (2.5, 5.0),
                "dd": (4.0, 8.0),
            },
            mean=(1.5, 2.5),
            first_hello=2.0,
            beyond_root=24 << 20,
        ),
        Arch(
            name="x86_64",
            debian="amd64",
            machine=("-machine", "microvm,acpi=off,x-option-roms=off,pit=on,pic=on,rtc=on,isa-serial=on,"
                                 "auto-kernel-cmdline=off", "-cpu", X86_64_V2),
            # It has no switch for power, but a triple fault ends it.
            cmdline=("reboot=t", *TRANSPORTS),
            tell_ticks=True,
            lifted=False,
            parts=("guest", "host", "node", "start"),
            speeds={
                "mix": (0.12, None),
                "gzip": (0.10, None),
                "sha256": (0.10, None),
                "python-start": (0.35, None),
                "forks": (0.3, None),
            },
            mean=(None, None),
            first_hello=1.5,
            beyond_root=30_000_000,
        ),
    )
}
