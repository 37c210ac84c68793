//! How many at once: `4`, `cpu`, `cpu*3`, `cpu/2+1`. Usual precedence, from left to right, whole numbers.
//!
//! Counting the CPUs is the caller's. An expression that could overflow, that divides by zero, or that never
//! comes to at least one worker is refused when it is read, so that reading the number later cannot fail.

use std::fmt;

/// The most CPUs that an expression is proved for: what Linux can be built for.
const MOST_CPUS: u32 = 8192;

/// The most workers of one node: beyond this it is a slip of the pen.
const MOST_WORKERS: i64 = 65_535;

/// A checked expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkersExpr {
    /// Terms to add up, each a chain of factors.
    terms: Vec<Term>,
    source: String,
}

/// `+` or `-`, then atoms joined by `*` and `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    minus: bool,
    first: Atom,
    rest: Vec<(Operator, Atom)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Times,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Atom {
    Cpu,
    Number(i64),
}

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkersError {
    /// It does not read as an expression.
    #[error("{shown:?} at {rest:?}: expected {expected}; write a number or an expression such as \"cpu/2+1\"")]
    Syntax {
        /// The expression.
        shown: String,
        /// From where it could not be read.
        rest: String,
        /// What would have been possible there.
        expected: &'static str,
    },
    /// A division by zero.
    #[error("{0:?} divides by zero")]
    ByZero(String),
    /// A number that does not fit.
    #[error("{0:?} overflows, or comes to more than 65535 workers")]
    TooMany(String),
    /// Zero or less, on every machine.
    #[error("{0:?} comes to less than one worker; to start nothing on this node set enabled = false")]
    None(String),
}

impl WorkersExpr {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`WorkersError`] if it does not read, or cannot come to a number of workers.
    pub fn parse(source: &str) -> Result<Self, WorkersError> {
        let expression = Self { terms: terms(source)?, source: source.trim().to_owned() };
        let mut best: Option<i64> = None;
        let mut least = i64::MAX;
        for cpus in 1..=MOST_CPUS {
            let value = expression.compute(cpus)?;
            best = best.max(Some(value));
            least = least.min(value);
        }
        match best {
            Some(best) if best >= 1 && least <= MOST_WORKERS => Ok(expression),
            Some(best) if best >= 1 => Err(WorkersError::TooMany(expression.source)),
            _ => Err(WorkersError::None(expression.source)),
        }
    }

    /// The number of workers on a machine with so many usable CPUs: at least 1 (`cpu/2` on a single CPU too), at most 65535.
    pub fn evaluate(&self, cpus: u32) -> u32 {
        let value = self.compute(cpus.clamp(1, MOST_CPUS)).unwrap_or(1);
        u32::try_from(value.clamp(1, MOST_WORKERS)).unwrap_or(1)
    }

    fn compute(&self, cpus: u32) -> Result<i64, WorkersError> {
        let too_many = || WorkersError::TooMany(self.source.clone());
        let number = |atom: Atom| match atom {
            Atom::Cpu => i64::from(cpus),
            Atom::Number(number) => number,
        };
        let mut sum = 0i64;
        for term in &self.terms {
            let mut product = number(term.first);
            for (operator, atom) in &term.rest {
                let by = number(*atom);
                product = match operator {
                    Operator::Times => product.checked_mul(by).ok_or_else(too_many)?,
                    Operator::Over => {
                        product.checked_div(by).ok_or_else(|| WorkersError::ByZero(self.source.clone()))?
                    }
                };
            }
            let signed = if term.minus { product.checked_neg() } else { Some(product) };
            sum = signed.and_then(|value| sum.checked_add(value)).ok_or_else(too_many)?;
        }
        Ok(sum)
    }
}

impl fmt::Display for WorkersExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

fn terms(source: &str) -> Result<Vec<Term>, WorkersError> {
    let (first, mut rest) = atom(source, source)?;
    let mut all = Vec::new();
    let mut term = Term { minus: false, first, rest: Vec::new() };
    loop {
        rest = rest.trim_start();
        let mut letters = rest.chars();
        let Some(sign) = letters.next() else {
            all.push(term);
            return Ok(all);
        };
        let after = letters.as_str();
        if !"+-*/".contains(sign) {
            let shown = source.trim().to_owned();
            return Err(WorkersError::Syntax { shown, rest: rest.to_owned(), expected: "+ - * / or the end" });
        }
        let (next, left) = atom(source, after)?;
        match sign {
            '*' => term.rest.push((Operator::Times, next)),
            '/' => term.rest.push((Operator::Over, next)),
            _ => all.push(std::mem::replace(&mut term, Term { minus: sign == '-', first: next, rest: Vec::new() })),
        }
        rest = left;
    }
}

fn atom<'s>(source: &str, text: &'s str) -> Result<(Atom, &'s str), WorkersError> {
    let text = text.trim_start();
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if word == "cpu" {
        return Ok((Atom::Cpu, rest));
    }
    if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) {
        let (shown, rest) = (source.trim().to_owned(), text.to_owned());
        return Err(WorkersError::Syntax { shown, rest, expected: "a number or \"cpu\"" });
    }
    let number = word.parse().map_err(|_| WorkersError::TooMany(source.trim().to_owned()))?;
    Ok((Atom::Number(number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_follow_the_usual_precedence_from_left_to_right() {
        for (source, cpus, want) in [
            ("4", 2, 4),
            ("cpu", 2, 2),
            ("cpu*3", 4, 12),
            ("cpu/2+1", 1, 1),
            ("cpu/2+1", 2, 2),
            ("cpu/2+1", 7, 4),
            ("1+cpu*2", 3, 7),
            ("cpu*3/2", 3, 4),
            ("3/2*cpu", 4, 4),
            ("10-4-3", 1, 3),
            ("cpu - 1", 8, 7),
            (" cpu / 2 + 1 ", 8, 5),
            ("cpu/2", 1, 1),
            ("cpu-4", 2, 1),
            ("cpu*9999", 64, 65_535),
            ("cpu", 0, 1),
            ("cpu", u32::MAX, 8192),
        ] {
            assert_eq!(WorkersExpr::parse(source).unwrap().evaluate(cpus), want, "{source} with {cpus}");
        }
    }

    #[test]
    fn what_cannot_come_to_a_number_of_workers_is_refused() {
        for source in ["", " ", "cpus", "cpu*", "*2", "cpu 2", "cpu+-1", "(cpu)", "2cpu", "cpu/2.5", "-1", "cpu%2", "é"]
        {
            assert!(matches!(WorkersExpr::parse(source), Err(WorkersError::Syntax { .. })), "{source}");
        }
        for source in ["cpu/0", "1/0", "0/0+1"] {
            assert!(matches!(WorkersExpr::parse(source), Err(WorkersError::ByZero(_))), "{source}");
        }
        for source in ["0", "cpu*0", "1-1", "1-cpu"] {
            assert!(matches!(WorkersExpr::parse(source), Err(WorkersError::None(_))), "{source}");
        }
        let chain = ["cpu"; 6].join("*");
        for source in ["70000", "cpu*100000", "99999999999999999999", "cpu*9000000000000000000", &chain] {
            assert!(matches!(WorkersExpr::parse(source), Err(WorkersError::TooMany(_))), "{source}");
        }
    }
}
