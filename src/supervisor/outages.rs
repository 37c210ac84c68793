//! Which outages become alerts: with a database per tenant a server that goes takes hundreds of databases along, and
//! is told once when it goes and once when it is back. Chooses no words and reads no clock. Invariant: of the databases
//! that go with a server none is told by itself while the server counts as down.

use crate::model::{DatabaseId, Moment};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A server counts as back so long after the first of its databases, though others do not answer: those may have been
/// dropped, or their tenants, and would keep its next outage from being told.
const PATIENCE: Duration = Duration::from_secs(120);

/// The servers that are down.
#[derive(Debug, Default)]
pub struct Outages {
    servers: BTreeMap<String, Outage>,
}

#[derive(Debug)]
struct Outage {
    since: Moment,
    down: BTreeSet<DatabaseId>,
    /// Since when databases come back and none goes.
    returning: Option<Moment>,
}

/// How what happened to a database is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Telling {
    /// By an alert of its own.
    Alone,
    /// Its server's alert speaks for it.
    Beside,
    /// It is the first of its server that goes: one alert for them all.
    ServerDown,
    /// It is the last of its server that comes back.
    ServerUp(Returned),
}

/// A server that is back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// Which.
    pub server: String,
    /// How long it was down.
    pub after: Duration,
    /// Databases that went with it and do not answer: from now on each is told by itself.
    pub missing: Vec<DatabaseId>,
}

impl Outages {
    /// A database went; with the `server`, if the whole of that did and more than this database is there.
    pub fn down(&mut self, database: DatabaseId, server: Option<String>, now: Moment) -> Telling {
        let Some(server) = server else { return Telling::Alone };
        let known = self.servers.contains_key(&server);
        let outage =
            self.servers.entry(server).or_insert(Outage { since: now, down: BTreeSet::new(), returning: None });
        if outage.down.insert(database) {
            outage.returning = None;
        }
        if known { Telling::Beside } else { Telling::ServerDown }
    }

    /// True while no server is down.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// A database of this server answers: if it did not go with the server, that is back, or was never down.
    pub fn answered(&mut self, database: DatabaseId, server: &str, now: Moment) {
        if let Some(outage) = self.servers.get_mut(server).filter(|outage| !outage.down.contains(&database)) {
            outage.returning.get_or_insert(now);
        }
    }

    /// A database is back.
    pub fn up(&mut self, database: DatabaseId, down_for: Duration, now: Moment) -> Telling {
        let Some((server, outage)) = self.servers.iter_mut().find(|(_, outage)| outage.down.contains(&database)) else {
            return Telling::Alone;
        };
        outage.down.remove(&database);
        outage.since = outage.since.min(now - down_for);
        outage.returning.get_or_insert(now);
        if !outage.down.is_empty() {
            return Telling::Beside;
        }
        let returned = Returned { server: server.clone(), after: now.since(outage.since), missing: Vec::new() };
        self.servers.remove(&returned.server);
        Telling::ServerUp(returned)
    }

    /// Servers that are back for long enough though some of their databases are not.
    pub fn returned(&mut self, now: Moment) -> Vec<Returned> {
        let is_back = |outage: &Outage| outage.returning.is_some_and(|since| since + PATIENCE <= now);
        let back: Vec<String> =
            self.servers.iter().filter(|(_, outage)| is_back(outage)).map(|(server, _)| server.clone()).collect();
        let take = |server: String| {
            let Outage { since, down, returning } = self.servers.remove(&server)?;
            let after = returning.unwrap_or(now).since(since);
            Some(Returned { server, after, missing: down.into_iter().collect() })
        };
        back.into_iter().filter_map(take).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: DatabaseId = DatabaseId(1);
    const B: DatabaseId = DatabaseId(2);
    const C: DatabaseId = DatabaseId(3);

    enum Step {
        /// With its server.
        Down(DatabaseId, &'static str),
        /// By itself.
        Fails(DatabaseId),
        /// After so many seconds.
        Up(DatabaseId, u64),
    }

    fn back(server: &str, seconds: u64) -> Telling {
        let after = Duration::from_secs(seconds);
        Telling::ServerUp(Returned { server: server.into(), after, missing: Vec::new() })
    }

    /// One step a second, from second 100 on.
    fn replay(steps: Vec<(Step, Telling)>) -> Outages {
        let mut outages = Outages::default();
        for (at, (step, want)) in (100u64..).zip(steps) {
            let now = Moment(at * 1_000_000);
            let told = match step {
                Step::Down(database, server) => outages.down(database, Some(server.to_owned()), now),
                Step::Fails(database) => outages.down(database, None, now),
                Step::Up(database, seconds) => outages.up(database, Duration::from_secs(seconds), now),
            };
            assert_eq!(told, want, "at second {at}");
            assert!(outages.returned(now).is_empty());
        }
        outages
    }

    #[test]
    fn one_that_hangs_alone_does_not_keep_the_next_outage_of_its_server_from_being_told() {
        let mut outages = Outages::default();
        let second = |at: u64| Moment(at * 1_000_000);
        assert_eq!(outages.down(A, Some("one".into()), second(0)), Telling::ServerDown);
        outages.answered(A, "one", second(5));
        assert_eq!(outages.returned(second(500)), [], "A itself says nothing of the others");
        outages.answered(B, "one", second(600));
        assert_eq!(outages.down(A, Some("one".into()), second(610)), Telling::Beside, "it fails again and again");
        let [returned] = &outages.returned(second(720))[..] else { panic!("not back") };
        assert_eq!(returned.missing, [A]);
        assert_eq!(outages.down(B, Some("one".into()), second(86_400)), Telling::ServerDown);
    }

    #[test]
    fn an_outage_of_a_server_is_two_alerts_however_many_databases_it_has() {
        use Step::*;
        use Telling::*;
        let cases = [
            vec![
                (Down(A, "one"), ServerDown),
                (Down(B, "one"), Beside),
                (Down(C, "one"), Beside),
                (Up(B, 2), Beside),
                (Up(A, 4), Beside),
                (Up(C, 3), back("one", 5)),
                (Down(B, "one"), ServerDown),
                (Up(B, 1), back("one", 1)),
            ],
            // One that goes again before the last is back is of the same outage.
            vec![
                (Down(A, "one"), ServerDown),
                (Down(B, "one"), Beside),
                (Up(A, 2), Beside),
                (Down(A, "one"), Beside),
                (Up(B, 3), Beside),
                (Up(A, 2), back("one", 5)),
            ],
            // Two servers are two outages.
            vec![
                (Down(A, "one"), ServerDown),
                (Down(B, "other"), ServerDown),
                (Up(A, 2), back("one", 2)),
                (Up(B, 2), back("other", 2)),
            ],
            // A database that fails for a reason of its own speaks for itself, before its server goes and after.
            vec![
                (Fails(A), Alone),
                (Down(B, "one"), ServerDown),
                (Fails(C), Alone),
                (Up(B, 2), back("one", 2)),
                (Up(A, 4), Alone),
                (Up(C, 3), Alone),
            ],
        ];
        for case in cases {
            assert!(replay(case).servers.is_empty());
        }
    }

    #[test]
    fn a_database_that_stays_away_keeps_its_server_from_being_back_for_two_minutes() {
        use Step::*;
        use Telling::*;
        let mut outages = replay(vec![
            (Down(A, "one"), ServerDown),
            (Down(B, "one"), Beside),
            (Down(C, "one"), Beside),
            (Up(A, 3), Beside),
            (Down(A, "one"), Beside),
            (Up(A, 5), Beside),
        ]);
        let second = |at: u64| Moment(at * 1_000_000);
        assert_eq!(outages.returned(second(224)), []);
        let returned = Returned { server: "one".into(), after: Duration::from_secs(5), missing: vec![B, C] };
        assert_eq!(outages.returned(second(225)), [returned]);
        assert_eq!(outages.returned(second(226)), []);
        // The next outage is told, and those that were missing speak for themselves.
        assert_eq!(outages.down(A, Some("one".into()), second(230)), ServerDown);
        assert_eq!(outages.up(B, Duration::from_secs(130), second(231)), Alone);
    }
}
