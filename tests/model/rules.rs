//! What is checked: which of the cases, with which faults and how many of them, and what is broken on purpose.

/// The protocol, within bounds.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Both supervisors on one host, under one node's name: a daemon and a `--once` that overlaps with it, say. Else
    /// each is alone on its own.
    pub one_host: bool,
    /// `takeover_after` in ticks; none: `never`, and then time need not pass.
    pub lease: Option<u8>,
    /// How many of the tenants are needed at first.
    pub needed: usize,
    /// What may go wrong.
    pub faults: &'static [Fault],
    /// How often, in all.
    pub most_faults: u8,
    /// How often a done tenant becomes needed again.
    pub requests: u8,
    /// What is broken on purpose.
    pub broken: &'static [Mutation],
    /// Take states that differ only in which node or tenant is which for one.
    pub symmetric: bool,
}

/// By so many ticks a run ends before its lease does; so late, at most, a running supervisor acts.
pub const MARGIN: u8 = 1;

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to a supervisor, at any point, also between the spawn of a child and its being written down.
    Kill,
    /// A host dies, and boots.
    HostDies,
    /// No answer comes to an exchange: it may still commit, or not.
    NoAnswer,
    /// SIGSTOP to a supervisor alone.
    Stop,
    /// A host stands still, its children with it.
    Freeze,
    /// A supervisor and the database are cut off from each other.
    Cut,
}

/// What is broken on purpose, to see that it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// A claim reads its row without locking it.
    ClaimWithoutRowLock,
    /// No unique index on open runs.
    NoUniqueIndex,
    /// A finish closes the open run of its tenant, whichever that is.
    FinishAnyRun,
    /// A finish also closes what is closed.
    FinishOverwrites,
    /// An open run that is not known is lost, whatever lock, lock file and process say.
    LoseUnseen,
    /// Where the lock file names no process, whether the lock is held is not asked.
    LockNotAsked,
    /// A living supervisor that the lock file names is passed over.
    LoseSupervised,
    /// What lives under a dead supervisor is left alone.
    NeverAdopt,
    /// Open runs that are not known are not looked at.
    NeverLook,
    /// The tenant's lock is taken after the claim.
    ClaimBeforeLock,
    /// The tenant's lock is not taken.
    NoTenantLock,
    /// Ends that were seen are kept in memory alone.
    NoUnrecorded,
    /// An end that a living supervisor has not recorded yet keeps nobody from declaring the run lost.
    UnrecordedOfTheDeadOnly,
    /// Not broken but another way: tenant lock and keeper are let go when the end is recorded, not when it is seen.
    LockUntilRecorded,
    /// A run is ended where its lease ends, not before.
    FenceAtLease,
    /// A confirmed life counts from the answer, not from when the refresh was sent.
    CountFromAnswer,
    /// A claim counts from its answer.
    CountClaimFromAnswer,
    /// A claim that was answered when its run should have been ended is started all the same.
    StartLateClaim,
    /// An adopted run counts from its adoption, not from its `alive_at`.
    CountFromAdoption,
    /// A takeover goes by the age that was read at the look: the statement does not compare again.
    TakeOverByLook,
    /// Others take over when the supervisor begins to end the run.
    TakeOverAtFence,
    /// Nobody takes over.
    NeverTakeOver,
    /// A refresh opens a closed run again.
    RefreshRevives,
}

impl Rules {
    pub fn has(&self, mutation: Mutation) -> bool {
        self.broken.contains(&mutation)
    }

    pub fn may(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// The host that a supervisor is on.
    pub fn host_of(&self, supervisor: usize) -> usize {
        if self.one_host { 0 } else { supervisor }
    }

    /// From this age on a run that is not confirmed is ended.
    pub fn fence(&self) -> Option<u8> {
        self.lease.map(|lease| if self.has(Mutation::FenceAtLease) { lease } else { lease - MARGIN })
    }

    /// Above this age others take over.
    pub fn taken_above(&self) -> Option<u8> {
        self.lease.map(|lease| if self.has(Mutation::TakeOverAtFence) { lease - MARGIN - 1 } else { lease })
    }

    /// Greater ages are not told apart from this one.
    pub fn oldest(&self) -> u8 {
        self.lease.map_or(0, |lease| lease + MARGIN)
    }
}
