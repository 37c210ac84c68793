//! `tenants.list`: the names in the configuration itself. It cannot fail; a bad name in it is reported and left out
//! like one from any other source, so that one slip does not stop a whole host.

use super::Listing;

/// The listing of the configured names.
pub fn listing(names: &[String]) -> Listing {
    let mut listing = Listing::default();
    for name in names {
        listing.add(name.as_bytes(), None, None);
    }
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_in_order_and_bad_ones_are_named() {
        let long = "x".repeat(300);
        let names = ["b.example", "../../etc/x", "-rf", "a b", "x;drop table", &long, "a"].map(str::to_owned);
        let listing = listing(&names);
        let taken: Vec<_> = listing.candidates.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(taken, ["b.example", "a"]);
        assert_eq!(listing.refused.len(), 5);
        assert!(listing.refused[3].text.contains("x;drop table"), "{:?}", listing.refused);
        assert!(listing.refused[4].text.len() < 200, "a long name floods the log");
    }
}
