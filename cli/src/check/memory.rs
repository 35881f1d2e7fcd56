//! Memory for frames: how much may be locked, and whether there are huge pages for it.

use super::finding::Finding;
use super::{Demands, Verdict, kernel, read};
use rustix::process::{Resource, getrlimit};

pub(super) fn findings(demands: &Demands) -> Vec<Finding> {
    let limit = getrlimit(Resource::Memlock).current;
    let may_lock = kernel::may_lock_memory(kernel::effective_capabilities());
    let memory = read("/proc/meminfo").unwrap_or_default();
    vec![memlock(limit, may_lock, demands), huge_pages(&memory, demands)]
}

/// `None` is no limit.
fn memlock(limit: Option<u64>, may_lock: bool, demands: &Demands) -> Finding {
    let needed = demands.frame_bytes();
    let told = limit.map_or_else(|| "unlimited".to_owned(), |limit| format!("{} KiB", limit >> 10));
    match limit {
        _ if may_lock => Finding::ok("memlock", format!("{told}, and CAP_IPC_LOCK, which has none")),
        Some(limit) if limit < needed => Finding::bad(
            demands.without_xdp(),
            "memlock",
            format!("{told}; frames take {} KiB", needed >> 10),
            "raise it (ulimit -l, systemd: LimitMEMLOCK=infinity) or give CAP_IPC_LOCK",
        ),
        _ => Finding::ok("memlock", told),
    }
}

fn huge_pages(memory: &str, demands: &Demands) -> Finding {
    let needed = demands.frame_bytes();
    let number = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let (free, bytes) = (number("HugePages_Free"), number("Hugepagesize").saturating_mul(1_024));
    let told = format!("{free} free, {} KiB each", bytes >> 10);
    if needed == 0 || !demands.receive.huge_pages {
        return Finding::ok("huge pages", format!("{told}; not asked for"));
    }
    if free.saturating_mul(bytes) >= needed {
        return Finding::ok("huge pages", told);
    }
    let pages = if bytes == 0 { "enough".to_owned() } else { needed.div_ceil(bytes).to_string() };
    Finding::bad(
        Verdict::Warning,
        "huge pages",
        format!("{told}; frames take {} MiB, and get ordinary pages", needed >> 20),
        &format!(
            "reserve {pages} (vm.nr_hugepages; Kubernetes: resources.limits.hugepages-2Mi), or `huge_pages: false`"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus::config::BackendChoice;

    fn demands(backend: BackendChoice) -> Demands {
        let mut demands = Demands::of_no_document();
        demands.receive.backend = backend;
        demands
    }

    #[test]
    fn memory_that_may_not_be_locked_is_wrong_where_xdp_must_be() {
        let judged = |limit, may, backend| memlock(limit, may, &demands(backend)).verdict;
        assert_eq!(judged(Some(8 << 20), false, BackendChoice::Xdp), Verdict::Wrong);
        assert_eq!(judged(Some(8 << 20), false, BackendChoice::Auto), Verdict::Warning);
        assert_eq!(judged(Some(0), false, BackendChoice::Socket), Verdict::Ok);
        assert_eq!(judged(Some(8 << 20), true, BackendChoice::Xdp), Verdict::Ok);
        assert_eq!(judged(Some(32 << 20), false, BackendChoice::Xdp), Verdict::Ok);
        assert_eq!(judged(None, false, BackendChoice::Xdp), Verdict::Ok);
    }

    #[test]
    fn huge_pages_are_counted_against_what_frames_take() {
        let memory = |free| format!("MemTotal: 5 kB\nHugePages_Free:  {free}\nHugepagesize:  2048 kB\n");
        let judged = |free, backend| huge_pages(&memory(free), &demands(backend));
        assert_eq!(judged(16, BackendChoice::Xdp).verdict, Verdict::Ok);
        let few = judged(15, BackendChoice::Xdp);
        assert!(few.verdict == Verdict::Warning && few.todo.unwrap().contains("reserve 16"));
        assert_eq!(judged(0, BackendChoice::Socket).verdict, Verdict::Ok);
        assert!(huge_pages("", &demands(BackendChoice::Xdp)).todo.unwrap().contains("reserve enough"));
    }
}
