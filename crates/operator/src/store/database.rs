//! The file behind the embedded store: SQLite, one row per object, its JSON as the body.
//!
//! Write-ahead log with `synchronous=FULL`: a commit is on disk before it is acknowledged, so neither SIGKILL nor a power cut
//! loses it (<https://www.sqlite.org/pragma.html#pragma_synchronous>). The file is locked exclusively while it is open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_model::resource::Resource;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};

use super::StoreError;
use super::semantics::Delta;

/// Marks the file as Berth's: "Brth".
const APPLICATION_ID: i64 = 0x4272_7468;
/// The schema that this build writes. A change of schema adds a step to [`migrate`].
const SCHEMA: i64 = 1;
/// How long to wait for a process that is just letting go of the file.
const BUSY: Duration = Duration::from_secs(2);

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    path: PathBuf,
}

/// What a database held when it was opened.
pub(super) struct Loaded {
    pub(super) objects: Vec<Resource>,
    pub(super) version: u64,
}

impl Database {
    /// Opens or makes the file at `path`.
    pub(super) fn open(path: &Path) -> Result<(Database, Loaded), StoreError> {
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Io { path: folder.to_owned(), source: Arc::new(source) })?;
        }
        let connection = Connection::open(path).map_err(|e| failed(path, "open", e))?;
        let database = Database { connection, path: path.to_owned() };
        database.configure().map_err(|e| failed(path, "open", e))?;
        database.start()
    }

    /// A database that goes with the process.
    pub(super) fn in_memory() -> Result<(Database, Loaded), StoreError> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().map_err(|e| failed(&path, "open", e))?;
        Database { connection, path }.start()
    }

    fn configure(&self) -> Result<(), rusqlite::Error> {
        self.connection.busy_timeout(BUSY)?;
        // Exclusive before WAL: then the index of the log is on the heap and no third file is needed.
        self.connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
        self.connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        self.connection.pragma_update(None, "synchronous", "FULL")
    }

    fn start(mut self) -> Result<(Database, Loaded), StoreError> {
        self.check()?;
        self.migrate()?;
        let loaded = self.load()?;
        Ok((self, loaded))
    }

    fn check(&self) -> Result<(), StoreError> {
        let found: String = self
            .connection
            .pragma_query_value(None, "quick_check", |row| row.get(0))
            .map_err(|e| failed(&self.path, "check its file", e))?;
        if found == "ok" { Ok(()) } else { Err(self.corrupt("the database".to_owned(), found)) }
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let path = self.path.clone();
        let fail = |e| failed(&path, "read its schema version", e);
        let id: i64 = self.connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(fail)?;
        let found: i64 = self.connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fail)?;
        let tables: i64 = self.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
        if id != APPLICATION_ID && (id != 0 || tables != 0) {
            return Err(StoreError::Foreign { path });
        }
        if found > SCHEMA {
            return Err(StoreError::Newer { path, found, known: SCHEMA });
        }
        if found == SCHEMA { Ok(()) } else { self.create().map_err(|e| failed(&path, "make its tables", e)) }
    }

    fn create(&mut self) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(
            "CREATE TABLE objects (
                 kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
                 PRIMARY KEY (kind, namespace, name)
             ) WITHOUT ROWID;
             CREATE TABLE counter (one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL);
             INSERT INTO counter VALUES (1, 0);",
        )?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
        transaction.commit()
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        let fail = |e| failed(&self.path, "read its objects", e);
        let version: i64 = self.connection.query_row("SELECT version FROM counter", [], |row| row.get(0)).map_err(fail)?;
        let version = u64::try_from(version).map_err(|_| self.corrupt("the version counter".to_owned(), format!("it is {version}")))?;
        let mut statement = self.connection.prepare("SELECT kind, namespace, name, body FROM objects").map_err(fail)?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
            })
            .map_err(fail)?;
        let mut objects = Vec::new();
        for row in rows {
            let (kind, namespace, name, body) = row.map_err(fail)?;
            let key = format!("{kind} {namespace}/{name}");
            let object: Resource = serde_json::from_str(&body).map_err(|e| self.corrupt(key.clone(), e.to_string()))?;
            if object.key().to_string() != key {
                return Err(self.corrupt(key, format!("its body is of {}", object.key())));
            }
            objects.push(object);
        }
        Ok(Loaded { objects, version })
    }

    /// Makes `deltas` durable, all or none.
    pub(super) fn commit(&mut self, deltas: &[Delta], version: u64) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.write(deltas, version).map_err(|e| failed(&path, "write", e))
    }

    fn write(&mut self, deltas: &[Delta], version: u64) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = transaction.prepare("INSERT OR REPLACE INTO objects (kind, namespace, name, body) VALUES (?1, ?2, ?3, ?4)")?;
            let mut remove = transaction.prepare("DELETE FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3")?;
            for delta in deltas {
                let key = delta.key();
                match &delta.after {
                    Some(object) => {
                        let body = serde_json::to_string(object).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
                        put.execute(params![key.kind.as_str(), key.namespace, key.name, body])?;
                    }
                    None => {
                        remove.execute(params![key.kind.as_str(), key.namespace, key.name])?;
                    }
                }
            }
        }
        transaction.execute("UPDATE counter SET version = ?1", [version.cast_signed()])?;
        transaction.commit()
    }

    fn corrupt(&self, key: String, detail: String) -> StoreError {
        StoreError::Corrupt { key, path: self.path.clone(), detail }
    }
}

/// Says what a failure of SQLite means for the store.
fn failed(path: &Path, doing: &'static str, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { path: path.to_owned() },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt { key: "the database".to_owned(), path: path.to_owned(), detail: error.to_string() }
        }
        _ => StoreError::Database { doing, source: Arc::new(error) },
    }
}
