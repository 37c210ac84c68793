//! Which nodes there are, and on which hosts.

use super::Kind;

/// A node: a supervisor's name on a host.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    /// On which host.
    pub host: usize,
    /// When it comes, microseconds.
    pub from: u64,
    /// It bears the name of another on another host: it goes when faults cease.
    pub rival: bool,
}

pub fn nodes(kind: Kind, heal_at: u64, rng: &mut fastrand::Rng) -> Vec<Node> {
    let node = |number: usize, from| Node { name: format!("n{number}"), host: number, from, rival: false };
    let soon = |rng: &mut fastrand::Rng| rng.u64(..3_000_000);
    match kind {
        Kind::Calm | Kind::OneNode => vec![node(0, soon(rng))],
        Kind::Several => {
            let several = rng.usize(2..=4);
            (0..several).map(|number| node(number, soon(rng))).collect()
        }
        // Two nodes on one host share its state folder; a third stands alone.
        Kind::SharedHost => {
            let mut nodes: Vec<_> = (0..rng.usize(2..=3)).map(|number| node(number, soon(rng))).collect();
            nodes[1].host = 0;
            nodes
        }
        Kind::Rival => {
            let from = if rng.f64() < 0.2 { soon(rng) } else { rng.u64(..heal_at) };
            let mut nodes = vec![node(0, soon(rng)), node(1, from)];
            nodes[1].name = nodes[0].name.clone();
            nodes[1].rival = true;
            if rng.bool() {
                nodes.push(node(2, soon(rng)));
            }
            nodes
        }
    }
}
