//! The process at the other end of the local API's socket, to wait for its end.

use std::time::Duration;

use tokio::net::UnixStream;

/// A process; nothing is known of one in another container's namespace.
#[derive(Debug)]
pub struct Process {
    pid: Option<i32>,
    #[cfg(target_os = "linux")]
    handle: Option<std::os::fd::OwnedFd>,
}

impl Process {
    /// The one that listens where `stream` leads, as the kernel says.
    pub(super) fn at(stream: &UnixStream) -> Process {
        Process::of(stream.peer_cred().ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0))
    }

    fn of(pid: Option<i32>) -> Process {
        Process {
            pid,
            #[cfg(target_os = "linux")]
            handle: pid.and_then(linux::handle),
        }
    }

    /// Its id.
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Waits at most `patience` until it has ended: its memory and threads are gone. Whether that came true; `true` where the system
    /// can't tell.
    pub async fn ended(self, patience: Duration) -> bool {
        #[cfg(target_os = "linux")]
        if let Some(handle) = self.handle {
            // The thread ends with its patience.
            return tokio::task::spawn_blocking(move || linux::ended(&handle, patience)).await.unwrap_or(true);
        }
        let _ = patience;
        true
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::OwnedFd;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    /// A handle of the process, which stays that process's when its id is given to another.
    pub(super) fn handle(pid: i32) -> Option<OwnedFd> {
        pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
    }

    /// A handle becomes readable with the process's end, also while nobody has asked for its exit code (pidfd_open(2)).
    pub(super) fn ended(handle: &OwnedFd, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&left)) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                // A system that can't tell.
                Err(_) => return true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_process_is_known_by_its_socket_and_waited_for() {
        let (one, _other) = UnixStream::pair().unwrap();
        let this = Process::at(&one);
        assert_eq!(this.pid(), i32::try_from(std::process::id()).ok());
        assert!(!this.ended(Duration::from_millis(20)).await);

        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).ok());
        drop(child.stdin.take());
        // Nobody has asked for its exit code yet.
        assert!(process.ended(LONG).await);
        child.wait().unwrap();
    }
}
