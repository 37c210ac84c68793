//! `tenants.query`: the rows that the database answered, as text, by column name. The query itself is sent by `db`.

use super::Listing;

/// One row: `name`, and `database` and `group` where the query has such columns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// The column `name`; NULL is refused.
    pub name: Option<String>,
    /// The column `database`.
    pub database: Option<String>,
    /// The column `group`.
    pub group: Option<String>,
}

/// The listing of the query's rows.
pub fn listing(rows: Vec<Row>) -> Listing {
    let mut listing = Listing::default();
    for (at, row) in rows.into_iter().enumerate() {
        match row.name {
            Some(name) => listing.add(name.as_bytes(), row.database, row.group),
            None => listing.refuse(format!("row {}: \"name\" is NULL", at + 1)),
        }
    }
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_candidates_and_a_null_name_is_refused() {
        let listing = listing(vec![
            Row { name: Some("a".into()), database: Some("wcs_a".into()), group: None },
            Row::default(),
            Row { name: Some("-x".into()), ..Row::default() },
        ]);
        assert_eq!(listing.candidates.len(), 1);
        assert_eq!(listing.candidates[0].fields.as_ref().and_then(|fields| fields.database.as_deref()), Some("wcs_a"));
        assert_eq!(listing.refused[0].text, "row 2: \"name\" is NULL");
        assert_eq!(listing.refused[1].name.as_deref(), Some("-x"));
    }
}
