//! The words an emulator is started with: few devices, no network, nothing it may start itself.
//! Everything it opens is handed to it as an open file, so that no path and no right of the caller's is needed.

use super::boot::PORT;

/// Number of the first file an emulator is given. Everything its parent has open is below.
pub(super) const FIRST_FILE: i32 = 40;

/// A disk of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Who runs a machine's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Processor {
    /// The processor itself.
    Real,
    /// The emulator, which shows the machine the host's counter of this speed.
    Software { counter_khz: u64 },
}

/// The size of a machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) memory_bytes: u64,
    pub(super) processors: u32,
}

/// The command line. The files follow in this order: channel, console, kernel, first files, then the disks.
pub(super) fn words(processor: Processor, size: Size, disks: &[(String, Access)]) -> Vec<String> {
    let (channel, console, kernel, initrd) = (FIRST_FILE, FIRST_FILE + 1, FIRST_FILE + 2, FIRST_FILE + 3);
    let memory = size.memory_bytes.div_ceil(1 << 20);
    let (accelerator, model) = match processor {
        Processor::Real => ("kvm", "host"),
        // Software that claims `cmpxchg16b` gets its flags wrong, and the kernel dies of it.
        Processor::Software { .. } => ("tcg,thread=multi", "max,-cx16"),
    };
    let mut out = Vec::new();
    let mut option = |name: &str, value: String| out.extend([format!("-{name}"), value]);
    // The kernels of distributions find the devices only through ACPI.
    option("machine", "microvm,acpi=on,pcie=off,usb=off,rtc=on,ioapic2=on".to_owned());
    option("accel", accelerator.to_owned());
    option("cpu", model.to_owned());
    option("m", format!("{memory}M"));
    option("smp", size.processors.to_string());
    option("kernel", format!("/proc/self/fd/{kernel}"));
    option("initrd", format!("/proc/self/fd/{initrd}"));
    option("append", kernel_line(processor));
    option("display", "none".to_owned());
    option("nic", "none".to_owned());
    option("sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".to_owned());
    option("add-fd", format!("fd={console},set=1"));
    option("chardev", "file,id=console,path=/dev/fdset/1,append=on".to_owned());
    option("serial", "chardev:console".to_owned());
    option("chardev", format!("socket,id=channel,fd={channel}"));
    option("device", "virtio-serial-device,max_ports=2".to_owned());
    option("device", format!("virtserialport,chardev=channel,name={PORT}"));
    for (number, (name, access)) in disks.iter().enumerate() {
        let (set, file) = (number + 2, FIRST_FILE as usize + 4 + number);
        let read_only = if *access == Access::Read { "on" } else { "off" };
        option("add-fd", format!("fd={file},set={set}"));
        option(
            "blockdev",
            format!(
                "driver=raw,node-name=disk{number},read-only={read_only},file.driver=file,\
                 file.filename=/dev/fdset/{set},file.locking=off,cache.no-flush=on"
            ),
        );
        option("device", format!("virtio-blk-device,drive=disk{number},serial={name}"));
    }
    out.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
    out
}

/// What the kernel is told, and behind the dashes its first process.
fn kernel_line(processor: Processor) -> String {
    // Only what ends the machine reaches the console. A kernel that dies starts again, which ends the emulator.
    let kernel = "console=ttyS0 quiet loglevel=1 panic=-1 reboot=t random.trust_cpu=on";
    let clock = match processor {
        Processor::Real => String::new(),
        // A kernel that measures the clock of an emulator on a busy host gets nonsense, and hangs for want of
        // another. What it would measure is the host's own counter.
        Processor::Software { counter_khz } => format!("tsc_early_khz={counter_khz} tsc=reliable"),
    };
    format!("{kernel} {clock} -- {} {}", crate::launcher::HIDDEN_ARGUMENT, super::boot::ENTRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> String {
        let size = Size { memory_bytes: 300 << 20, processors: 2 };
        let disks = [("root".to_owned(), Access::Read), ("export".to_owned(), Access::Write)];
        words(Processor::Software { counter_khz: 2_596_103 }, size, &disks).join(" ")
    }

    #[test]
    fn there_is_no_network_and_nothing_by_default() {
        let line = line();
        for word in ["-nic none", "-nodefaults", "-no-user-config", "-no-reboot", "spawn=deny"] {
            assert!(line.contains(word), "{word}");
        }
        for word in ["net", "usb=on", "pcie=on", "vsock", "9p", "monitor", "qmp"] {
            assert!(
                !line.contains(&format!("-{word}")) && !line.contains(&format!("virtio-{word}")),
                "{word}"
            );
        }
    }

    #[test]
    fn only_what_comes_out_can_be_written() {
        let line = line();
        assert_eq!(line.matches("read-only=off").count(), 1);
        assert!(line.contains("fd=45,set=3"));
    }

    #[test]
    fn only_an_emulated_kernel_is_told_the_time() {
        assert!(line().contains("tsc_early_khz=2596103"));
        assert!(!kernel_line(Processor::Real).contains("tsc"));
    }
}
