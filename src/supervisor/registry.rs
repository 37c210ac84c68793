//! Databases by their URL: tenants whose placeholders give the same URL share one database.

use crate::db::{DatabaseUrl, Environment};
use crate::model::{DatabaseId, Template, Values};
use std::collections::HashMap;
use std::sync::Arc;

/// Every database met so far. Numbers are never given twice.
#[derive(Debug, Default)]
pub struct Registry {
    by_url: HashMap<String, DatabaseId>,
    urls: Vec<Arc<DatabaseUrl>>,
    told: usize,
    environment: Option<Environment>,
}

impl Registry {
    /// The database of a tenant.
    ///
    /// # Errors
    /// What is wrong with the URL, without its password.
    pub fn find(&mut self, url: &Template, values: Values<'_>) -> Result<DatabaseId, String> {
        let rendered = crate::db::render(url, values);
        if let Some(id) = self.by_url.get(&rendered) {
            return Ok(*id);
        }
        let parsed = DatabaseUrl::parse(&rendered, self.environment.get_or_insert_with(Environment::of_this_process))
            .map_err(|why| why.to_string())?;
        let id = DatabaseId(u32::try_from(self.urls.len()).map_err(|why| why.to_string())?);
        self.urls.push(Arc::new(parsed));
        self.by_url.insert(rendered, id);
        Ok(id)
    }

    /// Databases met since the last call.
    pub fn news(&mut self) -> Vec<(DatabaseId, Arc<DatabaseUrl>)> {
        let from = std::mem::replace(&mut self.told, self.urls.len());
        (0u32..).zip(&self.urls).skip(from).map(|(id, url)| (DatabaseId(id), Arc::clone(url))).collect()
    }

    /// A database's URL, which shows no password.
    pub fn url(&self, id: DatabaseId) -> Option<&Arc<DatabaseUrl>> {
        self.urls.get(id.0 as usize)
    }

    /// How many are databases of the same server, this one too.
    pub fn beside(&self, url: &DatabaseUrl) -> usize {
        self.urls.iter().filter(|other| other.is_beside(url)).count()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.urls.len()
    }

    /// True before the first.
    pub fn is_empty(&self) -> bool {
        self.urls.is_empty()
    }
}
