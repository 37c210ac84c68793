//! Tables: each rule of the contract by itself. Pairs: two things at once, in every state of a run.

mod bench;
mod databases;
mod ending;
mod late;
mod limits;
mod modes;
mod order;
mod pairs;
mod recovery;
mod rounds;
mod stale;
mod stopping;
