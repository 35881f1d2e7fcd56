//! Cores: which this process may use, and which the scheduler leaves alone.

use super::finding::Finding;
use super::{Demands, Verdict, read};
use rustix::thread::{CpuSet, sched_getaffinity};
use std::collections::BTreeSet;

pub(super) fn findings(demands: &Demands) -> Vec<Finding> {
    let allowed = sched_getaffinity(None).map(|set| cores_of(&set)).unwrap_or_default();
    let isolated = read("/sys/devices/system/cpu/isolated").map(|list| parse(&list)).unwrap_or_default();
    let mut findings = vec![cpuset(&allowed, cgroup_cores().as_ref())];
    findings.extend(demands.cores.iter().map(|(who, core)| pinned(who, *core, &allowed, &isolated)));
    if demands.cores.is_empty() {
        let told = if isolated.is_empty() { "none".to_owned() } else { list(&isolated) };
        findings.push(Finding::ok("isolated cores", told));
    }
    findings
}

fn cores_of(set: &CpuSet) -> BTreeSet<usize> {
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// The cores of our cgroup (version 2), where it says them.
fn cgroup_cores() -> Option<BTreeSet<usize>> {
    let own = read("/proc/self/cgroup")?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    read(&format!("/sys/fs/cgroup{path}/cpuset.cpus.effective"))
        .map(|list| parse(&list))
        .filter(|cores| !cores.is_empty())
}

fn cpuset(allowed: &BTreeSet<usize>, cgroup: Option<&BTreeSet<usize>>) -> Finding {
    let mut told = format!("{} ({} cores)", list(allowed), allowed.len());
    if let Some(cgroup) = cgroup.filter(|cgroup| *cgroup != allowed) {
        told = format!("{told}; the cgroup has {}", list(cgroup));
    }
    if allowed.len() < 3 {
        return Finding::bad(
            Verdict::Warning,
            "cpuset",
            format!("{told}: a worker that spins leaves little for the publisher and Redis"),
            "give the process three cores or more (Kubernetes: whole cores, requests equal to limits, static CPU manager)",
        );
    }
    Finding::ok("cpuset", told)
}

fn pinned(who: &str, core: usize, allowed: &BTreeSet<usize>, isolated: &BTreeSet<usize>) -> Finding {
    let what = format!("core of {who}");
    if !allowed.contains(&core) {
        let told = format!("{core} is not among those that this process may use: {}", list(allowed));
        return Finding::bad(
            Verdict::Wrong,
            &what,
            told,
            "choose one of them, or give the process more cores",
        );
    }
    if !isolated.contains(&core) {
        let told = format!("{core} is not isolated: other processes and interrupts take it away for moments");
        let todo = format!(
            "start the kernel with isolcpus={core} nohz_full={core} rcu_nocbs={core}, and move interrupts away"
        );
        return Finding::bad(Verdict::Warning, &what, told, &todo);
    }
    Finding::ok(&what, format!("{core}, isolated"))
}

/// The kernel's list format: `0-3,8,10-11`.
fn parse(list: &str) -> BTreeSet<usize> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<usize>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (last < CpuSet::MAX_CPU).then_some(first..=last)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn list(cores: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => ranges.push((core, core)),
        }
    }
    let range = |(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_the_kernels() {
        for text in ["", "0", "0-3,8,10-11"] {
            assert_eq!(list(&parse(text)), text);
        }
        assert!(parse("x,-,3-,99999999999").is_empty());
    }

    #[test]
    fn a_core_that_is_not_ours_is_wrong_and_one_that_is_shared_a_warning() {
        let (allowed, isolated) = (parse("0-3"), parse("2-3"));
        assert_eq!(pinned("w", 7, &allowed, &isolated).verdict, Verdict::Wrong);
        assert_eq!(pinned("w", 1, &allowed, &isolated).verdict, Verdict::Warning);
        assert_eq!(pinned("w", 2, &allowed, &isolated).verdict, Verdict::Ok);
        assert_eq!(cpuset(&allowed, None).verdict, Verdict::Ok);
        assert_eq!(cpuset(&parse("0-1"), None).verdict, Verdict::Warning);
    }
}
