//! What the evidence of a host says of an open run, as `src/process/adopt.rs` reads it.

use super::{Host, LockFile, Process};
use crate::flaws::Flaw;
use crate::supervisor::SupervisorId;
use tenantcron::model::OpenRun;

/// What is true of an open run of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    Living(Process),
    Supervised,
    Dead,
    /// Its lock is held and no process is named.
    Claimed,
}

impl Host {
    /// `living` knows which supervisors run (a frozen one does).
    pub fn judge(
        &self,
        tenant: usize,
        run: &OpenRun,
        silent: bool,
        me: SupervisorId,
        living: impl Fn(SupervisorId) -> bool,
        flaw: Option<Flaw>,
    ) -> Judged {
        let in_row = run.pid.map(|pid| (pid, run.pid_start.unwrap_or_default()));
        if flaw == Some(Flaw::DeadWithoutTheLock) {
            return in_row.filter(|process| self.process_lives(*process)).map_or(Judged::Dead, Judged::Living);
        }
        if run.identity.host != self.name() {
            return self.by_lock(tenant);
        }
        let content = self.files.get(&tenant).filter(|file| file.host == self.name()).cloned();
        let content = content.unwrap_or_default();
        if self.is_locked(tenant) && content.supervisor.is_some_and(|by| by != me && living(by)) {
            return Judged::Supervised;
        }
        // Where nobody left a word the folder was emptied, and a process may live that nothing leads to.
        let wordless = !self.files.contains_key(&tenant) && !silent;
        let verdict = self.by_process(tenant, run, me, &content, in_row, wordless);
        match verdict {
            Judged::Living(_) | Judged::Dead if self.keepers.get(&tenant).is_some_and(|keeper| *keeper != me) => {
                Judged::Supervised
            }
            _ => verdict,
        }
    }

    fn by_process(
        &self,
        tenant: usize,
        run: &OpenRun,
        me: SupervisorId,
        content: &LockFile,
        in_row: Option<Process>,
        wordless: bool,
    ) -> Judged {
        let names_it = content.run == Some((run.identity.id, run.identity.started_at));
        match content.process.filter(|_| names_it).or(in_row) {
            Some(process) if self.process_lives(process) => Judged::Living(process),
            Some(_) => Judged::Dead,
            None if !names_it && content.supervisor == Some(me) => Judged::Dead,
            None if wordless => Judged::Claimed,
            None => self.by_lock(tenant),
        }
    }

    fn by_lock(&self, tenant: usize) -> Judged {
        if self.is_locked(tenant) { Judged::Claimed } else { Judged::Dead }
    }
}
