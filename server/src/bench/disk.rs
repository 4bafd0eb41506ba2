//! On what disk a figure was measured: no figure of a durable system means anything without it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

const WRITES: usize = 200;

/// The mount that holds `folder`: device and file system, from the kernel's table.
pub(super) fn describe(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (_, point, kind) = (words.next()?, words.next()?, words.next()?);
            folder.starts_with(point).then(|| (point.len(), kind.to_owned()))
        })
        .max();
    mount.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
}

/// Median time of a 4 KiB write into a preallocated file and its fdatasync, microseconds.
pub(super) fn fdatasync_us(folder: &Path) -> std::io::Result<u64> {
    let path = folder.join("fdatasync-probe");
    let file = File::create(&path)?;
    let block = [0x5a_u8; 4096];
    file.write_all_at(&vec![0; block.len() * WRITES], 0)?;
    file.sync_all()?;
    let mut took = Vec::with_capacity(WRITES);
    for index in 0..WRITES {
        let begun = Instant::now();
        file.write_all_at(&block, (index * block.len()) as u64)?;
        file.sync_data()?;
        took.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    std::fs::remove_file(&path)?;
    took.sort_unstable();
    Ok(took[WRITES / 2])
}

/// Peak memory of a process, MiB.
pub(super) fn peak_memory_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
