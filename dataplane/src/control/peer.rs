//! Who is at the other end of a unix socket, and whether it may speak.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Supplementary groups of a peer that are looked at. Linux allows 65,536; nobody who administers a trading machine is in
/// more than this many.
const GROUPS_MAX: usize = 256;

/// The process at the other end, as it was when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) pid: i32,
    pub(super) uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> io::Result<Peer> {
        let mut known = libc::ucred { pid: 0, uid: 0, gid: 0 };
        // SAFETY: a ucred is plain integers.
        unsafe { option(stream, libc::SO_PEERCRED, std::slice::from_mut(&mut known))? };
        let mut groups = vec![0_u32; GROUPS_MAX];
        // SAFETY: group ids are plain integers.
        let bytes = unsafe { option(stream, SO_PEERGROUPS, &mut groups) }.unwrap_or(0);
        groups.truncate(bytes / size_of::<u32>());
        Ok(Peer { pid: known.pid, uid: known.uid, gid: known.gid, groups })
    }

    /// Root, the user of this process, and the group that the socket belongs to now.
    pub(super) fn may_speak(&self, socket: &Path) -> bool {
        // SAFETY: the call takes nothing and cannot fail.
        let own = unsafe { libc::geteuid() };
        let group = std::fs::metadata(socket).map(|metadata| metadata.gid());
        self.is_one_of(own, group.ok())
    }

    fn is_one_of(&self, user: u32, group: Option<u32>) -> bool {
        let in_group = |group: u32| self.gid == group || self.groups.contains(&group);
        self.uid == 0 || self.uid == user || group.is_some_and(in_group)
    }
}

/// `SO_PEERGROUPS`, `asm-generic/socket.h`; not in libc.
const SO_PEERGROUPS: libc::c_int = 59;

/// Reads a socket option into `value`; how many bytes it has.
///
/// # Safety
/// `T` must be valid whatever bytes it is made of.
unsafe fn option<T>(stream: &UnixStream, name: libc::c_int, value: &mut [T]) -> io::Result<usize> {
    let mut bytes = size_of_val(value) as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` bytes to where `value` is.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            value.as_mut_ptr().cast(),
            &raw mut bytes,
        )
    };
    if result == 0 { Ok(bytes as usize) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_end_of_a_pair_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        assert_eq!(peer.pid, std::process::id().cast_signed());
        // SAFETY: the call takes nothing and cannot fail.
        assert_eq!(peer.uid, unsafe { libc::geteuid() });
    }

    #[test]
    fn root_the_own_user_and_the_sockets_group_may_speak() {
        let peer = |uid, gid, groups: &[u32]| Peer { pid: 1, uid, gid, groups: groups.to_vec() };
        let table = [
            (peer(0, 0, &[]), true),
            (peer(1000, 1, &[]), true),
            (peer(2000, 50, &[]), true),
            (peer(2000, 1, &[7, 50]), true),
            (peer(2000, 1, &[7]), false),
            (peer(2000, 0, &[0]), false),
        ];
        for (peer, may) in table {
            assert_eq!(peer.is_one_of(1000, Some(50)), may, "{peer:?}");
        }
        assert!(!peer(2000, 50, &[]).is_one_of(1000, None), "a socket that is gone has no group");
    }
}
