//! Where memory is on machines with more than one NUMA node: near the core that reads it.

use super::fallback::Fallback;
use super::system;
use std::path::Path;
use std::ptr::NonNull;

/// Asks for memory, not touched yet, on the node of `core`, where there is more than one node.
pub(super) fn place_near(core: usize, start: NonNull<u8>, bytes: usize, fallbacks: &mut Vec<Fallback>) {
    let system = Path::new("/sys/devices/system");
    if node_count(system) < 2 {
        return;
    }
    let result = match node_of_core(system, core) {
        Some(node) => system::prefer_node(start, bytes, node).map_err(|error| error.to_string()),
        None => Err("the system does not name its node".into()),
    };
    if let Err(reason) = result {
        fallbacks.push(Fallback { wanted: format!("packet memory near core {core}"), reason });
    }
}

/// Nodes of the machine, from the folders of `/sys/devices/system/node`.
fn node_count(system: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(system.join("node")) else { return 1 };
    entries.flatten().filter(|entry| number_after("node", &entry.file_name()).is_some()).count()
}

/// The node of a core, from the link to it in the core's folder.
fn node_of_core(system: &Path, core: usize) -> Option<u32> {
    let entries = std::fs::read_dir(system.join(format!("cpu/cpu{core}"))).ok()?;
    entries.flatten().find_map(|entry| number_after("node", &entry.file_name()))
}

fn number_after(prefix: &str, name: &std::ffi::OsStr) -> Option<u32> {
    name.to_str()?.strip_prefix(prefix)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_found_on_its_node() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["node/node0", "node/node1", "node/power", "cpu/cpu5/node1", "cpu/cpu5/cache"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        assert_eq!(node_count(folder.path()), 2);
        assert_eq!(node_of_core(folder.path(), 5), Some(1));
        assert_eq!(node_of_core(folder.path(), 6), None);
        assert_eq!(node_count(Path::new("/nonexistent")), 1);
    }

    #[test]
    fn memory_can_be_asked_from_a_node_that_is_there_and_not_from_one_that_cannot_be() {
        let (start, bytes, _) = system::map_packet_memory(1 << 20, false).unwrap();
        let asked = system::prefer_node(start, bytes, 0);
        // A kernel without NUMA has no such call, and a sandbox may forbid it.
        let number = asked.as_ref().err().and_then(std::io::Error::raw_os_error);
        assert!(asked.is_ok() || matches!(number, Some(libc::ENOSYS | libc::EPERM)), "{asked:?}");
        assert!(system::prefer_node(start, bytes, 5000).is_err());
        // SAFETY: the mapping just made, to which nothing else refers.
        unsafe { system::unmap(start, bytes) };
    }
}
