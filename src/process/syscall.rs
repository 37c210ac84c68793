//! The kernel calls that nix does not wrap, each behind a safe function. The only file with `unsafe`,
//! and the only one that names libc. No policy: what an error means is the caller's business.
//!
//! Invariant: every function here is safe to call with any arguments its types admit, and every
//! descriptor it returns is close-on-exec.
#![expect(unsafe_code, reason = "the one door to the kernel for what nix does not wrap")]

use super::reap::{Exit, Reaped};
use std::ffi::{CStr, CString};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

pub(super) const ENOENT: i32 = libc::ENOENT;
pub(super) const ENOTDIR: i32 = libc::ENOTDIR;
pub(super) const EACCES: i32 = libc::EACCES;
/// Errors of a spawn that say "not now", whatever the command.
pub(super) const SCARCITY: [i32; 5] = [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::ETXTBSY];

/// Turns the result of a call that answers -1 and sets errno.
fn checked<N: Into<i64> + Copy>(result: N) -> io::Result<N> {
    if result.into() == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Turns the result of a call that answers with an error number.
fn numbered(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// How a child begins: leader of its own process group, no signal blocked, every signal at its default
/// (SIGPIPE too, which Rust ignores). The same for all children, so made once.
pub(super) struct SpawnAttributes(libc::posix_spawnattr_t);

impl SpawnAttributes {
    pub(super) fn new() -> io::Result<Self> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: `raw` is writable memory of the right type; on success it is initialised.
        let mut attributes = unsafe {
            numbered(libc::posix_spawnattr_init(raw.as_mut_ptr()))?;
            Self(raw.assume_init())
        };
        let flags = libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
        let mut none = MaybeUninit::uninit();
        // Every bit, where sigfillset leaves out two that the C library uses itself: those would stay ignored.
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the attributes were initialised above, each set is initialised before it is read, and a set of
        // signals is an array of integers, for which all bits one is a value.
        unsafe {
            checked(libc::sigemptyset(none.as_mut_ptr()))?;
            all.as_mut_ptr().write_bytes(0xff, 1);
            numbered(libc::posix_spawnattr_setflags(&mut attributes.0, flags))?;
            numbered(libc::posix_spawnattr_setpgroup(&mut attributes.0, 0))?;
            numbered(libc::posix_spawnattr_setsigmask(&mut attributes.0, none.as_ptr()))?;
            numbered(libc::posix_spawnattr_setsigdefault(&mut attributes.0, all.as_ptr()))?;
        }
        Ok(attributes)
    }
}

impl Drop for SpawnAttributes {
    fn drop(&mut self) {
        // SAFETY: initialised by `new` and destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

/// What a child does between its birth and its exec. Borrows the descriptors, so that none is closed before the spawn.
pub(super) struct FileActions<'fd>(libc::posix_spawn_file_actions_t, PhantomData<BorrowedFd<'fd>>);

impl<'fd> FileActions<'fd> {
    pub(super) fn new() -> io::Result<Self> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: `raw` is writable memory of the right type; on success it is initialised.
        unsafe {
            numbered(libc::posix_spawn_file_actions_init(raw.as_mut_ptr()))?;
            Ok(Self(raw.assume_init(), PhantomData))
        }
    }

    /// The child has `from` as number `to`. Where both are the same the C library clears close-on-exec,
    /// in the child only: that is how a descriptor is kept.
    pub(super) fn duplicate(&mut self, from: BorrowedFd<'fd>, to: RawFd) -> io::Result<()> {
        // SAFETY: the actions are initialised; a bad number is an error of the call.
        numbered(unsafe { libc::posix_spawn_file_actions_adddup2(&mut self.0, from.as_raw_fd(), to) })
    }

    /// The child begins in `folder`.
    pub(super) fn change_directory(&mut self, folder: &CStr) -> io::Result<()> {
        // SAFETY: the actions are initialised and `folder` is a C string, which the call copies.
        numbered(unsafe { libc::posix_spawn_file_actions_addchdir_np(&mut self.0, folder.as_ptr()) })
    }
}

impl Drop for FileActions<'_> {
    fn drop(&mut self) {
        // SAFETY: initialised by `new` and destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

/// Starts `program`; the answer is its pid. posix_spawn copies no page tables and reports a failed exec here.
pub(super) fn spawn<'s>(
    program: &CStr,
    actions: &FileActions<'_>,
    attributes: &SpawnAttributes,
    argv: &[CString],
    environment: impl Iterator<Item = &'s CStr>,
) -> io::Result<i32> {
    let argv: Vec<_> = argv.iter().map(|text| text.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect();
    let environment: Vec<_> = environment.map(|text| text.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect();
    let mut pid = 0;
    // SAFETY: both arrays end in a null pointer and hold C strings that outlive the call, which does not
    // write to them (the prototype's mut is C's); actions and attributes are initialised.
    numbered(unsafe {
        libc::posix_spawn(&mut pid, program.as_ptr(), &actions.0, &attributes.0, argv.as_ptr(), environment.as_ptr())
    })?;
    Ok(pid)
}

/// Collects one ended child, if there is one.
pub(super) fn wait_any() -> io::Result<Option<Reaped>> {
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both pointers are to writable memory of the right types.
    let pid = unsafe { libc::wait4(-1, &mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    if pid == -1 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ECHILD) { Ok(None) } else { Err(error) };
    }
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: all bits zero is a valid rusage, and the kernel has filled it since.
    let usage = unsafe { usage.assume_init() };
    let exit = if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    };
    let cpu = duration(usage.ru_utime).saturating_add(duration(usage.ru_stime));
    Ok(Some(Reaped { pid, exit, cpu, max_rss_kb: usage.ru_maxrss }))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds).saturating_add(Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0)))
}

/// Sets the niceness of a process group.
pub(super) fn renice_group(group: i32, nice: i32) -> io::Result<()> {
    let group = libc::id_t::try_from(group).map_err(io::Error::other)?;
    // SAFETY: no memory is involved.
    checked(unsafe { libc::setpriority(libc::PRIO_PGRP, group, nice) }).map(drop)
}

/// What to do with a lock.
#[derive(Clone, Copy)]
pub(super) enum Flock {
    /// Take it, exclusively, without waiting.
    Exclusive,
    /// Give it up, for every duplicate of the descriptor.
    Unlock,
}

/// flock(2); `false` if another holds it. (nix's `Flock` unlocks when dropped, which would free a child's lock.)
pub(super) fn flock(file: BorrowedFd<'_>, what: Flock) -> io::Result<bool> {
    let operation = match what {
        Flock::Exclusive => libc::LOCK_EX | libc::LOCK_NB,
        Flock::Unlock => libc::LOCK_UN,
    };
    // SAFETY: no memory is involved.
    match checked(unsafe { libc::flock(file.as_raw_fd(), operation) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// The same open file under a number of at least `lowest`.
pub(super) fn duplicate_from(file: BorrowedFd<'_>, lowest: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; the number returned is a new descriptor that nobody else owns.
    unsafe { Ok(OwnedFd::from_raw_fd(checked(libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest))?)) }
}

/// The descriptor that the program before this one left open for it under a number. Every other from 3 up is
/// close-on-exec from its first moment, so one that is not belongs to nobody here yet; from now on it is too.
pub(super) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; a number that is not open is an error of the call.
    let flags = checked(unsafe { libc::fcntl(number, libc::F_GETFD) })?;
    if number <= 2 || flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::other(format!("descriptor {number} was not left open for this program")));
    }
    // SAFETY: the descriptor is open and, as said above, nobody else owns it; marked, it is not given out twice.
    unsafe {
        checked(libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC))?;
        Ok(OwnedFd::from_raw_fd(number))
    }
}

/// fcntl(2)'s F_SETSIG, which libc leaves out; the same number on every architecture that Debian serves.
const F_SETSIG: libc::c_int = 10;

/// True if the file that `alone` has open (read-only) is open anywhere else, counting each opening once
/// however many descriptors share it. Asked by way of a lease, which the kernel grants to a sole opener
/// only; it is given back at once, and whoever would open the file meanwhile waits those microseconds.
pub(super) fn is_open_elsewhere(alone: BorrowedFd<'_>) -> io::Result<bool> {
    let file = alone.as_raw_fd();
    // SAFETY: no memory is involved. SIGURG, ignored by default, stands in for the deadly SIGIO.
    unsafe {
        checked(libc::fcntl(file, F_SETSIG, libc::SIGURG))?;
        match checked(libc::fcntl(file, libc::F_SETLEASE, libc::F_WRLCK)) {
            Ok(_) => checked(libc::fcntl(file, libc::F_SETLEASE, libc::F_UNLCK)).map(|_| false),
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Marks every descriptor from 3 up close-on-exec: what this program itself inherited stays out of its
/// children. (close_range(2) can do it only since Linux 5.11.)
pub(super) fn close_inherited_on_exec() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok());
        if let Some(number) = number.filter(|number| *number > 2) {
            // SAFETY: marking a descriptor closes nothing here and invalidates no owner. One that was closed
            // meanwhile is an error that does not matter.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// A descriptor for a process, readable once it has ended.
pub(super) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; the number returned is a new descriptor that nobody else owns.
    unsafe { owned(libc::syscall(libc::SYS_pidfd_open, pid, 0)) }
}

/// A duplicate of another process's descriptor.
pub(super) fn pidfd_getfd(process: BorrowedFd<'_>, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; the number returned is a new descriptor that nobody else owns.
    unsafe { owned(libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0)) }
}

/// # Safety
/// `number` is -1 (errno set) or a new descriptor that nobody else owns.
unsafe fn owned(number: libc::c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(checked(number)?).map_err(io::Error::other)?;
    // SAFETY: by this function's own condition.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sends a signal to exactly the process behind the descriptor.
pub(super) fn pidfd_send_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks the kernel to fill one in as kill(2) does.
    checked(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, no_info, 0) }).map(drop)
}

unsafe extern "C" {
    /// The C library's environment, a null-terminated array.
    static mut environ: *mut *mut libc::c_char;
}

/// The memory in which the kernel put this process's arguments and environment, and where `ps` reads its title.
pub(super) struct TitleArea {
    start: *mut u8,
    length: usize,
}

impl TitleArea {
    /// Takes the memory `start..end` over, moving the environment out of it first.
    ///
    /// # Safety
    /// The range must be this process's argument and environment memory as the kernel laid it out, no other
    /// thread may use the environment meanwhile, and nobody may read the raw arguments afterwards.
    unsafe fn take(start: usize, end: usize) -> Self {
        let mut moved = Vec::new();
        // SAFETY: `environ` is null or a null-terminated array of C strings, and no other thread touches it.
        // The copies and the new array are leaked: the environment lives as long as the process.
        unsafe {
            let mut entry = environ;
            while !entry.is_null() && !(*entry).is_null() {
                moved.push(CStr::from_ptr(*entry).to_owned().into_raw());
                entry = entry.add(1);
            }
            moved.push(ptr::null_mut());
            environ = Vec::leak(moved).as_mut_ptr();
        }
        Self { start: ptr::with_exposed_provenance_mut(start), length: end.saturating_sub(start) }
    }

    /// Writes a title, cut to the room there is, and clears the rest.
    pub(super) fn write(&mut self, title: &[u8]) {
        let shown = title.len().min(self.length.saturating_sub(1));
        // SAFETY: `take` was promised that these bytes are ours alone; `shown` is below their number and
        // `title` cannot overlap memory that nothing else refers to.
        unsafe {
            ptr::copy_nonoverlapping(title.as_ptr(), self.start, shown);
            ptr::write_bytes(self.start.add(shown), 0, self.length - shown);
        }
    }
}

/// Takes over the memory of the arguments and the environment, `start..end` as /proc/self/stat gives it. Only while this is the
/// only thread: another could be reading the environment.
pub(super) fn take_title_area(start: usize, end: usize) -> io::Result<TitleArea> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("the title can be taken over only before the first thread is started"));
    }
    // SAFETY: the caller, `title.rs`, reads the range from /proc/self/stat; there is no other thread; and
    // its documentation says that the arguments must have been read before.
    Ok(unsafe { TitleArea::take(start, end) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::alone;
    use super::super::title;
    use super::*;

    fn shown() -> String {
        let bytes = std::fs::read("/proc/self/cmdline").unwrap();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    }

    #[test]
    fn the_title_is_refused_beside_threads() {
        // The test's own thread is one too many.
        assert!(title::Title::prepare().is_err());
    }

    #[test]
    fn the_title_is_what_ps_shows_and_the_environment_survives() {
        if !alone(the_title_is_what_ps_shows_and_the_environment_survives) {
            return;
        }
        let mut title = {
            let (start, end) = title::memory().unwrap();
            // SAFETY: the range comes from /proc/self/stat; the only other thread is the harness's, which has read
            // its arguments and sleeps until this test ends.
            unsafe { TitleArea::take(start, end) }
        };
        let before: Vec<_> = std::env::vars_os().collect();
        title.write(b"tenantcron: wcs 3/5 running");
        assert_eq!(shown(), "tenantcron: wcs 3/5 running");
        title.write(b"tenantcron: wcs");
        assert_eq!(shown(), "tenantcron: wcs");
        title.write(&b"x".repeat(100_000));
        assert!(shown().len() > 100, "longer than the arguments, into the environment's room");
        title.write(b"tenantcron: wcs 0/5 running");
        assert_eq!(shown(), "tenantcron: wcs 0/5 running");
        assert_eq!(std::env::vars_os().collect::<Vec<_>>(), before);
    }
}
